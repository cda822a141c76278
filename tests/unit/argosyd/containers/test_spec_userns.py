"""Which user namespace a container gets, and what cannot go with one."""

from __future__ import annotations

from typing import Any

import pytest

from argosy.errors import Conflict, InvalidArgument
from argosyd.containers.model import ContainerSpec
from argosyd.containers.spec.userns import Choices, Neighbour, UserNamespace, check_user, choose, to_oci
from argosyd.userns.ids import IdMap, IdRange


def id_map(outside: int) -> IdMap:
    return IdMap((IdRange(0, outside, 1000),), (IdRange(0, outside, 1000),))


DEFAULT, AUTO, BOB = id_map(100_000), id_map(200_000), id_map(300_000)
WITHOUT = Choices(None, lambda _: AUTO, lambda _: BOB)
WITH = Choices(DEFAULT, lambda _: AUTO, lambda _: BOB)


def chosen(choices: Choices, *neighbours: Neighbour, **spec: Any) -> IdMap | None:
    return choose(ContainerSpec(image="x", **spec), neighbours, choices)


def test_the_mode_decides_and_the_daemons_choice_is_the_default() -> None:
    assert chosen(WITHOUT) is None
    assert chosen(WITH) == DEFAULT
    for choices in (WITH, WITHOUT):
        assert chosen(choices, userns_mode="host") is None
        assert chosen(choices, userns_mode="auto") == AUTO
        assert chosen(choices, userns_mode="auto:size=5") == AUTO
        assert chosen(choices, userns_mode="remap:bob") == BOB


@pytest.mark.parametrize("mode", ["private", "keep-id", "automatic", "remap", "container:x", "HOST"])
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(InvalidArgument, match="use host, auto"):
        chosen(WITHOUT, userns_mode=mode)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("privileged", True, "privileged mode is incompatible with user namespaces"),
        ("network_mode", "host", "cannot share the host's network namespace when user namespaces are enabled"),
        ("pid_mode", "host", "cannot share the host PID namespace when user namespaces are enabled"),
        ("ipc_mode", "host", "cannot share the host IPC namespace when user namespaces are enabled"),
    ],
)
def test_namespaces_of_the_host_need_the_hosts_ids(field: str, value: Any, words: str) -> None:
    for choices, mode in ((WITH, ""), (WITHOUT, "auto"), (WITHOUT, "remap:bob")):
        with pytest.raises(InvalidArgument, match=words):
            chosen(choices, userns_mode=mode, **{field: value})
    assert chosen(WITH, userns_mode="host", **{field: value}) is None
    assert chosen(WITHOUT, **{field: value}) is None


def test_who_joins_a_container_is_in_its_user_namespace() -> None:
    other = Neighbour("network", "web", AUTO)
    assert chosen(WITH, other) == AUTO
    assert chosen(WITH, Neighbour("pid", "web", None)) is None
    assert chosen(WITHOUT, Neighbour("pid", "web", BOB), userns_mode="remap:bob") == BOB
    for mode in ("host", "auto", "remap:bob"):
        with pytest.raises(Conflict, match="is in its user namespace"):
            chosen(WITHOUT, other, userns_mode=mode)
    with pytest.raises(Conflict, match="different user namespaces"):
        chosen(WITHOUT, other, Neighbour("ipc", "db", None))
    with pytest.raises(InvalidArgument, match="privileged"):
        chosen(WITHOUT, other, privileged=True)


def test_users_that_do_not_exist_inside_are_refused() -> None:
    check_user(999, (0, 999), AUTO)
    with pytest.raises(InvalidArgument, match="user 1000 does not exist .* which has 0-999"):
        check_user(1000, (), AUTO)
    with pytest.raises(InvalidArgument, match="group 5000"):
        check_user(0, (0, 5000), AUTO)


def test_the_mapping_in_the_runtimes_words() -> None:
    found = to_oci(UserNamespace("/p", IdMap((IdRange(0, 7, 2), IdRange(2, 20, 3)), (IdRange(0, 9, 1),))))
    assert found == {
        "uidMappings": [{"containerID": 0, "hostID": 7, "size": 2}, {"containerID": 2, "hostID": 20, "size": 3}],
        "gidMappings": [{"containerID": 0, "hostID": 9, "size": 1}],
    }
