from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import DataLoss
from argosy_cluster.codec import decode, encode
from argosy_cluster.model import ClusterRecord, MemberRecord, Node, NodeRole, NodeSpec


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True)
class Everything:
    number: int
    data: bytes
    leaf: Leaf
    maybe: Leaf | None = None
    ratio: float = 0.5
    flag: bool = False
    leaves: tuple[Leaf, ...] = ()
    names: Sequence[str] = ()
    by_name: Mapping[str, Leaf] = field(default_factory=dict)
    colours: frozenset[Colour] = frozenset()
    text: str | None = None


FULL = Everything(
    1, bytes(range(256)), Leaf("ü"), Leaf("m"), 1.25, True, (Leaf("a"), Leaf("b")), ("x",), {"k": Leaf("v")},
    frozenset({Colour.RED}), "t",
)  # fmt: skip


@pytest.mark.parametrize("value", [FULL, Everything(0, b"", Leaf(""))])
def test_what_is_written_is_read(value: Everything) -> None:
    assert decode(Everything, encode(value)) == value


@pytest.mark.parametrize("cls", [Node, ClusterRecord, MemberRecord])
@given(data=st.data())
def test_every_record_survives(cls: type, data: st.DataObject) -> None:
    value = data.draw(st.builds(cls))
    assert decode(cls, encode(value)) == value


def test_unknown_fields_are_ignored_and_absent_ones_are_default() -> None:
    assert decode(Leaf, b'{"name":"a","later":1}') == Leaf("a")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'"x"', b'{"name":"a","colour":"blue"}', b"\xff", b"null"])
def test_what_is_no_record_is_data_loss(data: bytes) -> None:
    with pytest.raises(DataLoss, match="Leaf"):
        decode(Leaf, data)


@given(st.binary())
def test_any_bytes_give_a_node_or_data_loss(data: bytes) -> None:
    try:
        assert isinstance(decode(Node, data), Node)
    except DataLoss:
        pass


def test_enums_are_written_by_value() -> None:
    node = Node("i", "n", NodeRole.WORKER, 1, NodeSpec(labels={"a": "b"}))
    assert b'"role":"worker"' in encode(node)
