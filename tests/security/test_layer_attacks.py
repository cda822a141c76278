"""Layers made to write elsewhere: what is refused, what stays inside, and that GNU tar reads what the scanner read.

The kinds of CVE-2018-20699 and CVE-2014-6407 (moby), CVE-2024-3727 and of tar itself: symbolic links that later
entries write through, hard links to them, "..", absolute names, devices, whiteouts through links, and headers that two
parsers understand differently.
"""

from __future__ import annotations

import os
import resource
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness.tars import END, file, hardlink, header, long, padded, pax, symlink

from argosy.errors import ArgosyError, InvalidArgument
from argosyd.images.taring import Tar
from argosyd.images.tarscan import Member, TarScanner
from argosyd.images.unpack import adopt_directories, unpack
from argosyd.trees.remove import remove
from argosyd.trees.root import Root
from argosyd.trees.walk import walk

DEADLINE = 60.0


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """What lies outside."""
    path = tmp_path / "host"
    path.mkdir()
    (path / "secret").write_text("host")
    (path / "dir").mkdir()
    return path


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    path = tmp_path / "inside"
    path.mkdir()
    return path


def picture(top: Path) -> dict[str, tuple[int, int, int]]:
    """Every name below a directory, with what a write would change."""
    with Root.at(top) as root:
        return {e.path: (e.info.st_mode, e.info.st_size, e.info.st_mtime_ns) for e in walk(root.fd)}


def kinds(top: Path) -> dict[str, str]:
    with Root.at(top) as root:
        return {e.path: {stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFREG: "f"}.get(stat.S_IFMT(e.info.st_mode), "o")
                for e in walk(root.fd)}  # fmt: skip


def told(data: bytes) -> dict[str, str]:
    """What the scanner makes of an archive: names and their last kind, parents included."""
    found: dict[str, str] = {}

    def take(member: Member) -> None:
        path = "/".join(p for p in os.fsdecode(member.name).split("/") if p not in ("", "."))
        if not path:
            return
        parts = path.split("/")
        for depth in range(1, len(parts)):
            found.setdefault("/".join(parts[:depth]), "d")
        kind = {b"2": "l", b"5": "d", b"1": "?"}.get(member.kind, "f" if member.is_file else "o")
        if kind == "?":
            target = "/".join(p for p in os.fsdecode(member.link).split("/") if p not in ("", "."))
            kind = found.get(target, "f")
        found[path] = kind

    scanner = TarScanner(layer=False, member=take)
    scanner.feed(data)
    scanner.finish()
    return found


