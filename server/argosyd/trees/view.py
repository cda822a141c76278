"""A container's tree with all that is mounted in it, as the container would see it, while it does not run.

The mounts stand in a mount namespace that nothing else is in and that has nothing else in it; whoever holds the view
holds them, and they are gone with it. So nothing has to be unmounted, and no other mount is held up.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from argosyd.host import linux
from argosyd.trees.root import Root


@dataclass(frozen=True, slots=True)
class ViewMount:
    """What lies at `target`, a path of the view: `source` on the host, which the engine or the user named."""

    source: str
    target: str
    read_only: bool = False


def clone_mount(path: str, *, recursive: bool = True) -> int:
    """A mount of its own, attached nowhere, of what lies at a path (open_tree(2)). OSError."""
    flags = linux.OPEN_TREE_CLONE | (linux.AT_RECURSIVE if recursive else 0)
    with linux.doing(f"cannot open {path}"):
        return linux.open_tree(linux.AT_FDCWD, path, flags)


def clone_held(fd: int) -> int:
    """The same of what a descriptor holds, so that no path is looked up again."""
    with linux.doing("cannot open a held tree"):
        return linux.open_tree(fd, "", linux.OPEN_TREE_CLONE | linux.AT_EMPTY_PATH)


def attach(mount: int, target: int) -> None:
    """Mounts what `clone_mount` gave on what `target` holds (move_mount(2)). OSError."""
    with linux.doing("cannot mount"):
        linux.move_mount(mount, target, "")


def pin(fd: int, place: str) -> None:
    """Binds what a descriptor holds on a path of the engine's own, which can then be named to a runtime: whatever
    happens to the path by which it was found. OSError; unmount `place` afterwards."""
    mount = clone_held(fd)
    try:
        target = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)  # own: a mount point of the engine's
        try:
            attach(mount, target)
        finally:
            os.close(target)
    finally:
        os.close(mount)


class View(Root):
    """The root of such a tree. Close it."""

    def __init__(self, fd: int, namespace: int) -> None:
        super().__init__(fd)
        self._namespace = namespace

    def close(self) -> None:
        """Lets go of it, and so of its mounts."""
        super().close()
        if self._namespace >= 0:
            os.close(self._namespace)
            self._namespace = -1


def open_view(root: str, mounts: Sequence[ViewMount], *, read_only: bool = False) -> View:
    """The tree at `root`, a path of the engine's own, with mounts in it. Places that are missing are made, as at a
    start; a mount whose source is gone is left out. `read_only`: the tree itself. Blocking, some ms. OSError."""
    outcome: list[View | BaseException] = []

    def work() -> None:
        try:
            outcome.append(_build(root, mounts, read_only))
        except BaseException as error:
            outcome.append(error)

    # A thread of its own: it never comes back from the namespace that it enters.
    thread = threading.Thread(target=work, name="view")
    thread.start()
    thread.join()
    found = outcome[0]
    if isinstance(found, BaseException):
        raise found
    return found


def _build(root: str, mounts: Sequence[ViewMount], read_only: bool) -> View:
    with linux.doing("cannot make a mount namespace"):
        linux.unshare(linux.CLONE_NEWNS)
    with linux.doing("cannot make mounts private"):
        linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)  # own: procfs
    held: list[tuple[int, ViewMount]] = []
    top = -1
    try:
        top = clone_mount(root, recursive=False)
        for mount in sorted(mounts, key=lambda m: m.target.count("/")):
            try:
                held.append((clone_mount(mount.source), mount))
            except FileNotFoundError:
                continue
        _enter(top, root)
        with Root(os.dup(top)) as tree:
            for fd, mount in held:
                _mount_in(tree, fd, mount)
        if read_only:
            _set_read_only(top)
        return View(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), os.dup(namespace))  # own: the new root
    finally:
        for fd in (namespace, top, *(fd for fd, _ in held)):
            if fd >= 0:
                os.close(fd)


def _enter(top: int, root: str) -> None:
    """Makes a mount the thread's root and takes every other one away (pivot_root(2), "pivot_root(".", ".")")."""
    place = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # own: a snapshot's mount point
    try:
        attach(top, place)
    finally:
        os.close(place)
    os.fchdir(top)
    try:
        linux.pivot_root(".", ".")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise OSError(error.errno, f"cannot change the root: {error.strerror}") from None
        # A host that runs from its initial ramfs; the other mounts stay for as long as the view does.
        os.chroot(".")  # own: the new root
        return
    with linux.doing("cannot leave the old root"):
        linux.unmount(".", linux.MNT_DETACH)
    os.chdir("/")  # own: the new root


def _mount_in(tree: Root, fd: int, mount: ViewMount) -> None:
    if mount.read_only:
        _set_read_only(fd, recursive=True)
    make = tree.make_directories if stat.S_ISDIR(os.fstat(fd).st_mode) else tree.make_file
    target = make(mount.target)
    try:
        attach(fd, target)
    finally:
        os.close(target)


def _set_read_only(fd: int, *, recursive: bool = False) -> None:
    with linux.doing("cannot make it read-only"):
        flags = linux.AT_RECURSIVE if recursive else 0
        linux.mount_setattr(fd, linux.mount_attributes(linux.MOUNT_ATTR_RDONLY), flags)
