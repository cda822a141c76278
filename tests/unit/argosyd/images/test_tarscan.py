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


def raw(name: str, kind: bytes, data: bytes = b"", size: bytes | None = None) -> bytes:
    """One entry as it stands, whatever tarfile would think of it."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    if size is not None:
        block[124:136] = size.ljust(12, b"\0")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (raw("s", b"S"), "of the kind 'S'"),
        (raw("d", b"D"), "of the kind 'D'"),
        (raw("g", b"g", b"14 path=../x\n\n"[:13]) + raw("f", b"0"), "bad pax|one name or size"),
        (raw("g", b"g", b"12 path=up/\n") + raw("f", b"0"), "one name or size"),
        (raw("g", b"g", b"10 size=5\n") + raw("f", b"0"), "one name or size"),
        (raw("x", b"x", b"%d size=%s\n" % (5015, b"9" * 5004)) + raw("f", b"0"), "bad pax header"),
        (raw("f", b"0", size=b"-1"), "no tar archive"),
        (raw("f", b"0", size=b"1_0"), "no tar archive"),
        (raw("x", b"x", b"5007 path=" + b"a/" * 2498 + b"\n") + raw("f", b"0"), "bad pax header|longer than 4095 bytes"),
    ],
    ids=["sparse", "dump", "global", "global-name", "global-size", "digits", "minus", "underscore", "long"],
)  # fmt: skip
def test_what_tar_would_read_otherwise_is_refused(data: bytes, words: str) -> None:
    with pytest.raises((InvalidArgument, DataLoss), match=words):
        scan(data + bytes(1024))


def test_what_git_writes_for_all_entries_is_passed_over() -> None:
    assert scan(raw("g", b"g", b"14 comment=ab\n") + raw("f", b"0") + bytes(1024)).entries == 1


def test_directories_without_an_entry() -> None:
    made = archive(
        member("own", tarfile.DIRTYPE), member("own/f"), member("a/b/f"), member("c/.wh.x"), member("d/.wh..wh..opq"),
        member("late/f"), member("late", tarfile.DIRTYPE), member("top"),
    )  # fmt: skip
    assert scan(made).implied() == [b"a", b"a/b", b"c", b"d"]


def test_names_are_kept_as_far_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosyd.images.tarscan._MOST_KEPT", 3)
    assert scan(archive(*(member(f"f{n}") for n in range(9)))).entries == 9
    for kinds in (
        [member(f"d{n}", tarfile.DIRTYPE) for n in range(4)],
        [member(f".wh.{n}") for n in range(4)],
        [member("a/b/c/d/e")],
    ):
        with pytest.raises(InvalidArgument, match="more than 3 directories, links and deletions"):
            scan(archive(*kinds))
