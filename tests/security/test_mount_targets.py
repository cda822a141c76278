"""Mount points behind links of the image: resolved inside the root, made where they are missing, never outside."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.daemon import Daemon, busybox_tar

from argosy.errors import InvalidArgument
from argosyd.trees.root import Root
from argosyd.volumes import targets

LINKS = {
    "data": "/srv/none/here",
    "var": "../../gone",
    "vol": "/nowhere",
    "loop": "loop",
    "p": "/proc/self",
    "work": "made/at/start",
    "out": "../../../../tmp",
    "etc/resolv.conf": "../run/resolve/stub.conf",
}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    base = tmp_path / "root"
    (base / "etc").mkdir(parents=True)
    (base / "dev").mkdir()
    for name, target in LINKS.items():
        (base / name).symlink_to(target)
    (base / "dev" / "shm").symlink_to("/run/shm")
    with Root.at(base) as held:
        yield held


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/data", "/srv/none/here"),
        ("/data/x", "/srv/none/here/x"),
        ("/var/run/x", "/gone/run/x"),
        ("/out/x", "/tmp/x"),
        ("/plain/x", "/plain/x"),
        ("/dev/shm", "/dev/shm"),
        ("/proc/x", "/proc/x"),
    ],
)
def test_links_are_followed_inside(root: Root, target: str, place: str) -> None:
    assert targets.follow(root, [target], ("/proc", "/dev", "/sys")) == {
        "/proc": "/proc", "/dev": "/dev", "/sys": "/sys", target: place
    }  # fmt: skip


def test_what_lies_in_another_mount_is_left_to_who_sees_it(root: Root) -> None:
    places = targets.follow(root, ["/data/vol", "/data", "/data/vol/deep"])
    assert places == {
        "/data": "/srv/none/here", "/data/vol": "/srv/none/here/vol", "/data/vol/deep": "/srv/none/here/vol/deep"
    }  # fmt: skip


@pytest.mark.parametrize("target", ["/loop/x", "/p", "/p/attr"])
def test_what_leads_nowhere_or_into_proc_is_refused(root: Root, target: str) -> None:
    with pytest.raises(InvalidArgument, match=f"cannot mount at {target}"):
        targets.follow(root, [target])


def image() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(busybox_tar())) as base, tarfile.open(fileobj=out, mode="w") as tar:
        for member in base:
            tar.addfile(member, base.extractfile(member) if member.isreg() else None)
        for name, target in LINKS.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


def test_a_container_is_mounted_where_docker_mounts(daemon: Daemon, tmp_path: Path) -> None:
    daemon.argosy("import", "-c", "VOLUME /vol/x", "-c", "WORKDIR /work/x", "-", "links", stdin=image(), check=True)
    (tmp_path / "file").write_text("from the host")
    (tmp_path / "dir").mkdir()

    def run(*arguments: str) -> str:
        result = daemon.argosy("run", "--rm", "--network", "none", *arguments)
        assert result.returncode == 0, result.stderr.decode()
        return result.stdout.decode()

    assert run("-v", f"{tmp_path}/file:/data/deep/file", "links", "cat", "/srv/none/here/deep/file") == "from the host"
    assert (
        run("-v", f"{tmp_path}/dir:/out/dir", "links", "sh", "-c", "touch /tmp/dir/made; pwd") == "/made/at/start/x\n"
    )
    assert os.listdir(tmp_path / "dir") == ["made"]
    assert run("--tmpfs", "/var/run", "links", "grep", "-c", " /gone/run tmpfs", "/proc/mounts") == "1\n"
    assert run("links", "grep", "-c", " /nowhere/x ", "/proc/mounts") == "1\n"
    # The engine's own file, behind a link that dangles.
    run("links", "test", "-s", "/run/resolve/stub.conf")
    assert run("--read-only", "-v", "named:/data", "links", "grep", "-c", " /srv/none/here ", "/proc/mounts") == "1\n"
    daemon.argosy("volume", "rm", "named", check=True)
    for target in ("/loop/x", "/p"):
        result = daemon.argosy("run", "--rm", "--network", "none", "-v", f"{tmp_path}/dir:{target}", "links", "true")
        assert result.returncode == 125
        assert f"cannot mount at {target}" in result.stderr.decode()
        assert result.stderr.count(b"\n") <= 2
    daemon.argosy("rmi", "links", check=True)
