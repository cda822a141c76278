"""A directory that somebody else can write below, held open."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from types import TracebackType

from argosyd.trees.openat import AS_ROOT, EXACT, PATH_MOST, handle, open_entry, openat2, reopen

_MOST_LINKS = 40
"""As the kernel has it (path_resolution(7))."""
_MOST_PARTS = 4096
"""Components that `canonical` follows one by one."""


class Root:
    """What a path means here is decided below `fd` alone. Close it, or use it in a `with`. Calls block.

    Paths are absolute or relative to the root, which is the same.
    """

    def __init__(self, fd: int) -> None:
        """Takes over an O_PATH or O_DIRECTORY descriptor."""
        self.fd = fd

    @classmethod
    def at(cls, path: os.PathLike[str] | str) -> Root:
        """Holds a directory that the engine itself named. OSError (not there, no directory)."""
        return cls(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))  # own: named by the engine

    def close(self) -> None:
        """Lets go of it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Root:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def path(self) -> str:
        """A path of the directory itself for calls that take no descriptor, good while it is held."""
        return handle(self.fd)

    # -- looking ------------------------------------------------------------------------------------------------

    def open(self, path: str, flags: int = os.O_PATH, *, follow: bool = True) -> int:
        """What a process with this root would get. `follow` is about a link at the end. OSError as open(2)."""
        return openat2(self.fd, path.lstrip("/") or ".", flags | (0 if follow else os.O_NOFOLLOW), AS_ROOT)

    def exact(self, path: str, flags: int = os.O_PATH) -> int:
        """The very path, of any length, through no link; one at the end is itself opened when `flags` say O_PATH.

        OSError: ELOOP for a link on the way, else as open(2).
        """
        parts = [p for p in path.split("/") if p not in ("", ".")]
        here = self.fd
        try:
            while True:
                # As many as one call takes.
                length, taken = 0, 0
                while taken < len(parts) and length + len(os.fsencode(parts[taken])) + 1 < PATH_MOST:
                    length += len(os.fsencode(parts[taken])) + 1
                    taken += 1
                last = taken == len(parts)
                if parts and not taken:
                    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path[:64])
                name = "/".join(parts[:taken]) or "."
                wanted = flags | os.O_NOFOLLOW if last else os.O_PATH | os.O_DIRECTORY
                below, here = here, openat2(here, name, wanted, EXACT)
                if below != self.fd:
                    os.close(below)
                if last:
                    found, here = here, self.fd
                    return found
                parts = parts[taken:]
        finally:
            if here != self.fd:
                os.close(here)

    def directory(self, path: str) -> Root:
        """A directory below, links followed here, as a root of its own. OSError."""
        return Root(self.open(path, os.O_PATH | os.O_DIRECTORY))

    def stat(self, path: str, *, follow: bool = True) -> os.stat_result | None:
        """What a path is; None when nothing is there or no way leads to it."""
        try:
            fd = self.open(path, os.O_PATH, follow=follow)
        except OSError:
            return None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def read(self, path: str, limit: int) -> bytes | None:
        """At most `limit` bytes of a regular file, links followed; None when there is none."""
        try:
            held = self.open(path)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(held).st_mode):
                return None
            fd = reopen(held, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return None
        finally:
            os.close(held)
        with os.fdopen(fd, "rb") as file:
            return file.read(limit)

    def read_text(self, path: str, limit: int = 4 * 1024 * 1024) -> str:
        """The text of a regular file; "" when there is none."""
        return (self.read(path, limit) or b"").decode(errors="replace")

    # -- where a path leads that is not wholly there ------------------------------------------------------------

    def canonical(self, path: str) -> str:
        """The path without links and "..", absolute, as it leads here, whether or not it is all there.

        A dangling link leads to where its target would be (Docker's FollowSymlinkInScope). What somebody changes
        afterwards does not matter to who goes on with `exact`. OSError (ELOOP, ENAMETOOLONG, ENOTDIR).
        """
        pending = [p for p in path.split("/") if p not in ("", ".")][::-1]
        way = _Way(self)
        links = steps = 0
        try:
            while pending:
                steps += 1
                if steps > _MOST_PARTS:
                    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path[:64])
                target = way.step(pending.pop())
                if target is None:
                    continue
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path[:64])
                if target.startswith("/"):
                    way.begin()
                pending.extend(p for p in target.split("/")[::-1] if p not in ("", "."))
        finally:
            way.close()
        return "/" + "/".join(way.done)

    # -- making -------------------------------------------------------------------------------------------------

    def make_directories(
        self, path: str, mode: int = 0o755, owner: tuple[int, int] | None = None, *, follow: bool = True
    ) -> int:
        """Makes what is missing on the way to a directory and itself, links followed here, dangling ones too; tells a
        descriptor of it. `mode` and `owner` are for what is made. Without `follow` a link on the way is ELOOP or
        ENOTDIR. OSError."""
        here = os.dup(self.fd)
        try:
            for part in (self.canonical(path) if follow else path).split("/"):
                if part not in ("", "."):
                    below, here = here, _enter(here, part, mode, owner)
                    os.close(below)
        except BaseException:
            os.close(here)
            raise
        return here

    def make_file(self, path: str) -> int:
        """Makes an empty file, and the directories that it lies in, where there is nothing; tells an O_PATH descriptor
        of what is there then. OSError."""
        above, name = posixpath.split(self.canonical(path))
        directory = self.make_directories(above)
        try:
            try:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o644, dir_fd=directory))
            except FileExistsError:
                pass
            return open_entry(directory, name)
        finally:
            os.close(directory)

    def parent(self, path: str) -> tuple[int, str]:
        """An O_PATH descriptor of the directory that a path's last part lies in, links on the way followed here, and
        that part: for calls on one entry, which is not followed. OSError; EINVAL when it is the root or ".."."""
        above, name = posixpath.split(path.rstrip("/"))
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "the path has no last part", path)
        return self.open(above, os.O_PATH | os.O_DIRECTORY), name


