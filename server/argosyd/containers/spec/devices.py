"""Device nodes and who may use them (OCI config-linux.md, "Devices", "Allowed Device list")."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from argosy.errors import InvalidArgument, NotFound


def _allow(kind: str, major: int | None, minor: int | None, access: str = "rwm") -> dict[str, Any]:
    entry: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    if major is not None:
        entry["major"] = major
    if minor is not None:
        entry["minor"] = minor
    return entry


DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}
DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    DENY_ALL,
    _allow("c", None, None, "m"),
    _allow("b", None, None, "m"),
    _allow("c", 1, 3),  # null
    _allow("c", 1, 5),  # zero
    _allow("c", 1, 7),  # full
    _allow("c", 1, 8),  # random
    _allow("c", 1, 9),  # urandom
    _allow("c", 5, 0),  # tty
    _allow("c", 5, 1),  # console
    _allow("c", 5, 2),  # ptmx
    _allow("c", 136, None),  # pts
)


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """One `--device`."""

    source: str
    target: str
    access: str


def parse(text: str) -> DeviceRequest:
    """Reads "/dev/x", "/dev/x:/dev/y", "/dev/x:rwm" or "/dev/x:/dev/y:rwm". InvalidArgument."""
    parts = text.split(":")
    source, target, access = parts[0], parts[0], "rwm"
    rest = parts[1:]
    if rest and _is_access(rest[-1]):
        access = rest.pop()
    if rest:
        target = rest.pop(0)
    if rest or not source.startswith("/") or not target.startswith("/"):
        raise InvalidArgument(
            f"bad device specification: {text!r}: use /dev/SRC[:/dev/DST][:rwm]", kind="device", id=text
        )
    return DeviceRequest(source, target, access)


def _is_access(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm")


def _node(path: str, target: str, status: os.stat_result) -> dict[str, Any]:
    return {
        "type": "b" if stat.S_ISBLK(status.st_mode) else "c",
        "path": target,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def requested(
    texts: Iterable[str], look: Callable[[str], os.stat_result] = os.stat
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Nodes and rules for every `--device`; a directory brings every device below it. NotFound, InvalidArgument."""
    nodes: list[dict[str, Any]] = []
    rules: list[dict[str, Any]] = []
    for text in texts:
        device = parse(text)
        for source, target in _below(device, look):
            status = look(source)
            if not (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)):
                raise InvalidArgument(f"{source} is not a device", kind="device", id=source)
            node = _node(source, target, status)
            nodes.append(node)
            rules.append(_allow(node["type"], node["major"], node["minor"], device.access))
    return nodes, rules


def places(texts: Iterable[str], look: Callable[[str], os.stat_result] = os.stat) -> list[tuple[str, str]]:
    """Where every device of `requested` is on the host, and where it is to be. NotFound, InvalidArgument."""
    return [pair for text in texts for pair in _below(parse(text), look)]


def _below(device: DeviceRequest, look: Callable[[str], os.stat_result]) -> list[tuple[str, str]]:
    try:
        status = look(device.source)
    except OSError:
        raise NotFound(
            f"error gathering device information while adding custom device {device.source!r}:"
            " no such file or directory",
            kind="device",
            id=device.source,
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        return [(device.source, device.target)]
    return [(e.path, device.target + e.path[len(device.source) :]) for e in _devices_in(device.source)]


def _devices_in(directory: str) -> list[os.DirEntry[str]]:
    found: list[os.DirEntry[str]] = []
    for entry in sorted(os.scandir(directory), key=lambda e: e.name):
        if entry.is_dir(follow_symlinks=False):
            # /dev/pts, shm and mqueue are the container's own.
            if entry.path not in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd"):
                found += _devices_in(entry.path)
        else:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
                found.append(entry)
    return found


def host_nodes() -> list[dict[str, Any]]:
    """Every device of the host, for `--privileged`."""
    skipped = {"/dev/console", "/dev/ptmx", "/dev/tty"}
    return [_node(e.path, e.path, e.stat()) for e in _devices_in("/dev") if e.path not in skipped]
