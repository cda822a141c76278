"""Contexts as tar streams: read whole or in pieces, with links followed inside, against noise."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.errors import InvalidArgument
from argosyd.build import patterns
from argosyd.build.context import ContextTar
from argosyd.build.source import TreeSource, resolve, tree_digest
from argosyd.trees.root import Root


def make_tree(root: Path) -> None:
    root.mkdir()
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_bytes(b"x" * 1500)
    (root / "a" / "other.txt").write_text("t")
    (root / "empty").write_bytes(b"")
    os.link(root / "a" / "other.txt", root / "zhard")
    (root / "link").symlink_to("a/b")
    (root / "up").symlink_to("../../../a/other.txt")
    (root / "absolute").symlink_to("/a/b/file")
    (root / "loop").symlink_to("loop2")
    (root / "loop2").symlink_to("loop")
    (root / ("long" * 30)).mkdir()
    (root / ("long" * 30) / ("name" * 40)).write_text("long")


def tar_of(root: Path, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        tar.add(root, arcname=".")
    return buffer.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make_tree(tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ContextTar]:
    tar = ContextTar(tmp_path / "context.tar")
    yield tar
    tar.close()
    assert not (tmp_path / "context.tar").exists()


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("piece", [1, 511, 512, 700, 1 << 20])
def test_a_tar_is_the_tree_it_was_made_of(tree: Path, context: ContextTar, format: int, piece: int) -> None:
    data = tar_of(tree, format)
    for at in range(0, len(data), piece):
        context.feed(data[at : at + piece])
    context.finish()
    disk = TreeSource(Root.at(tree), "the tree")
    assert [f.path for f in context.walk("")] == [f.path for f in disk.walk("")]
    assert tree_digest(context, "", owners=False) == tree_digest(disk, "", owners=False)
    assert b"".join(context.read("a/b/file")) == b"x" * 1500
    first, second = context.lookup("a/other.txt"), context.lookup("zhard")
    assert first is not None
    assert second is not None
    assert first.twin == second.twin is not None
    assert context.text("./a/other.txt") == "t"
    assert [context.is_here(p) for p in ("./a/other.txt", "a", "nope")] == [True, False, False]


def test_links_stay_inside(tree: Path) -> None:
    source = TreeSource(Root.at(tree), "the tree")
    assert resolve(source, "link/file") == "a/b/file"
    assert resolve(source, "up") == "a/other.txt"
    assert resolve(source, "absolute") == "a/b/file"
    assert resolve(source, "link/../other.txt") == "a/other.txt"
    assert resolve(source, "../../etc") == "etc"
    assert resolve(source, "loop/x") is None


def test_the_digest_knows_what_counts(tree: Path) -> None:
    def digest() -> str:
        return tree_digest(TreeSource(Root.at(tree), "the tree"), "a")

    first = digest()
    os.utime(tree / "a" / "other.txt", (1, 1))
    assert digest() == first
    seen = {first}
    for change in (
        lambda: (tree / "a" / "other.txt").chmod(0o600),
        lambda: (tree / "a" / "other.txt").write_text("u"),
        lambda: (tree / "a" / "other.txt").rename(tree / "a" / "renamed"),
        lambda: (tree / "a" / "b2").symlink_to("x"),
        lambda: (tree / "a" / "b3").mkdir(),
        lambda: os.setxattr(tree / "a" / "renamed", "user.x", b"1"),
        lambda: os.chown(tree / "a" / "renamed", 5, 5),
    ):
        change()
        assert digest() not in seen
        seen.add(digest())


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("a/*.txt", ["a/other.txt"]), ("*/b/f?le", ["a/b/file", "link/../b/file"][:1]), ("[e]mpty", ["empty"]),
        ("[^a]mpty", ["empty"]), ("*", None), ("a/*/*/*", []), ("\\*", []), ("nope*", []),
    ],
)  # fmt: skip
def test_wildcards(tree: Path, pattern: str, want: list[str] | None) -> None:
    found = patterns.matches(TreeSource(Root.at(tree), "the tree"), pattern)
    assert found == (sorted(os.listdir(tree)) if want is None else want)


def test_excluding() -> None:
    leave_out = patterns.Excluder(["*.md", "docs/**", "**/tmp", "a/b"])
    assert [p for p in ("x.md", "d/x.md", "docs/a/b", "docs", "tmp", "q/r/tmp", "a/b", "a/b/c") if leave_out(p)] == [
        "x.md", "docs/a/b", "tmp", "q/r/tmp", "a/b",
    ]  # fmt: skip
    assert not patterns.Excluder([])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_noise_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(_small_tar())
    for _ in range(data.draw(st.integers(0, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    context = ContextTar(tmp_path / "noise.tar")
    try:
        context.feed(bytes(whole[:cut]))
        context.finish()
        tree_digest(context, "")
    except InvalidArgument as error:
        assert error.reason in ("BAD_CONTEXT", "UNSAFE_ENTRY")  # noqa: PT017
    finally:
        context.close()


def _small_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, link in (("d", tarfile.DIRTYPE, ""), ("d/" + "f" * 120, tarfile.REGTYPE, ""),
                                 ("l", tarfile.SYMTYPE, "d"), ("h", tarfile.LNKTYPE, "d/" + "f" * 120)):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


def pax_context(*records: tuple[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("file")
        info.pax_headers = dict(records)
        tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize(
    "records",
    [
        [("path", "a/" * 2_500 + "f")], [("mtime", "9" * 5_000)], [("mtime", "1e99")], [("size", "9" * 5_000)],
        [("size", "²")], [(f"k{n}", "v") for n in range(1_500)], [("path", "../x")],
    ],
    ids=["long", "time", "exponent", "size", "digit", "records", "out"],
)  # fmt: skip
def test_absurd_headers_are_refused(tmp_path: Path, records: list[tuple[str, str]]) -> None:
    context = ContextTar(tmp_path / "c.tar")
    try:
        with pytest.raises(InvalidArgument):
            context.feed(pax_context(*records))
            context.finish()
    finally:
        context.close()


def test_there_is_an_end_to_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosyd.build.context._MOST_ENTRIES", 10)
    context = ContextTar(tmp_path / "c.tar")
    try:
        with pytest.raises(InvalidArgument, match="more than 10 files"):
            context.feed(pax_context(("path", "a/" * 20 + "f")))
    finally:
        context.close()


def test_wildcards_end_where_links_lead_in_circles(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("a", "b", "c"):
        (tmp_path / name).symlink_to(".")
    tree = TreeSource(Root.at(tmp_path), "the tree")
    assert patterns.matches(tree, "*/" * 60 + "file") == ["file"]
    with pytest.raises(InvalidArgument, match="at most 128 parts"):
        patterns.matches(tree, "*/" * 130)
