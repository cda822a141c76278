"""A container in a user namespace: root inside is nobody outside, and everything that works elsewhere works there."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tarfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio
from tests.harness.containers import Client
from tests.harness.daemon import Daemon
from tests.harness.fixtures import RUNTIMES, a_daemon

from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb
from argosyd.userns.subids import POOL

OVERFLOW = 65534


def no_stages(daemon: Daemon) -> None:
    assert list((daemon.run_dir / "userns").iterdir()) == []


daemon = a_daemon("userns", runtimes=RUNTIMES, at_end=no_stages)


def volume(name: str, target: str) -> common_pb2.Mount:
    return common_pb2.Mount(type=common_pb2.Mount.TYPE_VOLUME, source=name, target=target)


def bind(source: Path, target: str) -> common_pb2.Mount:
    return common_pb2.Mount(type=common_pb2.Mount.TYPE_BIND, source=str(source), target=target)


async def outputs(client: Client, script: str, **spec: Any) -> str:
    out, err, code = await client.run("sh", "-c", script, **spec)
    assert code == 0, (out, err)
    return out.decode()


def ids_of(pid: int) -> set[int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {int(n) for line in lines if line.startswith(("Uid:", "Gid:")) for n in line.split()[1:]}


async def test_root_inside_is_nobody_outside(client: Client) -> None:
    id = await client.started("sleep", "1000", userns_mode="auto")
    container = await client.inspect(id)
    (uids,), pid = container.uid_map, container.status.pid
    assert uids.outside >= POOL[0]
    assert ids_of(pid) == {uids.outside}
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(uids.outside), str(uids.size)]
    assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
    out, _, _ = await client.exec(id, "sh", "-c", "id -u; id -g; cat /proc/self/uid_map")
    assert out.decode().split() == ["0", "0", "0", str(uids.outside), str(uids.size)]


async def test_ranges_of_auto_are_disjoint_and_free_again(client: Client) -> None:
    ids = [await client.create("true", userns_mode=m) for m in ("auto", "auto:size=1000", "auto")]
    maps = [(await client.inspect(id)).uid_map[0] for id in ids]
    spans = sorted((r.outside, r.outside + r.size) for r in maps)
    assert [end - begin for begin, end in spans].count(1000) == 1
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    for id in ids:
        await client.remove(id)
    again = await client.inspect(await client.create("true", userns_mode="auto"))
    assert again.uid_map[0].outside == spans[0][0]


async def test_owners_are_those_seen_inside_everywhere(client: Client, daemon: Daemon) -> None:
    script = (
        "touch /r /data/r; touch /b /data/b; chown 1000:10 /b /data/b; chown 7 /etc/passwd; stat -c %u:%g /b /data/b"
    )
    id = await client.create("sh", "-c", script, userns_mode="auto", mounts=[volume("shared", "/data")])
    await client.stub.Start(pb.StartContainerRequest(container=id))
    assert await client.wait(id) == 0
    listing = "stat -c %n:%u:%g /r /b /data/r /data/b /etc/passwd /bin"
    seen = "/r:0:0 /b:1000:10 /data/r:0:0 /data/b:1000:10 /etc/passwd:7:0 /bin:0:0"
    await client.stub.Commit(pb.CommitRequest(container=id, reference="kept"))
    for mode in ("", "auto"):
        out = await outputs(client, listing, image="kept", userns_mode=mode, mounts=[volume("shared", "/data")])
        assert out.split() == seen.split()
    data = daemon.data_dir / "volumes/shared/_data"
    assert ((data / "r").stat().st_uid, (data / "b").stat().st_uid) == (0, 1000)


async def test_files_of_the_hosts_root_stay_closed(client: Client, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path.parent):
        path.chmod(0o755)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "open").write_text("open")
    script = (
        "cat /host/open; cat /host/secret && exit 1; touch /host/new && exit 2; chown 0 /host/open && exit 3;"
        "chmod 666 /host/secret && exit 4; stat -c :%u /host/secret; cat /proc/1/environ >/dev/null; mknod /d b 7 0 && exit 5;"
        "echo b >/proc/sysrq-trigger && exit 6; mount -t tmpfs x /mnt && exit 7; true"
    )
    assert await outputs(client, script, userns_mode="auto", mounts=[bind(tmp_path, "/host")]) == f"open:{OVERFLOW}\n"
    # What a container's root makes on the host is its own, and runs as nobody.
    (tmp_path / "drop").mkdir(mode=0o777)
    (tmp_path / "drop").chmod(0o777)
    script = "cp /bin/busybox /host/drop/su; chown 0:0 /host/drop/su; chmod 4755 /host/drop/su"
    await outputs(client, script, userns_mode="auto", mounts=[bind(tmp_path, "/host")])
    assert (tmp_path / "drop/su").stat().st_uid >= POOL[0]


async def test_the_network_is_the_containers_own_to_use(client: Client) -> None:
    script = (
        "ls /sys/class/net; ping -c 1 -W 5 127.0.0.1 >/dev/null; ping -c 1 -W 5 $(ip route | awk '/default/{print $3}') "
        ">/dev/null; nc -l -p 80 & sleep 0.1; ip link set lo mtu 1400; cat /sys/class/net/lo/mtu; cat /etc/hosts >/dev/null;"
        " cat /etc/resolv.conf > /dev/null; echo 127.0.0.1 own >>/etc/hosts; kill %1"
    )
    out = await outputs(client, script, userns_mode="auto", network_mode="bridge", cap_add=["NET_ADMIN"])
    assert out.split() == ["eth0", "lo", "1400"]


async def test_devices_terminals_and_memory_file_systems_work(client: Client) -> None:
    script = (
        "echo err >/dev/stderr; echo out >/dev/stdout; echo x >/dev/null; head -c 1 /dev/urandom | wc -c; touch /dev/shm/f;"
        " stat -c %u /dev/shm/f /dev/pts; test -w /dev/mqueue && cat /proc/sys/kernel/domainname; pwd"
    )
    out, err, code = await client.run(
        "sh", "-c", script, userns_mode="auto", domainname="example", working_dir="/made/for/it"
    )
    assert (err, code) == (b"err\n", 0)
    assert out.decode().split() == ["out", "1", "0", "0", "example", "/made/for/it"]
    out, _, code = await client.run("sh", "-c", "stat -c %u $(tty)", tty=True, userns_mode="auto", user="bob")
    assert (out.strip(), code) == (b"1000", 0)
    id = await client.started("sleep", "1000", userns_mode="auto")
    out, _, code = await client.exec(id, "sh", "-c", "id -un; test -t 0; stat -c %g $(tty)", tty=True, user="bob")
    assert (out.split(), code) == ([b"bob", b"5"], 0)
    out, err, code = await client.exec(id, "sh", "-c", "id -u >/dev/stdout; id -g >/dev/stderr", user="bob")
    assert (out, err, code) == (b"1000\n", b"1000\n", 0)


async def test_devices_of_the_host_are_bound_and_limits_stay_below_the_daemons(client: Client) -> None:
    script = "stat -c %t:%T:%a /dev/own; echo x >/dev/own; ulimit -n; cat /proc/self/oom_score_adj"
    limits = {"ulimits": {"nofile": "1000000000:1000000000"}, "oom_score_adj": -900}
    words = (await outputs(client, script, userns_mode="auto", devices=["/dev/null:/dev/own"], **limits)).split()
    assert words[0] == "1:3:666"
    assert int(words[1]) < 1_000_000_000
    assert int(words[2]) > -900


async def test_it_goes_on_over_a_restart_of_the_daemon(client: Client, daemon: Daemon) -> None:
    id = await client.started(
        "sh", "-c", "touch /mine; sleep 1000", userns_mode="auto", mounts=[volume("again", "/data")]
    )
    before = (await client.inspect(id)).uid_map[0].outside
    daemon.restart()
    fresh = Client(daemon.address)
    try:
        assert (await fresh.exec(id, "stat", "-c", "%u", "/mine"))[0] == b"0\n"
        other = await fresh.create("true", userns_mode="auto")
        assert (await fresh.inspect(other)).uid_map[0].outside != before
        await fresh.remove(other)
        await fresh.stub.Restart(pb.RestartContainerRequest(container=id, signal="KILL"))
        assert (await fresh.exec(id, "sh", "-c", "touch /data/f; stat -c %u /mine /data/f"))[0] == b"0\n0\n"
        assert (await fresh.inspect(id)).uid_map[0].outside == before
        await fresh.remove(id)
    finally:
        await fresh.channel.close()


async def test_who_joins_a_container_is_in_its_user_namespace(client: Client) -> None:
    id = await client.started("sleep", "1000", userns_mode="auto", ipc_mode="shareable", network_mode="bridge")
    pid = (await client.inspect(id)).status.pid
    namespace = os.readlink(f"/proc/{pid}/ns/user")
    script = "readlink /proc/self/ns/user; ls /sys/class/net >/dev/null; touch /f; stat -c %u /f"
    for modes in (
        {"network_mode": f"container:{id}"},
        {"pid_mode": f"container:{id}"},
        {"ipc_mode": f"container:{id}"},
    ):
        assert (await outputs(client, script, **modes)).split() == [namespace, "0"]
    with pytest.raises(aio.AioRpcError) as caught:
        await client.create("true", network_mode=f"container:{id}", userns_mode="auto")
    assert caught.value.code() is StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    "spec",
    [
        {"privileged": True},
        {"network_mode": "host"},
        {"pid_mode": "host"},
        {"ipc_mode": "host"},
        {"userns_mode": "remap:nobody-has-this-name"},
        {"userns_mode": "container:x"},
        {"userns_mode": "auto:size=0"},
    ],
)
async def test_what_cannot_be_is_refused_and_leaves_nothing(client: Client, spec: dict[str, Any]) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await client.create("true", **{"userns_mode": "auto", **spec})
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT


async def test_a_user_that_does_not_exist_inside_is_one_line(client: Client) -> None:
    id = await client.create("true", userns_mode="auto:size=100", user="bob")
    with pytest.raises(aio.AioRpcError, match="user 1000 does not exist in the container's user namespace"):
        await client.stub.Start(pb.StartContainerRequest(container=id))


def test_a_volume_that_cannot_be_mapped_is_refused_by_name(daemon: Daemon) -> None:
    daemon.argosy("volume", "create", "--opt=type=ramfs", "--opt=device=ramfs", "plain-memory", check=True)
    mount = ("-v", "plain-memory:/data", "busybox", "touch", "/data/x")
    refused = daemon.argosy("run", "--rm", "--userns=auto", *mount)
    assert refused.returncode == 125
    assert refused.stderr.count(b"\n") == 1
    assert b"volumes/plain-memory/_data is on cannot be id-mapped" in refused.stderr
    assert daemon.argosy("run", "--rm", "--userns=host", *mount).returncode == 0
    daemon.argosy("volume", "rm", "plain-memory", check=True)


async def test_others_on_the_host_cannot_reach_the_root(client: Client, daemon: Daemon) -> None:
    # What containers need is below the run directory, so the data directory may be closed to everybody.
    mode = daemon.data_dir.stat().st_mode & 0o7777
    daemon.data_dir.chmod(0o700)
    try:
        id = await client.started("sleep", "1000", userns_mode="auto")
    finally:
        daemon.data_dir.chmod(mode)
    gid = (await client.inspect(id)).gid_map[0].outside
    place = daemon.run_dir / "userns" / id
    assert (place.stat().st_mode & 0o7777, place.stat().st_uid, place.stat().st_gid) == (0o710, 0, gid)
    command = ["setpriv", f"--reuid={OVERFLOW}", f"--regid={OVERFLOW}", "--clear-groups", "stat", f"{place}/root/bin"]
    assert (await asyncio.to_thread(subprocess.run, command, capture_output=True)).returncode != 0


def packed(daemon: Daemon, *arguments: str) -> dict[str, tuple[int, int]]:
    """Owners by name of what `cp … -` and `export` write."""
    archive = daemon.argosy(*arguments, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name.rstrip("/"): (m.uid, m.gid) for m in tar}


def archive_of(**owners: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (uid, gid) in owners.items():
            member = tarfile.TarInfo(name)
            member.uid, member.gid = uid, gid
            tar.addfile(member)
    return buffer.getvalue()


async def test_copies_have_the_owners_seen_inside(client: Client, daemon: Daemon) -> None:
    script = "mkdir /t; touch /t/r /t/b /data/v; chown 1000:10 /t/b /data/v; sleep 1000"
    id = await client.started("sh", "-c", script, userns_mode="auto", mounts=[volume("copied", "/data")])
    await client.exec(id, "sh", "-c", "until [ -e /data/v ] && [ $(stat -c %u /data/v) = 1000 ]; do sleep 0.1; done")
    for running in (True, False):
        if not running:
            await client.stub.Stop(pb.StopContainerRequest(container=id, signal="KILL"))
        found = packed(daemon, "cp", f"{id}:/t", "-")
        assert [found[n] for n in ("t", "t/r", "t/b")] == [(0, 0), (0, 0), (1000, 10)]
        assert packed(daemon, "cp", f"{id}:/data/v", "-") == {"v": (1000, 10)}
        exported = packed(daemon, "export", id)
        assert (exported["t/b"], exported["bin"]) == ((1000, 10), (0, 0))
        archive = archive_of(**{f"r{running}": (0, 0), f"b{running}": (1000, 10)})
        for place in ("/t", "/data"):
            daemon.argosy("cp", "-a", "-", f"{id}:{place}", stdin=archive, check=True)
            daemon.argosy("cp", "-", f"{id}:{place}", stdin=archive_of(**{f"n{running}": (1000, 10)}), check=True)
    await client.stub.Start(pb.StartContainerRequest(container=id))
    names = " ".join(f"{d}/{n}{r}" for d in ("/t", "/data") for r in (True, False) for n in "rbn")
    out, err, _ = await client.exec(id, "sh", "-c", f"stat -c %u:%g {names}")
    assert out.decode().split() == ["0:0", "1000:10", "0:0"] * 4, err


async def test_copying_reaches_no_more_than_the_container(client: Client, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o600)
    id = await client.started("sleep", "1000", userns_mode="auto", mounts=[bind(tmp_path, "/host")])
    refused = daemon.argosy("cp", f"{id}:/host/secret", "-")
    assert refused.returncode == 1
    assert b"Permission denied" in refused.stderr
    assert daemon.argosy("cp", "-", f"{id}:/host", stdin=archive_of(new=(0, 0))).returncode == 1
    assert not (tmp_path / "new").exists()


# -- the whole daemon -------------------------------------------------------------------------------------------


remapped = a_daemon("remap", "--userns-remap=default")


def test_a_remapped_daemon_maps_unless_told_otherwise(remapped: Daemon) -> None:
    def uid_map(*options: str) -> str:
        result = remapped.argosy("run", "--rm", *options, "busybox", "cat", "/proc/self/uid_map")
        assert result.returncode == 0, result.stderr
        return " ".join(result.stdout.decode().split())

    mapped = uid_map()
    assert mapped.split()[0] == "0"
    assert mapped.split()[1] != "0"
    assert uid_map("--network", "none") == mapped
    assert uid_map("--userns", "host") == uid_map("--userns", "host", "--privileged") == "0 0 4294967295"
    assert uid_map("--userns", "auto") != mapped
    assert b"name=userns" in remapped.argosy("info").stdout
    for options in (["--privileged"], ["--network", "host"], ["--pid", "host"], ["--ipc", "host"]):
        refused = remapped.argosy("run", "--rm", *options, "busybox", "true")
        assert refused.returncode == 125
        assert b"--userns=host" in refused.stderr


def test_a_daemon_that_cannot_remap_does_not_start() -> None:
    made = Daemon("--userns-remap=nobody-has-this-name", label="remap")
    try:
        with pytest.raises(RuntimeError, match="no subordinate ids of 'nobody-has-this-name' in /etc/subuid"):
            made.start()
    finally:
        made.close()


def test_builds_run_in_the_daemons_mapping(remapped: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("context\n")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\n"
        "COPY file /copied\n"
        "RUN cat /proc/self/uid_map >/map && touch /bobs && chown bob /bobs && echo shown >/dev/stdout\n"
        "RUN --mount=type=cache,target=/c --mount=type=bind,target=/b"
        " stat -c %u /c /b/file >/owners && touch /c/x && chown 1000 /c/x\n"
        "RUN --mount=type=cache,target=/c --mount=type=bind,source=file,target=/one stat -c %u /c/x /one >>/owners\n"
        "WORKDIR /made\n"
        "USER bob\n"
        "RUN id -u >/tmp/id && echo again >/dev/stderr\n"
    )
    built = remapped.argosy("build", "--progress=plain", "-t", "app", str(tmp_path))
    assert built.returncode == 0, built.stderr
    assert b"shown" in built.stdout + built.stderr
    script = "cat /map /owners /tmp/id; stat -c %u /copied /bobs /map /made /tmp/id"
    for userns in ("host", ""):
        shown = remapped.argosy("run", "--rm", "--user=0", f"--userns={userns}", "app", "sh", "-c", script, check=True)
        words = shown.stdout.decode().split()
        assert int(words[1]) >= POOL[0]
        assert words[3:] == ["0", "0", "1000", "0", "1000", "0", "1000", "0", "0", "1000"]
    refused = remapped.argosy("build", "--network=host", "--no-cache", str(tmp_path))
    assert refused.returncode == 1
    assert b"cannot share the host's network namespace" in refused.stderr
    assert list((remapped.run_dir / "userns").iterdir()) == []


@pytest.mark.parametrize(
    "sign", ["userns/*", "userns/*/mount-0", "containers/*/config.json", "containers/*/conmon.pid"]
)
def test_a_daemon_killed_while_one_starts_leaves_nothing(sign: str) -> None:
    made = Daemon(label="userns")
    try:
        made.start()
        made.import_busybox()
        command = [
            sys.executable,
            "-m",
            "argosy",
            "run",
            "-d",
            "--userns=auto",
            "-v",
            "vol:/data",
            "busybox",
            "sleep",
            "99",
        ]
        with subprocess.Popen(command, env=made.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            deadline = time.monotonic() + 30
            while not list(made.run_dir.glob(sign)):
                assert time.monotonic() < deadline
            made.kill()
        made.start()
        for id in made.argosy("ps", "-aq", check=True).stdout.decode().split():
            made.argosy("rm", "-f", "-v", id, check=True)
        assert made.left() == {}
        assert not list(made.run_dir.glob("userns/*"))
        assert made.argosy("run", "--rm", "--userns=auto", "-v", "vol:/data", "busybox", "true").returncode == 0
    finally:
        made.close()
