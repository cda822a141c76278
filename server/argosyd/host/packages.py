"""Which command brings a program, on the distribution at hand."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

_MANAGERS = {
    "debian": "apt", "ubuntu": "apt", "fedora": "dnf", "rhel": "dnf", "centos": "dnf", "suse": "zypper", "opensuse": "zypper",
    "alpine": "apk", "arch": "pacman",
}  # fmt: skip
"""By ID or a word of ID_LIKE (os-release(5))."""
_COMMANDS = {
    "apt": "apt install", "dnf": "dnf install", "zypper": "zypper install", "apk": "apk add", "pacman": "pacman -S",
}  # fmt: skip
_NAMES: Mapping[str, Mapping[str, str]] = {
    "libnftables1": {"dnf": "nftables", "apk": "nftables", "pacman": "nftables"},
    "iproute2": {"dnf": "iproute"},
    "apparmor": {"zypper": "apparmor-parser"},
}
"""Packages whose name is another than Debian's."""


def manager(release: str) -> str:
    """The package manager, from the text of os-release(5); "" when it is none that we know."""
    fields: dict[str, str] = {}
    for line in release.splitlines():
        name, _, value = line.partition("=")
        try:
            fields[name] = " ".join(shlex.split(value[:200]))
        except ValueError:
            continue
    words = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    # As in "opensuse-leap".
    return next((_MANAGERS[w] for word in words for w in (word, word.partition("-")[0]) if w in _MANAGERS), "")


def install(package: str, manager: str) -> str:
    """The command that brings a package, by its name in Debian."""
    if manager not in _COMMANDS:
        return f"install the package {package}"
    return f"{_COMMANDS[manager]} {_NAMES.get(package, {}).get(manager, package)}"


def this_manager(place: Path = Path("/etc/os-release")) -> str:
    """That of this host."""
    try:
        return manager(place.read_text(errors="replace")[:65536])
    except OSError:
        return ""
