"""How argosy comes into the guest: the one place that knows, whatever it is installed from."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.vm.guest import Guest
from tests.vm.image import ROOT

PATIENCE = 1200.0


def pack(to: Path) -> Path:
    """What the guest's second disk holds: this checkout's last commit, as a tar archive."""
    subprocess.run(["git", "-C", str(ROOT), "archive", "--format=tar", "-o", str(to), "HEAD"], check=True)
    return to


def install(guest: Guest) -> None:
    """As the README tells its readers to; the guest has the packages and, below /opt/wheels, what pip would fetch."""
    guest.check("mkdir -p /root/argosy && tar -xf /dev/vdb -C /root/argosy")
    guest.check("cd /root/argosy && bash deploy/install.sh", timeout=PATIENCE)
