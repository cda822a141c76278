"""argosyd.network.rules against its golden file, which nft itself reads back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from argosyd.network import rules
from argosyd.network.model import PortMapping

GOLDEN = Path(__file__).with_name("ruleset.nft")
BRIDGES = [
    rules.Bridge("argosy0", "172.17.0.0/16"),
    rules.Bridge("br-inner", "10.1.0.0/24", internal=True),
    rules.Bridge("br-routed", "10.2.0.0/24", masquerade=False),
]
PORTS = [
    rules.publication(PortMapping(80, 8080), "172.17.0.2"),
    rules.publication(PortMapping(53, 5353, "127.0.0.1", "udp"), "172.17.0.3"),
]


def test_golden() -> None:
    text = rules.ruleset(rules.table_name("argosy0"), BRIDGES, PORTS)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_nft_takes_it() -> None:
    changes = (
        rules.ruleset("argosy_x", BRIDGES[:1], PORTS[:1])
        + rules.add_bridge("argosy_x", BRIDGES[1])
        + rules.publish("argosy_x", PORTS[1:])
        + rules.unpublish("argosy_x", PORTS)
        + "".join(rules.remove_bridge("argosy_x", b) for b in BRIDGES[:2])
        + rules.drop_table("argosy_x")
    )
    subprocess.run(["unshare", "-n", "nft", "-f", "-"], input=changes, text=True, check=True)


def test_a_table_name_is_a_word() -> None:
    assert rules.table_name("br-1.2") == "argosy_br_1_2"
