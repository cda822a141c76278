"""The helper that packs and unpacks below a container's root, against archives made to get out of it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HELPER = Path(__file__).resolve().parents[2] / "server" / "argosyd" / "trees" / "__main__.py"

parts = st.sampled_from(["a", "b", "..", ".", "up", "abs", "", "fifo"])
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)
kinds = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
members = st.lists(st.tuples(paths, kinds, paths, st.binary(max_size=20)), max_size=6)


def helper(root: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        command = [sys.executable, "-I", "-S", str(HELPER), arguments[0], str(fd), "-1", *arguments[1:]]
        return subprocess.run(command, input=stdin, capture_output=True, pass_fds=(fd,), timeout=30, check=False)
    finally:
        os.close(fd)


def make_root(base: Path) -> Path:
    root = base / "outer" / "root"
    (root / "dir").mkdir(parents=True)
    (root / "dir" / "up").symlink_to("../../../..")
    (root / "dir" / "abs").symlink_to(base)
    (base / "outer" / "canary").write_text("untouched")
    return root


def outside(base: Path) -> dict[str, str]:
    """Everything beside the root."""
    return {
        str(p.relative_to(base)): oct(p.lstat().st_mode)
        for p in base.rglob("*")
        if "root" not in p.parts[len(base.parts) :]
    }


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(members)
def test_no_archive_reaches_out_of_the_root(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes, str, bytes]]
) -> None:
    base = tmp_path_factory.mktemp("jail")
    root = make_root(base)
    before = outside(base)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, target, content in entries:
            info = tarfile.TarInfo(name or "x")
            info.type, info.linkname = kind, target
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    result = helper(root, "unpack", "/dir", "owners", stdin=buffer.getvalue())
    assert result.returncode in (0, 1), result.stderr
    assert b"Traceback" not in result.stderr
    assert outside(base) == before
    assert (base / "outer" / "canary").read_text() == "untouched"


@settings(max_examples=15, deadline=None)
@given(st.binary(max_size=2000))
def test_bytes_that_are_no_archive_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = make_root(tmp_path_factory.mktemp("junk"))
    result = helper(root, "unpack", "/dir", "", stdin=data)
    assert result.returncode in (0, 1)
    assert b"Traceback" not in result.stderr


def test_a_tree_comes_out_as_it_went_in(tmp_path: Path) -> None:
    root = tmp_path / "root"
    tree = root / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "file").write_bytes(b"content")
    (tree / "file").chmod(0o4751)
    os.chown(tree / "file", 11, 12)
    os.setxattr(tree / "file", "user.note", b"\xff\x00x")
    os.link(tree / "file", tree / "hard")
    (tree / "sub" / "link").symlink_to("../file")
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", 0o20666, os.makedev(1, 3))
    os.utime(tree / "file", ns=(1_000_000_000, 1_500_000_000))
    os.utime(tree / "sub", ns=(0, 7_000_000_000))
    packed = helper(root, "pack", "/tree", "0", "tree")
    assert packed.returncode == 0, packed.stderr
    target = tmp_path / "target"
    target.mkdir()
    unpacked = helper(target, "unpack", "/", "owners", stdin=packed.stdout)
    assert unpacked.returncode == 0, unpacked.stderr
    assert describe(target / "tree") == describe(tree)
    assert os.stat(target / "tree" / "file").st_ino == os.stat(target / "tree" / "hard").st_ino


def describe(tree: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(tree.rglob("*")):
        status = path.lstat()
        link = os.readlink(path) if path.is_symlink() else ""
        attributes = (
            {name: os.getxattr(path, name) for name in os.listxattr(path, follow_symlinks=False)} if not link else {}
        )
        found[str(path.relative_to(tree))] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_rdev, status.st_mtime_ns, link, attributes,
        )  # fmt: skip
    return found
