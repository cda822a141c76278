"""Volumes and mounts through the command line, with real containers."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.harness.daemon import Daemon, busybox_tar
from tests.harness.fixtures import serving

from argosy.v1 import volumes_pb2 as pb
from argosy.v1 import volumes_pb2_grpc
from argosy.v1.common_pb2 import Filter


def image_with_data() -> bytes:
    """busybox with a /data that has owners, modes, links and a device, as one layer."""
    buffer = io.BytesIO(busybox_tar())
    out = io.BytesIO()
    with tarfile.open(fileobj=buffer) as base, tarfile.open(fileobj=out, mode="w") as tar:
        for member in base:
            tar.addfile(member, base.extractfile(member) if member.isreg() else None)
        for name, kind, mode, uid, link in (
            ("data", tarfile.DIRTYPE, 0o2750, 12, ""),
            ("data/file", tarfile.REGTYPE, 0o4711, 5, ""),
            ("data/hard", tarfile.LNKTYPE, 0o4711, 5, "data/file"),
            ("data/soft", tarfile.SYMTYPE, 0o777, 6, "/etc/passwd"),
            ("data/null", tarfile.CHRTYPE, 0o666, 0, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.linkname = kind, mode, uid, uid + 1, link
            info.mtime, info.devmajor, info.devminor = 1_000_000_000, 1, 3
            info.size = 5 if kind == tarfile.REGTYPE else 0
            info.pax_headers = {"SCHILY.xattr.user.note": "hi"} if kind == tarfile.REGTYPE else {}
            tar.addfile(info, io.BytesIO(b"image"))
    return out.getvalue()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with serving(Daemon(label="volumes")) as made:
        made.argosy("import", "-c", "VOLUME /data", "-", "withdata", stdin=image_with_data(), check=True)
        yield made


def run(daemon: Daemon, *arguments: str, code: int = 0) -> str:
    result = daemon.argosy("run", "--rm", "--network", "none", *arguments)
    assert result.returncode == code, result.stderr.decode()
    assert daemon.left() == {}
    return (result.stdout + result.stderr if code else result.stdout).decode()


def volumes(daemon: Daemon) -> list[str]:
    return daemon.argosy("volume", "ls", "-q", check=True).stdout.decode().split()


def test_data_outlives_containers(daemon: Daemon) -> None:
    run(daemon, "-v", "kept:/k", "busybox", "sh", "-c", "echo first > /k/file")
    daemon.restart()
    assert run(daemon, "--mount", "type=volume,source=kept,target=/other", "busybox", "cat", "/other/file") == "first\n"
    told = run(daemon, "-v", "kept:/k:ro", "busybox", "touch", "/k/x", code=1)
    assert "Read-only file system" in told
    daemon.argosy("volume", "rm", "kept", check=True)
    assert volumes(daemon) == []


def test_first_use_takes_the_content_of_the_image(daemon: Daemon) -> None:
    run(daemon, "-v", "filled:/data", "withdata", "true")
    path = Path(json.loads(daemon.argosy("volume", "inspect", "filled").stdout)[0]["Mountpoint"])
    info = path.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o2750, 12, 13)
    file = (path / "file").stat()
    assert (file.st_mode & 0o7777, file.st_uid, file.st_nlink, int(file.st_mtime)) == (0o4711, 5, 2, 1_000_000_000)
    assert os.getxattr(path / "file", "user.note") == b"hi"
    assert os.readlink(path / "soft") == "/etc/passwd"
    assert os.lstat(path / "soft").st_uid == 6
    assert (path / "null").stat().st_rdev == os.makedev(1, 3)
    run(daemon, "-v", "filled:/data", "withdata", "sh", "-c", "echo mine > /data/file")
    assert run(daemon, "-v", "filled:/data", "withdata", "cat", "/data/file") == "mine\n"
    daemon.argosy("volume", "rm", "filled", check=True)


def test_anonymous_volumes_go_with_their_container(daemon: Daemon) -> None:
    assert run(daemon, "withdata", "cat", "/data/file") == "image"
    assert volumes(daemon) == []
    daemon.argosy("create", "--name", "holder", "--network", "none", "withdata", "true", check=True)
    (name,) = volumes(daemon)
    refused = daemon.argosy("volume", "rm", name)
    assert refused.returncode == 1
    assert b"volume is in use" in refused.stderr
    daemon.argosy("rm", "holder", check=True)
    assert volumes(daemon) == [name]
    daemon.argosy("volume", "prune", "-f", check=True)
    assert volumes(daemon) == []


def test_binds_and_tmpfs(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    assert run(daemon, "-v", f"{tmp_path}:/h:ro", "busybox", "cat", "/h/file") == "host\n"
    run(daemon, "-v", f"{tmp_path}/made/deep:/h", "busybox", "touch", "/h/x")
    assert (tmp_path / "made" / "deep" / "x").exists()
    told = run(daemon, "--mount", f"type=bind,source={tmp_path}/gone,target=/h", "busybox", "true", code=125)
    assert "bind source path does not exist" in told
    assert not (tmp_path / "gone").exists()
    told = run(daemon, "--tmpfs", "/t:size=64k", "busybox", "df", "-k", "/t")
    assert " 64 " in told


def test_options_of_the_local_driver(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound\n")
    options = ["-o", "type=none", "-o", f"device={tmp_path}", "-o", "o=bind"]
    daemon.argosy("volume", "create", *options, "bound", check=True)
    assert run(daemon, "-v", "bound:/b", "busybox", "cat", "/b/file") == "bound\n"
    assert run(daemon, "-v", "bound:/b", "busybox", "ls", "/b") == "file\n"
    daemon.argosy("volume", "rm", "bound", check=True)
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["volume", "create", "a/b"], b"invalid characters"),
        (["volume", "create", "-d", "nfsplugin", "x1"], b"nfsplugin"),
        (["volume", "create", "-o", "bogus=1", "x1"], b"bogus"),
        (["volume", "rm", "nothing"], b"no such volume"),
        (["volume", "inspect", "nothing"], b"no such volume"),
    ],
)
def test_mistakes(daemon: Daemon, arguments: list[str], words: bytes) -> None:
    result = daemon.argosy(*arguments)
    assert result.returncode == 1
    assert words in result.stderr
    assert volumes(daemon) == []


def test_a_bare_client(daemon: Daemon) -> None:
    with grpc.insecure_channel(daemon.address.replace("unix://", "unix:")) as channel:
        stub = volumes_pb2_grpc.VolumesStub(channel)
        made = stub.Create(pb.CreateVolumeRequest(name="bare", labels={"a": "1"})).volume
        assert (made.name, made.driver, dict(made.labels), made.anonymous) == ("bare", "local", {"a": "1"}, False)
        assert made.created.seconds > 1_000_000_000
        again = stub.Create(pb.CreateVolumeRequest(name="bare")).volume
        assert again.mountpoint == made.mountpoint
        nameless = stub.Create(pb.CreateVolumeRequest()).volume
        assert nameless.anonymous
        (Path(made.mountpoint) / "file").write_bytes(b"x" * 100_000)
        listed = stub.List(pb.ListVolumesRequest(filters=[Filter(key="name", value="bare")], size=True)).volumes
        assert [v.name for v in listed] == ["bare"]
        assert listed[0].size >= 100_000
        assert stub.Inspect(pb.InspectVolumeRequest(name="bare")).volume.size == -1
        assert list(stub.Prune(pb.PruneVolumesRequest()).deleted) == [nameless.name]
        pruned = stub.Prune(pb.PruneVolumesRequest(all=True, filters=[Filter(key="label", value="a=1")]))
        assert list(pruned.deleted) == ["bare"]
        assert pruned.space_reclaimed >= 100_000
        for method, request, code in (
            (stub.Inspect, pb.InspectVolumeRequest(name="bare"), "NOT_FOUND"),
            (stub.Remove, pb.RemoveVolumeRequest(name="bare"), "NOT_FOUND"),
            (stub.Create, pb.CreateVolumeRequest(name="/"), "INVALID_ARGUMENT"),
            (stub.List, pb.ListVolumesRequest(filters=[Filter(key="colour", value="x")]), "INVALID_ARGUMENT"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                method(request)
            assert caught.value.code().name == code
        stub.Remove(pb.RemoveVolumeRequest(name="bare", force=True))
