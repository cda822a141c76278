"""Images against a real registry: what others made arrives as they made it, and what is wrong is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.harness.daemon import REPOSITORY, Daemon, busybox_tar, python_path
from tests.harness.registry import Registry, make_layout
from tests.harness.trees import describe


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    made = Daemon(label="images")
    try:
        made.start()
        yield made
        assert made.left() == {}
    finally:
        made.close()


@pytest.fixture(scope="module")
def registry(daemon: Daemon) -> Iterator[Registry]:
    made = Registry(daemon)
    yield made
    made.close()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_layout(tmp_path_factory.mktemp("layout"))


def _content(daemon: Daemon) -> set[str]:
    return {str(p.relative_to(daemon.data_dir)) for p in (daemon.data_dir / "content").rglob("*") if p.is_file()}


def _fails(daemon: Daemon, *arguments: str) -> str:
    """One line on standard error, nothing on standard output, exit code 1."""
    result = daemon.argosy(*arguments)
    assert result.returncode == 1, result
    assert result.stdout == b""
    lines = [line for line in result.stderr.decode().splitlines() if line.startswith("argosy: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_pulled_tree_equals_what_umoci_unpacks(
    daemon: Daemon, registry: Registry, layout: Path, tmp_path: Path
) -> None:
    registry.put(layout, "v1", "tree:1")
    daemon.argosy("pull", f"{registry.host}/tree:1", check=True)
    subprocess.run(
        ["umoci", "unpack", "--image", f"{layout}:v1", str(tmp_path / "theirs")], check=True, capture_output=True
    )
    id = daemon.argosy("create", f"{registry.host}/tree:1", check=True).stdout.decode().strip()
    exported = tmp_path / "ours"
    exported.mkdir()
    data = daemon.argosy("export", id, check=True).stdout
    subprocess.run(
        ["tar", "-xp", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", str(exported)], input=data, check=True
    )
    daemon.argosy("rm", id, check=True)
    ours, theirs = describe(exported), describe(tmp_path / "theirs/rootfs")
    assert len(theirs) == 28
    assert sorted(ours) == sorted(theirs)
    assert ours == theirs


def test_a_second_pull_fetches_nothing(daemon: Daemon, registry: Registry, layout: Path) -> None:
    registry.put(layout, "v1", "again:1")
    first = daemon.argosy("pull", f"{registry.host}/again:1", check=True)
    second = daemon.argosy("pull", f"{registry.host}/again:1", check=True)
    assert b"Downloaded newer image" in first.stdout + first.stderr
    assert b"Image is up to date" in second.stdout + second.stderr


def test_push_and_what_skopeo_reads(daemon: Daemon, registry: Registry) -> None:
    daemon.argosy("import", "--change", 'CMD ["sh"]', "-", "local:1", stdin=busybox_tar(), check=True)
    daemon.argosy("tag", "local:1", f"{registry.host}/pushed:2", check=True)
    daemon.argosy("push", f"{registry.host}/pushed:2", check=True)
    seen = json.loads(registry.inspect("pushed:2"))
    assert (seen["Os"], len(seen["Layers"])) == ("linux", 1)
    daemon.argosy("rmi", f"{registry.host}/pushed:2", "local:1", check=True)
    daemon.argosy("pull", f"{registry.host}/pushed:2", check=True)
    result = daemon.argosy("run", "--rm", "--network", "none", f"{registry.host}/pushed:2", "echo", "back")
    assert result.stdout == b"back\n"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("{host}/nothing:1", "is not in registry"),
        ("{host}/known:none", "is not in registry"),
        ("127.0.0.1:5999/x", "cannot reach registry 127.0.0.1:5999"),
        ("Nope", "invalid reference format"),
        ("{host}/known@sha256:" + "0" * 64, "is not in registry"),
    ],
)
def test_what_cannot_be_pulled(daemon: Daemon, registry: Registry, layout: Path, reference: str, says: str) -> None:
    registry.put(layout, "v1", "known:1")
    before = _content(daemon)
    assert says in _fails(daemon, "pull", reference.format(host=registry.host))
    assert _content(daemon) == before


def test_credentials(daemon: Daemon, layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(daemon, 5001, user="ann", password="secret")
    try:
        registry.put(layout, "v1", "private:1")
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        assert "asks for a user name and password" in _fails(daemon, "pull", f"{registry.host}/private:1")
        for pair, fits in (("YW5uOndyb25n", False), ("YW5uOnNlY3JldA==", True)):
            (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": pair}}}))
            if fits:
                daemon.argosy("pull", f"{registry.host}/private:1", check=True)
            else:
                assert "user name or password is wrong" in _fails(daemon, "pull", f"{registry.host}/private:1")
    finally:
        registry.close()


def test_tokens(daemon: Daemon, layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that sends clients to a token service, as Docker Hub does: strangers pull, the user pushes too."""
    registry = Registry(daemon, 5003, user="ann", password="secret", tokens=5004)
    try:
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        registry.put(layout, "v1", "public:1")
        daemon.argosy("pull", f"{registry.host}/public:1", check=True)
        daemon.argosy("tag", f"{registry.host}/public:1", f"{registry.host}/mine:1", check=True)
        assert "refuses access" in _fails(daemon, "push", f"{registry.host}/mine:1")
        pair = {"auth": "YW5uOnNlY3JldA=="}
        (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: pair}}))
        daemon.argosy("push", f"{registry.host}/mine:1", check=True)
        assert json.loads(registry.inspect("mine:1"))["Os"] == "linux"
    finally:
        registry.close()


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [_flip, _truncate])
def test_a_blob_that_is_not_what_it_says(
    daemon: Daemon, registry: Registry, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    name = f"damaged{damage.__name__.replace('_', '-')}:1"
    layout = make_layout(tmp_path)
    registry.put(layout, "v1", name)
    layers = json.loads(registry.inspect(name))["Layers"]
    held = {p.rpartition("/")[2] for p in _content(daemon)}
    fresh = next(d for d in layers if d.removeprefix("sha256:") not in held)
    before = _content(daemon)
    damage(registry.blob(fresh))
    message = _fails(daemon, "pull", f"{registry.host}/{name}")
    assert fresh.removeprefix("sha256:")[:12] in message
    left = {p for p in _content(daemon) - before if "ingest" not in p}
    assert not any(fresh.removeprefix("sha256:") in p for p in left)
    assert name.encode() not in daemon.argosy("images").stdout


def test_a_full_disk_leaves_nothing(registry: Registry, layout: Path, tmp_path: Path) -> None:
    small = Daemon(label="full")
    small.data_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1600k", "tmpfs", str(small.data_dir)], check=True)
    try:
        small.start()
        local = Registry(small)
        try:
            local.put(layout, "v1", "big:1")
            assert "no space left" in _fails(small, "pull", f"{local.host}/big:1")
            assert small.argosy("images", "-q").stdout == b""
            snapshots = [p.name for p in (small.data_dir / "snapshots").iterdir()]
            assert snapshots == ["empty"]
        finally:
            local.close()
    finally:
        small.close()
        subprocess.run(["umount", "-l", str(small.data_dir)], check=False)
        shutil.rmtree(small.base, ignore_errors=True)


@contextmanager
def cutting(daemon: Daemon, target: int, limit: int, times: int) -> Iterator[subprocess.Popen[bytes]]:
    """A registry behind a line that breaks: on port 5002."""
    command = [sys.executable, str(REPOSITORY / "tests/harness/cutter.py"), "5002", str(target), str(limit), str(times)]
    with subprocess.Popen(["nsenter", f"--net=/run/netns/{daemon.name}", *command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"serving\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_download_that_breaks_off_goes_on(daemon: Daemon, registry: Registry, tmp_path: Path) -> None:
    registry.put(make_layout(tmp_path), "v1", "broken:1")
    with cutting(daemon, registry.port, 300_000, 2) as line:
        daemon.argosy("pull", "127.0.0.1:5002/broken:1", check=True)
        line.kill()
        assert line.stdout is not None
        assert line.stdout.read() == b"cut\ncut\n"


def test_a_download_that_always_breaks_off_is_an_error_and_what_came_is_used_next_time(
    daemon: Daemon, registry: Registry, tmp_path: Path
) -> None:
    registry.put(make_layout(tmp_path), "v1", "worse:1")
    before = {path for path in _content(daemon) if "ingest/" in path}
    with cutting(daemon, registry.port, 30_000, 1000):
        assert "broke off" in _fails(daemon, "pull", "127.0.0.1:5002/worse:1")
    assert {path for path in _content(daemon) if "ingest/" in path} > before
    daemon.argosy("pull", f"{registry.host}/worse:1", check=True)
    assert {path for path in _content(daemon) if "ingest/" in path} == before


def test_kill_9_in_the_middle_of_a_pull(daemon: Daemon, registry: Registry, tmp_path: Path) -> None:
    registry.put(make_layout(tmp_path), "v1", "killed:1")
    with cutting(daemon, registry.port, 1 << 40, 0):
        pull = subprocess.Popen(
            [sys.executable, "-m", "argosy", "pull", "127.0.0.1:5002/killed:1"],
            env={**os.environ, "PYTHONPATH": python_path(), "ARGOSY_HOST": daemon.address},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert pull.stdout is not None
        pull.stdout.readline()
        daemon.restart()
        assert pull.wait(timeout=30) != 0
        pull.stdout.close()
    daemon.argosy("pull", f"{registry.host}/killed:1", check=True)
    assert daemon.argosy("run", "--rm", "--network", "none", f"{registry.host}/killed:1", "true").returncode == 0


def test_save_is_read_by_skopeo_and_load_reads_what_others_save(
    daemon: Daemon, registry: Registry, layout: Path, tmp_path: Path
) -> None:
    registry.put(layout, "v1", "saved:1")
    daemon.argosy("pull", f"{registry.host}/saved:1", check=True)
    archive = tmp_path / "saved.tar"
    archive.write_bytes(daemon.argosy("save", f"{registry.host}/saved:1", check=True).stdout)
    for transport in ("oci-archive", "docker-archive"):
        subprocess.run(["skopeo", "inspect", f"{transport}:{archive}"], check=True, capture_output=True)
    other = tmp_path / "other.tar"
    subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:v1", f"docker-archive:{other}:loaded:9"], check=True)
    daemon.argosy("load", stdin=other.read_bytes(), check=True)
    assert daemon.argosy("run", "--rm", "--network", "none", "loaded:9", "cat", "/data/old/b").stdout == b"new\n"


def test_an_archive_that_climbs_out_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    data = subprocess.run(
        ["tar", "-cP", "--transform=s,^,../../,", "-C", str(tmp_path), "x"], capture_output=True, check=True
    ).stdout
    before = _content(daemon)
    result = daemon.argosy("import", "-", "evil:1", stdin=data)
    assert result.returncode == 1
    assert b"unsafe entry" in result.stderr
    assert _content(daemon) == before


def test_removing_the_last_name_frees_the_disk(daemon: Daemon) -> None:
    daemon.argosy("import", "-", "once:1", stdin=busybox_tar() + bytes(1024), check=True)
    with_it = _content(daemon)
    daemon.argosy("rmi", "once:1", check=True)
    assert len(_content(daemon)) < len(with_it)


def test_images_outlive_kill_9(daemon: Daemon) -> None:
    daemon.argosy("import", "-", "kept:1", stdin=busybox_tar(), check=True)
    daemon.restart()
    assert daemon.argosy("run", "--rm", "--network", "none", "kept:1", "true").returncode == 0
