"""When what is done: rounds of commands at once, with blows between and within, each round's end compared."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.driver.operations import IMAGES, NETWORKS, Command, choose
from tests.driver.world import differences
from tests.harness.daemon import Daemon

ROUND = 25
"""Commands between two comparisons."""
AT_ONCE = 4
BLOWS = {"none": 5, "kill daemon": 3, "kill monitor": 2, "restart": 1, "full disk": 1}
"""What befalls a round, by weight."""
COMMAND_TIMEOUT = 90.0
SETTLE = 30.0
_DEFECTS = (b"internal error", b"Traceback", b"RecursionError", b"OperationalError")


class Fault(AssertionError):
    """Something that must not be."""


@dataclass
class Driver:
    """Drives one daemon by one seed. `disk` is a small file system's mount point that holds the daemon's data, if any."""

    daemon: Daemon
    seed: int
    disk: Path | None = None
    tell: Callable[[int], None] = lambda done: None
    """Told after each round how many operations are done."""
    counts: Counter[str] = field(default_factory=Counter)
    _down: threading.Event = field(default_factory=threading.Event)

    @property
    def carried_out(self) -> int:
        """Commands that the engine did not refuse, blows not counted."""
        return sum(n for what, n in self.counts.items() if what not in BLOWS) - 2 * self.counts["refused"]

    def run(self, operations: int) -> None:
        """Does that many. Fault."""
        self._furnish()
        done = 0
        number = 0
        while done < operations:
            count = min(ROUND, operations - done)
            self._round(random.Random(f"{self.seed}/{number}"), count)
            self._compare(f"round {number} of seed {self.seed}")
            done += count
            number += 1
            self.tell(done)
        self._empty()

    def _furnish(self) -> None:
        """What commands can name, so that fewer are refused; the operations remove and remake it."""
        for network in NETWORKS:
            self.daemon.argosy("network", "create", network, check=True)
        for image in IMAGES:
            self.daemon.argosy("tag", "busybox", image, check=True)

    # -- a round ------------------------------------------------------------------------------------------------

    def _round(self, chance: random.Random, count: int) -> None:
        commands = [choose(chance) for _ in range(count)]
        blow = chance.choices(list(BLOWS), list(BLOWS.values()))[0]
        after = chance.random() * count
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = [pool.submit(self._do, command) for command in commands]
            if blow != "none":
                self._wait_for(lambda: sum(w.done() for w in waiting) >= after)
                self._blow(blow, chance)
            for future in waiting:
                future.result()

    def _wait_for(self, condition: Callable[[], bool], timeout: float = 120.0) -> bool:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def _do(self, command: Command) -> None:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "argosy", *command.words], env=self.daemon.environment, input=command.stdin,
                capture_output=True, timeout=COMMAND_TIMEOUT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Fault(f"{' '.join(command.words)} did not end in {COMMAND_TIMEOUT:g} s") from None
        self.counts[command.words[0]] += 1
        # What a container's own command ends with is no refusal: only the engine's own codes are.
        own = (125,) if command.words[0] in ("run", "exec") else range(1, 256)
        self.counts["refused"] += done.returncode in own
        if any(word in done.stderr for word in _DEFECTS) or done.returncode < 0:
            raise Fault(f"{' '.join(command.words)} ended with {done.returncode}: {done.stderr[-2000:].decode()}")
        if done.returncode in (1, 125) and not done.stderr.strip() and command.words[0] not in ("run", "exec"):
            raise Fault(f"{' '.join(command.words)} failed and said nothing")

    # -- blows --------------------------------------------------------------------------------------------------

    def _blow(self, blow: str, chance: random.Random) -> None:
        if blow == "full disk" and self.disk is None:
            return
        self.counts[blow] += 1
        if blow == "kill daemon":
            self.daemon.kill()
            self.daemon.start()
        elif blow == "restart":
            self.daemon.stop()
            self.daemon.start()
        elif blow == "kill monitor":
            if monitors := self.daemon.monitors():
                try:
                    os.kill(chance.choice(sorted(monitors)), 9)
                except ProcessLookupError:
                    return
        elif blow == "full disk":
            self._fill(chance)

    def _fill(self, chance: random.Random) -> None:
        """Leaves nothing free for a moment, in which the daemon may be killed too."""
        assert self.disk is not None
        ballast = self.disk / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(1 << 20)):
                        pass
                except OSError:
                    pass
            if chance.random() < 0.4:
                self.daemon.kill()
                self.daemon.start()
            time.sleep(chance.random())
        finally:
            ballast.unlink(missing_ok=True)

    # -- comparing ----------------------------------------------------------------------------------------------

    def _compare(self, when: str) -> None:
        """Waits for what goes on by itself (restarts, --rm), then demands that nothing differs, twice in a row."""
        if self.daemon.process is None or self.daemon.process.poll() is not None:
            raise Fault(f"{when}: the daemon is gone:\n{self.daemon.log.read_text()[-3000:]}")
        found: list[str] = []
        deadline = time.monotonic() + SETTLE
        while time.monotonic() < deadline:
            if not (found := self._differences()):
                return
            if all(line.startswith("blob: ") for line in found):
                # What a retagged image leaves goes with the next collection, which a prune is.
                self.daemon.argosy("image", "prune", "-f")
            time.sleep(0.1)
        raise Fault(f"{when}:\n  " + "\n  ".join(found))

    def _differences(self) -> list[str]:
        try:
            return differences(self.daemon)
        except (OSError, subprocess.SubprocessError, KeyError) as error:
            return [f"the world could not be read: {error!r}"]

    def _empty(self) -> None:
        """Removes everything, and finds nothing left at all."""

        def ask(*words: str) -> list[str]:
            return self.daemon.argosy(*words, check=True).stdout.decode().split()

        if ids := ask("ps", "-aq", "--no-trunc"):
            ask("rm", "-f", "-v", *ids)
        for words in (("network", "prune", "-f"), ("volume", "prune", "-a", "-f"), ("image", "prune", "-a", "-f"),
                      ("builder", "prune", "-a", "-f"), ("image", "prune", "-a", "-f")):  # fmt: skip
            ask(*words)
        self._compare("after everything was removed")
        left = {
            "snapshots": [p.name for p in self.daemon.data_dir.glob("snapshots/*") if p.name != "empty"],
            "blobs": [p.name for p in self.daemon.data_dir.glob("content/blobs/sha256/*")],
            "volumes": [p.name for p in self.daemon.data_dir.glob("volumes/*")],
        }
        if any(left.values()):
            raise Fault(f"left when everything was removed: {left}")
