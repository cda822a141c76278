"""Whether mounts can be made read-only with all that is mounted below them (mount_setattr(2), AT_RECURSIVE)."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping

from argosyd.host import linux

_FIRST = {"crun": (1, 4), "runc": (1, 1)}
"""The first version of each runtime that knows the mount option "rro"."""


def kernel_can() -> bool:
    """Whether this kernel has the call (5.12 and later)."""
    try:
        # No kernel that knows the call takes a structure of no bytes, so that nothing is changed by asking.
        linux.mount_setattr(-1, b"")
    except OSError as error:
        return error.errno == errno.EINVAL
    return True


def runtime_can(name: str, version: str) -> bool:
    """Whether a runtime of this version ("1.8.1") passes it on."""
    found = re.match(r"(\d{1,9})\.(\d{1,9})", version)
    return name in _FIRST and found is not None and (int(found[1]), int(found[2])) >= _FIRST[name]


def able(versions: Mapping[str, str]) -> frozenset[str]:
    """Which runtimes, by name and version, can do it here."""
    return frozenset(n for n, v in versions.items() if runtime_can(n, v)) if kernel_can() else frozenset()
