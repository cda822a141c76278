"""The only way to a tree that somebody else can write: a root, an upper directory, a volume, a context, a layer.

Whoever writes such a tree is hostile: a directory becomes a symbolic link between two system calls, a file a FIFO or
a device node, a path is a million levels deep. So here

- a tree is a `Root`, a directory held by its descriptor; what lies in it is named relative to that, and resolved by
  the kernel below it (openat2(2)), or not followed at all;
- nothing is opened before it is known to be a file, so that no FIFO holds and no device node hears of it;
- walks are loops, hold a bounded number of descriptors and verify their way back up;
- whoever mounts is given a descriptor, or a mount point of the engine's own.

The other rooms do not touch such trees by path: `tests/unit/test_house_rules.py` looks for it.
"""
