"""Where every mount is shared with its copies, as systemd has it: unmounting a copy leaves the original alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.harness.daemon import python_path

MAPPED = """
from argosyd.snapshots import mapped
from argosyd.userns.ids import IdMap, IdRange
from argosyd.userns.kernel import Namespaces

ranges = (IdRange(0, 100_000, 65_536),)
held = Namespaces(IdMap(ranges, ranges))
try:
    mapped.probe(top, top / "probe", held.mount_map)
finally:
    held.close()
"""
BOUND = """
from argosyd.host import linux, mounts

for name in ("a/sub", "b"):
    (top / name).mkdir(parents=True)
linux.mount("none", str(top / "a/sub"), "tmpfs")
(top / "a/sub/file").write_text("here")
mounts.mount_bind(top / "a", top / "b")
assert (top / "b/sub/file").read_text() == "here"
mounts.unmount(top / "b/sub")
mounts.unmount(top / "b")
assert (top / "a/sub/file").read_text() == "here"
mounts.unmount(top / "a/sub")
"""


@pytest.mark.parametrize("work", [MAPPED, BOUND], ids=["mapped", "bound"])
@pytest.mark.parametrize("propagation", ["shared", "private"])
def test_a_copy_that_is_unmounted_takes_nothing_along(tmp_path: Path, work: str, propagation: str) -> None:
    (tmp_path / "probe").mkdir()
    code = f"from pathlib import Path\n\ntop = Path({str(tmp_path)!r})\n{work}"
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", propagation, sys.executable, "-c", code],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": python_path()}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
