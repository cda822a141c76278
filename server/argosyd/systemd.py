"""What systemd is told, and asked, where it started the daemon (sd_notify(3), systemd.service(5)); nothing elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from argosyd.host import facts
from argosyd.runtime import spawn

log = logging.getLogger(__name__)

STEP = 10.0
"""Seconds between one word that work goes on and the next."""
EXTENSION = 60.0
"""Seconds that such a word is good for."""
_ANSWER = 15.0
"""Seconds that systemd has to say what it does."""


def started_us() -> bool:
    """Whether there is somebody to tell."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Tells one thing, "READY=1" for example. One that cannot be told is in the log: it is not worth a container."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            s.connect("\0" + address[1:] if address[0] == "@" else address)
            s.sendall(state.encode())
    except OSError as error:
        log.warning("systemd could not be told %s: %s", state, error)


@asynccontextmanager
async def patience() -> AsyncGenerator[None, None]:
    """While it is open systemd waits on, whatever the unit's time-outs say, as long as the event loop turns: coming back
    after a boot and ending every container take as long as they take."""
    task = asyncio.create_task(_say_that_work_goes_on()) if started_us() else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _say_that_work_goes_on() -> None:
    while True:
        notify(f"EXTEND_TIMEOUT_USEC={int(EXTENSION * 1e6)}")
        await asyncio.sleep(STEP)


async def is_stopping() -> bool:
    """Whether the whole host goes down, so far as systemd says; a service that is restarted is no reason to stop anything."""
    program = facts.find_program("systemctl")
    if not started_us() or not program:
        return False
    try:
        told = await spawn.run([program, "is-system-running"], timeout=_ANSWER)
    except (OSError, TimeoutError) as error:
        log.warning("systemd does not say whether the host goes down, so containers go on: %s", error)
        return False
    return told.output.strip() == "stopping"
