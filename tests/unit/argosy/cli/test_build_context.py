"""What of a directory becomes the build context."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.cli.build.context import archive, header, read_ignore, walk
from argosy.cli.build.ignore import Ignore
from argosy.cli.options import UsageError


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        # From the table of moby's patternmatcher.
        ("**", "file", True),
        ("**/", "file", True),
        ("**/**", "dir/file", True),
        ("dir/**", "dir/dir2/file", True),
        ("**/dir", "dir", True),
        ("**/dir", "a/b/dir", True),
        ("**/dir2/*", "dir/dir2/dir2/file", True),
        ("**file", "dir/file", True),
        ("**/file", "dir/dir/file.txt", False),
        ("**/file*txt", "dir/dir/file.txt", True),
        ("**/file*.txt*", "dir/dir/file.txt", True),
        ("**/**/*.txt", "dir/dir/file.txt2", False),
        ("**/*.txt", "file.txt", True),
        ("a**/*.txt", "dir/file.txt", False),
        ("a/*.txt", "a/b/file.txt", False),
        ("a[b-d]e", "ace", True),
        ("a[^b]e", "abe", False),
        ("a[b-d]e", "aae", False),
        ("a?c", "abc", True),
        ("a*b", "a/b", False),
        (".*", ".foo", True),
        (".*", "foo", False),
        ("abc.def", "abcXdef", False),
        ("abc.def/", "abc.def", True),
        ("/abc", "abc", True),
        ("./abc", "abc", True),
        ("abc", "abc/def", True),
        ("abc", "x/abc", False),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README.md", "other.md", True),
        ("!README.md\n*.md", "README.md", True),
        ("dir\n!dir/keep", "dir/keep", False),
        ("dir\n!dir/keep", "dir/lose", True),
        ("# comment\n\n  spaced  ", "spaced", True),
        ("\\#name", "#name", True),
        ("a/../b", "b", True),
    ],
)
def test_dockerignore(patterns: str, path: str, ignored: bool) -> None:
    assert Ignore(patterns).ignores(path) is ignored


def test_a_malformed_pattern_is_named() -> None:
    with pytest.raises(UsageError, match=r"a\[b"):
        Ignore("a[b")


@given(st.text("ab*?[]!/\\.#\n -", max_size=25), st.text("ab/.", min_size=1, max_size=10))
def test_any_file_is_read_or_refused(patterns: str, path: str) -> None:
    try:
        Ignore(patterns).ignores(path)
    except UsageError:
        pass


def read(root: Path, patterns: str = "") -> dict[str, tarfile.TarInfo]:
    data = b"".join(archive(str(root), Ignore(patterns)))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


def test_the_archive_is_the_tree(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir(mode=0o750)
    (tmp_path / "dir" / "file").write_text("text")
    (tmp_path / "dir" / "file").chmod(0o640)
    os.utime(tmp_path / "dir" / "file", (1_000_000, 1_000_000))
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to(".")
    os.link(tmp_path / "dir" / "file", tmp_path / "hard")
    long = "x" * 120 + "é"
    (tmp_path / long).write_text("")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        found = read(tmp_path)
    assert set(found) == {"dir", "dir/file", "link", "loop", "hard", long}
    file = found["dir/file"]
    assert (file.mode, file.mtime, file.uid, file.gid, file.size) == (0o640, 1_000_000, 0, 0, 4) or file.islnk()
    assert (found["link"].issym(), found["link"].linkname) == (True, "/etc/passwd")
    assert {found["hard"].type, file.type} == {tarfile.LNKTYPE, tarfile.REGTYPE}
    assert found["dir"].mode == 0o750


def test_what_is_ignored_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "big").write_text("x")
    (tmp_path / "kept").write_text("x")
    (tmp_path / "secret").chmod(0)
    try:
        assert [name for name, _ in walk(str(tmp_path), Ignore("secret"))] == ["kept"]
    finally:
        (tmp_path / "secret").chmod(0o700)
    assert [name for name, _ in walk(str(tmp_path), Ignore("*\n!secret/big"))] == ["secret/big"]
    assert [name for name, _ in walk(str(tmp_path), Ignore("*"), frozenset(["secret/big"]))] == ["secret/big"]


def test_the_dockerfiles_own_patterns_come_first(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("a")
    assert read_ignore(str(tmp_path), str(tmp_path / "Dockerfile")).ignores("a")
    (tmp_path / "Dockerfile.dockerignore").write_text("b")
    ignore = read_ignore(str(tmp_path), str(tmp_path / "Dockerfile"))
    assert (ignore.ignores("a"), ignore.ignores("b")) == (False, True)


@given(
    name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60),
    size=st.integers(0, 1 << 40),
    link=st.text("ab/é", max_size=130),
    mtime=st.integers(0, 1 << 40),
)
def test_headers_read_as_they_were_written(name: str, size: int, link: str, mtime: int) -> None:
    status = os.stat_result((0o100754, 0, 0, 1, 7, 7, size, mtime, mtime, mtime))
    kind = "2" if link else "0"
    block = header(name, status, kind, 0 if link else size, link)
    with tarfile.open(fileobj=io.BytesIO(block + bytes(1024)), mode="r:") as tar:
        found = tar.next()
    assert found is not None
    assert (found.name, found.mode, found.mtime, found.linkname) == (
        name.rstrip("/"),
        0o754,
        mtime,
        link,
    )
    assert found.size == (0 if link else size)
    assert (found.uid, found.gid, found.uname) == (0, 0, "")


@pytest.mark.parametrize("text", ["a" * 2_000, "a\n" * 1_001, "#" * (2 << 20), "[z-a]"])
def test_far_too_much_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="dockerignore"):
        Ignore(text)


def test_many_directories_do_not_change_the_answers() -> None:
    ignore = Ignore("**/tmp\n*.pyc\n!keep/**")
    for number in range(2_000):
        assert ignore.ignores(f"d{number}/tmp/x")
        assert not ignore.ignores(f"d{number}/x/tmp2")
        assert not ignore.ignores(f"keep/{number}/tmp")
