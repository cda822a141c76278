"""The network modes that need no network: `host`, `none` and `container:ID`, until bridges are there."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from argosy.errors import Unsupported
from argosyd.network.model import Attachment, AttachRequest, EndpointSpec, EndpointStatus

_CLONE_NEWNET, _MS_BIND, _MNT_DETACH = 0x40000000, 0x1000, 2


class BareNetworker:
    """See `Networker`. A namespace is pinned by a bind mount below `run_dir`."""

    def __init__(self, run_dir: Path) -> None:
        self._directory = run_dir / "netns"

    async def start(self) -> None:
        """Nothing is kept but the pins themselves."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o711)

    async def close(self) -> None:
        """Namespaces stay with the containers that have them."""

    def _pin(self, id: str) -> Path:
        return self._directory / id

    async def attach(self, request: AttachRequest) -> Attachment:
        """See `Networker`. Unsupported for a mode that needs a bridge."""
        hosts = f"127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.1.1\t{request.hostname}\n"
        resolv = Path("/etc/resolv.conf").read_text() if os.path.exists("/etc/resolv.conf") else ""
        if request.mode == "host":
            return Attachment("", hosts=hosts, resolv_conf=resolv, hostname=socket.gethostname())
        if request.mode.startswith("container:"):
            pin = self._pin(request.mode.removeprefix("container:"))
            return Attachment(str(pin) if pin.exists() else "", hosts=hosts, resolv_conf=resolv)
        if request.mode != "none":
            await self.validate(request.mode, request.endpoints)
        pin = self._pin(request.container_id)
        await asyncio.to_thread(self._make, pin)
        return Attachment(str(pin), hosts=hosts, resolv_conf=resolv, hostname=request.hostname)

    def _make(self, pin: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        problem: list[OSError] = []

        def inside() -> None:
            # The thread ends with its namespace; the mount keeps that alive.
            if libc.unshare(_CLONE_NEWNET) != 0:
                problem.append(OSError(ctypes.get_errno(), "unshare"))
                return
            pin.touch()
            source = f"/proc/self/task/{threading.get_native_id()}/ns/net"
            if libc.mount(source.encode(), os.fsencode(pin), None, _MS_BIND, None) != 0:
                problem.append(OSError(ctypes.get_errno(), "mount"))

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if problem:
            raise problem[0]

    async def detach(self, container_id: str) -> None:
        """See `Networker`."""
        pin = self._pin(container_id)
        if pin.exists():
            await asyncio.to_thread(ctypes.CDLL(None).umount2, os.fsencode(pin), _MNT_DETACH)
            pin.unlink(missing_ok=True)

    async def connect(self, request: AttachRequest, endpoint: EndpointSpec, *, running: bool) -> EndpointStatus | None:
        """See `Networker`."""
        await self.validate(endpoint.network, ())
        return None

    async def disconnect(self, container_id: str, network: str) -> None:
        """See `Networker`."""
        await self.validate(network, ())

    async def validate(self, mode: str, endpoints: Sequence[EndpointSpec]) -> None:
        """See `Networker`."""
        if mode not in ("host", "none") and not mode.startswith("container:"):
            raise Unsupported(f"this daemon has no bridges: use --network host or none, not {mode or 'bridge'}")

    def attachment(self, container_id: str) -> Attachment | None:
        """See `Networker`."""
        pin = self._pin(container_id)
        return Attachment(str(pin)) if pin.exists() else None

    def counters(self, container_id: str) -> tuple[int, int]:
        """See `Networker`."""
        return 0, 0
