"""argosyd.codec: what is written is what is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosyd import codec
from argosyd.containers.model import (
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    Health,
    HealthProbe,
    RestartCondition,
    RestartPolicy,
)
from argosyd.images.model import HealthCheck
from argosyd.units import Seconds, Timestamp
from argosyd.volumes.model import Mount, MountType

specs = st.builds(
    ContainerSpec,
    image=st.text(),
    command=st.lists(st.text()).map(tuple),
    labels=st.dictionaries(st.text(), st.text()),
    restart_policy=st.builds(RestartPolicy, st.sampled_from(RestartCondition), st.integers(0, 9)),
    mounts=st.lists(st.builds(Mount, st.sampled_from(MountType), st.text())).map(tuple),
    health_check=st.none() | st.builds(HealthCheck, interval=st.none() | st.floats(0, 1e6).map(Seconds)),
)


@given(specs)
def test_round_trip(spec: ContainerSpec) -> None:
    assert codec.loads(ContainerSpec, codec.dumps(spec)) == spec


def test_status_round_trip() -> None:
    probe = HealthProbe(Timestamp(1), Timestamp(2), 1, "no")
    status = ContainerStatus(ContainerState.PAUSED, pid=7, health=Health("healthy", 0, (probe, probe)))
    assert codec.loads(ContainerStatus, codec.dumps(status)) == status


def test_defaults_are_left_out_and_unknown_keys_passed_over() -> None:
    assert json.loads(codec.dumps(ContainerSpec(image="a"))) == {"image": "a"}
    assert codec.loads(ContainerSpec, '{"image":"a","from_the_future":1}') == ContainerSpec(image="a")


def test_a_record_without_a_needed_field_is_refused() -> None:
    with pytest.raises(TypeError):
        codec.loads(ContainerSpec, "{}")
