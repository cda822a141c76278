"""`cp` on the client's side: what docker cp puts where, and a daemon that means ill and gets nothing for it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness import foreign_wire
from tests.harness.trees import describe
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy import cli, errors
from argosy.cli.copying import tarstream
from argosy.cli.copying.descent import FOLDER, Descent
from argosy.cli.copying.pack import pack
from argosy.cli.copying.tarstream import BrokenArchive, members
from argosy.cli.copying.unpack import unpack
from argosy.v1 import containers_pb2 as pb

Entry = tuple[str, bytes, Any]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """Listens at ARGOSY_HOST; the working directory is `here`, beside `secret`."""
    monkeypatch.setenv("ARGOSY_HOST", f"unix://{tmp_path}/s")
    monkeypatch.setenv("ARGOSY_CONFIG", str(tmp_path / "config"))
    (tmp_path / "here").mkdir()
    (tmp_path / "secret").write_text("secret")
    monkeypatch.chdir(tmp_path / "here")
    with FakeDaemon().listening(f"unix:{tmp_path}/s", (pb, "Containers")) as found:
        yield found


@pytest.fixture
def run(fake: FakeDaemon, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*line: str) -> tuple[int, str]:
        code = cli.run(["cp", *line])
        return code, capfd.readouterr().err

    return call


def tar(*entries: Entry) -> bytes:
    """An archive of (name, type, content or link or attributes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, kind, value in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, 0o755 if kind == tarfile.DIRTYPE else 0o644, 1_000_000_000
            content = b""
            if isinstance(value, dict):
                for key, found in value.items():
                    setattr(info, key, found)
            elif kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = value
            elif value is not None:
                content = value.encode()
                info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


D, F, S, L = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def says(fake: FakeDaemon, archive: bytes, is_dir: bool, mode: int = 0, name: str = "") -> None:
    """What the daemon answers to any CopyOut."""
    mode = mode or (stat.S_IFDIR | 0o755 if is_dir else stat.S_IFREG | 0o644)
    found = pb.PathStat(name=name, is_dir=is_dir, mode=mode)

    def copy_out(request: Any, context: Any) -> Iterator[pb.CopyOutResponse]:
        yield pb.CopyOutResponse(stat=found)
        for at in range(0, len(archive), 100_000):
            yield pb.CopyOutResponse(data=archive[at : at + 100_000])

    fake.on("Containers/CopyOut", copy_out)


TREE = tar(("dir", D, None), ("dir/f", F, "1"), ("dir/sub", D, None), ("dir/sub/g", F, "2"))
ROOT = tar((".", D, None), ("f", F, "1"), ("sub", D, None), ("sub/g", F, "2"))
FILE = tar(("f", F, "1"))

# What is asked for, is it a directory, the destination, what is there afterwards, what the daemon is asked for. The
# working directory holds `old/f` and `plain`. A result that is text is the error's.
DOWN: list[tuple[str, bool, str, dict[str, str] | str, str]] = [
    # An existing directory takes the tree as itself, or its content for "/." and the root.
    ("/dir", True, "old", {"old/dir/f": "1", "old/dir/sub/g": "2", "old/f": "old"}, "/dir"),
    ("/dir/", True, "old", {"old/dir/f": "1", "old/dir/sub/g": "2", "old/f": "old"}, "/dir/"),
    ("dir", True, "old/", {"old/dir/f": "1", "old/dir/sub/g": "2", "old/f": "old"}, "/dir"),
    ("/dir/.", True, "old", {"old/f": "1", "old/sub/g": "2"}, "/dir/."),
    ("/dir/.", True, "old/.", {"old/f": "1", "old/sub/g": "2"}, "/dir/."),
    ("/dir/./", True, "old", {"old/f": "1", "old/sub/g": "2"}, "/dir/."),
    ("/dir/sub/..", True, "old", {"old/dir/f": "1", "old/dir/sub/g": "2", "old/f": "old"}, "/dir"),
    ("/x/../dir", True, "old", {"old/dir/f": "1", "old/dir/sub/g": "2", "old/f": "old"}, "/dir"),
    ("/../../dir", True, "old", {"old/dir/f": "1", "old/dir/sub/g": "2", "old/f": "old"}, "/dir"),
    # One that is missing becomes the tree.
    ("/dir", True, "new", {"new/f": "1", "new/sub/g": "2"}, "/dir"),
    ("/dir", True, "new/", {"new/f": "1", "new/sub/g": "2"}, "/dir"),
    ("/dir/.", True, "new", {"new/f": "1", "new/sub/g": "2"}, "/dir/."),
    ("/dir", True, "new/.", "new does not exist", "/dir"),
    ("/dir", True, "no/new", "/no does not exist", ""),
    ("/dir", True, "plain", "cannot copy directory to file", "/dir"),
    ("/dir", True, "plain/", "cannot copy directory to file", "/dir"),
    # The root, by any name, is what is in it.
    ("/", True, "old", {"old/f": "1", "old/sub/g": "2"}, "/"),
    ("/.", True, "old", {"old/f": "1", "old/sub/g": "2"}, "/"),
    ("/..", True, "old", {"old/f": "1", "old/sub/g": "2"}, "/"),
    ("/bin/..", True, "old", {"old/f": "1", "old/sub/g": "2"}, "/"),
    ("/../.", True, "old", {"old/f": "1", "old/sub/g": "2"}, "/"),
    (".", True, "old", {"old/f": "1", "old/sub/g": "2"}, "/"),
    ("/", True, "new", {"new/f": "1", "new/sub/g": "2"}, "/"),
    # Files.
    ("/d/f", False, "old", {"old/f": "1"}, "/d/f"),
    ("/d/f", False, "new", {"new": "1"}, "/d/f"),
    ("/d/f", False, "plain", {"plain": "1"}, "/d/f"),
    ("/d/f", False, "./plain", {"plain": "1"}, "/d/f"),
    ("/d/f", False, "new/", "new does not exist", "/d/f"),
    ("/d/f", False, "old/new", {"old/new": "1"}, "/d/f"),
    ("/d/f", False, ".", {"f": "1"}, "/d/f"),
    ("/d/f", False, "..", {"../f": "1"}, "/d/f"),
    ("/d/f/", False, "old", "is not a directory", "/d/f/"),
    ("/d/f/.", False, "old", "is not a directory", "/d/f/."),
    ("/d/f", False, "/dev/null", "must be a directory or a regular file", ""),
    # A link to a destination leads to it.
    ("/d/f", False, "to-plain", {"plain": "1"}, "/d/f"),
    ("/d/f", False, "to-old", {"old/f": "1"}, "/d/f"),
    ("/d/f", False, "to-new", {"new": "1"}, "/d/f"),
    ("/dir", True, "to-old", {"old/dir/f": "1"}, "/dir"),
    ("/dir", True, "to-new", {"new/f": "1"}, "/dir"),
    ("/d/f", False, "to-itself", "symbolic links", ""),
]


@pytest.mark.parametrize(("source", "is_dir", "target", "expected", "asked"), DOWN)
def test_what_a_download_puts_where(
    source: str, is_dir: bool, target: str, expected: dict[str, str] | str, asked: str, fake: FakeDaemon, run: Run
) -> None:
    held = {"old/f": "old", "plain": "old"}
    os.mkdir("old")
    for name, text in held.items():
        Path(name).write_text(text)
    for link in ("to-plain", "to-old", "to-new", "to-itself"):
        os.symlink(link.removeprefix("to-") if link != "to-itself" else link, link)
    says(fake, (ROOT if asked == "/" else TREE) if is_dir else FILE, is_dir, name="../../../../evil")
    code, err = run(f"C:{source}", target)
    if isinstance(expected, str):
        assert (code, expected in err, err.count("\n")) == (1, True, 1), err
        expected = {}
    else:
        assert (code, err) == (0, "")
    for name, text in {**held, **expected}.items():
        assert Path(name).read_text() == text
    requests = fake.requests("Containers/CopyOut")
    assert [r.path for r in requests] == ([asked] if asked else [])
    known = {"old", "plain", "to-plain", "to-old", "to-new", "to-itself", *(n.split("/")[0] for n in expected)}
    assert set(os.listdir()) <= known


def test_a_daemon_that_calls_the_content_a_dot(fake: FakeDaemon, run: Run) -> None:
    """Either way of naming a directory's entries arrives alike."""
    says(fake, tar(("./", D, None), ("./f", F, "1")), True)
    assert run("C:/dir/.", ".") == (0, "")
    assert run("C:/dir", "new") == (0, "")
    assert (Path("f").read_text(), Path("new/f").read_text()) == ("1", "1")


EVIL: dict[str, tuple[bytes, bool]] = {
    "a name that climbs": (tar(("dir", D, None), ("dir/../../secret", F, "evil")), True),
    "a first name that climbs": (tar(("..", D, None), ("../secret", F, "evil")), True),
    "another first name that climbs": (tar(("../secret", F, "evil")), False),
    "an absolute name": (tar(("dir", D, None), ("/secret", F, "evil")), True),
    "an absolute first name": (tar(("/etc/passwd", F, "evil")), False),
    "a name of another tree": (tar(("dir", D, None), ("other/f", F, "evil")), True),
    "a file behind a link of its own": (
        tar(("dir", D, None), ("dir/l", S, "../.."), ("dir/l/secret", F, "evil")), True,
    ),
    "a file through a link of its own": (
        tar(("dir", D, None), ("dir/l", S, "../../secret"), ("dir/l", F, "evil")), True,
    ),
    "a directory in a link's place": (
        tar(("dir", D, None), ("dir/l", S, "../.."), ("dir/l", D, {"mode": 0o777})), True,
    ),
    "a hard link that climbs": (tar(("dir", D, None), ("dir/l", L, "dir/../../secret")), True),
    "an absolute hard link": (tar(("dir", D, None), ("dir/l", L, "/etc/passwd")), True),
    "a hard link behind a link": (
        tar(("dir", D, None), ("dir/s", S, "../.."), ("dir/l", L, "dir/s/secret"), ("dir/l", F, "evil")), True,
    ),
    "a hard link through a link": (
        tar(("dir", D, None), ("dir/s", S, "../../secret"), ("dir/l", L, "dir/s"), ("dir/l", F, "evil")), True,
    ),
    "a tree that was called a file": (tar(("f", D, None), ("f/x", F, "evil")), False),
    "a file that was called a tree": (tar(("dir", F, "evil")), True),
    "two files for one": (tar(("f", F, "1"), ("f", F, "2")), False),
    "a link and a file for one": (tar(("f", S, "../secret"), ("f", F, "evil")), False),
    "a file behind a file": (tar(("f", F, "1"), ("f/x", F, "evil")), False),
    "nothing": (bytes(1024), True),
    "no archive": (b"x" * 2048, True),
    "half an archive": (TREE[:700], True),
    "a name with a zero byte": (tar(("dir", D, None), ("dir/n", F, {"pax_headers": {"path": "dir/a\0b"}})), True),
}  # fmt: skip


@pytest.mark.parametrize("target", ["old", "new", "old/."])
@pytest.mark.parametrize("kind", EVIL)
def test_a_daemon_that_means_ill_gets_nothing(kind: str, target: str, fake: FakeDaemon, run: Run) -> None:
    archive, is_dir = EVIL[kind]
    os.mkdir("old")
    says(fake, archive, is_dir, name="../secret")
    before = os.stat("../secret")
    code, err = run("C:/dir" if is_dir else "C:/f", target)
    if kind not in ("a file through a link of its own", "a hard link through a link"):
        # Those two replace links of the archive's own, and touch nothing else.
        assert (code, err.count("\n")) == (1, 1), err
    assert Path("../secret").read_text() == "secret"
    after = os.stat("../secret")
    assert (after.st_mode, after.st_nlink, after.st_ino) == (before.st_mode, before.st_nlink, before.st_ino)
    assert set(os.listdir("..")) == {"here", "secret", "s"}
    assert stat.S_IMODE(os.stat("..").st_mode) != 0o777
    assert set(os.listdir()) <= {"old", "new"}


def test_a_root_may_come_without_a_name_of_its_own(fake: FakeDaemon, run: Run) -> None:
    says(fake, tar(("f", F, "1"), ("sub/", D, None), ("sub/g", F, "2")), True)
    assert run("C:/", "new") == (0, "")
    assert (Path("new/f").read_text(), Path("new/sub/g").read_text()) == ("1", "2")
    says(fake, tar(("/", D, None), ("/f", F, "1"), ("/sub/g", F, "2")), True)
    assert run("C:/.", "newer") == (0, "")
    assert (Path("newer/f").read_text(), Path("newer/sub/g").read_text()) == ("1", "2")
    says(fake, tar((".", D, None), ("./../secret", F, "evil")), True)
    assert run("C:/", "new")[0] == 1
    assert Path("../secret").read_text() == "secret"


def test_links_that_were_there_are_not_followed(fake: FakeDaemon, run: Run) -> None:
    """A link below the destination, where the tree has a directory or a file."""
    os.makedirs("old/dir")
    os.symlink("../../..", "old/dir/sub")
    says(fake, TREE, True)
    code, err = run("C:/dir", "old")
    assert (code, "cannot overwrite non-directory sub with directory" in err) == (1, True)
    assert not Path("../g").exists()
    os.unlink("old/dir/sub")
    os.unlink("old/dir/f")
    os.symlink("../../../secret", "old/dir/f")
    assert run("C:/dir", "old") == (0, "")
    assert (Path("../secret").read_text(), Path("old/dir/f").is_symlink()) == ("secret", False)


def test_kinds_do_not_replace_one_another(fake: FakeDaemon, run: Run) -> None:
    os.makedirs("old/dir/f")
    says(fake, TREE, True)
    code, err = run("C:/dir", "old")
    assert (code, "cannot overwrite directory f with non-directory" in err) == (1, True)
    os.rmdir("old/dir/f")
    Path("old/dir/sub").write_text("file")
    code, err = run("C:/dir", "old")
    assert (code, "cannot overwrite non-directory sub with directory" in err) == (1, True)


def test_set_id_bits_and_owners_come_with_the_archive_mode_alone(fake: FakeDaemon, run: Run) -> None:
    entries = (
        ("dir", D, {"mode": 0o2750, "uid": 7, "gid": 8}),
        ("dir/tool", F, {"mode": 0o6755, "uid": 7, "gid": 8}),
        ("dir/sticky", D, {"mode": 0o1777}),
        ("dir/link", S, {"linkname": "tool", "uid": 7, "gid": 8}),
    )
    says(fake, tar(*entries), True)
    assert run("C:/dir", "plain") == (0, "")
    assert run("-a", "C:/dir", "archive") == (0, "")

    def look(name: str) -> tuple[int, int, int]:
        found = os.lstat(name)
        return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid

    me = (os.geteuid(), os.getegid())
    assert [look(f"plain/{n}") for n in ("", "tool", "sticky")] == [(0o750, *me), (0o755, *me), (0o1777, *me)]
    assert look("plain/link")[1:] == me
    assert os.stat("plain/tool").st_mtime == 1_000_000_000
    owner = (7, 8) if not me[0] else me
    assert [look(f"archive/{n}") for n in ("", "tool")] == [(0o2750, *owner), (0o6755, *owner)]
    assert look("archive/link")[1:] == owner


def test_devices_stay_away_and_pipes_come(fake: FakeDaemon, run: Run) -> None:
    entries = (("dir", D, None), ("dir/null", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3}))
    says(fake, tar(*entries, ("dir/pipe", tarfile.FIFOTYPE, None)), True)
    code, err = run("C:/dir", ".")
    assert (code, err) == (0, "left out, because it is a device: dir/null\n")
    assert os.listdir("dir") == ["pipe"]


