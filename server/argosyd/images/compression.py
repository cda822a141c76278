"""Reading layers whatever they are packed with: told by their first bytes, not by what a manifest claims."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import zstandard
from isal import isal_zlib

from argosy.errors import DataLoss

_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31


class Decompressor(Protocol):
    """Takes packed bytes, gives unpacked ones."""

    def feed(self, data: bytes) -> bytes:
        """The next piece. DataLoss."""
        ...

    def finish(self) -> None:
        """DataLoss when the stream stops in its middle."""
        ...


class _Plain:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> None:
        pass


def _damaged() -> DataLoss:
    return DataLoss("the layer is damaged: it cannot be decompressed", kind="layer", reason="BAD_COMPRESSION")


class _Gzip:
    """One or more gzip members, as pigz and eStargz write them."""

    def __init__(self) -> None:
        self._inner: Any = isal_zlib.decompressobj(_GZIP_WINDOW)
        self._between = True

    def feed(self, data: bytes) -> bytes:
        out = bytearray()
        try:
            while data:
                self._between = False
                out += self._inner.decompress(data)
                data = b""
                if self._inner.eof:
                    # Zero bytes may pad the end of the last member.
                    data = self._inner.unused_data.lstrip(b"\0")
                    self._inner = isal_zlib.decompressobj(_GZIP_WINDOW)
                    self._between = True
        except (isal_zlib.error, zlib.error, EOFError):  # type: ignore[misc]
            raise _damaged() from None
        return bytes(out)

    def finish(self) -> None:
        if not self._between:
            raise _damaged()


class _Zstd:
    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(read_across_frames=True)
        self._fed = False

    def feed(self, data: bytes) -> bytes:
        try:
            return self._inner.decompress(data)
        except zstandard.ZstdError:
            raise _damaged() from None

    def finish(self) -> None:
        pass


class AutoDecompressor:
    """Unpacks whatever comes: gzip, zstd, or bytes as they are."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: Decompressor | None = None

    def feed(self, data: bytes) -> bytes:
        """The next piece. DataLoss."""
        if self._inner is None:
            self._head += data
            if len(self._head) < 4:
                return b""
            data, self._inner = self._head, _choose(self._head)
        return self._inner.feed(data)

    def finish(self) -> bytes:
        """What is left at the end. DataLoss when the stream stops in its middle."""
        if self._inner is None:
            return self._head
        self._inner.finish()
        return b""


def _choose(head: bytes) -> Decompressor:
    if head.startswith(_GZIP_MAGIC):
        return _Gzip()
    if head.startswith(_ZSTD_MAGIC):
        return _Zstd()
    return _Plain()


def decompress(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A whole stream, unpacked. DataLoss. Blocking."""
    unpacker = AutoDecompressor()
    for piece in pieces:
        if out := unpacker.feed(piece):
            yield out
    if out := unpacker.finish():
        yield out


def gzip_stream(pieces: Iterable[bytes], level: int = 1) -> Iterator[bytes]:
    """A stream packed as one gzip member without name or time, so equal content packs to equal bytes. Blocking."""
    packer = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP_WINDOW)
    for piece in pieces:
        if out := packer.compress(piece):
            yield out
    yield packer.flush()
