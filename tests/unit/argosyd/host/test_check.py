"""argosyd.host.check: what it looks at."""

from __future__ import annotations

import os

import pytest

from argosyd.host import check, facts, linux


@pytest.mark.parametrize("there", [True, False])
def test_a_file_system_that_is_a_module_is_loaded_before_it_is_missed(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    known = {"ext4"}

    def load(name: str) -> int:
        if not there:
            raise OSError(19, "No such device")
        known.add(name)
        return os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr(facts, "filesystems", lambda: frozenset(known))
    monkeypatch.setattr(linux, "fsopen", load)
    assert check.has_filesystem("overlay") is there
    assert check.has_filesystem("ext4")


def test_what_is_missing_says_how_to_get_it() -> None:
    lacking = check.Finding("overlayfs", False, "none", remedy="modprobe overlay")
    assert lacking.line().startswith("MISS  overlayfs")
    assert lacking.line().endswith("— modprobe overlay")
    assert check.Finding("init", False, "none", needed=False, remedy="x").line().startswith("warn")
    assert "—" not in check.Finding("tar", True, "/bin/tar", remedy="apt install tar").line()
