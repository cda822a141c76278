"""Namespaces and id-mapped mounts, on this kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from argosy.errors import Unavailable, Unsupported
from argosyd.host import mounts
from argosyd.host.linux import acting_as
from argosyd.userns.ids import IdMap, IdRange
from argosyd.userns.kernel import Namespaces, bind_mapped
from argosyd.userns.stage import Stage

MAP = IdMap((IdRange(0, 300_000, 1000), IdRange(1000, 500_000, 10)), (IdRange(0, 400_000, 1000),))


def test_namespaces_have_the_mapping_and_own_their_network() -> None:
    held = Namespaces(MAP)
    try:
        root = held.user.removesuffix("/ns/user")
        assert Path(root, "uid_map").read_text().split() == ["0", "300000", "1000", "1000", "500000", "10"]
        assert Path(root, "gid_map").read_text().split() == ["0", "400000", "1000"]
        assert os.readlink(held.network) != os.readlink("/proc/self/ns/net")
        other = Namespaces(MAP, held.user)
        assert os.readlink(other.user) == os.readlink(held.user)
        assert os.readlink(other.network) != os.readlink(held.network)
        other.close()
        # Somebody who is root there may change the network: it belongs to the user namespace.
        enter = ("nsenter", f"--user={held.user}", f"--net={held.network}", "ip", "link", "set", "lo", "up")
        assert subprocess.run(enter, check=False).returncode == 0
    finally:
        held.close()
    assert not Path(root).exists()


def test_a_mapping_the_kernel_refuses_is_one_line_and_leaves_no_process() -> None:
    overlapping = IdMap((IdRange(0, 1, 10), IdRange(5, 100, 10)), MAP.gids)
    with pytest.raises(Unavailable, match="cannot make a user namespace: Invalid argument"):
        Namespaces(overlapping)
    with pytest.raises(Unavailable, match="cannot make a user namespace: nsenter"):
        Namespaces(MAP, "/nowhere")


def test_a_bound_directory_has_the_containers_ids_on_the_disk(tmp_path: Path) -> None:
    data, stage = tmp_path / "data", Stage(tmp_path, "one")
    data.mkdir()
    (data / "file").touch()
    held = Namespaces(MAP)
    stage.open(400_000)
    try:
        seen = stage.mapped("volume-0", data, held.mount_map)
        root = stage.root(data)
        assert ((seen / "file").stat().st_uid, (root / "file").stat().st_uid) == (300_000, 0)
        with acting_as((500_003, 400_000)):
            (seen / "theirs").touch()
        assert (data / "theirs").stat().st_uid == 1003
        place = (tmp_path / "userns/one").stat()
        assert (place.st_mode & 0o7777, place.st_uid, place.st_gid) == (0o710, 0, 400_000)
    finally:
        held.close()
        stage.clear()
    stage.clear()
    assert not list((tmp_path / "userns").iterdir())
    assert sorted(os.listdir(data)) == ["file", "theirs"]


def test_what_cannot_be_mapped_is_refused_by_name(tmp_path: Path) -> None:
    held = Namespaces(MAP)
    stage = Stage(tmp_path, "one")
    stage.open(400_000)
    try:
        with pytest.raises(Unsupported, match="/proc is on cannot be id-mapped"):
            stage.mapped("volume-0", Path("/proc"), held.mount_map)
        seen = stage.mapped("volume-1", tmp_path, held.mount_map)
        target = tmp_path / "target"
        target.mkdir()
        with pytest.raises(Unsupported, match="id-mapped already"):
            bind_mapped(seen, target, held.mount_map)
    finally:
        held.close()
        stage.clear()
    assert not mounts.mounted_below(tmp_path)
