"""What users give: each value is taken as it stands, or refused in one line that names it; never INTERNAL."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode, aio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.containers import Client
from tests.harness.fixtures import a_daemon, no_defects

from argosy.errors import ArgosyError, InvalidArgument
from argosy.v1 import common_pb2, networks_pb2, networks_pb2_grpc, volumes_pb2, volumes_pb2_grpc
from argosy.v1 import containers_pb2 as pb
from argosyd.api import requests
from argosyd.api.convert import from_proto
from argosyd.containers import names, signals
from argosyd.containers.model import ContainerSpec, Resources
from argosyd.containers.spec import process, resources, rules
from argosyd.images.model import ImageConfig
from argosyd.volumes.model import Mount, MountType

NUL = "a\0b"
LONG = "9" * 5000


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (pb.CreateContainerRequest(name=NUL), "name"),
        (pb.CreateContainerRequest(spec=pb.ContainerSpec(command=["a", NUL])), "spec.command"),
        (pb.CreateContainerRequest(spec=pb.ContainerSpec(labels={NUL: ""})), "spec.labels"),
        (pb.CreateContainerRequest(spec=pb.ContainerSpec(labels={"": NUL})), "spec.labels"),
        (pb.CreateContainerRequest(spec=pb.ContainerSpec(mounts=[common_pb2.Mount(source=NUL)])), "spec.mounts.source"),
        (pb.ExecRequest(start=pb.ExecStart(env=[NUL])), "start.env"),
        (pb.ExecRequest(stdin=b"\0"), ""),
        (pb.CreateContainerRequest(spec=pb.ContainerSpec(command=["a"], labels={"a": "b"})), ""),
        (pb.StopContainerRequest(timeout=Duration(seconds=2**63 - 1)), "timeout"),
        (pb.StopContainerRequest(timeout=Duration(nanos=-(2**31))), "timeout"),
        (pb.StopContainerRequest(timeout=Duration(seconds=-1)), ""),
        (pb.LogsRequest(since=Timestamp(seconds=2**40)), "since"),
        (pb.CreateContainerRequest(spec=pb.ContainerSpec(stop_timeout=Duration(seconds=2**62))), "spec.stop_timeout"),
        (pb.WaitContainerRequest(condition=99), "condition"),  # type: ignore[arg-type]
        (pb.WaitContainerRequest(condition=pb.WaitContainerRequest.CONDITION_REMOVED), ""),
        (pb.CreateContainerRequest(spec=pb.ContainerSpec(mounts=[common_pb2.Mount(type=-1)])), "spec.mounts.type"),  # type: ignore[arg-type]
    ],
)
def test_where_a_value_stands_that_no_request_may_hold(message: Any, place: str) -> None:
    assert requests.fault(message)[0] == place


@pytest.mark.parametrize(
    "changes",
    [
        {"working_dir": "/a" * 1500}, {"working_dir": "/" + "x" * 5000}, {"user": LONG}, {"user": "a\nb"},
        {"hostname": "h" * 65}, {"hostname": "a b"}, {"hostname": "a\nb"}, {"domainname": "../x"}, {"command": ("\0",)},
        {"env": ("A=" + "x" * (200 << 10),)}, {"labels": {"a": "x" * (2 << 20)}}, {"stop_signal": LONG},
        {"stop_signal": "NONE"}, {"dns": ("1.1.1.1\nnameserver 2.2.2.2",)}, {"extra_hosts": ("a:1.1.1.1\n",)},
        {"cgroup_parent": "/../../etc"}, {"exposed_ports": (LONG,)}, {"shm_size": -1}, {"shm_size": 2**62},
        {"mounts": (Mount(MountType.BIND, "/a" * 1500, "/x"),)}, {"mounts": (Mount(MountType.BIND, "/a", "/b\0"),)},
        {"mounts": (Mount(MountType.TMPFS, "/a", tmpfs_size=-1),)}, {"mounts": (Mount(MountType.TMPFS, "/a", tmpfs_mode=1 << 20),)},
        {"mounts": tuple(Mount(MountType.TMPFS, f"/{n}") for n in range(1001))},
        {"resources": Resources(memory_bytes=2**62)}, {"resources": Resources(memory_bytes=-2)},
        {"sysctls": {"kernel.core_pattern": "|/x"}}, {"sysctls": {"vm.overcommit_memory": "1"}},
        {"sysctls": {"net.ipv4/../../kernel/core_pattern": "x"}}, {"sysctls": {"": "x"}}, {"sysctls": {"net.a\nb": "1"}},
        {"sysctls": {"net.ipv4.ip_forward": "1"}, "network_mode": "host"},
        {"sysctls": {"kernel.msgmax": "1"}, "ipc_mode": "host"},
    ],
)  # fmt: skip
def test_what_no_container_can_have(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        rules.check(ContainerSpec("busybox", **changes), ImageConfig())
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_what_containers_do_have() -> None:
    rules.check(
        ContainerSpec(
            "busybox", working_dir="/srv/app", user="bob:wheel", hostname="web-1", domainname="example.org",
            env=("A=line one\nline two", "B"), labels={"text": "a\nb"}, stop_signal="SIGRTMIN+3", dns=("1.1.1.1",),
            extra_hosts=("a:host-gateway",), sysctls={"net.core.somaxconn": "9", "kernel.msgmax": "1"},
            mounts=(Mount(MountType.BIND, "/with space", "/höst"),), cgroup_parent="/a/b", resources=Resources(memory_swap_bytes=-1),
        ),
        ImageConfig(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["", "a", "a\n", "-a", "a" * 256, "a b", "é", "a/b", "..", "\0a", "a\0"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidArgument):
        names.check(name)


@pytest.mark.parametrize("text", [LONG, "RTMIN+" + LONG, "٣", "0", "-1", "KILL\n", "SIG", "x" * 10**6])
def test_signals_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        signals.number(text)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("text", [LONG, "0-" + LONG, "0\n", "٠", ",", "0-"])
def test_processors_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument):
        resources.validate(Resources(cpuset_cpus=text), 4)


@pytest.mark.parametrize(
    ("args", "env", "cwd"), [(["a\0"], [], "/"), ([], ["A=\0"], "/"), ([], [], "/\0"), (["x" * (128 << 10)], [], "/")]
)
def test_the_last_look_before_the_runtime(args: list[str], env: list[str], cwd: str) -> None:
    with pytest.raises(InvalidArgument):
        process.check(args, env, cwd)


TEXT = st.text(max_size=6) | st.sampled_from([NUL, LONG, "/a" * 1500, "a\n", "..", "host", "container:x", "9" * 400])
BY_TYPE = {
    "str": TEXT,
    "tuple[str, ...]": st.lists(TEXT, max_size=3).map(tuple),
    "Mapping[str, str]": st.dictionaries(TEXT, TEXT, max_size=3),
    "bool": st.booleans(),
    "int": st.integers(-(2**63), 2**63 - 1),
    "Resources": st.builds(
        Resources, nano_cpus=st.integers(-5, 2**63 - 1), memory_bytes=st.integers(-(2**63), 2**63 - 1), cpuset_cpus=TEXT
    ),
}
FIELDS = {f.name: BY_TYPE[str(f.type)] for f in dataclasses.fields(ContainerSpec) if str(f.type) in BY_TYPE}


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({"image": TEXT}, optional={n: s for n, s in FIELDS.items() if n != "image"}))
def test_any_wish_is_taken_or_refused(fields: dict[str, Any]) -> None:
    said = ""
    try:
        rules.check(ContainerSpec(**fields), ImageConfig())
    except ArgosyError as error:
        said = str(error)
    assert len(said) < 1000


daemon = a_daemon("values", at_end=no_defects)


async def refused(call: Any, says: str) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT, caught.value
    assert says in (caught.value.details() or "")


async def test_no_call_takes_a_nul_byte(client: Client) -> None:
    id = await client.started("sleep", "100")
    for spec in (
        {"command": ["/bin/true\0/x"]},
        {"image": NUL},
        {"user": NUL},
        {"working_dir": NUL},
        {"hostname": NUL},
    ):
        request = pb.CreateContainerRequest(spec=pb.ContainerSpec(**{"image": "busybox", **spec}))
        await refused(client.stub.Create(request), "NUL byte")
    await refused(client.stub.Rename(pb.RenameContainerRequest(container=id, name=NUL)), "name holds a NUL byte")
    await refused(client.stub.Kill(pb.KillContainerRequest(container=id, signal=NUL)), "signal holds a NUL byte")
    await refused(client.exec(id, "echo", NUL), "start.command holds a NUL byte")
    await refused(client.exec(id, "true", working_dir=NUL), "NUL byte")
    await refused(anext(aiter(client.stub.CopyOut(pb.CopyOutRequest(container=id, path=NUL)))), "NUL byte")
    networks: Any = networks_pb2_grpc.NetworksStub(client.channel)
    await refused(networks.Inspect(networks_pb2.InspectNetworkRequest(network=NUL)), "NUL byte")
    volumes: Any = volumes_pb2_grpc.VolumesStub(client.channel)
    await refused(volumes.Create(volumes_pb2.CreateVolumeRequest(name=NUL)), "NUL byte")


async def test_values_that_no_container_can_have(client: Client) -> None:
    for spec, says in (
        ({"working_dir": "/a" * 1500}, "WorkingDir"),
        ({"user": LONG}, "User"),
        ({"hostname": "x" * 65}, "--hostname"),
        ({"sysctls": {"kernel.core_pattern": "|/x"}}, "--sysctl"),
        ({"cgroup_parent": "../../x"}, "--cgroup-parent"),
        ({"stop_signal": LONG}, "StopSignal"),
        ({"env": ["A=" + "x" * (130 << 10)]}, "Env"),
    ):
        await refused(client.create("true", **spec), says)  # type: ignore[arg-type]
    for name in ("x\n", "x" * 256):
        request = pb.CreateContainerRequest(name=name, spec=pb.ContainerSpec(image="busybox", command=["true"]))
        await refused(client.stub.Create(request), "Invalid container name")


def test_the_record_of_a_container_reads_what_was_asked() -> None:
    asked = pb.ContainerSpec(
        image="x", mounts=[common_pb2.Mount(type="TYPE_BIND", source="/a", target="/b", recursive="writable")]
    )
    assert from_proto(asked, ContainerSpec).mounts[0].recursive == "writable"
