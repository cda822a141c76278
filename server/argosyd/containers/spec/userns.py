"""A container's user namespace: what `--userns` asks for, what cannot go with it, and its part of the OCI spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from argosy.errors import Conflict, InvalidArgument
from argosyd.containers.model import ContainerSpec
from argosyd.containers.spec.facts import Host
from argosyd.userns.ids import IdMap, IdRange, mapped


@dataclass(frozen=True, slots=True)
class UserNamespace:
    """One that is there: its path, and the mapping that it was given."""

    path: str
    id_map: IdMap


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A container whose namespace another one is to join (`option`: "pid", "ipc", "network")."""

    option: str
    name: str
    id_map: IdMap | None


@dataclass(frozen=True, slots=True)
class Choices:
    """How mappings are found. `default` is the daemon's, None without `--userns-remap`."""

    default: IdMap | None
    auto: Callable[[str], IdMap]
    """By "auto" or "auto:size=N". InvalidArgument, ResourceExhausted."""
    remap: Callable[[str], IdMap]
    """By what follows "remap:". InvalidArgument."""


def choose(spec: ContainerSpec, neighbours: Sequence[Neighbour], choices: Choices) -> IdMap | None:
    """The mapping of a new container; None for the host's ids. InvalidArgument, Conflict, ResourceExhausted.

    Whoever joins a namespace of another container has to be in its user namespace too, which owns the other.
    """
    mode = spec.userns_mode
    if mode not in ("", "host", "auto") and not mode.startswith(("auto:", "remap:")):
        raise InvalidArgument(
            f"--userns: invalid mode {mode!r}: use host, auto, auto:size=N or remap:USER[:GROUP]",
            kind="container", reason="INVALID_MODE",
        )  # fmt: skip
    if neighbours:
        return _joined(spec, neighbours, choices)
    if mode == "host" or (not mode and choices.default is None):
        return None
    _refuse_host_namespaces(spec)
    if mode.startswith("auto"):
        return choices.auto(mode)
    return choices.remap(mode.removeprefix("remap:")) if mode else choices.default


def _joined(spec: ContainerSpec, neighbours: Sequence[Neighbour], choices: Choices) -> IdMap | None:
    first, mode = neighbours[0], spec.userns_mode
    for other in neighbours[1:]:
        if other.id_map != first.id_map:
            raise Conflict(
                f"cannot join --{first.option} of {first.name} and --{other.option} of {other.name}:"
                " they are in different user namespaces",
                kind="container", reason="USERNS_DIFFERS",
            )  # fmt: skip
    wanted = first.id_map
    if mode == "host":
        wanted = None
    elif mode.startswith("remap:"):
        wanted = choices.remap(mode.removeprefix("remap:"))
    if wanted != first.id_map or mode.startswith("auto"):
        raise Conflict(
            f"--userns {mode} cannot go with --{first.option} container:{first.name}: who joins a namespace of a"
            " container is in its user namespace: leave --userns out",
            kind="container", reason="USERNS_DIFFERS",
        )  # fmt: skip
    if wanted is not None:
        _refuse_host_namespaces(spec)
    return wanted


def _refuse_host_namespaces(spec: ContainerSpec) -> None:
    """Docker's rules and words."""
    problem = ""
    if spec.privileged:
        problem = (
            "privileged mode is incompatible with user namespaces: "
            "you must run the container in the host namespace when running privileged mode"
        )
    elif spec.network_mode == "host":
        problem = "cannot share the host's network namespace when user namespaces are enabled"
    elif spec.pid_mode == "host":
        problem = "cannot share the host PID namespace when user namespaces are enabled"
    elif spec.ipc_mode == "host":
        problem = "cannot share the host IPC namespace when user namespaces are enabled"
    if problem:
        raise InvalidArgument(f"{problem}: add --userns=host", kind="container", reason="USERNS_CONFLICT")


def limiting(host: Host) -> Host:
    """The host as limits see it from inside: raising them needs CAP_SYS_RESOURCE outside of the user namespace
    (setrlimit(2), proc_pid_oom_score_adj(5)), which no process in it has."""
    return replace(host, capabilities=host.capabilities - {"CAP_SYS_RESOURCE"})


def check_user(uid: int, gids: Sequence[int], id_map: IdMap) -> None:
    """InvalidArgument when a process cannot be who it should be: the id does not exist in the container."""
    for kind, ranges, ids in (("user", id_map.uids, (uid,)), ("group", id_map.gids, gids)):
        for number in ids:
            if not mapped(ranges, number):
                raise InvalidArgument(
                    f"{kind} {number} does not exist in the container's user namespace, which has "
                    f"{_spoken(ranges)}: use another, or a larger range (--userns=auto:size=N)",
                    kind=kind, id=str(number), reason="ID_NOT_MAPPED",
                )  # fmt: skip


def _spoken(ranges: Sequence[IdRange]) -> str:
    return ", ".join(f"{r.inside}-{r.inside + r.size - 1}" for r in ranges)


def to_oci(namespace: UserNamespace) -> dict[str, Any]:
    """`linux.uidMappings` and `gidMappings` (OCI config-linux.md, "User namespace mappings")."""
    id_map = namespace.id_map
    return {"uidMappings": [_entry(r) for r in id_map.uids], "gidMappings": [_entry(r) for r in id_map.gids]}


def _entry(r: IdRange) -> dict[str, int]:
    return {"containerID": r.inside, "hostID": r.outside, "size": r.size}
