"""The kernel's side: making a user namespace and id-mapping a mount.

mount_setattr(2) with MOUNT_ATTR_IDMAP (Linux 5.12) wants a mount that nobody sees yet: open_tree(2) makes one of a
directory, move_mount(2) puts it in its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
from pathlib import Path

from argosy.errors import ArgosyError, Unavailable, Unsupported
from argosyd.host import linux
from argosyd.runtime.spawn import CLEAN_ENVIRONMENT
from argosyd.userns.ids import IdMap, MountMap, kernel_text

_PATIENCE = 30.0
"""Seconds for two small programs to start."""


def bind_mapped(source: Path, target: Path, mapping: MountMap) -> None:
    """Binds a directory, without what is mounted below it, so that ids on its disk are those inside the mapping.

    Unsupported when the kernel or the file system cannot, with what is missing.
    """
    try:
        tree = linux.open_tree(linux.AT_FDCWD, str(source), linux.OPEN_TREE_CLONE)
        try:
            # Private: else it is a peer of what it was made of, where that is shared (as systemd has it), and with it
            # goes whatever is mounted in the one while the other is there.
            attributes = linux.mount_attributes(linux.MOUNT_ATTR_IDMAP, mapping.fd, linux.MS_PRIVATE)
            linux.mount_setattr(tree, attributes)
            linux.move_mount(tree, linux.AT_FDCWD, str(target))
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
                    Path(f"/proc/{self._process.pid}/{name}").write_text(kernel_text(ranges))  # own: procfs
            self._fd = os.open(self.user, os.O_RDONLY | os.O_CLOEXEC)  # own: procfs
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