class _Way:
    """Where `Root.canonical` is: the parts done, and what they lead to, held; -1 once nothing is there."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.done: list[str] = []
        self._here = os.dup(root.fd)

    def begin(self) -> None:
        """Goes back to the root."""
        self.close()
        self.done = []
        self._here = os.dup(self._root.fd)

    def step(self, part: str) -> str | None:
        """Goes on by one part; tells where it leads when it is a link, which is not gone to. OSError."""
        if part == "..":
            del self.done[-1:]
            self.close()
            try:
                self._here = self._root.exact("/".join(self.done))
            except FileNotFoundError:
                pass
            return None
        if self._here >= 0:
            try:
                held = open_entry(self._here, part)
            except FileNotFoundError:
                held = -1
            if held >= 0 and stat.S_ISLNK(os.fstat(held).st_mode):
                try:
                    return os.readlink("", dir_fd=held)
                finally:
                    os.close(held)
            self.close()
            self._here = held
        self.done.append(part)
        return None

    def close(self) -> None:
        """Lets go."""
        if self._here >= 0:
            os.close(self._here)
            self._here = -1


def _enter(directory: int, name: str, mode: int, owner: tuple[int, int] | None) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        pass
    try:
        os.mkdir(name, 0o700, dir_fd=directory)
    except FileExistsError:
        # Somebody else was faster: then it is theirs.
        return os.open(name, flags, dir_fd=directory)
    # Not O_PATH: what is set below is set by descriptor, for who has no /proc to name one by.
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if owner is not None:
            os.fchown(fd, *owner)
        os.fchmod(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def set_mode(directory: int, name: str, mode: int) -> None:
    """chmod of one entry that is no link. OSError (ELOOP: it is one)."""
    fd = open_entry(directory, name)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        os.chmod(handle(fd), mode)
    finally:
        os.close(fd)


def xattrs(directory: int, name: str = "") -> dict[str, bytes]:
    """Extended attributes of one entry, a link itself, or without a name of what the descriptor holds.

    Without those that overlayfs keeps for itself, and none where the file system has none or the entry is gone.
    """
    target = handle(directory, name) if name else directory
    follow = not name
    try:
        return {
            n: os.getxattr(target, n, follow_symlinks=follow)
            for n in os.listxattr(target, follow_symlinks=follow)
            if not n.startswith(("trusted.overlay.", "user.overlay."))
        }
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.ENOENT, errno.ENODATA, errno.ELOOP):
            return {}
        raise


def set_xattr(target: int | str, name: str, value: bytes, *, follow: bool) -> None:
    """Sets one, of a descriptor or by `handle`, without following for a link itself.

    What is the host's own business (marks of overlays, labels) or this file system has no place for is left out, as
    Docker does.
    """
    if name.startswith(("trusted.", "user.overlay.", "security.selinux")):
        return
    try:
        if isinstance(target, int):
            os.setxattr(target, name, value)
        else:
            os.setxattr(target, name, value, follow_symlinks=follow)  # own: by `handle`
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise
