"""Containers as `inspect` shows them."""

from __future__ import annotations

from dataclasses import replace

from argosyd.containers.cell import Cell
from argosyd.containers.model import Container


def view(cell: Cell) -> Container:
    """What is known of one now; waits for nothing."""
    d = cell.definition
    return Container(
        id=d.id,
        name=d.name,
        created=d.created,
        spec=d.spec,
        status=replace(cell.state.status),
        image_id=d.image_id,
        args=d.args,
        mounts=d.mounts,
        runtime=d.runtime,
        uid_map=d.id_map.uids if d.id_map else (),
        gid_map=d.id_map.gids if d.id_map else (),
    )
