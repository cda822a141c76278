"""Rooms that touch trees of somebody else touch them by descriptor (tests/harness/house_rules.py has the rules)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.harness.house_rules import breaches

SERVER = Path(__file__).resolve().parents[2] / "server" / "argosyd"

ROOMS = (
    "build/*.py",
    "cluster/images.py",
    "containers/*.py",
    "images/layers.py", "images/tarindex.py", "images/taring.py", "images/tarscan.py", "images/unpack.py",
    "snapshots/*.py",
    "trees/*.py",
    "userns/*.py",
    "volumes/*.py",
)  # fmt: skip
"""What works on a root, an upper directory, a volume, a context, a layer or a cache, and the room they do it in."""


def modules() -> list[Path]:
    found: list[Path] = []
    for pattern in ROOMS:
        matching = sorted(SERVER.glob(pattern))
        assert matching, f"no module is {pattern} any more"
        found += matching
    return found


@pytest.mark.parametrize("module", modules(), ids=lambda m: str(m.relative_to(SERVER)))
def test_trees_are_touched_by_descriptor(module: Path) -> None:
    told = [f"{module.relative_to(SERVER)}:{b.line}: {b.why}" for b in breaches(module.read_text())]
    assert not told, "\n".join((*told, "open it below a Root (argosyd.trees), or say why it is ours with `# own: …`"))


@pytest.mark.parametrize(
    "line",
    [
        "shutil.rmtree(path)", "shutil.copyfile(a, b)", "shutil.move(a, b)", "os.walk(path)", "os.path.exists(path)",
        "open(path)", "open('/etc/passwd', 'rb')", "os.open(path, os.O_RDONLY)", "os.listdir(path)", "os.scandir(path)",
        "os.stat(path)", "os.lstat(path)", "os.mkdir(path)", "os.makedirs(path)", "os.unlink(path)", "os.rename(a, b)",
        "os.rename(a, b, src_dir_fd=d)", "os.link(a, b)", "os.symlink(a, b)", "os.chown(path, 0, 0)", "os.utime(path)",
        "os.chmod(path, 0)", "os.setxattr(path, 'user.a', b'')", "os.mknod(path)", "os.readlink(path)", "os.chdir(path)",
        "path.rglob('*')", "path.glob('*')", "path.iterdir()", "path.exists()", "path.is_dir()", "path.is_symlink()",
        "path.read_text()", "path.read_bytes()", "path.write_text('x')", "path.write_bytes(b'x')", "path.mkdir()",
        "path.mkdir(parents=True)", "path.unlink()", "path.unlink(missing_ok=True)", "path.rmdir()", "path.stat()",
        "path.touch()", "path.chmod(0o755)", "path.symlink_to(a)", "path.open('rb')", "(path / 'x').rename(a)",
        "path.resolve()", "path.readlink()", "tar.extractall(path)", "self.root.read_text()",
    ],
)  # fmt: skip
def test_paths_are_refused(line: str) -> None:
    source = f"def f(path, a, b, d: int):\n    {line}\n"
    assert [b.line for b in breaches(source)] == [2]
    assert breaches(source.replace(line, f"{line}  # own: made by us")) == []
    assert breaches(source.replace("int):", "int):  # own: made by us")) == []
    # A mark without a reason is none.
    assert breaches(source.replace(line, f"{line}  # own:")) != []


@pytest.mark.parametrize(
    "line",
    [
        "os.open(name, os.O_RDONLY, dir_fd=d)", "os.stat(name, dir_fd=d, follow_symlinks=False)", "os.listdir(d)",
        "os.scandir(d)", "os.chmod(handle(d), 0)", "os.chown(handle(d), 0, 0)", "os.utime(d)", "open(d, 'rb')",
        "os.open(handle(d), 0)", "os.rename(name, name, src_dir_fd=d, dst_dir_fd=d)", "os.mkdir(name, dir_fd=d)",
        "os.setxattr(handle(d, name), 'user.a', b'')", "os.listxattr(entry.directory)", "os.fchown(d, 0, 0)",
        "root.stat(name)", "root.open(name)", "root.read_text('/etc/passwd')", "copier.is_dir(name)", "walk(d)",
        "x = os.open(name, 0, dir_fd=d); os.listdir(x)", "y, x = x, root.exact(name); os.listdir(x)",
        "x = handle(d) if d else d; os.getxattr(x, 'user.a')", "entry.is_dir(follow_symlinks=False)", "g(name)",
        "os.path.join(name, name)", "shutil.which('tar')", "names.replace('a', 'b')",
    ],
)  # fmt: skip
def test_descriptors_are_let_through(line: str) -> None:
    assert breaches(f"def f(d: int, name, root):\n    {line}\n") == []


def test_what_is_awaited_is_no_path() -> None:
    assert breaches("async def f(s):\n    await s.exists()\n    await s.rename(1)\n") == []


def test_walks_are_loops() -> None:
    assert breaches("def walk(d):\n    for e in list_of(d):\n        yield from walk(e)\n") != []
    assert breaches("class A:\n    def walk(self, d):\n        self.walk(d)\n") != []
    assert breaches("def outer(d):\n    def inner():\n        outer(d)\n") != []
    # A method may call a function that has its name.
    assert breaches("class A:\n    def walk(self, d):\n        walk(d)\n") == []
