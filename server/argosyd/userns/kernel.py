"""The kernel's side: making a user namespace, id-mapping a mount, working as somebody who lives in one.

mount_setattr(2) with MOUNT_ATTR_IDMAP (Linux 5.12) wants a mount that nobody sees yet: open_tree(2) makes one of a
directory, move_mount(2) puts it in its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from argosy.errors import ArgosyError, Unavailable, Unsupported
from argosyd.runtime.spawn import CLEAN_ENVIRONMENT
from argosyd.userns.ids import IdMap, MountMap, kernel_text

_libc = ctypes.CDLL(None, use_errno=True)

# <sys/mount.h>; the numbers of these calls are the same on every architecture.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x00100000
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_PATIENCE = 30.0
"""Seconds for two small programs to start."""


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def bind_mapped(source: Path, target: Path, mapping: MountMap) -> None:
    """Binds a directory, without what is mounted below it, so that ids on its disk are those inside the mapping.

    Unsupported when the kernel or the file system cannot, with what is missing.
    """
    try:
        tree = _call(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC)
        try:
            # struct mount_attr: what to set, what to clear, propagation, the user namespace.
            attributes = struct.pack("QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, mapping.fd)
            _call(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, len(attributes))
            _call(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        finally:
            os.close(tree)
    except OSError as error:
        raise _unmappable(source, error.errno or 0) from None


def _unmappable(source: Path, code: int) -> ArgosyError:
    if code == errno.ENOSYS:
        what = f"id-mapped mounts need Linux 5.12, this is {os.uname().release}"
    elif code == errno.EINVAL:
        what = f"the file system that {source} is on cannot be id-mapped by this kernel ({os.uname().release})"
    elif code == errno.EPERM:
        what = f"{source} is on a mount that is id-mapped already, or the daemon lacks CAP_SYS_ADMIN"
    else:
        what = f"cannot id-map {source}: {os.strerror(code)}"
    return Unsupported(f"{what}: use --userns=host", kind="userns", id=str(source), reason="NO_ID_MAPPED_MOUNTS")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_CAPABILITIES_3 = 0x20080522  # linux/capability.h: 64 capabilities, in two parts


@contextlib.contextmanager
def acting_as(owner: tuple[int, int]) -> Iterator[None]:
    """What this thread makes belongs to these ids of the host, where root's own would have none (an id-mapped mount).

    Its capabilities stay (setfsuid(2) takes some away; they are taken back). Do not await inside.
    """
    uid, gid = owner
    held = (_Data * 2)()
    header = _Header(_CAPABILITIES_3, 0)
    if _libc.capget(ctypes.byref(header), held) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    _libc.setfsgid(gid)
    _libc.setfsuid(uid)
    try:
        header = _Header(_CAPABILITIES_3, 0)
        if _libc.capset(ctypes.byref(header), held) != 0:
            raise OSError(ctypes.get_errno(), "capset")
        yield
    finally:
        _libc.setfsuid(os.geteuid())
        _libc.setfsgid(os.getegid())


class Namespaces:
    """A user namespace, and a network namespace that it owns; alive as long as this is held. Close it.

    Two programs that every Linux has hold them: `unshare` makes them and becomes `cat`, which ends with the daemon.
    """

    def __init__(self, id_map: IdMap, joined: str = "") -> None:
        """`joined` is the path of a user namespace of that mapping, else one is made. Blocks. Unavailable."""
        self.id_map = id_map
        enter = ("nsenter", f"--user={joined}", "--", "unshare") if joined else ("unshare", "--user")
        try:
            self._process = subprocess.Popen(
                (*enter, "--net", "cat"),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN_ENVIRONMENT,
            )  # fmt: skip
        except OSError as error:
            raise _unmade(f"{error.filename}: {error.strerror}: install the package util-linux") from None
        self._fd = -1
        try:
            self._wait()
            if not joined:
                for name, ranges in (("gid_map", id_map.gids), ("uid_map", id_map.uids)):
                    Path(f"/proc/{self._process.pid}/{name}").write_text(kernel_text(ranges))
            self._fd = os.open(self.user, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self.close()
            raise _unmade(error.strerror or str(error)) from None
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        """Waits until `cat` answers: then the namespaces are there."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            os.write(process.stdin.fileno(), b"\n")
        poll = select.poll()
        poll.register(process.stdout.fileno(), select.POLLIN)
        if not poll.poll(_PATIENCE * 1000):
            raise _unmade(f"no answer within {_PATIENCE:.0f} s")
        if not os.read(process.stdout.fileno(), 1):
            raise _unmade(os.read(process.stderr.fileno(), 400).decode(errors="replace").strip())

    @property
    def user(self) -> str:
        """The path of the user namespace."""
        return f"/proc/{self._process.pid}/ns/user"

    @property
    def network(self) -> str:
        """The path of the network namespace."""
        return f"/proc/{self._process.pid}/ns/net"

    @property
    def mount_map(self) -> MountMap:
        """For mounts that are to have this mapping, while this is held."""
        return MountMap(self._fd, self.id_map.root)

    def close(self) -> None:
        """Lets go; what others have taken hold of stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._process.kill()
        self._process.communicate()


def _unmade(problem: str) -> Unavailable:
    hint = ": see /proc/sys/user/max_user_namespaces" if os.strerror(errno.ENOSPC) in problem else ""
    return Unavailable(f"cannot make a user namespace: {problem}{hint}", kind="userns", reason="USER_NAMESPACE_FAILED")
