"""`cp` from end to end: the command line, a real daemon, a real container."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.harness.daemon import Daemon
from tests.harness.fixtures import serving
from tests.harness.trees import describe

Copy = Callable[..., tuple[int, str]]

MADE = """
mkdir -p /one/sub/inner /bin /full/d/x /target/old && echo f >/one/sub/inner/f && echo g >/one/sub/g && ln -s sub /one/link
ln -s /one/sub/g /one/to-g && ln -s nowhere /one/dangling && ln -s / /one/root && ln -s ../../../../../../etc /one/climb
ln /one/sub/g /one/twin && mkfifo /one/pipe && echo file >/file && chown 1000:1000 /one/sub/g && chmod 6755 /one/sub/g
p=/deep; i=0; while [ $i -lt 1500 ]; do p=$p/d; i=$((i+1)); done; mkdir -p $p && echo bottom >$p/f
echo old >/target/old/f; ln -s /target/old /target/to-old; ln -s old/f /target/to-f; ln -s made /target/to-made
exec sleep 1000
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with serving(Daemon(label="cp")) as made:
        line = ["run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", MADE]
        made.argosy(*line, check=True)
        script = "while [ ! -h /target/to-made ]; do sleep 0.05; done"
        made.argosy("exec", "box", "sh", "-c", script, check=True)
        yield made
        made.argosy("rm", "-f", "box", check=True)


