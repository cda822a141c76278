"""Uploads of `cp` on the client's side: what docker cp sends where. The daemon is a table of paths."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness import copying
from tests.harness.copying import Run
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy import errors
from argosy.cli.copying.tarstream import members
from argosy.v1 import containers_pb2 as pb

fake = copying.fake
run = copying.run


THERE: dict[str, tuple[int, str]] = {
    "/": (stat.S_IFDIR, ""), "/d": (stat.S_IFDIR, ""), "/f": (stat.S_IFREG, ""), "/to-d": (stat.S_IFLNK, "d"),
    "/to-f": (stat.S_IFLNK, "/f"), "/to-new": (stat.S_IFLNK, "d/new"), "/loop": (stat.S_IFLNK, "loop"),
    "/dev": (stat.S_IFCHR, ""), "/far": (stat.S_IFLNK, "to-f"),
}  # fmt: skip

UP: list[tuple[str, str, tuple[str, list[str]] | str]] = [
    ("dir", "/d", ("/d", ["dir/", "dir/f", "dir/sub/", "dir/sub/g"])),
    ("dir/", "/d/", ("/d", ["dir/", "dir/f", "dir/sub/", "dir/sub/g"])),
    ("dir/.", "/d", ("/d", ["f", "sub/", "sub/g"])),
    (".", "/d", ("/d", ["dir/", "dir/f", "dir/sub/", "dir/sub/g", "to-dir", "to-f", "plain"])),
    ("dir/sub/..", "/d", ("/d", ["dir/", "dir/f", "dir/sub/", "dir/sub/g"])),
    ("dir", "/new", ("/", ["new/", "new/f", "new/sub/", "new/sub/g"])),
    ("dir", "/new/", ("/", ["new/", "new/f", "new/sub/", "new/sub/g"])),
    ("dir/.", "/d/new", ("/d", ["new/", "new/f", "new/sub/", "new/sub/g"])),
    ("dir", "new", ("/", ["new/", "new/f", "new/sub/", "new/sub/g"])),
    ("dir", "/new/.", "does not exist"),
    ("dir", "/f", "cannot copy directory to file"),
    ("dir", "/to-d", ("/d", ["dir/", "dir/f", "dir/sub/", "dir/sub/g"])),
    ("dir", "/to-new", ("/d", ["new/", "new/f", "new/sub/", "new/sub/g"])),
    ("plain", "/d", ("/d", ["plain"])),
    ("plain", "/d/new", ("/d", ["new"])),
    ("plain", "/f", ("/", ["f"])),
    ("plain", "/to-f", ("/", ["f"])),
    ("plain", "/far", ("/", ["f"])),
    ("plain", "/to-new", ("/d", ["new"])),
    ("plain", "/loop", "too many symbolic links"),
    ("plain", "/dev", "must be a directory or a regular file"),
    ("plain", "/new/", "does not exist"),
    ("plain", "/", ("/", ["plain"])),
    ("plain", "/..", ("/", ["plain"])),
    ("plain/", "/d", "plain"),
    ("plain/.", "/d", "plain"),
    ("missing", "/d", "no such file"),
    ("to-f", "/d", ("/d", ["to-f"])),
    ("to-dir", "/d", ("/d", ["to-dir"])),
    ("to-dir/", "/d", ("/d", ["to-dir/", "to-dir/f", "to-dir/sub/", "to-dir/sub/g"])),
    ("to-dir/.", "/d", ("/d", ["f", "sub/", "sub/g"])),
    ("-L to-dir", "/d", ("/d", ["to-dir/", "to-dir/f", "to-dir/sub/", "to-dir/sub/g"])),
    ("-L to-f", "/d", ("/d", ["to-f"])),
]


@pytest.fixture
def uploads(fake: FakeDaemon) -> list[tuple[pb.CopyInStart, bytes]]:
    """What the daemon was sent."""
    found: list[tuple[pb.CopyInStart, bytes]] = []

    def look(request: Any, context: Any) -> Iterator[pb.CopyOutResponse]:
        path = os.path.normpath(request.path)
        if path not in THERE:
            raise errors.NotFound("no such path", kind="path")
        mode, link = THERE[path]
        if mode == stat.S_IFLNK and request.follow_link:
            mode, link = stat.S_IFDIR, ""
        yield pb.CopyOutResponse(stat=pb.PathStat(mode=mode | 0o755, link_target=link, is_dir=mode == stat.S_IFDIR))

    def copy_in(requests: Any, context: Any) -> pb.CopyInResponse:
        start = next(requests).start
        found.append((start, b"".join(r.data for r in requests)))
        return pb.CopyInResponse()

    fake.on("Containers/CopyOut", look)
    fake.on("Containers/CopyIn", copy_in)
    return found


@pytest.mark.parametrize(("source", "target", "expected"), UP)
def test_what_an_upload_puts_where(
    source: str, target: str, expected: tuple[str, list[str]] | str, uploads: list[Any], run: Run
) -> None:
    os.makedirs("dir/sub")
    for name in ("dir/f", "dir/sub/g", "plain"):
        Path(name).write_text(name)
    os.symlink("dir", "to-dir")
    os.symlink("dir/f", "to-f")
    code, err = run(*source.split(), f"C:{target}")
    if isinstance(expected, str):
        assert (code, expected in err, err.count("\n"), uploads) == (1, True, 1, [])
        return
    assert (code, err) == (0, "")
    [(start, archive)] = uploads
    found = [m.name.decode() for m in members(iter([archive]))]
    assert (start.path, sorted(found), start.no_overwrite_dir) == (expected[0], sorted(expected[1]), True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as foreign:
        assert [info.name + "/" * info.isdir() for info in foreign] == found


def test_an_upload_keeps_modes_links_and_owners(uploads: list[Any], run: Run) -> None:
    os.makedirs("dir")
    Path("dir/tool").write_text("x")
    if not os.geteuid():
        os.chown("dir/tool", 1234, 3_000_000)
    os.chmod("dir/tool", 0o4755)
    os.link("dir/tool", "dir/twin")
    os.symlink("tool", "dir/zlink")
    os.mkfifo("dir/pipe", 0o600)
    Path("dir/" + "n" * 200).write_text("long")
    assert run("dir", "C:/d") == (0, "")
    assert run("-a", "dir", "C:/d") == (0, "")
    for start, archive in uploads:
        with tarfile.open(fileobj=io.BytesIO(archive)) as foreign:
            tool, twin = foreign.getmember("dir/tool"), foreign.getmember("dir/twin")
            assert (tool.mode, twin.linkname) == (0o4755, "dir/tool")
            assert foreign.getmember("dir/zlink").linkname == "tool"
            assert foreign.getmember("dir/pipe").isfifo()
            assert foreign.extractfile("dir/" + "n" * 200).read() == b"long"  # type: ignore[union-attr]
            if not os.geteuid():
                assert (tool.uid, tool.gid) == ((1234, 3_000_000) if start.archive else (0, 0))


def test_a_stream_goes_to_a_directory_alone(uploads: list[Any], run: Run, tmp_path: Path) -> None:
    for target in ("/f", "/new"):
        code, err = run("-", f"C:{target}")
        assert (code, "must be a directory" in err) == (1, True)
    assert run("C:", "x") == (1, "argosy: a path is missing: use CONTAINER:PATH\n")
    assert run("x", "C:")[0] == 1
