"""The Containers service: calls with one answer. The streams are in `containers_streams`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from argosy.errors import InvalidArgument
from argosy.v1 import containers_pb2 as pb
from argosy.v1 import containers_pb2_grpc
from argosyd.api.containers_streams import StreamCalls
from argosyd.api.convert import duration_from_proto, from_proto, to_proto
from argosyd.containers import listing
from argosyd.containers.attach import TerminalSize
from argosyd.containers.cell import Cell
from argosyd.containers.commit import CommitOptions
from argosyd.containers.model import ContainerSpec, Resources, RestartPolicy
from argosyd.containers.records import Definition
from argosyd.containers.room import Containers
from argosyd.containers.view import view

DEFAULT_PAGE = 1000
LARGEST_PAGE = 768 * 1024
"""Bytes; a page that would grow past this ends before, so that no message is larger than 1 MiB."""
_PART, _PART_CHANGES = 256 * 1024, 4096
"""Characters and entries of one part of a diff."""


class Shown:
    """Containers as the API shows them. What hardly changes of one is converted once: `ps` is asked often."""

    def __init__(self, room: Containers) -> None:
        self._room = room
        self._kept: dict[str, tuple[Definition, pb.Container]] = {}

    def message(self, cell: Cell) -> pb.Container:
        """One container, as it is now."""
        definition, kept = self._kept.get(cell.id, (None, None))
        if kept is None or definition is not cell.definition:
            kept = self._lasting(cell)
            if len(self._kept) > 2 * len(self._room.index) + 64:
                # Most of them are of containers that are gone.
                self._kept.clear()
            self._kept[cell.id] = (cell.definition, kept)
        message = pb.Container()
        message.CopyFrom(kept)
        message.status.CopyFrom(to_proto(cell.state.status, pb.ContainerStatus))
        return message

    def _lasting(self, cell: Cell) -> pb.Container:
        layout = self._room.shared.layout
        home = layout.home(cell.id)
        message = to_proto(view(cell), pb.Container)
        message.log_path = str(layout.log(cell.id))
        message.hostname_path = str(home / "hostname")
        message.hosts_path = str(home / "hosts")
        message.resolv_conf_path = str(home / "resolv.conf")
        message.ClearField("status")
        return message


class ContainersServicer(StreamCalls, containers_pb2_grpc.ContainersServicer):
    """Converts, calls the room, converts. Each method is described in the proto."""

    def __init__(self, room: Containers) -> None:
        self._room = room
        self._shown = Shown(room)

    async def Create(self, request: pb.CreateContainerRequest, context: Any) -> pb.CreateContainerResponse:
        """See the proto."""
        if not request.spec.image:
            raise InvalidArgument("no image was named", kind="container", reason="NO_IMAGE")
        spec = from_proto(request.spec, ContainerSpec)
        cell, warnings = await self._room.creator.create(request.name, spec)
        return pb.CreateContainerResponse(id=cell.id, name=cell.name, warnings=warnings)

    async def Start(self, request: pb.StartContainerRequest, context: Any) -> pb.StartContainerResponse:
        """See the proto."""
        await self._room.lifecycle.start(self._room.find(request.container))
        return pb.StartContainerResponse()

    async def Stop(self, request: pb.StopContainerRequest, context: Any) -> pb.StopContainerResponse:
        """See the proto."""
        await self._room.control.stop(self._room.find(request.container), _timeout(request), request.signal)
        return pb.StopContainerResponse()

    async def Restart(self, request: pb.RestartContainerRequest, context: Any) -> pb.RestartContainerResponse:
        """See the proto."""
        await self._room.control.restart(self._room.find(request.container), _timeout(request), request.signal)
        return pb.RestartContainerResponse()

    async def Kill(self, request: pb.KillContainerRequest, context: Any) -> pb.KillContainerResponse:
        """See the proto."""
        await self._room.control.kill(self._room.find(request.container), request.signal)
        return pb.KillContainerResponse()

    async def Pause(self, request: pb.PauseContainerRequest, context: Any) -> pb.PauseContainerResponse:
        """See the proto."""
        await self._room.control.pause(self._room.find(request.container))
        return pb.PauseContainerResponse()

    async def Unpause(self, request: pb.UnpauseContainerRequest, context: Any) -> pb.UnpauseContainerResponse:
        """See the proto."""
        await self._room.control.unpause(self._room.find(request.container))
        return pb.UnpauseContainerResponse()

    async def Rename(self, request: pb.RenameContainerRequest, context: Any) -> pb.RenameContainerResponse:
        """See the proto."""
        await self._room.control.rename(self._room.find(request.container), request.name)
        return pb.RenameContainerResponse()

    async def Remove(self, request: pb.RemoveContainerRequest, context: Any) -> pb.RemoveContainerResponse:
        """See the proto."""
        cell = self._room.find(request.container)
        await self._room.control.remove(cell, force=request.force, volumes=request.volumes)
        return pb.RemoveContainerResponse()

    async def List(self, request: pb.ListContainersRequest, context: Any) -> pb.ListContainersResponse:
        """See the proto. A page token is the creation time and id of the last container of the page before."""
        filters = [(f.key, f.value) for f in request.filters]
        cells = listing.select(self._room.index, filters, all=request.all, limit=request.limit)
        if request.page_token:
            after = _page_key(request.page_token)
            cells = [c for c in cells if (c.definition.created, c.id) < after]
        size = request.page_size or DEFAULT_PAGE
        response = pb.ListContainersResponse()
        taken = 0
        for number, cell in enumerate(cells):
            message = await self._with_size(cell, request.size)
            taken += message.ByteSize()
            if number and (number == size or taken > LARGEST_PAGE):
                last = cells[number - 1]
                response.next_page_token = f"{last.definition.created}.{last.id}"
                break
            response.containers.append(message)
        return response

    async def Inspect(self, request: pb.InspectContainerRequest, context: Any) -> pb.InspectContainerResponse:
        """See the proto."""
        cell = self._room.find(request.container)
        return pb.InspectContainerResponse(container=await self._with_size(cell, request.size))

    async def _with_size(self, cell: Cell, size: bool) -> pb.Container:
        message = self._shown.message(cell)
        if size:
            usage = await self._room.sizes(cell)
            message.size_rw, message.size_root_fs = usage
        return message

    async def Wait(self, request: pb.WaitContainerRequest, context: Any) -> pb.WaitContainerResponse:
        """See the proto."""
        cell, control = self._room.find(request.container), self._room.control
        if request.condition == pb.WaitContainerRequest.CONDITION_REMOVED:
            ended = await control.wait_removed(cell)
        elif request.condition == pb.WaitContainerRequest.CONDITION_NEXT_EXIT:
            ended = await control.wait_next_exit(cell)
        else:
            ended = await control.wait_stopped(cell)
        return pb.WaitContainerResponse(exit_code=ended.code, error=ended.error)

    async def Resize(self, request: pb.ResizeContainerRequest, context: Any) -> pb.ResizeContainerResponse:
        """See the proto."""
        size = TerminalSize(request.size.rows, request.size.cols)
        self._room.attacher.resize(self._room.find(request.container), size)
        return pb.ResizeContainerResponse()

    async def Top(self, request: pb.TopRequest, context: Any) -> pb.TopResponse:
        """See the proto."""
        found = await self._room.observer.top(self._room.find(request.container), request.ps_args)
        return pb.TopResponse(titles=found.titles, processes=[pb.TopRow(fields=row) for row in found.rows])

    async def Diff(self, request: pb.DiffRequest, context: Any) -> AsyncIterator[pb.DiffResponse]:
        """See the proto."""
        changes = await self._room.observer.diff(self._room.find(request.container))
        part, size = pb.DiffResponse(), 0
        for change in changes:
            path = change.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            part.changes.append(to_proto(replace(change, path=path), pb.Change))
            size += len(path)
            if size >= _PART or len(part.changes) >= _PART_CHANGES:
                yield part
                part, size = pb.DiffResponse(), 0
        yield part

    async def Commit(self, request: pb.CommitRequest, context: Any) -> pb.CommitResponse:
        """See the proto."""
        options = CommitOptions(
            reference=request.reference,
            author=request.author,
            message=request.message,
            changes=tuple(request.changes),
            pause=not request.no_pause,
        )
        return pb.CommitResponse(id=await self._room.committer.commit(self._room.find(request.container), options))

    async def Update(self, request: pb.UpdateContainerRequest, context: Any) -> pb.UpdateContainerResponse:
        """See the proto."""
        resources = from_proto(request.resources, Resources) if request.HasField("resources") else None
        policy = from_proto(request.restart_policy, RestartPolicy) if request.HasField("restart_policy") else None
        warnings = await self._room.changer.update(self._room.find(request.container), resources, policy)
        return pb.UpdateContainerResponse(warnings=warnings)

    async def Prune(self, request: pb.PruneContainersRequest, context: Any) -> pb.PruneContainersResponse:
        """See the proto."""
        deleted, freed = await self._room.changer.prune([(f.key, f.value) for f in request.filters])
        return pb.PruneContainersResponse(deleted=deleted, space_reclaimed=freed)


def _timeout(request: Any) -> float | None:
    return duration_from_proto(request.timeout) if request.HasField("timeout") else None


def _page_key(token: str) -> tuple[int, str]:
    match = re.fullmatch(r"(\d+)\.([0-9a-f]+)", token)
    if match is None:
        raise InvalidArgument("the page token is not one of ours", kind="page_token", id=token)
    return int(match[1]), match[2]
