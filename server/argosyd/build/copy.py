"""Writes what COPY and ADD bring into a root that nobody else writes to.

Links in the root are followed inside it and never out of it; what a source holds is written as it is, so a link in
a source leads nobody anywhere. Owners, modes, times, xattrs, devices and files with several names are kept.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from argosy.errors import Conflict, InvalidArgument, ResourceExhausted
from argosyd.build.source import Node, Source, TreeSource, resolve, walk


@dataclass(slots=True)
class Copier:
    """Copies into `root`. `owner` and `mode` replace what the source says; `skip` leaves paths out. Blocking."""

    root: Path
    owner: tuple[int, int] | None = None
    mode: int | None = None
    skip: Callable[[str, Node], bool] | None = None
    _twins: dict[object, str] = field(default_factory=dict)

    def resolve(self, path: str) -> str:
        """Where a path of the image leads inside the root; relative to it. InvalidArgument (a loop of links)."""
        found = resolve(TreeSource(self.root, "the image"), path)
        if found is None:
            raise InvalidArgument(f"too many levels of symbolic links in {path}", kind="path", id=path)
        return found

    def is_dir(self, path: str) -> bool:
        """Whether a resolved path is a directory now."""
        return (self.root / path).is_dir()

    def make_directories(self, path: str) -> None:
        """Makes what is missing on the way to a resolved path and itself, for `owner`, with mode 755."""
        here = self.root
        for part in path.split("/") if path else ():
            here = here / part
            try:
                here.mkdir(mode=0o755)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(here).st_mode):
                    raise self._no_directory(here) from None
                continue
            here.chmod(0o755)
            os.chown(here, *(self.owner or (0, 0)))

    def _no_directory(self, path: Path) -> Conflict:
        shown = "/" + os.fspath(path.relative_to(self.root))
        return Conflict(f"cannot copy to non-directory: {shown}", kind="path", id=shown, reason="NOT_A_DIRECTORY")

    def copy(self, source: Source, path: str, target: str) -> None:
        """One entry with all below it to a resolved path. A directory's content is copied, not itself: where there is
        no directory yet, a plain one is made, as BuildKit does.

        Conflict (a file where a directory must be, or the other way round), ResourceExhausted (disk).
        """
        try:
            self._copy(source, path, target)
        except OSError as error:
            raise ResourceExhausted(
                f"cannot write {target or '/'} in the image: {error.strerror}", kind="path", id=target
            ) from None

    def _copy(self, source: Source, path: str, target: str) -> None:
        parent = target.rpartition("/")[0]
        self.make_directories(parent)
        times: list[tuple[str, int]] = []
        moved: dict[str, str] = {}
        for below, node in walk(source, path, self.skip):
            upper, _, name = below.rpartition("/")
            place = (f"{moved[upper]}/{name}" if moved[upper] else name) if below else target
            if node.is_dir:
                if below:
                    place = self._directory(place, node, times)
                else:
                    self.make_directories(place)
                moved[below] = place
            else:
                self._other(source, f"{path}/{below}" if path and below else below or path, place, node)
        for place, mtime in reversed(times):
            os.utime(self.root / place, ns=(mtime, mtime), follow_symlinks=False)

    def _directory(self, place: str, node: Node, times: list[tuple[str, int]]) -> str:
        full = self.root / place
        try:
            full.mkdir(mode=0o700)
        except FileExistsError:
            if stat.S_ISLNK(os.lstat(full).st_mode):
                # A link to a directory stands for it (/lib -> usr/lib), inside the root.
                place = self.resolve(place)
                full = self.root / place
            if not full.is_dir() or full.is_symlink():
                raise self._no_directory(full) from None
        self._attributes(full, node)
        times.append((place, node.mtime_ns))
        return place

    def _other(self, source: Source, path: str, place: str, node: Node) -> None:
        full = os.fspath(self.root / place)
        try:
            there = os.lstat(full)
        except FileNotFoundError:
            pass
        else:
            if stat.S_ISDIR(there.st_mode):
                raise Conflict(
                    f"cannot copy a file over the directory /{place}", kind="path", id=place, reason="IS_A_DIRECTORY"
                )
            os.unlink(full)
        if node.twin is not None:
            first = self._twins.setdefault(node.twin, full)
            if first != full:
                os.link(first, full, follow_symlinks=False)
                return
        if node.is_file:
            self._file(source, path, full)
        elif node.is_link:
            os.symlink(node.link, full)
        elif stat.S_ISSOCK(node.mode):
            return
        else:
            os.mknod(full, stat.S_IFMT(node.mode) | 0o600, node.rdev)
        self._attributes(full, node)
        os.utime(full, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)

    def _file(self, source: Source, path: str, full: str) -> None:
        descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for data in source.read(path):
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)

    def _attributes(self, full: str | Path, node: Node) -> None:
        # First the owner: a change of it drops set-id bits and file capabilities.
        os.chown(full, *(self.owner or (node.uid, node.gid)), follow_symlinks=False)
        if not node.is_link:
            os.chmod(full, self.mode if self.mode is not None else stat.S_IMODE(node.mode))
        for name, value in node.xattrs.items():
            try:
                os.setxattr(full, name, value, follow_symlinks=False)
            except OSError as error:
                # Attributes that this file system has no place for are left out, as Docker does.
                if error.errno not in (95, 1):
                    raise


def empty_tree(path: Path) -> None:
    """Throws a scratch tree away."""
    shutil.rmtree(path, ignore_errors=True)
