"""A daemon that is no member pays for nothing of the cluster."""

from __future__ import annotations

import subprocess
import sys


def test_a_daemon_outside_a_cluster_does_not_load_cryptography() -> None:
    program = "import sys, argosyd.app; print(*sorted(m for m in sys.modules if m.split('.')[0] == 'cryptography'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
