"""The room for trees that somebody else writes: depth, links, special files, and directories swapped meanwhile."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.attack import immutable, make_deep, swapping

from argosyd.trees.archive import write_entry, write_layer, write_tree
from argosyd.trees.extract import Extractor
from argosyd.trees.openat import open_file
from argosyd.trees.remove import empty, remove
from argosyd.trees.root import Root, set_mode
from argosyd.trees.usage import measure
from argosyd.trees.walk import walk

DEEP = 3000


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "root").mkdir()
    with Root.at(tmp_path / "root") as held:
        yield held


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_tree_deeper_than_any_path_is_walked_measured_packed_and_removed(tmp_path: Path) -> None:
    make_deep(tmp_path / "t", DEEP)
    before, most = open_fds(), 0
    with Root.at(tmp_path / "t") as top:
        told = []
        for entry in walk(top.fd, leaving=True):
            told.append(entry.leaving)
            most = max(most, open_fds())
        assert (told.count(False), told.count(True)) == (DEEP + 1, DEEP)
        assert most - before < 100
        assert measure(top.fd).entries == DEEP + 1
        with tarfile.open(fileobj=io.BytesIO(b"".join(write_tree(top.fd)))) as tar:
            assert tar.getnames()[-1] == "/".join(["d"] * DEEP + ["file"])
        os.close(top.exact("/".join(["d"] * DEEP + ["file"])))
    remove(tmp_path / "t")
    assert not (tmp_path / "t").exists()
    assert open_fds() <= before


def test_removal_goes_around_names_that_it_would_choose_itself(tmp_path: Path) -> None:
    make_deep(tmp_path / "t", 200)
    (tmp_path / "t" / ".deep-0").write_text("mine")
    make_deep(tmp_path / "t" / ".deep-1", 150, "e")
    remove(tmp_path / "t")
    assert os.listdir(tmp_path) == []


def test_removal_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "top").symlink_to(tmp_path / "kept")
    remove(tmp_path / "t")
    remove(tmp_path / "top")
    assert (tmp_path / "kept" / "file").read_text() == "kept"
    remove(tmp_path / "absent")
    remove(tmp_path / "absent" / "too")


@pytest.mark.parametrize("path", ["t/../kept", "../kept", "t/..", "t/.", "t/"])
def test_a_path_that_climbs_is_not_removed(tmp_path: Path, path: str) -> None:
    (tmp_path / "in" / "t").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    with pytest.raises(OSError) as caught:
        remove(f"{tmp_path}/in/{path}")
    assert caught.value.errno == errno.EINVAL
    assert (tmp_path / "kept").is_dir()
    assert (tmp_path / "in" / "t").is_dir()


def test_paths_stay_in_the_root(tmp_path: Path, root: Root) -> None:
    (tmp_path / "secret").write_text("host")
    base = tmp_path / "root"
    (base / "up").symlink_to("../secret")
    (base / "abs").symlink_to(tmp_path)
    (base / "in").symlink_to("/a/b")
    (base / "loop").symlink_to("loop")
    for path in ("up", "/up", "../secret", "abs/secret", "a/../../secret"):
        assert root.stat(path) is None
        assert root.read(path, 100) is None
    fd = root.make_directories("in/c")
    os.close(fd)
    assert (base / "a" / "b" / "c").is_dir()
    (base / "a" / "file").write_text("inside")
    (base / "to-file").symlink_to("/a/file")
    (base / "out").symlink_to("/..")
    assert root.read_text("/to-file") == root.read_text("/out/a/file") == "inside"
    assert root.stat("/out/secret") is None
    with pytest.raises(OSError) as caught:
        root.canonical("loop/x")
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError) as caught:
        root.exact("in/c")
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError) as caught:
        root.open("a\0b")
    assert caught.value.errno == errno.EINVAL


def test_a_dangling_link_leads_to_where_its_target_would_be(tmp_path: Path, root: Root) -> None:
    base = tmp_path / "root"
    (base / "var").mkdir()
    (base / "var" / "run").symlink_to("/run/../srv")
    (base / "etc").symlink_to("../../gone")
    assert root.canonical("/var/run/x") == "/srv/x"
    assert root.canonical("etc/hosts") == "/gone/hosts"
    os.close(root.make_file("etc/hosts"))
    os.close(root.make_directories("/var/run/x", 0o711, (7, 8)))
    assert (base / "gone" / "hosts").is_file()
    info = (base / "srv" / "x").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o711, 7, 8)


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "up", "abs", "loop", "rel"]), max_size=8).map("/".join))
@settings(max_examples=60, deadline=None)
def test_canonical_agrees_with_the_kernel(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    base = tmp_path_factory.mktemp("r")
    (base / "a" / "b").mkdir(parents=True)
    (base / "b").mkdir()
    (base / "up").symlink_to("../../a")
    (base / "abs").symlink_to("/b")
    (base / "a" / "rel").symlink_to("../b/../a")
    (base / "loop").symlink_to("loop")
    with Root.at(base) as root:
        info = root.stat(path)
        if info is None:
            return
        exact = root.exact(root.canonical(path))
        assert os.fstat(exact).st_ino == info.st_ino
        os.close(exact)


def test_neither_a_fifo_nor_a_device_is_opened(tmp_path: Path, root: Root) -> None:
    os.mkfifo(tmp_path / "root" / "fifo")
    os.mknod(tmp_path / "root" / "node", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    for name in ("fifo", "node"):
        assert root.read(name, 10) is None
        with pytest.raises(OSError, match="not a regular file"):
            open_file(root.fd, name)
    with tarfile.open(fileobj=io.BytesIO(b"".join(write_tree(root.fd)))) as tar:
        assert [(m.name, m.type) for m in tar] == [("fifo", tarfile.FIFOTYPE), ("node", tarfile.CHRTYPE)]


def test_a_directory_that_is_swapped_for_a_link_leads_nobody_out(tmp_path: Path, root: Root) -> None:
    """Somebody swaps `dir` with a link to the host all the while; no walk, archive or removal may meet the host."""
    base, host = tmp_path / "root", tmp_path / "host"
    host.mkdir()
    (host / "secret").write_text("host")
    (base / "dir").mkdir()
    (base / "dir" / "own").write_text("own")
    (base / "link").symlink_to(host)
    with swapping(base / "dir", base / "link"):
        for _ in range(300):
            assert b"secret" not in b"".join(write_tree(root.fd))
            assert "secret" not in [e.name for e in walk(root.fd)]
            assert root.read("dir/secret", 10) is None
            with contextlib.suppress(OSError):
                set_mode(root.fd, "dir", 0o751)
            with contextlib.suppress(OSError):
                Extractor(root, "/").extract(io.BytesIO(archive(("dir/new", b"x"))))
    assert os.listdir(host) == ["secret"]
    assert stat.S_IMODE(host.stat().st_mode) != 0o751


def archive(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_a_walk_notices_when_it_is_moved(tmp_path: Path) -> None:
    make_deep(tmp_path / "t", 200)
    with Root.at(tmp_path / "t") as top:
        # Its way back leads to another parent, from where it would see what it was not asked for.
        with pytest.raises(OSError) as caught:
            for entry in walk(top.fd):
                if entry.depth == 150:
                    os.rename(tmp_path / "t" / "d" / "d" / "d" / "d", tmp_path / "moved")
    assert caught.value.errno == errno.ESTALE


def test_a_layer_bears_its_deletions(tmp_path: Path, root: Root) -> None:
    base = tmp_path / "root"
    os.mknod(base / "gone", stat.S_IFCHR, os.makedev(0, 0))
    (base / "new").mkdir()
    os.setxattr(base / "new", "trusted.overlay.opaque", b"y")
    os.setxattr(base / "new", "user.mine", b"\xff\x00")
    (base / "new" / "one").write_text("x")
    os.link(base / "new" / "one", base / "new" / "two")
    with tarfile.open(fileobj=io.BytesIO(b"".join(write_layer(root.fd)))) as tar:
        members = {m.name: m for m in tar}
    assert list(members) == [".wh.gone", "new", "new/.wh..wh..opq", "new/one", "new/two"]
    assert members["new/two"].linkname == "new/one"
    assert members["new"].pax_headers["SCHILY.xattr.user.mine"] == "\udcff\0"


def test_what_is_packed_is_unpacked(tmp_path: Path, root: Root) -> None:
    base = tmp_path / "root"
    (base / "from" / "sub").mkdir(parents=True, mode=0o750)
    (base / "from" / "sub" / "set").write_bytes(b"x" * 5000)
    os.chown(base / "from" / "sub" / "set", 12, 34)
    os.chmod(base / "from" / "sub" / "set", 0o6755)
    os.link(base / "from" / "sub" / "set", base / "from" / "twin")
    os.setxattr(base / "from" / "twin", "user.mine", b"yes")
    (base / "from" / "link").symlink_to("/etc/passwd")
    os.mkfifo(base / "from" / "fifo")
    os.utime(base / "from" / "sub", ns=(1, 1234567890123456789))
    (base / "to").mkdir()
    Extractor(root, "/to", owners=True).extract(io.BytesIO(b"".join(write_entry(root.fd, "from", "copy"))))
    copied = base / "to" / "copy"
    info = (copied / "sub" / "set").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_size) == (0o6755, 12, 34, 5000)
    assert (copied / "twin").stat().st_ino == info.st_ino
    assert os.getxattr(copied / "sub" / "set", "user.mine") == b"yes"
    assert os.readlink(copied / "link") == "/etc/passwd"
    assert stat.S_ISFIFO((copied / "fifo").lstat().st_mode)
    assert (copied / "sub").stat().st_mtime_ns == 1234567890123456789


def test_emptying_keeps_the_directory(tmp_path: Path) -> None:
    make_deep(tmp_path / "t", 5)
    fd = os.open(tmp_path / "t", os.O_RDONLY)
    empty(fd)
    os.close(fd)
    assert os.listdir(tmp_path / "t") == []


def test_removal_goes_on_past_what_cannot_go(tmp_path: Path) -> None:
    make_deep(tmp_path / "t", 200)
    stuck = tmp_path / "t" / "a" / "stuck"
    stuck.parent.mkdir()
    stuck.touch()
    (stuck.parent / "other").touch()
    with immutable(stuck):
        with pytest.raises(PermissionError):
            remove(tmp_path / "t")
        assert os.listdir(tmp_path / "t") == ["a"]
        assert os.listdir(stuck.parent) == ["stuck"]
    remove(tmp_path / "t")
    assert not (tmp_path / "t").exists()
