"""A daemon on what passes for a machine of its own: an init that reaps at once, a boot id, and boots in a second."""

from __future__ import annotations

import shutil
import time
import uuid
from pathlib import Path

from tests.harness.daemon import SETTLE_TIMEOUT, Daemon

# A user namespace mounts its own proc only where another is seen whole, with nothing bound over a part of it.
_BOOT = """
mount -t proc proc "$1/proc" && mount --bind "$1/boot_id" /proc/sys/kernel/random/boot_id && shift &&
exec catatonit -- "$@"
"""


class Machine(Daemon):
    """One daemon below an init in a PID and a mount namespace. To kill it is to pull the plug: all ends with it."""

    def __init__(self, *arguments: str, label: str = "machine") -> None:
        super().__init__(*arguments, label=label)
        self._board = Path(f"{self.base}-board")
        (self._board / "proc").mkdir(parents=True)
        self._new_boot()
        private = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        self.wrapper = (*private, "sh", "-c", _BOOT, "sh", str(self._board))

    def _new_boot(self) -> None:
        (self._board / "boot_id").write_text(f"{uuid.uuid4()}\n")

    def reboot(self) -> None:
        """Pulls the plug and boots: no process, mount, cgroup, link or file of the run directory outlives it."""
        self.kill()
        self._end_cgroups()
        shutil.rmtree(self.run_dir)
        self.inside("nft", "flush", "ruleset")
        for line in self.inside("ip", "-o", "link").stdout.splitlines():
            name = line.split(":")[1].strip().partition("@")[0]
            if name != "lo":
                self.inside("ip", "link", "delete", name, check=False)
        self._new_boot()
        self.start()

    def _end_cgroups(self) -> None:
        """Removes those of the containers, once the kernel has ended the processes in them."""
        top = Path("/sys/fs/cgroup")
        deadline = time.monotonic() + SETTLE_TIMEOUT
        for parent in (*top.glob(f"*{self.cgroup_parent}"), *top.glob(self.cgroup_parent[1:])):
            for cgroup in sorted((p for p in parent.rglob("*") if p.is_dir()), reverse=True):
                while True:
                    try:
                        cgroup.rmdir()
                        break
                    except OSError:
                        if time.monotonic() > deadline:
                            raise
                        time.sleep(0.01)

    def close(self) -> None:
        """Ends all, and removes what was made for it."""
        if self.process is not None:
            self.kill()
            self._end_cgroups()
        super().close()
        shutil.rmtree(self._board)
