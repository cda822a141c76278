"""A connection to a monitor's attach socket.

Packets from the monitor begin with a byte that names the stream (2 standard output, 3 standard error); packets
to it are standard input as it is. Shutting down the sending side ends standard input.
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

STDOUT, STDERR = 2, 3
_LARGEST_PACKET = 16 * 1024
"""conmon reads 8 KiB at a time."""
_TOGETHER = 128 * 1024
"""Bytes of packets that are here already and go on as one: a message costs more than what it carries."""
_LARGEST_WRITE = 8 * 1024
"""conmon reads at most 32 KiB a packet; the rest of a larger one would be lost."""


class AttachSocket:
    """One client of one monitor. `connect`, then `read` until None; `write` and `end_input` meanwhile."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle
        self._held: bytes | None = None
        """A packet of the other stream, which ended the last read."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def connect(self) -> None:
        """Joins; OSError when the monitor does not listen (any more)."""
        # Through a descriptor, because the path of the bundle may be longer than a socket's may be.
        directory = os.open(self._bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.connect(f"/proc/self/fd/{directory}/attach")
        finally:
            os.close(directory)

    async def _ready(self, *, to_write: bool) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        add, remove = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
        # A copy, so that reading and writing do not share one registration.
        fd = os.dup(self._socket.fileno())
        try:
            add(fd, ready.set)
            await ready.wait()
        finally:
            remove(fd)
            os.close(fd)

    async def read(self) -> tuple[int, bytes] | None:
        """What comes next of one stream: which, and bytes, 144 KiB at most. None when the process has ended and all was
        read."""
        while (packet := self._take()) is None:
            await self._ready(to_write=False)
        if not packet:
            return None
        stream, parts, size = packet[0], [packet[1:]], len(packet)
        while size < _TOGETHER and (packet := self._take()) is not None:
            if not packet or packet[0] != stream:
                self._held = packet
                break
            parts.append(packet[1:])
            size += len(packet)
        return stream, parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self) -> bytes | None:
        """A packet that is here; None when there is none yet, nothing at the end."""
        packet, self._held = self._held, None
        if packet is not None:
            return packet
        try:
            return self._socket.recv(_LARGEST_PACKET)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> bool:
        """Sends standard input; False when nobody reads it any more."""
        view = memoryview(data)
        while view:
            try:
                sent = self._socket.send(view[:_LARGEST_WRITE])
            except BlockingIOError:
                await self._ready(to_write=True)
                continue
            except OSError:
                return False
            view = view[sent:]
        return True

    def end_input(self) -> None:
        """Ends standard input."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop_reading(self) -> None:
        """Output is not wanted any more; the monitor notices at its next write, and input stays as it is."""
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass

    def close(self) -> None:
        """Leaves."""
        self._socket.close()
