"""Joining a client to a container's standard streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from argosy.errors import ArgosyError, Conflict, Unavailable
from argosyd.containers.cell import Cell, Exit, Run
from argosyd.containers.control import not_running
from argosyd.containers.index import no_such_container
from argosyd.containers.lifecycle import Lifecycle
from argosyd.containers.model import ContainerState
from argosyd.containers.rooms import Shared
from argosyd.runtime.attach_socket import AttachSocket
from argosyd.runtime.monitor import resize


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """Rows and columns."""

    rows: int = 0
    cols: int = 0


class Session:
    """One attached client. `open` first, then `output`, with `write` and the others meanwhile; `close` at the end."""

    def __init__(self, cell: Cell, *, stdin: bool) -> None:
        self.cell = cell
        self._stdin = stdin
        self._socket: AttachSocket | None = None
        self._run: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        self._size: TerminalSize | None = None

    def join(self, run: Run) -> None:
        """See `cell.Joiner`."""
        if self._run.done():
            return
        socket = AttachSocket(run.bundle)
        try:
            socket.connect()
        except OSError as error:
            socket.close()
            self.fail(Unavailable(f"cannot attach: {error.strerror}", kind="container", id=self.cell.id))
            return
        self._socket = socket
        if self._size is not None:
            resize(run.bundle, self._size.rows, self._size.cols)
        self._run.set_result(run)

    def fail(self, error: BaseException | None) -> None:
        """See `cell.Joiner`."""
        if not self._run.done():
            gone = no_such_container(self.cell.id[:12])
            self._run.set_exception(error if isinstance(error, ArgosyError) else gone)

    async def opened(self) -> Run:
        """The run the client is joined to; waits for the start of a container that was only created."""
        return await asyncio.shield(self._run)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What the process writes: stream (2 or 3) and bytes, to the end."""
        assert self._socket is not None
        while (packet := await self._socket.read()) is not None:
            yield packet

    async def ended(self) -> Exit:
        """How it ended."""
        run = await self.opened()
        return await asyncio.shield(run.ended)

    async def write(self, data: bytes) -> None:
        """Standard input; what nobody reads any more is dropped."""
        await self.opened()
        if self._socket is not None:
            await self._socket.write(data)

    async def end_input(self) -> None:
        """Standard input ends here."""
        await self.opened()
        if self._socket is not None:
            self._socket.end_input()

    def resize(self, size: TerminalSize) -> None:
        """Sets the size now, or at the start."""
        self._size = size
        if self._socket is not None and self.cell.run is not None:
            resize(self.cell.run.bundle, size.rows, size.cols)

    def close(self) -> None:
        """Leaves."""
        self.cell.joiners.discard(self)
        if self._run.done():
            if not self._run.cancelled():
                self._run.exception()
        else:
            self._run.cancel()
        socket, run = self._socket, self.cell.run
        if socket is None:
            return
        if self._stdin or run is None or run.ended.done():
            socket.close()
        else:
            # The monitor may end standard input when a client goes; one that only looked on must not cause that.
            socket.stop_reading()
            run.ended.add_done_callback(lambda _: socket.close())


class Attacher:
    """Opens sessions."""

    def __init__(self, shared: Shared, lifecycle: Lifecycle) -> None:
        self._s = shared
        self._lifecycle = lifecycle

    async def attach(self, cell: Cell, *, start: bool, stdin: bool, size: TerminalSize | None) -> Session:
        """A session of a container that runs or will. Conflict, and with `start` what Start raises."""
        session = Session(cell, stdin=stdin)
        if size is not None and size.rows and size.cols:
            session.resize(size)
        try:
            if cell.run is not None and cell.running:
                session.join(cell.run)
            elif start:
                cell.joiners.add(session)
                await self._lifecycle.start(cell)
            elif cell.state.status.state is ContainerState.CREATED:
                cell.joiners.add(session)
            else:
                raise not_running(cell)
            if start:
                await session.opened()
        except BaseException:
            session.close()
            raise
        self._s.tell(cell, "attach")
        return session

    def resize(self, cell: Cell, size: TerminalSize) -> None:
        """Sets the size of a running container's terminal. Conflict."""
        run = cell.run
        if run is None or not cell.running:
            raise not_running(cell)
        if not cell.definition.spec.tty:
            raise Conflict(f"container {cell.id[:12]} has no terminal", kind="container", id=cell.id, reason="NO_TTY")
        if resize(run.bundle, size.rows, size.cols):
            self._s.tell(cell, "resize", height=str(size.rows), width=str(size.cols))
