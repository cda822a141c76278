"""What is in a tar file on disk, by name, read with `TarScanner`'s care: `load` takes archives from anywhere.

The standard library's tarfile takes names and headers of any length, and tries them with regular expressions that
need quadratic time, during which no other thread runs.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from typing import BinaryIO

from argosy.errors import DataLoss
from argosyd.images.tarscan import BLOCK, Member, TarScanner

_MOST = 200_000
"""Entries of an image archive: two a layer, and a few more."""
_MOST_LINKS = 10
CHUNK = 1 << 20


class TarIndex:
    """The members of a tar file. Blocking."""

    def __init__(self, file: BinaryIO) -> None:
        """Reads every header. InvalidArgument (unsafe entry), DataLoss (no tar, cut off)."""
        self._file = file
        self.members: dict[str, Member] = {}
        self._count = 0
        scanner = TarScanner(layer=False, member=self._take)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        while data := file.read(BLOCK):
            scanner.feed(data)
            if (content := scanner.pass_over()) and file.seek(content, os.SEEK_CUR) > size:
                raise DataLoss("the archive stops in the middle of an entry", kind="archive", reason="TRUNCATED_TAR")
        scanner.finish()

    def _take(self, member: Member) -> None:
        self._count += 1
        if self._count > _MOST:
            raise DataLoss(f"the archive has more than {_MOST} entries", kind="archive", reason="TOO_LARGE")
        self.members[_plain(member.name.decode("utf-8", "surrogateescape"))] = member

    def find(self, name: str) -> Member | None:
        """A regular file by its name, links in the archive followed; None when there is none."""
        at = _plain(name)
        for _ in range(_MOST_LINKS):
            member = self.members.get(at)
            if member is None or member.is_file:
                return member
            link = member.link.decode("utf-8", "surrogateescape")
            if member.kind == b"2":
                at = _plain(posixpath.join(posixpath.dirname(at), link))
            elif member.kind == b"1":
                at = _plain(link)
            else:
                return None
        return None

    def read(self, member: Member) -> Iterator[bytes]:
        """A member's content."""
        self._file.seek(member.offset)
        left = member.size
        while left and (data := self._file.read(min(left, CHUNK))):
            left -= len(data)
            yield data


def _plain(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")
