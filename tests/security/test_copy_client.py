"""Downloads of `cp` on the client's side: what docker cp puts where, and a daemon that means ill and gets nothing for it."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness import copying
from tests.harness.copying import D, F, L, Run, S, tar
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy import cli
from argosy.cli.copying import tarstream
from argosy.cli.copying.descent import FOLDER, Descent
from argosy.cli.copying.pack import pack
from argosy.cli.copying.tarstream import members
from argosy.cli.copying.unpack import unpack
from argosy.v1 import containers_pb2 as pb

fake = copying.fake
run = copying.run


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


def test_a_download_to_standard_output_is_the_daemons_stream(fake: FakeDaemon, capfdbinary: Any) -> None:
    says(fake, TREE, True)
    assert cli.run(["cp", "C:/dir", "-"]) == 0
    assert capfdbinary.readouterr().out == TREE
    assert tarstream.BLOCK == 512
