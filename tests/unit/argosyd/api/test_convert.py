"""argosyd.api.convert: messages and dataclasses correspond field by field."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import InvalidArgument
from argosy.v1 import common_pb2, containers_pb2, images_pb2, networks_pb2
from argosyd.api import convert
from argosyd.containers import model as containers
from argosyd.images.model import HealthCheck, ImageConfig
from argosyd.network import model as network
from argosyd.units import Seconds, Timestamp
from argosyd.volumes.model import Mount, MountType


@given(
    st.builds(
        containers.ContainerSpec,
        image=st.text(),
        env=st.lists(st.text()).map(tuple),
        labels=st.dictionaries(st.text(), st.text()),
        restart_policy=st.builds(
            containers.RestartPolicy, st.sampled_from(containers.RestartCondition), st.integers(0, 2**32 - 1)
        ),
        mounts=st.lists(st.builds(Mount, st.sampled_from(MountType), st.text())).map(tuple),
        stop_timeout=st.none() | st.integers(0, 10**6).map(lambda n: Seconds(float(n))),
        endpoints=st.lists(st.builds(network.EndpointSpec, st.text())).map(tuple),
    )
)
def test_container_spec_round_trip(spec: containers.ContainerSpec) -> None:
    message = convert.to_proto(spec, containers_pb2.ContainerSpec)
    assert convert.from_proto(message, containers.ContainerSpec) == spec


PAIRS = [
    (containers.ContainerSpec, containers_pb2.ContainerSpec),
    (containers.ContainerStatus, containers_pb2.ContainerStatus),
    (containers.Container, containers_pb2.Container),
    (containers.Resources, common_pb2.Resources),
    (Mount, common_pb2.Mount),
    (ImageConfig, images_pb2.ImageConfig),
    (HealthCheck, common_pb2.HealthCheck),
    (network.NetworkSpec, networks_pb2.NetworkSpec),
    (network.EndpointStatus, containers_pb2.EndpointStatus),
    (network.PortMapping, common_pb2.PortMapping),
]


@pytest.mark.parametrize(("cls", "message"), PAIRS, ids=lambda p: p.__name__)
def test_every_field_of_the_dataclass_stands_in_the_message(cls: type, message: type) -> None:
    names = {f.name for f in dataclasses.fields(cls)}
    assert names <= set(message.DESCRIPTOR.fields_by_name)  # type: ignore[attr-defined]


@given(st.integers(-(10**15), 10**15).map(lambda us: us / 1e6))
def test_durations(seconds: float) -> None:
    assert convert.duration_from_proto(convert.duration_to_proto(seconds)) == pytest.approx(seconds, abs=1e-6)


@given(st.integers(0, 2**62))
def test_timestamps(ns: int) -> None:
    assert convert.timestamp_from_proto(convert.timestamp_to_proto(ns)) == ns


def test_absent_stays_absent() -> None:
    status = containers.ContainerStatus(finished_at=Timestamp(0))
    message = convert.to_proto(status, containers_pb2.ContainerStatus)
    assert not message.HasField("finished_at")
    assert not message.HasField("health")
    assert convert.from_proto(message, containers.ContainerStatus) == status


def test_an_unknown_enum_number_reads_as_the_default() -> None:
    message = containers_pb2.RestartPolicy(condition=99)  # type: ignore[arg-type]
    assert convert.from_proto(message, containers.RestartPolicy) == containers.RestartPolicy()


def test_a_required_field_that_is_absent_is_named() -> None:
    with pytest.raises(InvalidArgument, match="Mount.type is missing"):
        convert.from_proto(common_pb2.Mount(target="/x"), Mount)
