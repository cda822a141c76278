"""Writes a tar stream below a root that somebody else may write to at the same time."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
import tarfile

from argosyd.trees.openat import handle
from argosyd.trees.root import Root, set_mode, set_xattr

_XATTR = "SCHILY.xattr."
_SECOND = 1_000_000_000
_CHUNK = 1 << 20


def nanoseconds(member: tarfile.TarInfo) -> int:
    """A member's time, to the last digit that the archive has."""
    seconds, _, fraction = member.pax_headers.get("mtime", "").partition(".")
    if seconds.isdecimal() and len(seconds) < 12 and (not fraction or fraction.isdecimal()):
        return int(seconds) * _SECOND + int(fraction[:9].ljust(9, "0") or 0)
    return int(member.mtime * _SECOND)


class Extractor:
    """Unpacks into the directory `path` of `root`. `owners` keeps the archive's owners, else all is root's.

    `keep_dirs` refuses to put a file in a directory's place or a directory in a file's. Links of the root that stand on
    a name's way are followed inside the root, as they would be by who lives there; a name that climbs out is refused.
    """

    def __init__(self, root: Root, path: str, *, owners: bool = False, keep_dirs: bool = False) -> None:
        self.root, self.path, self.owners, self.keep_dirs = root, path, owners, keep_dirs
        self._above = ""
        self._parent = -1
        self._times: list[tuple[str, int]] = []

    def extract(self, stream: io.BufferedIOBase) -> None:
        """All of it; times of directories last. Blocking. OSError, tarfile.TarError; what came before stays."""
        self._top = self.root.directory(self.path)
        try:
            with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as tar:
                for member in tar:
                    self._one(tar, member)
                    # tarfile keeps every member for look-ups that nobody makes of a stream.
                    tar.members.clear()  # type: ignore[attr-defined]
            for path, time in reversed(self._times):
                self._set_time(path, time)
        finally:
            if self._parent >= 0:
                os.close(self._parent)
            self._top.close()

    def _set_time(self, path: str, time: int) -> None:
        try:
            fd = self._top.exact(path, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            # Somebody moved it: then its time is theirs as well.
            return
        try:
            os.utime(handle(fd), ns=(time, time))
        finally:
            os.close(fd)

    def _enter(self, above: str) -> int:
        """The directory that a member lies in, made if need be; kept for the next, which mostly lies in the same."""
        if self._parent >= 0 and self._above == above:
            return self._parent
        try:
            fd = self._top.exact(above, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                raise
            fd = self.root.make_directories(f"{self.path}/{above}")
        if self._parent >= 0:
            os.close(self._parent)
        self._parent, self._above = fd, above
        return fd

    def _one(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _clean(member.name)
        above, _, name = path.rpartition("/")
        if not name:
            return
        parent = self._enter(above)
        self._clear(parent, name, member)
        owner = (member.uid, member.gid) if self.owners else (0, 0)
        if member.isdir():
            self._directory(parent, name, path, member, owner)
        elif member.isreg():
            self._file(tar, parent, name, member, owner)
        elif member.islnk():
            self._link(parent, name, member)
        else:
            self._special(parent, name, member, owner)

    def _clear(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        """Makes room for a member, as overwriting does."""
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            if not member.isdir():
                text = "cannot overwrite directory with non-directory" if self.keep_dirs else "is a directory"
                raise IsADirectoryError(errno.EISDIR, text, member.name)
        elif member.isdir() and self.keep_dirs:
            raise NotADirectoryError(errno.ENOTDIR, "cannot overwrite non-directory with directory", member.name)
        else:
            os.unlink(name, dir_fd=parent)

    def _directory(self, parent: int, name: str, path: str, member: tarfile.TarInfo, owner: tuple[int, int]) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            pass
        fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chown(handle(fd), *owner)
            os.chmod(handle(fd), member.mode & 0o7777)
            _set_xattrs(handle(fd), member, follow=True)
        finally:
            os.close(fd)
        self._times.append((path, nanoseconds(member)))

    def _file(
        self, tar: tarfile.TarFile, parent: int, name: str, member: tarfile.TarInfo, owner: tuple[int, int]
    ) -> None:
        source = tar.extractfile(member)
        assert source is not None
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            while chunk := source.read(_CHUNK):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(fd, view) :]
            # The owner first: a change of it drops set-id bits and file capabilities.
            os.fchown(fd, *owner)
            os.fchmod(fd, member.mode & 0o7777)
            _set_xattrs(fd, member, follow=True)
            time = nanoseconds(member)
            os.utime(fd, ns=(time, time))
        finally:
            os.close(fd)

    def _link(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        target = _clean(member.linkname)
        above, _, last = target.rpartition("/")
        if not last:
            raise PermissionError(errno.EPERM, "the archive links to what has no name", member.name)
        held = self.root.open(f"{self.path}/{above}", os.O_PATH | os.O_DIRECTORY)
        try:
            os.link(last, name, src_dir_fd=held, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(held)

    def _special(self, parent: int, name: str, member: tarfile.TarInfo, owner: tuple[int, int]) -> None:
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
        else:
            raise tarfile.TarError(f"{member.name}: an entry of unknown kind {member.type!r}")
        os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        if not member.issym():
            set_mode(parent, name, member.mode & 0o7777)
        _set_xattrs(handle(parent, name), member, follow=False)
        time = nanoseconds(member)
        os.utime(name, ns=(time, time), dir_fd=parent, follow_symlinks=False)


def _clean(name: str) -> str:
    """A member's name, "." and ".." resolved by its words alone. PermissionError when it climbs out."""
    path = posixpath.normpath(name.lstrip("/"))
    if path.split("/", 1)[0] == "..":
        raise PermissionError(errno.EPERM, "the archive's name leads out of the directory", name)
    return "" if path == "." else path


def _set_xattrs(target: str | int, member: tarfile.TarInfo, *, follow: bool) -> None:
    for key, value in member.pax_headers.items():
        name = key.removeprefix(_XATTR)
        if name != key:
            set_xattr(target, name, value.encode("utf-8", "surrogateescape"), follow=follow)
