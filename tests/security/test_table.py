"""The table of public vulnerabilities names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_test_that_the_table_names_exists() -> None:
    table = (HERE / "README.md").read_text()
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", table)
    assert len(named) > 15
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (HERE / file).exists() or (name and f"def {name}(" not in (HERE / file).read_text())
    ]
    assert missing == []
    listed = {file for file, name in named if not name}
    assert {p.name for p in HERE.glob("test_*.py")} <= listed
    rows = [line for line in table.splitlines() if line.startswith("| CVE-")]
    assert all("`test_" in row or "cannot apply: " in row for row in rows)
