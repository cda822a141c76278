"""Files of containers: copied in and out, exported, compared, committed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio
from tests.harness.containers import Client, until
from tests.harness.fixtures import RUNTIMES, a_daemon

from argosy.v1 import containers_pb2 as pb

daemon = a_daemon("files", runtimes=RUNTIMES)


async def test_top_and_diff(client: Client) -> None:
    id = await client.started("sh", "-c", "touch /new; rm /etc/group; echo x >> /etc/passwd; sleep 100")
    await until(lambda: _has(client, id, "/new"))
    top = await client.stub.Top(pb.TopRequest(container=id, ps_args=["-o", "pid,args"]))
    assert list(top.titles) == ["PID", "COMMAND"]
    assert any("sleep 100" in row.fields[1] for row in top.processes)
    changes = {c.path: c.kind async for part in client.stub.Diff(pb.DiffRequest(container=id)) for c in part.changes}
    assert changes == {
        "/etc": pb.Change.KIND_MODIFIED, "/etc/group": pb.Change.KIND_DELETED,
        "/etc/passwd": pb.Change.KIND_MODIFIED, "/new": pb.Change.KIND_ADDED,
    }  # fmt: skip


async def _has(client: Client, id: str, path: str) -> bool:
    return (await client.exec(id, "test", "-e", path))[2] == 0


def archive(**members: bytes | str) -> bytes:
    """A tar; a text value is a symbolic link to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.uid = info.gid = 1000
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size, info.mode = len(content), 0o640
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


async def copy_in(client: Client, id: str, path: str, data: bytes, **options: Any) -> None:
    async def requests() -> AsyncIterator[pb.CopyInRequest]:
        yield pb.CopyInRequest(start=pb.CopyInStart(container=id, path=path, **options))
        yield pb.CopyInRequest(data=data)

    await client.stub.CopyIn(requests())


async def copy_out(client: Client, id: str, path: str) -> tuple[pb.PathStat, tarfile.TarFile]:
    data, found = b"", None
    async for message in client.stub.CopyOut(pb.CopyOutRequest(container=id, path=path)):
        data += message.data
        if message.HasField("stat"):
            found = message.stat
    assert found is not None
    return found, tarfile.open(fileobj=io.BytesIO(data))


@pytest.mark.parametrize("running", [True, False])
async def test_files_go_in_and_out(client: Client, running: bool) -> None:
    id = await client.create("sleep", "100")
    if running:
        await client.stub.Start(pb.StartContainerRequest(container=id))
    await copy_in(client, id, "/tmp", archive(a__b=b"text", link="b"), archive=True)
    found, tar = await copy_out(client, id, "/tmp/a")
    assert (found.name, found.is_dir) == ("a", True)
    assert tar.getnames() == ["a", "a/b"]
    member = tar.getmember("a/b")
    assert (member.uid, member.mode, member.size) == (1000, 0o640, 4)
    found, _ = await copy_out(client, id, "/tmp/link")
    assert found.link_target == "b"
    for call in (copy_out(client, id, "/none"), copy_in(client, id, "/none", archive(x=b""))):
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == StatusCode.NOT_FOUND


async def test_an_archive_cannot_reach_the_host(client: Client, tmp_path: Path) -> None:
    id = await client.started("sleep", "100")
    target = tmp_path / "outside"
    target.mkdir()
    await client.exec(id, "ln", "-s", str(target), "/tmp/out")
    await copy_in(client, id, "/tmp", archive(up="/../../../../../..", **{f"up__{target.name}evil": b"x"}))
    with pytest.raises(aio.AioRpcError):
        await copy_in(client, id, "/tmp", archive(**{"..__..__..__evil": b"x"}))
    with pytest.raises(aio.AioRpcError):
        await copy_in(client, id, "/tmp/out", archive(evil=b"x"))
    with pytest.raises(aio.AioRpcError):
        await copy_in(client, id, "/tmp", b"this is no archive" * 100)
    assert list(target.iterdir()) == []
    assert not Path(f"/{target.name}evil").exists()


async def test_export_holds_the_whole_root(client: Client) -> None:
    id = await client.create("true")
    data = b"".join([r.data async for r in client.stub.Export(pb.ExportRequest(container=id))])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert {"bin/busybox", "bin/sh", "etc/passwd", "tmp"} <= set(names)


async def test_commit_makes_an_image_that_runs(client: Client) -> None:
    id = await client.started("sh", "-c", "echo kept > /kept; sleep 100", env=["E=1"])
    await until(lambda: _has(client, id, "/kept"))
    request = pb.CommitRequest(container=id, reference="made:1", changes=['CMD ["cat", "/kept"]', "ENV F=2"])
    assert (await client.stub.Commit(request)).id
    assert await client.run(image="made:1") == (b"kept\n", b"", 0)
    assert (await client.run("sh", "-c", "echo $E$F", image="made:1"))[0] == b"12\n"
    with pytest.raises(aio.AioRpcError) as caught:
        await client.stub.Commit(pb.CommitRequest(container=id, changes=["NONSENSE x"]))
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT
