"""`python -m tests.vm`: argosy in virtual machines, each with a Debian's own kernel, systemd as PID 1, control groups v2
alone and AppArmor. Exits 1 when something fails, a machine that does not start among it."""

from __future__ import annotations

import argparse
import os
import sys
import time

import pytest
from tests.matrix import trees
from tests.vm import image

CACHE = image.ROOT / ".vm"
SMOKE = image.ROOT / "tests/vm/smoke.py"


def main() -> int:
    """The entry point."""
    known = {guest.name: guest for guest in image.GUESTS}
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument("--on", action="append", choices=sorted(known), help="one of them; again for more")
    parser.add_argument("--mirror", help="of Debian, where apt does not know it")
    parser.add_argument("--accelerator", choices=["tcg", "kvm"], default="tcg", help="emulation works everywhere")
    parser.add_argument("pytest", nargs="*", help="what pytest is told besides: -- -k reboot")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("it must run as root: it makes a system's files, with their owners")
    mirror = arguments.mirror or trees.mirror_of("Debian", trees.apt_targets())
    if mirror is None:
        parser.error("apt knows no archive of Debian: name one with --mirror URL")
    failed = False
    for name in arguments.on or known:
        begin = time.monotonic()
        print(f"{name}: its disk", flush=True)
        made = image.build(image.recipe(known[name], mirror), CACHE)
        print(f"{name}: tests, the disk took {time.monotonic() - begin:.0f} s", flush=True)
        # Their names keep them from plain `pytest`, which takes no machine up.
        told = ["-q", "--durations=8", "-p", "no:cacheprovider", str(SMOKE), f"--image={made.disk.parent}",
                f"--python={known[name].python}"]  # fmt: skip
        code = pytest.main([*told, f"--accelerator={arguments.accelerator}", *arguments.pytest])
        took = time.monotonic() - begin
        print(f"{name}: {'passed' if code == 0 else 'FAILED'} after {took:.0f} s", flush=True)
        failed |= code != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
