from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import InvalidArgument
from argosy_cluster import addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("10.0.0.1:2377", "10.0.0.1", 2377), ("[fd00::1]:1", "fd00::1", 1), ("node-a:65535", "node-a", 65535)],
)
def test_split_and_join(text: str, host: str, port: int) -> None:
    assert addresses.split(text) == (host, port)
    assert addresses.join(host, port) == text


@pytest.mark.parametrize("text", ["", ":2377", "a:", "a:0", "a:65536", "a:-1", "fd00::1", "a:٣", "a", "[]x:1", "a:1:2"])
def test_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        addresses.split(text)
    assert caught.value.reason == "BAD_ADDRESS"


@given(st.text())
def test_any_text_splits_or_is_refused(text: str) -> None:
    try:
        host, port = addresses.split(text)
    except InvalidArgument:
        return
    assert host
    assert 0 < port < 65536


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("10.0.0.1", "10.0.0.1:2377"),
        ("10.0.0.1:5", "10.0.0.1:5"),
        ("fd00::1", "[fd00::1]:2377"),
        ("[fd00::1]", "[fd00::1]:2377"),
        ("[fd00::1]:5", "[fd00::1]:5"),
        ("node", "node:2377"),
    ],
)
def test_with_port(text: str, full: str) -> None:
    assert addresses.with_port(text) == full


@pytest.mark.parametrize(("host", "wild"), [("0.0.0.0", True), ("::", True), ("10.0.0.1", False), ("a", False)])
def test_wildcards(host: str, wild: bool) -> None:
    assert addresses.is_wildcard(host) is wild
