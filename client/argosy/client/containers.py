"""Containers: made, run, watched, entered, copied, removed."""

from __future__ import annotations

from argosy.client.rpc import Api, chunks
from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence

    from argosy.client.rpc import Duplex

_S = "/argosy.v1.Containers/"


class Containers(Api):
    """Calls of argosy.v1.Containers; a container is named by id, unique id prefix or name."""

    async def create(self, spec: pb.ContainerSpec, name: str = "") -> pb.CreateContainerResponse:
        """Makes a container without starting it."""
        request = pb.CreateContainerRequest(name=name, spec=spec)
        return await self._rpc.unary(_S + "Create", request, pb.CreateContainerResponse)

    async def start(self, container: str) -> None:
        """Starts it; fine when it runs already."""
        await self._rpc.unary(_S + "Start", pb.StartContainerRequest(container=container), pb.StartContainerResponse)

    async def stop(self, container: str, timeout: int | None = None, signal: str = "") -> None:
        """Signals, waits `timeout` seconds (its own when None, without end when negative), kills."""
        request = pb.StopContainerRequest(container=container, signal=signal)
        if timeout is not None:
            request.timeout.seconds = timeout
        await self._rpc.unary(_S + "Stop", request, pb.StopContainerResponse)

    async def restart(self, container: str, timeout: int | None = None, signal: str = "") -> None:
        """Stops and starts it."""
        request = pb.RestartContainerRequest(container=container, signal=signal)
        if timeout is not None:
            request.timeout.seconds = timeout
        await self._rpc.unary(_S + "Restart", request, pb.RestartContainerResponse)

    async def kill(self, container: str, signal: str = "") -> None:
        """Sends one signal, KILL when none is named."""
        request = pb.KillContainerRequest(container=container, signal=signal)
        await self._rpc.unary(_S + "Kill", request, pb.KillContainerResponse)

    async def pause(self, container: str) -> None:
        """Freezes every process of it."""
        await self._rpc.unary(_S + "Pause", pb.PauseContainerRequest(container=container), pb.PauseContainerResponse)

    async def unpause(self, container: str) -> None:
        """Thaws them."""
        request = pb.UnpauseContainerRequest(container=container)
        await self._rpc.unary(_S + "Unpause", request, pb.UnpauseContainerResponse)

    async def rename(self, container: str, name: str) -> None:
        """Gives it another name."""
        request = pb.RenameContainerRequest(container=container, name=name)
        await self._rpc.unary(_S + "Rename", request, pb.RenameContainerResponse)

    async def remove(self, container: str, force: bool = False, volumes: bool = False) -> None:
        """Deletes it; `force` kills it first, `volumes` takes its anonymous volumes along."""
        request = pb.RemoveContainerRequest(container=container, force=force, volumes=volumes)
        await self._rpc.unary(_S + "Remove", request, pb.RemoveContainerResponse)

    async def list(
        self,
        all: bool = False,
        filters: Iterable[common_pb2.Filter] = (),
        limit: int = 0,
        size: bool = False,
    ) -> list[pb.Container]:
        """Every container that fits, newest first."""
        request = pb.ListContainersRequest(all=all, filters=filters, limit=limit, size=size)
        found: list[pb.Container] = []
        while True:
            page = await self._rpc.unary(_S + "List", request, pb.ListContainersResponse)
            found += page.containers
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    async def inspect(self, container: str, size: bool = False) -> pb.Container:
        """All about one."""
        request = pb.InspectContainerRequest(container=container, size=size)
        return (await self._rpc.unary(_S + "Inspect", request, pb.InspectContainerResponse)).container

    async def wait(
        self, container: str, condition: pb.WaitContainerRequest.Condition.ValueType | None = None
    ) -> pb.WaitContainerResponse:
        """Its exit code, once the condition holds; that it does not run, when none is given."""
        request = pb.WaitContainerRequest(container=container)
        if condition is not None:
            request.condition = condition
        return await self._rpc.unary(_S + "Wait", request, pb.WaitContainerResponse)

    def logs(self, request: pb.LogsRequest) -> AsyncIterator[pb.LogsResponse]:
        """What it wrote."""
        return self._rpc.stream(_S + "Logs", request, pb.LogsResponse)

    def attach(self) -> Duplex:
        """An open Attach call: AttachRequest out, AttachResponse in."""
        return self._rpc.duplex(_S + "Attach", pb.AttachResponse)

    def exec(self) -> Duplex:
        """An open Exec call: ExecRequest out, ExecResponse in."""
        return self._rpc.duplex(_S + "Exec", pb.ExecResponse)

    async def resize(self, container: str, rows: int, cols: int) -> None:
        """Sets the size of its terminal."""
        request = pb.ResizeContainerRequest(container=container, size=pb.TerminalSize(rows=rows, cols=cols))
        await self._rpc.unary(_S + "Resize", request, pb.ResizeContainerResponse)

    async def top(self, container: str, ps_args: Sequence[str] = ()) -> pb.TopResponse:
        """Its processes, as ps tells of them."""
        request = pb.TopRequest(container=container, ps_args=ps_args)
        return await self._rpc.unary(_S + "Top", request, pb.TopResponse)

    def stats(self, containers: Sequence[str] = (), stream: bool = True) -> AsyncIterator[pb.StatsResponse]:
        """One reading a second, or one in all."""
        request = pb.StatsRequest(containers=containers, stream=stream)
        return self._rpc.stream(_S + "Stats", request, pb.StatsResponse)

    def copy_out(self, container: str, path: str, follow_link: bool = False) -> AsyncIterator[pb.CopyOutResponse]:
        """What the path is, then a tar archive of it."""
        request = pb.CopyOutRequest(container=container, path=path, follow_link=follow_link)
        return self._rpc.stream(_S + "CopyOut", request, pb.CopyOutResponse)

    async def copy_in(self, start: pb.CopyInStart, archive: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        """Unpacks a tar archive in a directory of the container."""
        await self._rpc.upload(_S + "CopyIn", _copy_in(start, archive), pb.CopyInResponse)

    async def diff(self, container: str) -> Sequence[pb.Change]:
        """What it changed in its root."""
        request = pb.DiffRequest(container=container)
        found: list[pb.Change] = []
        async for part in self._rpc.stream(_S + "Diff", request, pb.DiffResponse):
            found += part.changes
        return found

    def export(self, container: str) -> AsyncIterator[pb.ExportResponse]:
        """Its whole root as a tar archive."""
        return self._rpc.stream(_S + "Export", pb.ExportRequest(container=container), pb.ExportResponse)

    async def commit(self, request: pb.CommitRequest) -> str:
        """Makes an image of it; answers the image's id."""
        return (await self._rpc.unary(_S + "Commit", request, pb.CommitResponse)).id

    async def update(self, request: pb.UpdateContainerRequest) -> Sequence[str]:
        """Changes limits and restart policy; answers warnings."""
        return (await self._rpc.unary(_S + "Update", request, pb.UpdateContainerResponse)).warnings

    async def prune(self, filters: Iterable[common_pb2.Filter] = ()) -> pb.PruneContainersResponse:
        """Removes stopped containers."""
        request = pb.PruneContainersRequest(filters=filters)
        return await self._rpc.unary(_S + "Prune", request, pb.PruneContainersResponse)


async def _copy_in(
    start: pb.CopyInStart, archive: Iterable[bytes] | AsyncIterable[bytes]
) -> AsyncIterator[pb.CopyInRequest]:
    yield pb.CopyInRequest(start=start)
    async for data in chunks(archive):
        yield pb.CopyInRequest(data=data)
