"""`python -m tests.matrix`: the tests in other distributions' userlands, with another Python, runtime, monitor, tar and
mount than this machine's, below an init that reaps at once. Exits 1 when one of them fails."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.matrix import trees

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".matrix"
SUITES = ("tests/unit", "tests/conformance", "tests/integration", "tests/security")
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
OUT_OF_REACH = "tests/integration/test_install.py"
"""It installs from the package index, and the tests have no network there."""
HOURS = 2.0
"""After which a run counts as one that hangs."""


def inside(tree: Path, command: list[str], *, network: bool = False) -> int:
    """Runs a command in the tree; its exit code. `network`: with this machine's, else with a loopback of its own."""
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root", "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb"),
    }  # fmt: skip
    if network:
        environment["WITH_NETWORK"] = "1"
        environment |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"), TRUSTED)
    script = str(Path(__file__).with_name("inside.sh"))
    done = subprocess.run(
        [*spaces, "sh", script, str(tree), *command], env=environment, check=False, timeout=HOURS * 3600
    )
    return done.returncode


def fetch(tree: Path) -> None:
    """This checkout's last commit, in the tree; what was installed there before stays."""
    target = tree / "root/argosy"
    bundle = tree / "root/argosy.bundle"
    subprocess.run(["git", "-C", str(ROOT), "bundle", "create", "-q", str(bundle), "HEAD"], check=True)
    if not target.exists():
        subprocess.run(["git", "clone", "-q", str(bundle), str(target)], check=True)
    git = ["git", "-C", str(target)]
    subprocess.run([*git, "fetch", "-q", str(bundle), "HEAD"], check=True)
    subprocess.run([*git, "reset", "-q", "--hard", "FETCH_HEAD"], check=True)


def run(userland: trees.Userland, mirror: str, tests: list[str]) -> bool:
    """Whether everything passed there."""
    begin = time.monotonic()
    print(f"{userland.name}: its tree", flush=True)
    tree = trees.build(userland, mirror, CACHE)
    fetch(tree)
    make = ["make", "-C", "/root/argosy", "--no-print-directory", f"PYTHON={userland.python}"]
    print(f"{userland.name}: set-up", flush=True)
    if inside(tree, [*make, "setup"], network=True):
        return False
    print(f"{userland.name}: tests, set-up took {time.monotonic() - begin:.0f} s", flush=True)
    begin = time.monotonic()
    wanted = " ".join(tests or SUITES)
    shell = f"cd /root/argosy && exec .venv/bin/pytest -q -p no:cacheprovider --ignore={OUT_OF_REACH} {wanted}"
    code = inside(tree, ["sh", "-c", shell])
    print(f"{userland.name}: {'passed' if code == 0 else 'FAILED'} after {time.monotonic() - begin:.0f} s", flush=True)
    return code == 0


def main() -> int:
    """The entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--on", action="append", default=[], metavar="NAME", help="one of them; again for more")
    parser.add_argument(
        "--mirror", action="append", default=[], metavar="ORIGIN=URL", help="where apt does not know it"
    )
    parser.add_argument("tests", nargs="*", help="instead of " + " ".join(SUITES))
    arguments = parser.parse_args()
    known = {u.name: u for u in trees.USERLANDS}
    if unknown := [name for name in arguments.on if name not in known]:
        parser.error(f"no userland {unknown[0]}: there are {', '.join(known)}")
    if os.geteuid() != 0:
        parser.error("it must run as root: it makes trees and namespaces")
    told = dict(entry.split("=", 1) for entry in arguments.mirror)
    targets, failed, left_out = trees.apt_targets(), [], []
    for userland in known.values():
        if arguments.on and userland.name not in arguments.on:
            continue
        mirror = told.get(userland.origin) or trees.mirror_of(userland.origin, targets)
        if mirror is None:
            left_out.append(userland.name)
        elif not run(userland, mirror, arguments.tests):
            failed.append(userland.name)
    for name in left_out:
        origin = known[name].origin
        print(f"{name}: apt knows no archive of {origin}: name one with --mirror {origin}=URL", file=sys.stderr)
    return 1 if failed or (left_out and arguments.on) else 0


if __name__ == "__main__":
    sys.exit(main())
