"""A bridge in a network namespace of its own, with hosts (namespaces too) plugged in by links that can be cut."""

from __future__ import annotations

import subprocess

SUBNET = "10.99.0"


def address(number: int) -> str:
    """The address of a host: the first is 10.99.0.1."""
    return f"{SUBNET}.{number}"


def ip(*arguments: str, check: bool = True) -> None:
    """Runs ip(8). CalledProcessError with what it said."""
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


class Switch:
    """Named, so that another process can go on with it. The host's own namespace is not touched."""

    def __init__(self, name: str) -> None:
        self.name = name

    def make(self) -> None:
        """Makes the namespace and the bridge."""
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "add", "sw", "type", "bridge")
        ip("-n", self.name, "link", "set", "sw", "up")

    def plug(self, number: int, namespace: str) -> None:
        """Joins a namespace as host `number`, with its address on eth0."""
        port = f"p{number}"
        ip("-n", self.name, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("-n", self.name, "link", "set", port, "master", "sw", "up")
        ip("-n", namespace, "addr", "add", f"{address(number)}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")

    def cut(self, number: int) -> None:
        """Its packets go nowhere, without a word to either end."""
        ip("-n", self.name, "link", "set", f"p{number}", "nomaster")

    def mend(self, number: int) -> None:
        """They arrive again."""
        ip("-n", self.name, "link", "set", f"p{number}", "master", "sw")

    def remove(self) -> None:
        """Takes the bridge and its links away; nothing when they are gone."""
        ip("netns", "del", self.name, check=False)
