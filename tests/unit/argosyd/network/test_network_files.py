"""argosyd.network.files: /etc/hosts and /etc/resolv.conf of containers."""

from __future__ import annotations

import pytest

from argosy.errors import InvalidArgument
from argosyd.network import files
from argosyd.network.model import AttachRequest, EndpointStatus

HOST = files.parse_resolv_conf("# c\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a.b c\noptions ndots:2 # x\n")
REQUEST = AttachRequest(
    "id", "web", "webhost", "bridge", domainname="example.org", extra_hosts=("db:1.2.3.4", "gw:host-gateway")
)
ENDPOINT = EndpointStatus("bridge", "n", "e", "172.17.0.2", 16, "172.17.0.1", "02:42:ac:11:00:02")


def test_hosts() -> None:
    text = files.hosts(REQUEST, [ENDPOINT], "172.17.0.1")
    assert text.startswith("127.0.0.1\tlocalhost\n")
    assert "1.2.3.4\tdb\n172.17.0.1\tgw\n172.17.0.2\twebhost.example.org webhost\n" in text


@pytest.mark.parametrize("text", ["db", "db:", ":1.2.3.4", "db:x", ""])
def test_extra_hosts_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="name:address"):
        files.extra_host(text, "")


def test_the_hosts_own_loopback_resolver_is_of_no_use_inside() -> None:
    assert (
        files.resolv_conf(REQUEST, HOST, (), resolver=False) == "nameserver 10.0.0.1\nsearch a.b c\noptions ndots:2\n"
    )
    assert files.upstream(files.ResolvConf(("::1",)), (), ()) == files.FALLBACK_RESOLVERS


def test_networks_with_names_ask_the_engine() -> None:
    assert files.resolv_conf(REQUEST, HOST, (), resolver=True).startswith("nameserver 127.0.0.11\n")


def test_dns_asked_for_wins() -> None:
    assert files.upstream(HOST, ("9.9.9.9",), ("8.8.4.4",)) == ("8.8.4.4",)
    assert files.upstream(HOST, ("9.9.9.9",), ()) == ("9.9.9.9",)
