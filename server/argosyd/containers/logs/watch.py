"""Waits for a change in a directory (inotify(7)) without polling."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x02, 0x100, 0x80
_IN_NONBLOCK, _IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_LIBC = ctypes.CDLL(None, use_errno=True)
_INTERVAL = 0.25
"""Seconds between two looks where the kernel gives no more watches (fs.inotify.max_user_instances is 128)."""


class Watch:
    """One directory. Close it."""

    def __init__(self, directory: Path) -> None:
        self._fd = _LIBC.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        if self._fd >= 0 and _LIBC.inotify_add_watch(self._fd, os.fsencode(directory), mask) < 0:
            os.close(self._fd)
            self._fd = -1

    async def changed(self, ended: asyncio.Event | None = None, timeout: float | None = None) -> None:
        """Waits for a change since the last call, for `ended`, or for so many seconds."""
        loop = asyncio.get_running_loop()
        change = asyncio.Event()
        if self._fd >= 0:
            loop.add_reader(self._fd, change.set)
        else:
            timeout = _INTERVAL
        waits = [loop.create_task(change.wait())]
        if ended is not None:
            waits.append(loop.create_task(ended.wait()))
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            if self._fd >= 0:
                loop.remove_reader(self._fd)
                try:
                    os.read(self._fd, 64 * 1024)
                except BlockingIOError:
                    pass

    def close(self) -> None:
        """Stops watching."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
