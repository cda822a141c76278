"""argosyd.network.ipam: no address twice, none outside, none that overlaps."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import Conflict, InvalidArgument, ResourceExhausted
from argosyd.network import ipam
from argosyd.network.model import IpamConfig

POOLS = [ipam.parse_pool(t) for t in ipam.DEFAULT_POOLS]
SMALL = ipam.plan(IpamConfig(), IPv4Network("10.0.0.0/29"))


def test_the_first_subnets_are_dockers() -> None:
    taken: list[IPv4Network] = []
    for expected in ("172.17.0.0/16", "172.18.0.0/16"):
        taken.append(ipam.choose_subnet(POOLS, taken))
        assert str(taken[-1]) == expected


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(8, 30)), max_size=20))
def test_a_chosen_subnet_overlaps_nothing(pairs: list[tuple[int, int]]) -> None:
    taken = [IPv4Network((address, prefix), strict=False) for address, prefix in pairs]
    try:
        chosen = ipam.choose_subnet(POOLS, taken)
    except ResourceExhausted:
        return
    assert not any(chosen.overlaps(t) for t in taken)


def test_pools_run_out() -> None:
    with pytest.raises(ResourceExhausted):
        ipam.choose_subnet([ipam.parse_pool("10.0.0.0/24,24")], [IPv4Network("10.0.0.128/25")])


def test_addresses_go_round_and_run_out() -> None:
    used: set[IPv4Address] = set()
    last = None
    given_out = []
    for _ in range(5):
        last = ipam.allocate(SMALL, used, last, "n")
        used.add(last)
        given_out.append(str(last))
    assert given_out == [f"10.0.0.{n}" for n in range(2, 7)]
    with pytest.raises(ResourceExhausted, match="no free address left in network n"):
        ipam.allocate(SMALL, used, last, "n")
    used.discard(IPv4Address("10.0.0.4"))
    assert str(ipam.allocate(SMALL, used, last, "n")) == "10.0.0.4"


def test_a_freed_address_rests() -> None:
    first = ipam.allocate(SMALL, set(), None, "n")
    assert ipam.allocate(SMALL, set(), first, "n") != first


@given(st.sets(st.integers(0, 255)), st.none() | st.integers(0, 255))
def test_what_is_given_is_free_and_inside(used: set[int], after: int | None) -> None:
    plan = ipam.plan(IpamConfig(ip_range="10.0.0.64/26", aux_addresses={"r": "10.0.0.70"}), IPv4Network("10.0.0.0/24"))
    taken = {IPv4Address(f"10.0.0.{n}") for n in used}
    last = IPv4Address(f"10.0.0.{after}") if after is not None else None
    try:
        address = ipam.allocate(plan, taken, last, "n")
    except ResourceExhausted:
        assert len([a for a in plan.range if a not in taken and a not in plan.reserved]) == 0
        return
    assert address in plan.range
    assert address not in taken | plan.reserved


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (IpamConfig(gateway="10.1.0.1"), "not within subnet"),
        (IpamConfig(gateway="10.0.0.0"), "first or last"),
        (IpamConfig(gateway="x"), "no IPv4 address"),
        (IpamConfig(ip_range="10.1.0.0/25"), "not within subnet"),
        (IpamConfig(ip_range="10.0.0.1/25"), "invalid ip-range"),
        (IpamConfig(aux_addresses={"a": "1.2.3.4"}), "not within subnet"),
    ],
)
def test_plans_that_do_not_fit(config: IpamConfig, error: str) -> None:
    with pytest.raises(InvalidArgument, match=error):
        ipam.plan(config, IPv4Network("10.0.0.0/24"))


@pytest.mark.parametrize("subnet", ["10.0.0.0/33", "10.0.0.1/24", "x", "fd00::/64"])
def test_subnets_that_are_none(subnet: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid subnet"):
        ipam.parse_subnet(subnet)


def test_fixed_addresses() -> None:
    assert str(ipam.claim(SMALL, set(), "10.0.0.5", "n")) == "10.0.0.5"
    for wanted in ("10.0.0.1", "10.0.0.3"):
        with pytest.raises(Conflict, match="in use"):
            ipam.claim(SMALL, {IPv4Address("10.0.0.3")}, wanted, "n")
    with pytest.raises(InvalidArgument, match="not within"):
        ipam.claim(SMALL, set(), "10.0.1.5", "n")


def test_an_overlap_says_whose() -> None:
    with pytest.raises(Conflict, match="of network web"):
        ipam.refuse_overlap(IPv4Network("10.0.0.0/8"), [(IPv4Network("10.1.0.0/16"), "network web")])


def test_mac() -> None:
    assert ipam.mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"
