"""Ports of a container in one cell: "0.0.0.0:8080->80/tcp, 443/tcp"."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from argosy.v1.common_pb2 import PortMapping


def ports_text(published: Iterable[PortMapping], exposed: Iterable[str] = ()) -> str:
    """Published ports, neighbours joined to ranges, then ports that are only exposed."""
    entries = sorted({(p.protocol or "tcp", p.host_ip or "0.0.0.0", p.container_port, p.host_port) for p in published})
    runs: list[list[tuple[str, str, int, int]]] = []
    for entry in entries:
        last = runs[-1][-1] if runs else None
        if last is not None and last[:2] == entry[:2] and entry[2] == last[2] + 1 and entry[3] == last[3] + 1:
            runs[-1].append(entry)
        else:
            runs.append([entry])
    texts = []
    for run in runs:
        protocol, ip, first, host = run[0]
        _, _, last_port, last_host = run[-1]
        outer = f"{host}-{last_host}" if len(run) > 1 else str(host)
        inner = f"{first}-{last_port}" if len(run) > 1 else str(first)
        address = f"[{ip}]" if ":" in ip else ip
        texts.append(f"{address}:{outer}->{inner}/{protocol}")
    taken = {f"{port}/{protocol}" for protocol, _, port, _ in entries}
    return ", ".join([*texts, *(port for port in exposed if port not in taken)])
