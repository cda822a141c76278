"""What runs containers: the monitor (conmon), the OCI runtime (crun, runc), cgroups, the mount namespace.

Nothing here knows of images, networks or records; a process is named by a `PidFd`, never by a bare number that may
have been given to another one meanwhile.
"""
