"""Host ports: chosen, and held so that nobody else takes them.

A published port is answered by the firewall, not by a socket. A bound socket is held all the same: it makes a process
of the host that wants the port fail, as it would under Docker, and tells us when one has it.
"""

from __future__ import annotations

import errno
import logging
import random
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace

from argosy.errors import Conflict, InvalidArgument, ResourceExhausted
from argosyd.network.model import PortMapping

log = logging.getLogger("argosyd.network")

FIRST, LAST = 32768, 60999
"""Where ports that the engine chooses come from: the kernel's own range of ephemeral ports."""
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "sctp": socket.SOCK_STREAM}
_TRIES = 200


def _bind(mapping: PortMapping, port: int) -> socket.socket | None:
    """A bound socket; None where the kernel has no such protocol."""
    protocol = socket.IPPROTO_SCTP if mapping.protocol == "sctp" else 0
    try:
        held = socket.socket(socket.AF_INET, _KINDS[mapping.protocol] | socket.SOCK_CLOEXEC, protocol)
    except OSError:
        return None
    try:
        held.bind((mapping.host_ip or "0.0.0.0", port))
    except OSError:
        held.close()
        raise
    return held


class PortHolder:
    """The host ports of every container, each held by a socket."""

    def __init__(self) -> None:
        self._held: dict[str, list[socket.socket]] = {}

    def claim(self, owner: str, mappings: Sequence[PortMapping]) -> tuple[PortMapping, ...]:
        """Takes every port, or none. Conflict (taken), InvalidArgument (address not the host's), ResourceExhausted."""
        taken: list[PortMapping] = []
        sockets = self._held.setdefault(owner, [])
        try:
            for mapping in mappings:
                self._take(replace(mapping, protocol=mapping.protocol or "tcp"), sockets, taken)
        except BaseException:
            self.release(owner)
            raise
        return tuple(taken)

    def _take(self, mapping: PortMapping, sockets: list[socket.socket], taken: list[PortMapping]) -> None:
        if mapping.protocol not in _KINDS:
            raise InvalidArgument(f"invalid protocol {mapping.protocol!r}: use tcp or udp", kind="port")
        candidates: Iterable[int] = [mapping.host_port]
        if not mapping.host_port:
            candidates = random.sample(range(FIRST, LAST + 1), _TRIES)
        for port in candidates:
            try:
                held = _bind(mapping, port)
            except OSError as error:
                if error.errno == errno.EADDRINUSE and not mapping.host_port:
                    continue
                raise _refusal(mapping, port, error) from None
            if held is not None:
                sockets.append(held)
            taken.append(replace(mapping, host_port=port))
            return
        raise ResourceExhausted("no free host port left", kind="port", reason="NO_PORT")

    def hold_again(self, owner: str, mappings: Sequence[PortMapping]) -> None:
        """After a restart: holds ports that the firewall publishes already. One that somebody took is only logged."""
        sockets = self._held.setdefault(owner, [])
        for mapping in mappings:
            try:
                held = _bind(mapping, mapping.host_port)
            except OSError as error:
                log.warning("port is not ours alone", extra={"facts": {"port": mapping.host_port, "error": str(error)}})
            else:
                if held is not None:
                    sockets.append(held)

    def release(self, owner: str) -> None:
        """Gives back every port of one container."""
        for held in self._held.pop(owner, []):
            held.close()

    def close(self) -> None:
        """Gives back all of them; the firewall goes on."""
        for owner in list(self._held):
            self.release(owner)


def _refusal(mapping: PortMapping, port: int, error: OSError) -> Exception:
    where = f"{mapping.host_ip or '0.0.0.0'}:{port}"
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"Bind for {where} failed: port is already allocated", kind="port", id=f"{port}/{mapping.protocol}",
            reason="PORT_IN_USE",
        )  # fmt: skip
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidArgument(f"cannot publish on {where}: the host has no such address", kind="port", id=where)
    return Conflict(f"cannot publish on {where}: {error.strerror}", kind="port", id=where)
