"""Reading layers whatever they are packed with: told by their first bytes, not by what a manifest claims."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from isal import isal_zlib

from argosy.errors import DataLoss

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31


_SLICE = 32 << 10
"""Packed bytes that are unpacked in one go: many tiny members are not copied over and over."""
_ZSTD_WINDOW = 27
"""Bits of the largest window: 128 MiB of memory, as the zstd program takes without being asked."""
_PIECE = 1 << 20
"""Unpacked bytes that are given at a time."""


class Decompressor(Protocol):
    """Takes packed bytes, gives unpacked ones, never much at a time whatever they unpack to."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The next pieces. DataLoss."""
        ...

    def finish(self) -> None:
        """DataLoss when the stream stops in its middle."""
        ...


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass


def _damaged() -> DataLoss:
    return DataLoss("the layer is damaged: it cannot be decompressed", kind="layer", reason="BAD_COMPRESSION")


def _slices(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size)) if len(data) > size else iter((data,))


class _Gzip:
    """One or more gzip members, as pigz and eStargz write them."""

    def __init__(self) -> None:
        self._inner: Any = isal_zlib.decompressobj(_GZIP_WINDOW)
        self._between = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        for piece in _slices(data, _SLICE):
            yield from self._unpack(piece)

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        full = False
        while data or full:
            self._between = False
            try:
                out = self._inner.decompress(data, _PIECE)
            except (isal_zlib.error, zlib.error, EOFError):  # type: ignore[misc]
                raise _damaged() from None
            if out:
                yield out
            # Some may wait inside although all that came was taken.
            full = len(out) == _PIECE and not self._inner.eof
            if self._inner.eof:
                # Zero bytes may pad the end of the last member.
                data = self._inner.unused_data.lstrip(b"\0")
                self._inner = isal_zlib.decompressobj(_GZIP_WINDOW)
                self._between = True
            else:
                data = self._inner.unconsumed_tail

    def finish(self) -> None:
        if not self._between:
            raise _damaged()


class _Zstd:
    """One or more frames, as zstd:chunked writes them."""

    def __init__(self) -> None:
        self._inner = self._begin()
        self._between = True

    def _begin(self) -> zstd.ZstdDecompressor:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})

    def feed(self, data: bytes) -> Iterator[bytes]:
        for piece in _slices(data, _SLICE):
            yield from self._unpack(piece)

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._between or self._inner.needs_input):
            self._between = False
            try:
                out = self._inner.decompress(data, _PIECE)
            except (zstd.ZstdError, EOFError):
                raise _damaged() from None
            if out:
                yield out
            data = b""
            if self._inner.eof:
                data = self._inner.unused_data
                self._inner = self._begin()
                self._between = True

    def finish(self) -> None:
        if not self._between:
            raise _damaged()


class AutoDecompressor:
    """Unpacks whatever comes: gzip, zstd, or bytes as they are."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: Decompressor | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The next pieces; take all of them before the next call. DataLoss."""
        if self._inner is None:
            self._head += data
            if len(self._head) < 4:
                return iter(())
            data, self._inner = self._head, _choose(self._head)
        return self._inner.feed(data)

    def finish(self) -> Iterator[bytes]:
        """What is left at the end. DataLoss when the stream stops in its middle."""
        if self._inner is not None:
            self._inner.finish()
            return iter(())
        return iter((self._head,) if self._head else ())


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
        yield from unpacker.feed(piece)
    yield from unpacker.finish()


def gzip_stream(pieces: Iterable[bytes], level: int = 1) -> Iterator[bytes]:
    """A stream packed as one gzip member without name or time, so equal content packs to equal bytes. Blocking."""
    packer = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP_WINDOW)
    for piece in pieces:
        if out := packer.compress(piece):
            yield out
    yield packer.flush()
