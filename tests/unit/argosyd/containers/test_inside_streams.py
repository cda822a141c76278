"""The streams of a process in a user namespace, given to it while its monitor opens and closes others."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from argosyd.containers import inside
from argosyd.userns.ids import IdMap, IdRange


@dataclass
class Gone:
    path: str


def test_a_descriptor_that_is_closed_meanwhile_keeps_no_other_from_being_given(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = os.scandir

    def closing(path: str) -> Iterator[Any]:
        return iter([Gone(f"{path}/99999"), *listed(path)])

    monkeypatch.setattr(os, "scandir", closing)
    ranges = (IdRange(0, 100_000, 65_536),)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as monitor:
        assert monitor.stdin is not None
        assert monitor.stdout is not None
        inside.give_streams(monitor.pid, {"user": {"uid": 7}}, IdMap(ranges, ranges))
        owners = [os.fstat(stream.fileno()).st_uid for stream in (monitor.stdin, monitor.stdout)]
        monitor.stdin.close()
    assert owners == [100_007, 100_007]
