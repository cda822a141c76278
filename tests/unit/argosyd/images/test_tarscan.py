"""argosyd.images.tarscan: what is let through to tar, and what is not."""

from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import DataLoss, InvalidArgument
from argosyd.images.tarscan import TarScanner


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info, data


def archive(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def scan(data: bytes, step: int = 10_000) -> TarScanner:
    scanner = TarScanner()
    for start in range(0, len(data), step):
        scanner.feed(data[start : start + step])
    scanner.finish()
    return scanner


LONG = "d/" * 120 + "file"


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("step", [1, 511, 513, 1 << 20])
def test_all_formats_in_pieces_of_any_size(format: int, step: int) -> None:
    members = [member("a", data=b"x" * 1000), member(LONG, data=b"y"), member("l", tarfile.SYMTYPE, "x" * 200)]
    scanner = scan(archive(*members, format=format), step)
    assert (scanner.entries, scanner.size) == (3, 1001)


def test_deletions_are_collected() -> None:
    scanner = scan(archive(member("a/.wh.gone"), member("b/.wh..wh..opq"), member(".wh.top"), member("a/.wh..wh.aufs")))
    assert scanner.whiteouts == [b"a/gone", b"top"]
    assert scanner.opaques == [b"b"]


@pytest.mark.parametrize(
    "members",
    [
        [member("../x")],
        [member("a/../../x")],
        [member("/../x")],
        [member("up", tarfile.SYMTYPE, "/etc"), member("up/passwd")],
        [member("up", tarfile.SYMTYPE, ".."), member("up/x", tarfile.DIRTYPE)],
        [member("up", tarfile.SYMTYPE, "/"), member("h", tarfile.LNKTYPE, "up/etc/passwd")],
        [member("h", tarfile.LNKTYPE, "../../etc/passwd")],
        [member("s", tarfile.SYMTYPE, "/etc"), member("h", tarfile.LNKTYPE, "s"), member("h/x")],
        [member("up", tarfile.SYMTYPE, "/etc"), member("up/.wh.passwd")],
        [member("a/.wh..")],
        [member("a/.wh.")],
    ],
    ids=lambda m: m[-1][0].name,
)
def test_what_would_leave_its_directory_is_refused(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(InvalidArgument, match="unsafe entry"):
        scan(archive(*members))


def test_a_directory_in_place_of_a_link_is_a_directory_again() -> None:
    assert scan(archive(member("d", tarfile.SYMTYPE, "/etc"), member("d", tarfile.DIRTYPE), member("d/x"))).entries == 3


def test_an_archive_that_stops_early() -> None:
    with pytest.raises(DataLoss, match="middle"):
        scan(archive(member("a", data=b"x" * 2000))[:1500])


def test_garbage_is_no_tar() -> None:
    with pytest.raises(DataLoss):
        scan(b"not a tar" * 200)


GOOD = archive(
    member("a", data=b"1" * 700), member(LONG), member("s", tarfile.SYMTYPE, "a"), member("h", tarfile.LNKTYPE, "a")
)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)))
def test_damaged_archives_raise_nothing_else(at: int, byte: int, end: int) -> None:
    damaged = bytearray(GOOD)
    damaged[at] = byte
    with contextlib.suppress(DataLoss, InvalidArgument):
        scan(bytes(damaged[:end]))


@given(st.binary(max_size=3000))
def test_any_bytes_raise_nothing_else(data: bytes) -> None:
    with contextlib.suppress(DataLoss, InvalidArgument):
        scan(data)
