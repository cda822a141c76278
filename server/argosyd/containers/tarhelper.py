"""Packs and unpacks inside a container's root: run as a program of its own, which locks itself into that root.

    python -I tarhelper.py pack ROOT_FD DIRECTORY NAME [AS]    writes a tar stream to standard output
    python -I tarhelper.py unpack ROOT_FD DIRECTORY OPTIONS    reads one from standard input

After chroot(2) no link in the container and no name in an archive can lead to a file of the host. OPTIONS are words
joined by commas: "owners" keeps the archive's owners, "keepdirs" refuses to put a file in a directory's place or a
directory in a file's. Ends with 0, or with 1 and one line of JSON on standard error. Imports the standard library
alone, because it must be whole before the root changes.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  (loaded late by tarfile otherwise, when the root has changed)
import errno
import json
import os
import stat
import sys
import tarfile

_XATTR = "SCHILY.xattr."
_SECOND = 1_000_000_000


def _nanoseconds(member: tarfile.TarInfo) -> int:
    """A member's time, to the last digit that the archive has."""
    seconds, _, fraction = member.pax_headers.get("mtime", "").partition(".")
    if seconds.lstrip("-").isdecimal() and (not fraction or fraction.isdecimal()) and not seconds.startswith("-"):
        return int(seconds) * _SECOND + int(fraction.ljust(9, "0")[:9] or 0)
    return int(member.mtime * _SECOND)


def _enter(root: int, directory: str) -> None:
    os.fchdir(root)
    os.chroot(".")
    os.chdir("/")
    os.chdir("/" + directory.lstrip("/"))


def _add(tar: tarfile.TarFile, path: str, name: str, links: dict[tuple[int, int], str]) -> None:
    status = os.lstat(path)
    if stat.S_ISSOCK(status.st_mode):
        return
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    info.mtime = status.st_mtime_ns // _SECOND
    info.pax_headers = {
        _XATTR + name: os.getxattr(path, name, follow_symlinks=False).decode("utf-8", "surrogateescape")
        for name in os.listxattr(path, follow_symlinks=False)
    }
    if fraction := status.st_mtime_ns % _SECOND:
        # tarfile's own way, a float, loses the last digits.
        info.pax_headers["mtime"] = f"{info.mtime}.{fraction:09d}"
    key = (status.st_dev, status.st_ino)
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
        for entry in sorted(os.listdir(path)):
            _add(tar, os.path.join(path, entry), f"{name}/{entry}" if name != "." else entry, links)
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
        tar.addfile(info)
    elif status.st_nlink > 1 and key in links:
        info.type, info.linkname = tarfile.LNKTYPE, links[key]
        tar.addfile(info)
    elif stat.S_ISREG(status.st_mode):
        links[key] = name
        with open(path, "rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            tar.addfile(info, file)
    else:
        kinds = {stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}
        info.type = kinds[stat.S_IFMT(status.st_mode)]
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        tar.addfile(info)


def pack(root: int, directory: str, name: str, shown: str) -> None:
    """Writes one file or tree."""
    _enter(root, directory)
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT, errorlevel=2) as tar:
        _add(tar, name, shown, {})


def _clear(path: str, member: tarfile.TarInfo, *, keep_dirs: bool) -> None:
    """Makes room for a member, as overwriting does."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        if not member.isdir():
            if keep_dirs:
                raise IsADirectoryError(errno.EISDIR, "cannot overwrite directory with non-directory", path)
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    elif member.isdir() and keep_dirs:
        raise NotADirectoryError(errno.ENOTDIR, "cannot overwrite non-directory with directory", path)
    else:
        os.unlink(path)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, *, owners: bool, keep_dirs: bool) -> None:
    path = os.path.normpath(member.name.lstrip("/"))
    if path.split("/")[0] == "..":
        raise PermissionError(errno.EPERM, "the archive's name leads out of the directory", member.name)
    parent = os.path.dirname(path)
    if parent:
        os.makedirs(parent, exist_ok=True)
    if path != ".":
        _clear(path, member, keep_dirs=keep_dirs)
    uid, gid = (member.uid, member.gid) if owners else (0, 0)
    if member.isdir():
        made = not os.path.isdir(path)
        os.makedirs(path, exist_ok=True)
        if path == "." and not made:
            return
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None
        with open(path, "xb") as file:
            while chunk := source.read(1 << 20):
                file.write(chunk)
    elif member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        os.link(os.path.normpath(member.linkname.lstrip("/")), path, follow_symlinks=False)
        return
    elif member.isfifo():
        os.mkfifo(path)
    else:
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
    os.chown(path, uid, gid, follow_symlinks=False)
    if not member.issym():
        os.chmod(path, member.mode & 0o7777)
    for key, value in member.pax_headers.items():
        if key.startswith(_XATTR):
            raw = value.encode("utf-8", "surrogateescape")
            os.setxattr(path, key[len(_XATTR) :], raw, follow_symlinks=False)
    time = _nanoseconds(member)
    os.utime(path, ns=(time, time), follow_symlinks=False)


def unpack(root: int, directory: str, options: str) -> None:
    """Unpacks into a directory; times of directories are set last."""
    _enter(root, directory)
    words = options.split(",")
    directories: list[tuple[str, int]] = []
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|", errorlevel=2) as tar:
        for member in tar:
            _extract(tar, member, owners="owners" in words, keep_dirs="keepdirs" in words)
            if member.isdir():
                directories.append((os.path.normpath(member.name.lstrip("/")), _nanoseconds(member)))
    for path, time in reversed(directories):
        if path != ".":
            os.utime(path, ns=(time, time))


def main(arguments: list[str]) -> int:
    """The entry point."""
    # Everything that is read lazily must be there before the root is another one.
    "".encode("utf-8", "surrogateescape")
    os.umask(0)
    try:
        if arguments[0] == "pack":
            name = arguments[3]
            pack(int(arguments[1]), arguments[2], name, arguments[4] if len(arguments) > 4 else name)
            sys.stdout.buffer.flush()
        else:
            unpack(int(arguments[1]), arguments[2], arguments[3])
    except OSError as error:
        print(json.dumps({"errno": error.errno, "message": error.strerror, "path": error.filename}), file=sys.stderr)
        return 1
    except (tarfile.TarError, ValueError) as error:
        print(json.dumps({"errno": 0, "message": str(error), "path": ""}), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
