"""How argosy comes into the guest: the one place that knows, whatever it is installed from."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.vm.guest import Guest
from tests.vm.image import ROOT

PATIENCE = 1200.0
PLACE = "/root/packages"
LATER = "+later"
"""What the version of the package has behind it that is an upgrade."""


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def pack(python: str, directory: Path) -> Path:
    """What the guest's second disk holds, as a tar archive: argosy.deb, made of this checkout for the guest's Python, and
    later.deb, the same of a later version."""
    build = str(ROOT / "deploy/deb/build.py")
    package = _run(sys.executable, build, "--arch", "amd64", "--python", python, "--to", str(directory)).splitlines()[
        -1
    ]
    Path(package).rename(directory / "argosy.deb")
    tree = directory / "later"
    _run("dpkg-deb", "--raw-extract", str(directory / "argosy.deb"), str(tree))
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", rf"\1{LATER}", control.read_text()))
    _run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(directory / "later.deb"))
    _run("tar", "-C", str(directory), "-cf", str(directory / "packages.tar"), "argosy.deb", "later.deb")
    return directory / "packages.tar"


def install(guest: Guest) -> None:
    """As the README tells its readers to; what the package depends on is in the guest."""
    guest.check(f"mkdir -p {PLACE} && tar -xf /dev/vdb -C {PLACE}")
    apt(guest, f"install {PLACE}/argosy.deb")


def upgrade(guest: Guest) -> None:
    """To the later version."""
    apt(guest, f"install {PLACE}/later.deb")


def apt(guest: Guest, command: str) -> str:
    """What apt says of what it has done."""
    return guest.check(f"DEBIAN_FRONTEND=noninteractive apt-get -q -y {command} 2>&1", timeout=PATIENCE)
