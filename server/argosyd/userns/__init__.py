"""User namespaces: what a container's ids are on the host, and how one tree of files serves every mapping.

A container in a user namespace has ids of its own (user_namespaces(7)); its root is nobody on the host. What lies on
the disk keeps the ids that the container sees: mounts are id-mapped (mount_setattr(2), MOUNT_ATTR_IDMAP), so layers are
shared and nothing is ever copied to change an owner.
"""
