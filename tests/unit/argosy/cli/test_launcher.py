"""The program `argosy` as our own installations start it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LAUNCHER = Path(__file__).parents[4] / "client/argosy/cli/launcher"


def test_it_finds_the_package_and_its_libraries_without_what_others_have_run_at_every_start(tmp_path: Path) -> None:
    code = f"import sys; sys.argv = ['argosy', '--version']; exec(open({str(LAUNCHER)!r}).read())"
    done = subprocess.run(
        [sys.executable, "-S", "-X", "importtime", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("argosy version ")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "argosy.cli" in imported
    assert not imported & {"site", "sitecustomize", "_distutils_hack"}
