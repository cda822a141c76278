"""`python -m tests.driver [--seed N] [--operations N]`: drives a daemon of its own; replays a seed."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.driver.driver import Driver, Fault
from tests.harness.daemon import Daemon
from tests.harness.registry import Registry, make_layout

DISK = "400m"


@contextlib.contextmanager
def small_disk(daemon: Daemon) -> Iterator[Path]:
    """Puts a daemon's directories on a file system that can be filled."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0755", "argosy-test", str(daemon.base)], check=True
    )
    try:
        yield daemon.base
    finally:
        subprocess.run(["umount", "-l", str(daemon.base)], check=False)


def fill_registry(daemon: Daemon) -> Registry:
    """A registry with two images that another tool made."""
    registry = Registry(daemon)
    with tempfile.TemporaryDirectory() as directory:
        layout = make_layout(Path(directory))
        for name in ("one", "two"):
            registry.put(layout, "v1", f"{name}:latest")
    return registry


def drive(seed: int, operations: int, *, full: bool = True, tell: Callable[[int], None] = lambda done: None) -> Driver:
    """One daemon, one seed; `full`: with full disks. Fault; the daemon's log goes with it."""
    daemon = Daemon(label="driver")
    try:
        with small_disk(daemon) as disk, contextlib.ExitStack() as stack:
            try:
                daemon.start()
                daemon.import_busybox()
                stack.callback(fill_registry(daemon).close)
                driver = Driver(daemon, seed, disk=disk if full else None, tell=tell)
                try:
                    driver.run(operations)
                except Fault as fault:
                    raise Fault(f"{fault}\n--- the daemon's last words\n{daemon.log.read_text()[-4000:]}") from None
                return driver
            finally:
                daemon.close()
    finally:
        daemon.base.rmdir() if daemon.base.exists() else None


def main() -> int:
    """The entry point."""
    parser = argparse.ArgumentParser(prog="tests.driver", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--no-full-disk", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.operations} operations", flush=True)
    started = time.monotonic()

    def tell(done: int) -> None:
        if done % 1000 == 0:
            print(f"{done} operations, {time.monotonic() - started:.0f} s", flush=True)

    try:
        driver = drive(options.seed, options.operations, full=not options.no_full_disk, tell=tell)
    except Fault as fault:
        print(f"seed {options.seed}: {fault}", file=sys.stderr)
        return 1
    print(", ".join(f"{what} {count}" for what, count in sorted(driver.counts.items())))
    print(f"record and world were equal after each round; {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
