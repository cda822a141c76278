"""Where `cp` puts things: the rules of `docker cp`, the same in both directions, without a look at any file."""

from __future__ import annotations

import posixpath

from argosy.cli.options import UsageError


class Place:
    """What a path asks for, by its text: `path` without dots, and what its end says.

    `contents` is "/." at the end, or the root: what is in the directory, not itself. `asserts` is a slash or that
    dot: it must be a directory.
    """

    __slots__ = ("asserts", "contents", "path")

    def __init__(self, text: str, folder: str = "/") -> None:
        """`folder` is what the text is relative to."""
        joined = posixpath.join(folder, text)
        self.path = "/" + posixpath.normpath(joined).lstrip("/")
        dot = posixpath.basename(joined.rstrip("/")) == "."
        self.contents = dot or self.path == "/"
        self.asserts = dot or joined.endswith("/")

    @property
    def end(self) -> str:
        """What its end said: "/.", a slash or nothing."""
        return "" if not self.asserts or self.path == "/" else "/." if self.contents else "/"

    @property
    def text(self) -> str:
        """It without the dots before its end."""
        return self.path + self.end

    @property
    def name(self) -> str:
        """Its last part."""
        return posixpath.basename(self.path)

    @property
    def folder(self) -> str:
        """The directory it is in."""
        return posixpath.dirname(self.path)


def plan(source: Place, is_dir: bool, target: Place, target_exists: bool, target_is_dir: bool) -> tuple[str, str]:
    """The directory to unpack into, and the name there; no name for what is in the source alone. UsageError."""
    if target_exists and target_is_dir:
        return target.path, "" if is_dir and source.contents else source.name
    if target_exists and is_dir:
        raise UsageError(f"cannot copy directory to file {target.path}", 1)
    if target_exists and target.asserts:
        raise UsageError(f"{target.path} is not a directory", 1)
    if not target_exists and target.asserts and (target.contents or not is_dir):
        raise UsageError(f"destination directory {target.path} does not exist", 1)
    return target.folder, target.name
