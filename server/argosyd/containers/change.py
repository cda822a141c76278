"""`update` and `prune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace

from argosy.errors import ArgosyError, Conflict, InvalidArgument
from argosyd.containers import listing
from argosyd.containers.cell import Cell
from argosyd.containers.control import Control
from argosyd.containers.model import ContainerState, Resources, RestartCondition, RestartPolicy
from argosyd.containers.rooms import Shared
from argosyd.containers.roots import lasting
from argosyd.containers.spec import resources as limits
from argosyd.runtime.oci import RuntimeFailed

PRUNE_KEYS = ("label", "label!", "until")


def merge_resources(old: Resources, new: Resources) -> Resources:
    """The old limits with those of the new ones that are set."""
    changes = {f.name: v for f in dataclasses.fields(Resources) if (v := getattr(new, f.name))}
    if changes.get("nano_cpus"):
        changes = {**changes, "cpu_quota_us": 0, "cpu_period_us": 0}
    elif changes.get("cpu_quota_us") or changes.get("cpu_period_us"):
        changes = {**changes, "nano_cpus": 0}
    return replace(old, **changes)


class Changer:
    """Each method does one of them."""

    def __init__(self, shared: Shared, control: Control) -> None:
        self._s = shared
        self._control = control

    async def update(self, cell: Cell, new: Resources | None, policy: RestartPolicy | None) -> list[str]:
        """Changes limits, at once when it runs, and the restart policy. InvalidArgument, Conflict."""
        s = self._s
        async with cell.lock:
            spec = cell.definition.spec
            if policy is not None:
                if spec.auto_remove and policy.condition is not RestartCondition.NO:
                    raise InvalidArgument(
                        "Restart policy cannot be updated because AutoRemove is enabled for the container",
                        kind="container",
                        id=cell.id,
                    )
                spec = replace(spec, restart_policy=policy)
            if new is not None:
                merged = merge_resources(spec.resources, new)
                limits.validate(merged, s.host.cpus)
                spec = replace(spec, resources=merged)
                if cell.running and cell.run is not None:
                    oci = limits.to_oci(merged, s.host.cgroup_mode, block_weight=s.host.block_weight)
                    await self._apply(cell, oci)
                    if new.pids_limit < 0:
                        s.cgroups.lift_pids_limit(s.cgroup(cell))
            definition = replace(cell.definition, spec=spec)
            await s.store.put(definition, cell.state)
            cell.definition = definition
        s.tell(cell, "update")
        return limits.unsupported(new, block_weight=s.host.block_weight) if new is not None else []

    async def _apply(self, cell: Cell, oci: Mapping[str, object]) -> None:
        assert cell.run is not None
        if not oci:
            return
        try:
            await self._s.conmon_of(cell).runtime.update(cell.id, oci, cell.run.bundle)
        except RuntimeFailed as error:
            raise Conflict(
                f"Cannot update container {cell.id}: {error}", kind="container", id=cell.id, reason="UPDATE_FAILED"
            ) from None

    async def prune(self, filters: Sequence[tuple[str, str]]) -> tuple[list[str], int]:
        """Removes what does not run; ids and bytes. InvalidArgument (filter)."""
        for key, _ in filters:
            if key not in PRUNE_KEYS:
                raise InvalidArgument(
                    f"invalid filter '{key}': known are {', '.join(PRUNE_KEYS)}", kind="filter", id=key
                )
        test = listing.compile_filters(filters, self._s.index)
        stopped = (ContainerState.CREATED, ContainerState.EXITED, ContainerState.DEAD)
        removed: list[str] = []
        freed = 0
        for cell in self._s.index:
            if cell.state.status.state not in stopped or cell.lock.locked() or not test(cell):
                continue
            try:
                with lasting(cell):
                    size = (await self._s.doors.snapshots.usage(cell.id)).size
                await self._control.remove(cell)
            except ArgosyError:
                # Started or removed by somebody meanwhile.
                continue
            removed.append(cell.id)
            freed += size
        return removed, freed