ATTACKS = {
    "through a link": symlink(b"l", b"HOST") + file(b"l/new", b"x"),
    "through a relative link": symlink(b"l", b"../host") + file(b"l/secret", b"x"),
    "through a link of links": symlink(b"a", b".") + symlink(b"a/b", b"..") + file(b"a/b/host/new", b"x"),
    "through a hard link to a link": symlink(b"l", b"HOST") + hardlink(b"h", b"l") + file(b"h/new", b"x"),
    "a hard link out": hardlink(b"h", b"../host/secret") + file(b"h", b"x"),
    "a hard link by an absolute name": hardlink(b"h", b"HOST/secret") + file(b"h", b"x"),
    "a hard link through a link": symlink(b"l", b"HOST") + hardlink(b"h", b"l/secret") + file(b"h", b"x"),
    "overwriting a link's target": symlink(b"l", b"HOST/secret") + file(b"l", b"x"),
    "a directory over a link": symlink(b"l", b"HOST/dir") + header(b"l", b"5", mode=b"0000777\0"),
    "dots": file(b"../host/new", b"x"),
    "dots in the middle": file(b"a/../../host/new", b"x"),
    "an absolute name": file(b"HOST/new", b"x"),
    "a pax name with a NUL": pax((b"path", b"ok\0/../../host/new")) + file(b"y", b"x"),
    "a long name with a NUL": long(b"L", b"ok\0/../../host/new") + file(b"y", b"x"),
    "a pax link with a NUL": pax((b"linkpath", b"../host\0")) + symlink(b"l", b"a") + file(b"l/new", b"x"),
    "a global name": symlink(b"l", b"HOST") + pax((b"path", b"l/new"), kind=b"g") + file(b"y", b"x"),
    "a Solaris header": symlink(b"l", b"HOST") + pax((b"path", b"l/new"), kind=b"X") + file(b"y", b"x"),
    "two names": symlink(b"l", b"HOST") + pax((b"path", b"l/new")) + long(b"L", b"y") + file(b"y", b"x"),
    "two headers": symlink(b"l", b"HOST") + pax((b"path", b"y")) + pax((b"mtime", b"1")) + file(b"l/new", b"x"),
    "a name twice": symlink(b"l", b"HOST") + pax((b"path", b"y"), (b"path", b"l/new")) + file(b"y", b"x"),
    "a sparse name": pax((b"GNU.sparse.name", b"../host/new"), (b"GNU.sparse.realsize", b"0")) + file(b"y"),
    "a whiteout through a link": symlink(b"l", b"HOST") + file(b"l/.wh.secret"),
    "a whiteout, then a link": file(b"l/.wh.secret") + symlink(b"l", b"HOST"),
    "an opaque mark through a link": symlink(b"l", b"HOST") + file(b"l/.wh..wh..opq"),
    "an opaque mark, then a link": file(b"l/.wh..wh..opq") + symlink(b"l", b"HOST/dir"),
    "a whiteout of dots": file(b".wh...") + file(b"a/.wh..") + file(b".wh."),
    "a whiteout of a way": file(b".wh.../host/secret"),
    "the root a link": symlink(b".", b"HOST") + file(b"new", b"x"),
    "the root without a name a link": symlink(b"", b"HOST") + file(b"new", b"x"),
    "a link with a slash": symlink(b"l/", b"HOST") + file(b"l/new", b"x"),
    "a hidden entry in a hard link": symlink(b"l", b"HOST") + hardlink(b"h", b"l", 1024) + file(b"l/new", b"x"),
    "a hidden entry in a directory": symlink(b"l", b"HOST") + header(b"d/", b"0", size=1024) + file(b"l/new", b"x"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_reaches_what_lies_outside(name: str, inside: Path, host: Path) -> None:
    data = _placed(ATTACKS[name], host)
    before = picture(host)
    try:
        found = unpack([data + END], inside)
        adopt_directories(inside, found.implied, host)
    except ArgosyError as error:
        assert error.reason in ("UNSAFE_ENTRY", "TAR_FAILED", "BAD_TAR"), error  # noqa: PT017
    assert picture(host) == before
    assert sorted(os.listdir(inside.parent)) == ["host", "inside"]


def _placed(data: bytes, host: Path) -> bytes:
    """The archive with the path of what lies outside in its headers, check sums made anew."""
    out = bytearray()
    for at in range(0, len(data), 512):
        block = data[at : at + 512]
        if b"HOST" in block and block[257:262] == b"ustar":
            for field, most in ((0, 100), (157, 100)):
                value = block[field : field + most].split(b"\0", 1)[0].replace(b"HOST", os.fsencode(host))
                assert len(value) <= most
                block = block[:field] + value.ljust(most, b"\0") + block[field + most :]
            block = block[:148] + b" " * 8 + block[156:]
            block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
        out += block
    return bytes(out)


HIDDEN = file(b"hidden", b"evil")
READ_DIFFERENTLY = {
    "content of a hard link": file(b"a") + hardlink(b"h", b"a", 1024) + HIDDEN,
    "content of a hard link, by pax": file(b"a") + pax((b"size", b"1024")) + hardlink(b"h", b"a") + HIDDEN,
    "content of a link": header(b"s", b"2", link=b"a", size=1024) + HIDDEN,
    "content of a directory": header(b"d/", b"5", size=1024) + HIDDEN,
    "content of a FIFO": header(b"p", b"6", size=1024) + HIDDEN,
    "content of a file with a slash": header(b"d/", b"0", size=1024) + HIDDEN,
    "content of an old file with a slash": header(b"d/", b"\0", size=1024) + HIDDEN,
    "content of a file with a pax slash": pax((b"path", b"d/")) + header(b"d", b"7", size=1024) + HIDDEN,
    "a pax name, then a long one": pax((b"path", b"one")) + long(b"L", b"two") + file(b"x"),
    "a long name, then a pax one": long(b"L", b"one") + pax((b"path", b"two")) + file(b"x"),
    "two pax names": pax((b"path", b"one")) + pax((b"path", b"two")) + file(b"x"),
    "a pax name that the next header drops": pax((b"path", b"one")) + pax((b"mtime", b"1")) + file(b"x"),
    "two long names": long(b"L", b"one") + long(b"L", b"two") + file(b"x"),
    "what follows one empty block": file(b"a") + bytes(512) + HIDDEN,
    "a name for what has no link": pax((b"linkpath", b"to")) + file(b"x") + symlink(b"s", b"own"),
    "an old sparse file": header(b"s", b"S", size=512, magic=b"ustar  \0") + bytes(512) + HIDDEN,
    "a continued file": header(b"m", b"M", size=512, magic=b"ustar  \0") + HIDDEN,
    "GNU's directory": header(b"d", b"D", size=1024) + HIDDEN,
    "an unknown kind": header(b"u", b"Q", size=1024) + HIDDEN,
    "a volume's label": header(b"v", b"V", size=1024) + HIDDEN,
    "a size to base 256": header(b"n", b"0", size=b"\x80" + (1024).to_bytes(11, "big")) + HIDDEN,
    "a size with spaces": header(b"n", b"0", size=b"       2000 ") + HIDDEN,
    "a size behind a space": header(b"n", b"0", size=b"2000 777777\0") + HIDDEN,
    "a size behind a NUL": header(b"n", b"0", size=b"\00000002000\0") + HIDDEN,
    "a prefix of GNU's format": file(b"n", prefix=b"pre", magic=b"ustar  \0"),
    "a prefix of no format": file(b"n", prefix=b"pre", magic=bytes(8)),
    "a prefix of a strange version": file(b"n", prefix=b"pre", magic=b"ustar\0zz"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ_DIFFERENTLY)
def test_tar_reads_what_the_scanner_read(name: str, inside: Path) -> None:
    data = READ_DIFFERENTLY[name] + END
    try:
        unpack([data], inside, layer=False)
    except ArgosyError:
        return
    assert kinds(inside) == told(data)


NAMES = st.sampled_from(
    [b"a", b"b", b"a/b", b"a/", b"d/", b"d/x", b"s", b"s/x", b"./a", b"../a", b"/a", b".", b"", b"h"]
)
SIZES = st.sampled_from(
    [b"00000000000\0", b"00000001000\0", b"00000002000\0", b"        7 \0", b"\x80" + bytes(9) + b"\2\0"]
)
PAX = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([b"path", b"linkpath"]), NAMES),
        st.tuples(st.just(b"size"), st.sampled_from([b"0", b"512", b"1024", b"007", b"+1", b""])),
        st.just((b"mtime", b"1.5")),
    ),
    max_size=3,
)
PARTS = st.one_of(
    st.builds(
        header, NAMES, st.sampled_from([b"0", b"\0", b"1", b"2", b"5", b"6", b"7", b"D", b"S", b"M", b"V", b"Q"]), NAMES,
        SIZES,
    ),
    st.builds(file, NAMES, st.sampled_from([b"", b"content", file(b"a", b"x"), symlink(b"s", b"..")])),
    st.builds(lambda records, kind: pax(*records, kind=kind), PAX, st.sampled_from([b"x", b"x", b"g", b"X"])),
    st.builds(long, st.sampled_from([b"L", b"K"]), NAMES),
    st.builds(lambda n: bytes(512 * n), st.sampled_from([1, 1, 2])),
    st.builds(padded, st.binary(min_size=1, max_size=20)),
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS, min_size=1, max_size=6).map(b"".join))
def test_whatever_is_accepted_is_read_alike(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    base = tmp_path_factory.mktemp("t")
    (base / "in").mkdir()
    data += END
    try:
        unpack([data], base / "in", layer=False)
        assert kinds(base / "in") == told(data)
    except ArgosyError:
        pass
    finally:
        assert os.listdir(base) == ["in"]
        remove(base)


def test_the_hosts_own_attributes_are_not_unpacked(inside: Path) -> None:
    names = (
        b"trusted.overlay.redirect",
        b"trusted.overlay.opaque",
        b"trusted.mine",
        b"user.overlay.opaque",
        b"user.kept",
    )
    records = [(b"SCHILY.xattr." + name, b"y") for name in names]
    unpack([pax(*records) + header(b"d/", b"5", mode=b"0000755\0") + pax(*records) + file(b"f") + END], inside)
    assert os.listxattr(inside / "d") == os.listxattr(inside / "f") == ["user.kept"]


def test_a_tar_that_complains_without_end_holds_nobody(inside: Path) -> None:
    data = file(b"a") + b"".join(file(b"a/%d" % number) for number in range(5000)) + END
    outcome: list[object] = []

    def work() -> None:
        try:
            outcome.append(unpack([data], inside))
        except ArgosyError as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert [getattr(o, "reason", o) for o in outcome] == ["TAR_FAILED"]


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_tar_can_do_nothing_but_write_files(inside: Path) -> None:
    with Root.at(inside) as root, Tar(root, skip_deletions=True) as tar:
        pid = tar.pid
        wait_until(lambda: status(pid)["Name"] == "tar")
        found = status(pid)
        # chown, dac_override, dac_read_search, fowner, fsetid, mknod, setfcap (capabilities(7)).
        kept = sum(1 << bit for bit in (0, 1, 2, 3, 4, 27, 31))
        assert int(found["CapBnd"], 16) & ~kept == int(found["CapEff"], 16) & ~kept == 0
        assert int(found["CapInh"], 16) == 0
        assert found["NoNewPrivs"] == "1"
        assert os.getsid(pid) == pid
        assert os.readlink(f"/proc/{pid}/cwd") == str(inside)
        assert resource.prlimit(pid, resource.RLIMIT_AS)[0] == 2 << 30
    assert not Path(f"/proc/{pid}").exists()


def test_tar_dies_with_who_started_it(inside: Path) -> None:
    made: list[Tar] = []

    def work() -> None:
        with Root.at(inside) as root:
            made.append(Tar(root, skip_deletions=False))
        wait_until(lambda: status(made[0].pid)["Name"] == "tar")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    try:
        wait_until(lambda: status(made[0].pid)["State"].startswith("Z"))
    finally:
        made[0].__exit__(None, None, None)


def test_names_up_to_what_a_path_can_be(inside: Path, tmp_path: Path) -> None:
    way = b"d/" * 2000
    found = unpack(
        [long(b"L", way + b"f") + file(b"x", b"y") + long(b"L", way + b".wh.gone") + file(b"x") + END], inside
    )
    assert len(found.implied) == 2000
    (tmp_path / "below").mkdir()
    adopt_directories(inside, found.implied, tmp_path / "below")
    assert len(kinds(inside)) == 2002
    remove(inside)
    inside.mkdir()
    with pytest.raises(InvalidArgument, match="longer than"):
        unpack([long(b"L", b"d/" * 3000 + b"f") + file(b"x", b"y") + END], inside)


def test_implied_directories_take_nothing_through_links(inside: Path, tmp_path: Path, host: Path) -> None:
    host.chmod(0o711)
    os.chown(host / "dir", 5, 5)
    below = tmp_path / "below"
    below.mkdir()
    (below / "l").symlink_to(host)
    found = unpack([file(b"l/dir/new") + END], inside)
    adopt_directories(inside, found.implied, below)
    assert (inside / "l/dir").stat().st_uid == 0
    assert stat.S_IMODE((inside / "l").stat().st_mode) == 0o755
