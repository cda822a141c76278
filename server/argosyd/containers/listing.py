"""`ps`: filters, order, pages. Reads memory only, so it waits for no container."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from argosy.errors import InvalidArgument
from argosy.numbers import whole
from argosyd.containers.cell import Cell
from argosyd.containers.index import Index
from argosyd.containers.model import ContainerState
from argosyd.containers.name_pattern import name_test
from argosyd.containers.time_text import parse_moment

Test = Callable[[Cell], bool]

KEYS = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "label!", "name", "network",
    "publish", "since", "status", "until", "volume",
)  # fmt: skip


def label_holds(labels: dict[str, str] | object, value: str) -> bool:
    """Whether labels have "name" or "name=value"."""
    name, has_value, wanted = value.partition("=")
    assert hasattr(labels, "get")
    found = labels.get(name)
    return found is not None and (not has_value or found == wanted)


def _port_test(value: str, ports_of: Callable[[Cell], Iterable[tuple[int, str]]]) -> Test:
    numbers, _, protocol = value.partition("/")
    first, _, last = numbers.partition("-")
    low, high = whole(first, 65535), whole(last or first, 65535)
    if low is None or high is None:
        raise InvalidArgument(f"invalid port in filter: {value[:60]}", kind="filter", id=value[:60])
    return lambda cell: any(low <= port <= high and (not protocol or protocol == kind) for port, kind in ports_of(cell))


def _published(cell: Cell) -> list[tuple[int, str]]:
    ports = cell.state.status.ports or cell.definition.spec.ports
    return [(n, p.protocol or "tcp") for p in ports for n in (p.host_port, p.container_port)]


def _exposed(cell: Cell) -> list[tuple[int, str]]:
    texts = (*cell.definition.image.exposed_ports, *cell.definition.spec.exposed_ports)
    ports = [(p.container_port, p.protocol or "tcp") for p in cell.definition.spec.ports]
    for text in texts:
        number, _, protocol = text.partition("/")
        if (port := whole(number, 65535)) is not None:
            ports.append((port, protocol or "tcp"))
    return ports


def _network_test(value: str) -> Test:
    def test(cell: Cell) -> bool:
        spec = cell.definition.spec
        joined = list(cell.state.status.endpoints)
        names = {e.network for e in joined} | {e.network for e in spec.endpoints} | {spec.network_mode or "bridge"}
        return value in names or any(e.network_id.startswith(value) for e in joined)

    return test


def _test(key: str, value: str, index: Index) -> Test:
    """What one filter asks. InvalidArgument, NotFound (before, since)."""
    if key == "id":
        return lambda cell: cell.id.startswith(value)
    if key == "name":
        fits = name_test(value.lstrip("/") if not value.startswith("^/") else "^" + value[2:])
        return lambda cell: fits(cell.name)
    if key == "label":
        return lambda cell: label_holds(cell.definition.spec.labels, value)
    if key == "label!":
        return lambda cell: not label_holds(cell.definition.spec.labels, value)
    if key == "status":
        if value not in {s.value for s in ContainerState}:
            raise InvalidArgument(f"invalid filter 'status={value}'", kind="filter", id="status")
        return lambda cell: cell.state.status.state.value == value
    if key == "exited":
        code = whole(value.removeprefix("-"))
        if code is None:
            raise InvalidArgument(f"invalid filter 'exited={value[:60]}'", kind="filter", id="exited")
        code = -code if value.startswith("-") else code
        return lambda cell: cell.state.status.state is ContainerState.EXITED and cell.state.status.exit_code == code
    if key == "ancestor":
        return lambda cell: _is_of_image(cell, value)
    if key in ("before", "since"):
        other = index.find(value).definition.created
        return (
            (lambda cell: cell.definition.created < other)
            if key == "before"
            else (lambda cell: cell.definition.created > other)
        )
    if key == "until":
        moment = parse_moment(value)
        return lambda cell: cell.definition.created <= moment
    return _more(key, value)


def _more(key: str, value: str) -> Test:
    if key == "network":
        return _network_test(value)
    if key == "volume":
        return lambda cell: any(value in (m.name, m.target, m.source) for m in cell.definition.mounts)
    if key == "publish":
        return _port_test(value, _published)
    if key == "expose":
        return _port_test(value, _exposed)
    if key == "health":
        if value not in ("starting", "healthy", "unhealthy", "none"):
            raise InvalidArgument(f"invalid filter 'health={value}'", kind="filter", id="health")
        return lambda cell: ((h.status if (h := cell.state.status.health) else "") or "none") == value
    if key == "is-task":
        return lambda cell: (
            (value == "true") == any(name.startswith("io.argosy.task.") for name in cell.definition.spec.labels)
        )
    raise InvalidArgument(
        f"invalid filter '{key}': known are {', '.join(KEYS)}", kind="filter", id=key, reason="UNKNOWN_FILTER"
    )


def _is_of_image(cell: Cell, value: str) -> bool:
    image = cell.definition.spec.image
    id = cell.definition.image_id.removeprefix("sha256:")
    wanted = value.removeprefix("sha256:")
    tagless = image.rsplit(":", 1)[0] if ":" in image.rsplit("/", 1)[-1] else image
    return (
        image == value or tagless == value or image == f"{value}:latest" or (len(wanted) >= 4 and id.startswith(wanted))
    )


def compile_filters(filters: Sequence[tuple[str, str]], index: Index) -> Test:
    """One test for all: values of one key are alternatives (labels must all hold), keys must all hold."""
    by_key: dict[str, list[Test]] = {}
    for key, value in filters:
        name = f"{key}={value}" if key in ("label", "label!") else key
        by_key.setdefault(name, []).append(_test(key, value, index))
    groups = list(by_key.values())
    return lambda cell: all(any(test(cell) for test in group) for group in groups)


def select(index: Index, filters: Sequence[tuple[str, str]], *, all: bool, limit: int = 0) -> list[Cell]:
    """Those to list, newest first."""
    test = compile_filters(filters, index)
    # Whoever asks for a state, or for the newest N, means those that do not run too.
    every = all or limit > 0 or any(key in ("status", "exited") for key, _ in filters)
    chosen = [c for c in index if (every or c.running or _restarting(c)) and test(c)]
    chosen.sort(key=lambda c: (c.definition.created, c.id), reverse=True)
    return chosen[:limit] if limit else chosen


def _restarting(cell: Cell) -> bool:
    return cell.state.status.state is ContainerState.RESTARTING
