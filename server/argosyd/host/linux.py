"""Linux's calls that Python's `os` has not, each named once; failures are OSError, as `os` has them.

The numbers of the newer calls are the same on every architecture (the system call tables of Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator

_LIBC = ctypes.CDLL(None, use_errno=True)

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
"""<fcntl.h>"""
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET = 0x00020000, 0x04000000, 0x40000000
"""<sched.h>"""
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 0x1000, 0x4000, 0x40000, 0x80000
"""mount(2), <sys/mount.h>"""
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
"""umount2(2)"""
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
MOUNT_ATTR_RDONLY, MOUNT_ATTR_IDMAP = 1, 0x00100000
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6
"""<linux/mount.h>"""

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _MOUNT_SETATTR = 437, 442
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "loongarch64": 41, "ppc64le": 203, "s390x": 217, "i686": 217,
              "armv7l": 218}  # fmt: skip
"""By uname's machine: an old call has a number of its own on each."""
_CLOEXEC = 1
"""FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC"""


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """An OSError from inside says what could not be done."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{what}: {error.strerror}") from None


# -- files --------------------------------------------------------------------------------------------------------


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(directory: int, name: bytes, flags: int, mode: int, resolve: int) -> int:
    """openat2(2), Linux 5.6."""
    how = _OpenHow(flags, mode, resolve)
    return _checked(_LIBC.syscall(_OPENAT2, directory, name, ctypes.byref(how), ctypes.sizeof(how)))


def syncfs(fd: int) -> None:
    """syncfs(2): waits until the file system that a descriptor lies on is on disk."""
    _checked(_LIBC.syncfs(fd))


# -- mounts -------------------------------------------------------------------------------------------------------


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2); an empty `kind` or `options` is a NULL."""
    kind_, options_ = (os.fsencode(text) if text else None for text in (kind, options))
    _checked(_LIBC.mount(os.fsencode(source), os.fsencode(target), kind_, ctypes.c_ulong(flags), options_))


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)"""
    _checked(_LIBC.umount2(os.fsencode(target), flags))


def open_tree(directory: int, path: str, flags: int) -> int:
    """open_tree(2), Linux 5.2."""
    return _checked(_LIBC.syscall(_OPEN_TREE, directory, os.fsencode(path), flags | os.O_CLOEXEC))


def move_mount(tree: int, directory: int, path: str) -> None:
    """move_mount(2), Linux 5.2, of a tree that is held; without a path on what `directory` holds."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if path else MOVE_MOUNT_T_EMPTY_PATH)
    _checked(_LIBC.syscall(_MOVE_MOUNT, tree, b"", directory, os.fsencode(path), flags))


def mount_attributes(set: int = 0, userns: int = 0, propagation: int = 0) -> bytes:
    """struct mount_attr: what to set, what to clear, propagation, the user namespace."""
    return struct.pack("QQQQ", set, 0, propagation, userns)


def mount_setattr(tree: int, attributes: bytes, flags: int = 0) -> None:
    """mount_setattr(2), Linux 5.12, of a tree that is held."""
    _checked(
        _LIBC.syscall(_MOUNT_SETATTR, tree, b"", flags | AT_EMPTY_PATH, attributes, ctypes.c_size_t(len(attributes)))
    )


def fsopen(kind: str) -> int:
    """fsopen(2), Linux 5.2."""
    return _checked(_LIBC.syscall(_FSOPEN, kind.encode(), _CLOEXEC))


def fsconfig(context: int, command: int, name: str = "", value: str = "") -> None:
    """fsconfig(2), Linux 5.2; an empty `name` or `value` is a NULL."""
    name_, value_ = (os.fsencode(text) if text else None for text in (name, value))
    _checked(_LIBC.syscall(_FSCONFIG, context, command, name_, value_, 0))


def fsmount(context: int) -> int:
    """fsmount(2), Linux 5.2."""
    return _checked(_LIBC.syscall(_FSMOUNT, context, _CLOEXEC, 0))


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)"""
    machine = os.uname().machine
    if machine not in PIVOT_ROOT:
        raise OSError(errno.ENOSYS, f"the number of pivot_root(2) on {machine} is not known")
    _checked(_LIBC.syscall(PIVOT_ROOT[machine], os.fsencode(new), os.fsencode(old)))


# -- threads ------------------------------------------------------------------------------------------------------


def unshare(flags: int) -> None:
    """unshare(2), of the calling thread."""
    _checked(_LIBC.unshare(flags))


def setns(fd: int, kind: int) -> None:
    """setns(2), of the calling thread."""
    _checked(_LIBC.setns(fd, kind))


def setdomainname(name: str) -> None:
    """setdomainname(2)"""
    encoded = os.fsencode(name)
    _checked(_LIBC.setdomainname(encoded, len(encoded)))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_CAPABILITIES_3 = 0x20080522  # linux/capability.h: 64 capabilities, in two parts


@contextlib.contextmanager
def acting_as(owner: tuple[int, int]) -> Iterator[None]:
    """What this thread makes belongs to these ids of the host, where root's own would have none (an id-mapped mount).

    Its capabilities stay (setfsuid(2) takes some away; they are taken back). Do not await inside.
    """
    uid, gid = owner
    held = (_Capabilities * 2)()
    with doing("capget"):
        _checked(_LIBC.capget(ctypes.byref(_Header(_CAPABILITIES_3, 0)), held))
    _LIBC.setfsgid(gid)
    _LIBC.setfsuid(uid)
    try:
        with doing("capset"):
            _checked(_LIBC.capset(ctypes.byref(_Header(_CAPABILITIES_3, 0)), held))
        yield
    finally:
        _LIBC.setfsuid(os.geteuid())
        _LIBC.setfsgid(os.getegid())
