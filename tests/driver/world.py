"""What a daemon's records say there is, and what the kernel and the disk have: the two must be equal."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.daemon import Daemon

_ALIVE = ("running", "paused")


@dataclass
class Records:
    """The database, as far as something in the world answers to it."""

    containers: dict[str, dict[str, Any]]
    states: dict[str, str]
    attachments: dict[str, dict[str, Any]]
    networks: dict[str, dict[str, Any]]
    volumes: set[str]
    volume_users: set[str]
    snapshots: dict[str, tuple[int, str, str]]
    images: dict[str, dict[str, Any]]
    cache: list[tuple[str, str]]
    packed: dict[str, str]
    named_digests: set[str]
    builds: int
    unsettled: list[str] = field(default_factory=list)

    @property
    def alive(self) -> set[str]:
        return {id for id, state in self.states.items() if state in _ALIVE}


def read_records(daemon: Daemon) -> Records:
    with contextlib.closing(sqlite3.connect(f"file:{daemon.data_dir}/argosy.db?mode=ro", uri=True)) as database:
        database.execute("BEGIN")

        def rows(query: str) -> list[tuple[Any, ...]]:
            return list(database.execute(query))

        containers = {
            r[0]: (json.loads(r[1]), json.loads(r[2])) for r in rows("SELECT id, definition, state FROM containers")
        }
        attachments = {
            r[0]: (json.loads(r[1]), r[2]) for r in rows("SELECT container_id, record, state FROM attachments")
        }
        networks = {r[0]: (json.loads(r[1]), r[2]) for r in rows("SELECT id, record, state FROM networks")}
        volumes = {r[0]: r[1] for r in rows("SELECT name, state FROM volumes")}
        found = Records(
            {id: d for id, (d, _) in containers.items()},
            {id: s.get("status", {}).get("state", "created") for id, (_, s) in containers.items()},
            {id: a for id, (a, _) in attachments.items()},
            {id: n for id, (n, _) in networks.items()},
            set(volumes),
            {r[0] for r in rows("SELECT container FROM volume_uses")},
            {r[0]: (r[1], r[2], r[3]) for r in rows("SELECT key, number, parent, kind FROM snapshots")},
            {r[0]: json.loads(r[1]) for r in rows("SELECT id, record FROM images")},
            [(r[0], r[1]) for r in rows("SELECT chain, layer FROM build_cache")],
            dict(rows("SELECT digest, packed FROM packed_layers")),
            {r[0].partition("@")[2] for r in rows("SELECT name FROM image_names WHERE name LIKE '%@%'")},
            len(rows("SELECT id FROM builds")),
        )  # fmt: skip
        found.unsettled += [
            f"container {id[:12]} has intent {s['intent']}" for id, (_, s) in containers.items() if s.get("intent")
        ]
        found.unsettled += [
            f"attachment {id[:12]} is {state}" for id, (_, state) in attachments.items() if state != "attached"
        ]
        found.unsettled += [f"network {id[:12]} is {state}" for id, (_, state) in networks.items() if state != "ready"]
        found.unsettled += [f"volume {name} is {state}" for name, state in volumes.items() if state != "ready"]
        found.unsettled += [
            f"snapshot {k} is {v[2]}" for k, v in found.snapshots.items() if v[2] in ("making", "removing")
        ]
        found.unsettled += [f"{found.builds} builds under way"] * bool(found.builds)
    return found


def _compare(what: str, recorded: Iterable[str], real: Iterable[str], *, extra_ok: bool = False) -> list[str]:
    wanted, there = set(recorded), set(real)
    found = [f"{what}: {name} is not there" for name in sorted(wanted - there)]
    if not extra_ok:
        found += [f"{what}: {name} should not be there" for name in sorted(there - wanted)]
    return found


def _names(directory: Path) -> set[str]:
    with contextlib.suppress(FileNotFoundError):
        return set(os.listdir(directory))
    return set()


def differences(daemon: Daemon) -> list[str]:
    """Everything in which record and world differ; empty when nothing does."""
    records = read_records(daemon)
    found = list(records.unsettled)
    found += _processes(daemon, records)
    found += _kernel(daemon, records)
    found += _network(daemon, records)
    found += _disk(daemon, records)
    return found


def _processes(daemon: Daemon, records: Records) -> list[str]:
    bundles = []
    for pid in daemon.monitors():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            bundles += [w.rpartition("/")[2] for w in words if w.startswith("--bundle=") and "/exec/" not in w]
    inside = {cgroup for cgroup, pids in _cgroups(daemon).items() if pids}
    return [
        *_compare("monitor", records.alive, bundles),
        *_compare("processes in cgroup", records.alive, inside),
    ]


def _cgroups(daemon: Daemon) -> dict[str, set[str]]:
    """Cgroup of a container to the processes in it, over all hierarchies."""
    top, parent = Path("/sys/fs/cgroup"), daemon.cgroup_parent[1:]
    found: dict[str, set[str]] = {}
    for directory in (*top.glob(f"*/{parent}/*/"), *top.glob(f"{parent}/*/")):
        pids = found.setdefault(directory.name, set())
        for procs in (directory, *directory.glob("**/")):
            with contextlib.suppress(OSError):
                pids |= set((procs / "cgroup.procs").read_text().split())
    return found


def _kernel(daemon: Daemon, records: Records) -> list[str]:
    assert daemon.process is not None
    lines = Path(f"/proc/{daemon.process.pid}/mountinfo").read_text().splitlines()
    mounts = [line.split()[4] for line in lines]
    numbers = {records.snapshots[id][0] for id in records.alive if id in records.snapshots}
    roots = [f"{daemon.data_dir}/snapshots/{n}/merged" for n in numbers]
    namespaces = [
        a["namespace"] for a in records.attachments.values() if a.get("owns_namespace", True) and a["namespace"]
    ]
    stages = [f"{daemon.run_dir}/userns/{id}/{name}" for id in records.alive for name in _stage(records.containers[id])]
    below = [m for m in mounts if m.startswith((f"{daemon.data_dir}/", f"{daemon.run_dir}/"))]
    return [
        *_compare("cgroup", records.alive, _cgroups(daemon)),
        *_compare("mount", [*roots, *namespaces, *stages], below),
        *(["a mount stands twice"] if len(set(below)) < len(below) else []),
        *_compare("namespace", [Path(n).name for n in namespaces], _names(daemon.run_dir / "netns")),
        *_compare("attachment", [id for id in records.attachments if not id.startswith("build-")],
                  [id for id in records.alive if not records.containers[id]["spec"].get("network_mode", "").startswith(("host", "container:"))],
                  extra_ok=False),
    ]  # fmt: skip


def _stage(definition: dict[str, Any]) -> list[str]:
    """What is mounted for a container in a user namespace: its root, and each volume by its place among the mounts."""
    if not definition.get("id_map"):
        return []
    mounts = enumerate(definition.get("mounts", ()))
    return ["root", *(f"mount-{number}" for number, mount in mounts if mount["type"] == "volume")]


def _network(daemon: Daemon, records: Records) -> list[str]:
    links = [line.split(": ") for line in daemon.inside("ip", "-o", "link").stdout.splitlines()]
    plugged = [p["host_name"] for a in records.attachments.values() for p in a.get("plugged", ())]
    bridges = [n["bridge"] for n in records.networks.values() if n.get("bridge")]
    names = [link[1].split("@")[0] for link in links]
    found = _compare("link", ["lo", *plugged, *bridges], names)
    listed = json.loads(daemon.inside("nft", "-j", "list", "ruleset").stdout)["nftables"]
    elements: list[str] = []
    for item in listed:
        table = item.get("map") or {}
        if table.get("name", "").startswith("published"):
            elements += [f"{e[0]['concat'][-2]}/{e[0]['concat'][-1]}" for e in table.get("elem", ())]
        table = item.get("set") or {}
        if table.get("name") == "bridges":
            found += _compare("bridge in the firewall", bridges, table.get("elem", ()))
    ports = [
        f"{p.get('protocol', 'tcp')}/{p['host_port']}" for a in records.attachments.values() for p in a.get("ports", ())
    ]
    return found + _compare("published port", ports, elements)


def _disk(daemon: Daemon, records: Records) -> list[str]:
    data, run = daemon.data_dir, daemon.run_dir
    found = [
        *_compare(
            "snapshot", {"empty", *(str(n) for n, _, _ in records.snapshots.values())}, _names(data / "snapshots")
        ),
        *_compare(
            "writable snapshot", records.containers, [k for k, v in records.snapshots.items() if v[2] == "active"]
        ),
        *_compare("container's directory", records.containers, _names(data / "containers")),
        *_compare("bundle", records.alive, _names(run / "containers")),
        *_compare("stage", [id for id in records.alive if _stage(records.containers[id])], _names(run / "userns")),
        *_compare("runtime's record", records.alive, _names(run / "runtime")),
        *_compare("volume", records.volumes, _names(data / "volumes")),
        *_compare("volume's user", records.volume_users & set(records.containers), records.volume_users),
        *_compare("build's directory", (), _names(data / "build" / "tmp")),
        *_compare("build's bundle", (), _names(run / "build")),
        *_compare("scratch", (), _names(data / "scratch")),
    ]
    needed = {i["chain_id"] for i in records.images.values()} | {c for c, _ in records.cache}
    needed |= {records.snapshots[id][1] for id in records.containers if id in records.snapshots}
    kept = set()
    for chain in needed:
        while chain and chain not in kept and chain in records.snapshots:
            kept.add(chain)
            chain = records.snapshots[chain][1]
    committed = [k for k, v in records.snapshots.items() if v[2] == "committed"]
    found += _compare("layer", kept, committed)
    return found + _blobs(daemon, records)


def _blobs(daemon: Daemon, records: Records) -> list[str]:
    """Every blob is one that an image or a step in the cache needs."""
    needed = set(records.named_digests)
    for image in records.images.values():
        needed |= {image["id"], image["manifest_digest"], image.get("index_digest", ""), *image["layers"]}
        with contextlib.suppress(OSError, ValueError):
            digits = image["manifest_digest"].partition(":")[2]
            manifest = json.loads((daemon.data_dir / "content" / "blobs" / "sha256" / digits).read_bytes())
            needed |= {manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    for _, layer in records.cache:
        if layer:
            found = json.loads(layer)
            needed |= {found["diff_id"], found["digest"]}
    needed |= {packed for digest, packed in records.packed.items() if digest in needed}
    blobs = {f"sha256:{name}" for name in _names(daemon.data_dir / "content" / "blobs" / "sha256")}
    return [f"blob: {name} is needed by nothing" for name in sorted(blobs - needed)]