def test_folders_nobody_may_write_are_filled_first(tmp_path: Path) -> None:
    archive = tar(("dir", D, {"mode": 0o555}), ("dir/sub", D, {"mode": 0}), ("dir/sub/f", F, "1"), ("dir/f", F, "2"))
    fd = os.open(tmp_path, FOLDER)
    unpack(iter([archive]), fd, b"dir", tree=True)
    os.close(fd)
    assert stat.S_IMODE(os.stat(tmp_path / "dir").st_mode) == 0o555
    assert stat.S_IMODE(os.stat(tmp_path / "dir/sub").st_mode) == 0
    assert os.stat(tmp_path / "dir").st_mtime == 1_000_000_000


def test_a_tree_of_1500_levels_comes_and_goes(tmp_path: Path) -> None:
    names = ["a" * 20] * 1500
    whole = [("dir", D, None)]
    for depth in range(1, 1501):
        whole.append(("/".join(["dir", *names[:depth]]), D, {"mode": 0o755 if depth % 2 else 0o750}))
    whole += [("/".join(["dir", *names, "deep"]), F, "deep"), ("dir/shallow", F, "shallow")]
    fd = os.open(tmp_path, FOLDER)
    unpack(iter([tar(*whole)]), fd, b"new", tree=True)
    assert (tmp_path / "new/shallow").read_text() == "shallow"
    again = b"".join(pack(fd, b"new", b"dir", False))
    found = {member.name.rstrip(b"/"): b"".join(member.content()) for member in members(iter([again]))}
    assert set(found) == {name.encode() for name, _, _ in whole}
    assert found[b"/".join([b"dir", *(n.encode() for n in names), b"deep"])] == b"deep"
    unpack(iter([again]), fd, b"new", tree=True)
    os.close(fd)


def test_a_walk_notices_a_directory_that_was_moved(tmp_path: Path) -> None:
    os.makedirs(tmp_path / "/".join("abcdefgh" * 10))
    top = os.open(tmp_path, FOLDER)
    walk = Descent(top)
    for name in "abcdefgh" * 10:
        walk.enter(os.open(name, FOLDER, dir_fd=walk.fd), name.encode())
    os.rename(tmp_path / "a/b/c", tmp_path / "c")
    with pytest.raises(OSError, match="moved"):
        while walk.depth:
            walk.leave()
    walk.close()
    os.close(top)


# From here on the other way: what goes up. The daemon's side is a table of paths.
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


def test_a_download_to_standard_output_is_the_daemons_stream(fake: FakeDaemon, capfdbinary: Any) -> None:
    says(fake, TREE, True)
    assert cli.run(["cp", "C:/dir", "-"]) == 0
    assert capfdbinary.readouterr().out == TREE
    assert tarstream.BLOCK == 512
