"""Waits for a change in a directory (inotify(7)) without polling."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x02, 0x100, 0x80
_IN_NONBLOCK, _IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_LIBC = ctypes.CDLL(None, use_errno=True)


class Watch:
    """One directory. Close it."""

    def __init__(self, directory: Path) -> None:
        self._fd = _LIBC.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        if _LIBC.inotify_add_watch(self._fd, os.fsencode(directory), mask) < 0:
            number = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(number, os.strerror(number), str(directory))

    async def changed(self, ended: asyncio.Event | None = None) -> None:
        """Waits for a change since the last call, or for `ended`."""
        loop = asyncio.get_running_loop()
        change = asyncio.Event()
        loop.add_reader(self._fd, change.set)
        waits = [loop.create_task(change.wait())]
        if ended is not None:
            waits.append(loop.create_task(ended.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(self._fd)
            for task in waits:
                task.cancel()
            try:
                os.read(self._fd, 64 * 1024)
            except BlockingIOError:
                pass

    def close(self) -> None:
        """Stops watching."""
        os.close(self._fd)
