"""A daemon that is no member pays for nothing of the cluster."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.harness.daemon import python_path


def test_a_daemon_outside_a_cluster_does_not_load_cryptography() -> None:
    program = "import sys, argosyd.app; print(*sorted(m for m in sys.modules if m.split('.')[0] == 'cryptography'))"
    environment = {**os.environ, "PYTHONPATH": python_path()}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
