"""COPY's writing: attributes, places, and links that lead nowhere but inside."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from argosy.errors import Conflict, InvalidArgument, NotFound
from argosyd.build import files
from argosyd.build.copy import Copier
from argosyd.build.patterns import Excluder
from argosyd.build.source import TreeSource
from argosyd.build.stubs import Stubs
from argosyd.trees.root import Root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "dir" / "sub" / "file").write_text("content")
    (root / "dir" / "sub" / "file").chmod(0o4750)
    (root / "dir" / "skip.md").touch()
    os.link(root / "dir" / "sub" / "file", root / "dir" / "twin")
    (root / "dir" / "soft").symlink_to("/nowhere")
    os.mkfifo(root / "dir" / "pipe")
    (root / "dir").chmod(0o2711)
    os.chown(root / "dir" / "sub", 7, 8)
    os.utime(root / "dir" / "sub", ns=(5, 6))
    os.setxattr(root / "dir" / "sub" / "file", "user.a", b"b")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def into(root: Path, *more: object) -> Copier:
    return Copier(Root.at(root), *more)  # type: ignore[arg-type]


def tree(path: Path) -> TreeSource:
    return TreeSource(Root.at(path), "x")


def test_everything_is_kept(source: Path, root: Path) -> None:
    into(root).copy(tree(source), "dir", "new/place")
    copied = root / "new" / "place"
    # The directory itself is not copied, its content is.
    assert stat.S_IMODE(copied.stat().st_mode) == stat.S_IMODE((root / "new").stat().st_mode) == 0o755
    sub = (copied / "sub").stat()
    assert (sub.st_uid, sub.st_gid, sub.st_mtime_ns) == (7, 8, 6)
    file = (copied / "sub" / "file").stat()
    assert (stat.S_IMODE(file.st_mode), file.st_nlink) == (0o4750, 2)
    assert os.getxattr(copied / "twin", "user.a") == b"b"
    assert os.readlink(copied / "soft") == "/nowhere"
    assert stat.S_ISFIFO((copied / "pipe").stat().st_mode)


def test_a_directory_that_is_there_keeps_its_attributes(source: Path, root: Path) -> None:
    (root / "there").mkdir(mode=0o700)
    (root / "there" / "sub").mkdir(mode=0o700)
    into(root, (1, 2), 0o640, Excluder(["*.md"])).copy(tree(source), "dir", "there")
    assert stat.S_IMODE((root / "there").stat().st_mode) == 0o700
    assert (root / "there" / "sub").stat().st_uid == 1
    file = (root / "there" / "sub" / "file").stat()
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (1, 2, 0o640)
    assert not (root / "there" / "skip.md").exists()


def test_links_to_directories_in_the_image_are_followed_inside(source: Path, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / os.fspath(outside).lstrip("/")).mkdir(parents=True)
    (root / "sub").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    copier = into(root)
    copier.copy(tree(source), "dir", "")
    assert list(outside.iterdir()) == []
    assert (root / os.fspath(outside).lstrip("/") / "file").read_text() == "content"
    copier.copy(tree(source), "dir/sub/file", copier.resolve("file"))
    assert list(outside.iterdir()) == []


def test_what_does_not_fit(source: Path, root: Path) -> None:
    (root / "file").touch()
    (root / "sub" / "file").mkdir(parents=True)
    copier = into(root)
    with pytest.raises(Conflict, match="non-directory: /file"):
        copier.copy(tree(source), "dir", "file")
    with pytest.raises(Conflict, match="over the directory"):
        copier.copy(tree(source), "dir/sub/file", "sub/file")
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(InvalidArgument, match="levels of symbolic links"):
        copier.resolve("/a/x")


def found(source: Path, *words: str) -> files.Transfer:
    return files.find("COPY", tree(source), words, (), {}, "\\")


def test_a_source_that_is_not_there(source: Path) -> None:
    for words, told in ((("gone", "/"), '"/gone" not found'), (("dir/soft", "/"), "symbolic link to '/nowhere'"),
                        (("*.x", "/"), "match")):  # fmt: skip
        with pytest.raises(NotFound, match=told):
            found(source, *words)
    with pytest.raises(InvalidArgument, match="forbidden path"):
        found(source, "dir/../../x", "/")
    # One pattern that means something is enough.
    assert len(found(source, "*.x", "di?", "/").items) == 1


def test_the_facts_of_a_copy_name_all_that_counts(source: Path) -> None:
    def facts(*words: str, **more: object) -> list[str]:
        return list(files.find("COPY", tree(source), words, (), {}, "\\", **more).facts())

    base = facts("dir", "/a")
    assert base == facts("dir", "/a")
    for other in (
        facts("dir/sub", "/a"),
        facts("dir", "/a/"),
        facts("dir", "/a", chown="1:1"),
        facts("dir", "/a", mode=0o600),
        facts("dir", "/a", excluder=Excluder(["*.md"])),
        facts("dir", "/a", keep_owners=True),
    ):
        assert other != base


def test_stubs_are_taken_away_and_nothing_else(root: Path) -> None:
    (root / "etc").mkdir()
    os.utime(root / "etc", ns=(1, 2))
    (root / "proc").mkdir()
    stubs = Stubs(Root.at(root), ["/etc/hosts", "/etc/resolv.conf", "/proc", "/a/b/c", "/used/here"])
    for name in ("etc/hosts", "etc/resolv.conf"):
        (root / name).touch()
    (root / "etc" / "resolv.conf").write_text("the RUN's own")
    for name in ("a/b/c", "used/here"):
        (root / name).mkdir(parents=True)
    (root / "used" / "kept").touch()
    stubs.clean()
    left = sorted(os.path.relpath(os.path.join(d, n), root) for d, names, fs in os.walk(root) for n in (*names, *fs))
    assert left == ["etc", "etc/resolv.conf", "proc", "used", "used/kept"]
    assert (root / "etc").stat().st_mtime_ns == 2
