"""Archives as the client packs and reads them: as other tools do, whatever is in them."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness import foreign_wire
from tests.harness.copying import D, F, L, S, tar
from tests.harness.trees import describe

from argosy.cli.copying.descent import FOLDER
from argosy.cli.copying.pack import pack
from argosy.cli.copying.tarstream import BrokenArchive, members
from argosy.cli.copying.unpack import unpack


def test_the_way_there_and_back_keeps_a_tree(tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    (source / "a/b").mkdir(parents=True)
    back.mkdir()
    (source / "a/b/f").write_bytes(os.urandom(1_000_000))
    (source / "empty").touch()
    os.link(source / "empty", source / "a/again")
    os.symlink("nowhere", source / "a/dangling")
    (source / os.fsdecode(b"\xff\xfe")).write_text("no UTF-8")
    ours, theirs = os.open(source, FOLDER), os.open(back, FOLDER)
    unpack(pack(ours, b".", b"", True), theirs, b"", tree=True, root=True, archive=True)
    os.close(ours)
    os.close(theirs)
    assert describe(source, times=False) == describe(back, times=False)


NUMBERS = st.one_of(st.integers(0, 0o7777777), st.integers(0, 1 << 40))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1, max_size=150),
            st.sampled_from([D, F, S, L]),
            st.binary(max_size=2000),
            NUMBERS,
        ),
        max_size=6,
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.integers(1, 3000),
)
def test_archives_as_another_reader_reads_them(
    entries: list[tuple[str, bytes, bytes, int]], format: int, size: int
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as made:
        for name, kind, content, number in entries:
            info = tarfile.TarInfo(name)
            info.type, info.uid, info.gid, info.mtime = kind, number, number, number
            info.linkname = name if kind in (S, L) else ""
            info.size = len(content) if kind == F else 0
            made.addfile(info, io.BytesIO(content))
    archive = buffer.getvalue()
    chunks = (archive[at : at + size] for at in range(0, len(archive), size))
    found = [
        (m.name.rstrip(b"/").decode(), m.kind, b"".join(m.content()), m.uid, m.gid, m.time // 10**9)
        for m in members(chunks)
    ]
    assert found == [(n.rstrip("/"), k, c if k == F else b"", u, u, min(u, 1 << 33)) for n, k, c, u in entries]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.integers(0, 1600), st.integers(0, 2000))
def test_a_damaged_archive_is_read_or_refused(noise: bytes, at: int, cut: int) -> None:
    archive = tar(("dir", D, None), ("dir/" + "n" * 150, F, "x" * 700), ("dir/l", S, "n"))
    damaged = archive[:at] + noise + archive[at + len(noise) : len(archive) - cut]
    try:
        for member in members(iter([damaged])):
            assert sum(map(len, member.content())) == member.size
    except BrokenArchive:
        pass


def test_extended_headers_cost_what_they_weigh() -> None:
    """A chain of a thousand of them, one of a gigabyte, one that says it is longer than it is."""
    info = tarfile.TarInfo("p" * 200)
    one = info.tobuf(tarfile.PAX_FORMAT)[:-512]
    assert len(one) == 1024
    with pytest.raises(BrokenArchive, match="without end"):
        list(members(iter([one * 3000])))
    huge = tarfile.TarInfo("x")
    huge.type, huge.size = b"x", 1 << 30
    with pytest.raises(BrokenArchive, match="without end"):
        list(members(iter([huge.tobuf(tarfile.GNU_FORMAT)])))
    assert [m.name for m in members(iter([one * 100 + tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT)]))] == [b"p" * 200]


@pytest.mark.parametrize("read", foreign_wire.DECLARED)
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=3000))
def test_no_reader_of_the_client_fails_but_as_it_says(read: Callable[[bytes], Any], data: bytes) -> None:
    try:
        read(data)
    except foreign_wire.DECLARED[read]:
        pass