@pytest.fixture
def cp(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copy:
    monkeypatch.chdir(tmp_path)

    def call(*line: str) -> tuple[int, str]:
        done = daemon.argosy("cp", *line)
        return done.returncode, done.stderr.decode()

    return call


DOWN: list[tuple[str, str, dict[str, str]]] = [
    ("/one/sub", "old", {"old/sub/inner/f": "f", "old/sub/g": "g"}),
    ("/one/sub", "new", {"new/inner/f": "f", "new/g": "g"}),
    ("/one/sub/.", "old", {"old/inner/f": "f", "old/g": "g"}),
    ("/one/sub/.", "new", {"new/inner/f": "f", "new/g": "g"}),
    ("/one/sub/inner/..", "old", {"old/sub/inner/f": "f"}),
    ("one/sub/inner", "old", {"old/inner/f": "f"}),
    ("/", "old", {"old/file": "file", "old/one/sub/g": "g"}),
    ("/.", "new", {"new/file": "file", "new/one/sub/g": "g"}),
    ("/..", "old", {"old/file": "file"}),
    ("/bin/..", "new", {"new/file": "file"}),
    ("/one/link", "old", {}),
    ("/one/link/", "old", {"old/link/g": "g", "old/link/inner/f": "f"}),
    ("/one/link/.", "old", {"old/g": "g", "old/inner/f": "f"}),
    ("/one/root/one/sub/g", "new", {"new": "g"}),
    ("-L /one/link", "new", {"new/g": "g"}),
    ("-L /one/to-g", ".", {"to-g": "g"}),
    ("/file", ".", {"file": "file"}),
    ("/file", "old/x", {"old/x": "file"}),
    ("/deep", "new", {"new" + "/d" * 1500 + "/f": "bottom"}),
]


@pytest.mark.parametrize(("source", "target", "expected"), DOWN)
def test_downloads(source: str, target: str, expected: dict[str, str], cp: Copy) -> None:
    os.mkdir("old")
    *options, path = source.split()
    assert cp(*options, f"box:{path}", target) == (0, "")
    for name, text in expected.items():
        assert Path(name).read_text() == text + "\n"
    if source == "/one/link":
        assert os.readlink("old/link") == "sub"
    assert set(os.listdir()) <= {"old", "new", *(name.split("/")[0] for name in expected)}


def test_nothing_of_this_host_moves(cp: Copy) -> None:
    before = {path: os.stat(path).st_ino for path in ("/etc", "/bin", "/root", "/tmp")}
    for path in ("/", "/.", "/..", "/bin/..", "/../."):
        assert cp(f"box:{path}", "new") == (0, "")
    assert {path: os.stat(path).st_ino for path in before} == before
    assert Path("new/one/sub/g").read_text() == "g\n"


def test_a_tree_arrives_as_it_is(cp: Copy, daemon: Daemon) -> None:
    assert cp("-a", "box:/one", "first") == (0, "")
    found = describe(Path("first"), times=False)
    assert found["sub/g"]["mode"] == oct(stat.S_IFREG | 0o6755)
    assert (found["sub/g"]["owner"], found["twin"]["same as"]) == ((1000, 1000), "sub/g") or found["sub/g"][
        "same as"
    ] == "twin"
    assert (found["climb"]["target"], found["pipe"]["mode"]) == ("../../../../../../etc", oct(stat.S_IFIFO | 0o644))
    assert cp("-a", "first", "box:/second") == (0, "")
    assert cp("-a", "box:/second", "third") == (0, "")
    assert describe(Path("third"), times=False) == found
    assert cp("box:/one", "plain") == (0, "")
    assert stat.S_IMODE(os.stat("plain/sub/g").st_mode) == 0o755
    assert os.stat("plain/sub/g").st_uid == os.getuid()


UP: list[tuple[str, str, dict[str, str]]] = [
    ("dir", "/up/a", {"/up/a/f": "f", "/up/a/sub/g": "g"}),
    ("dir", "/up", {"/up/dir/f": "f", "/up/dir/sub/g": "g"}),
    ("dir/.", "/up", {"/up/f": "f", "/up/sub/g": "g"}),
    ("dir/.", "/up/b", {"/up/b/f": "f"}),
    (".", "/up/c", {"/up/c/dir/f": "f"}),
    ("dir/sub/..", "/up", {"/up/dir/f": "f"}),
    ("dir/f", "/up/renamed", {"/up/renamed": "f"}),
    ("dir/f", "/up/", {"/up/f": "f"}),
    ("link/", "/up", {"/up/link/f": "f"}),
    ("-L link", "/up/d", {"/up/d/f": "f"}),
    ("dir/f", "/target/to-old", {"/target/old/f": "f"}),
    ("dir/sub/g", "/target/to-f", {"/target/old/f": "g"}),
    ("dir/f", "/target/to-made", {"/target/made": "f"}),
    ("deep", "/up/deep", {}),
]


@pytest.mark.parametrize(("source", "target", "expected"), UP)
def test_uploads(source: str, target: str, expected: dict[str, str], cp: Copy, daemon: Daemon) -> None:
    daemon.argosy("exec", "box", "sh", "-c", "rm -rf /up; mkdir /up", check=True)
    os.makedirs("dir/sub")
    Path("dir/f").write_text("f\n")
    Path("dir/sub/g").write_text("g\n")
    os.symlink("dir", "link")
    deep = "deep" + "/d" * 1500
    subprocess.run(["mkdir", "-p", deep], check=True)
    Path(deep, "f").write_text("bottom\n")
    *options, path = source.split()
    assert cp(*options, path, f"box:{target}") == (0, "")
    if source == "deep":
        expected = {"/up/" + deep + "/f": "bottom"}
    for name, text in expected.items():
        assert daemon.argosy("exec", "box", "cat", name).stdout.decode() == text + "\n"


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("box:/none", ".", "Could not find the file /none"),
        ("box:/file/", ".", "is not a directory"),
        ("box:/one", "/dev/null", "must be a directory or a regular file"),
        ("box:/one", "plain", "cannot copy directory to file"),
        ("box:/one", "no/new", "does not exist"),
        ("none", "box:/", "no such file"),
        ("plain", "box:/none/", "does not exist"),
        ("plain", "box:/none/new", "Could not find the file /none"),
        ("dir", "box:/file", "cannot copy directory to file"),
        ("plain", "box:/dev/null", "must be a directory or a regular file"),
        ("x", "box:/full", "cannot overwrite"),
        ("plain", "D:/x", "No such container"),
        ("D:/x", ".", "No such container"),
    ],
)
def test_what_cannot_be_copied_is_one_line(source: str, target: str, words: str, cp: Copy) -> None:
    Path("plain").touch()
    os.makedirs("dir/x")
    # In the container /full/d/x is a directory.
    os.makedirs("x")
    Path("x/d").touch()
    code, err = cp("x/." if source == "x" else source, target)
    assert (code, err.count("\n")) == (1, 1), err
    assert words in err
