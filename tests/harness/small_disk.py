"""A daemon whose data directory is a small file system of its own, mounted where nobody else sees it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

from tests.harness.daemon import Daemon


class SmallDisk(Daemon):
    """`seen` is the data directory as the test reaches it; the daemon knows it as `data_dir`."""

    def __init__(self, *arguments: str, size: str = "64m", inodes: int = 20_000, limits: tuple[str, ...] = ()) -> None:
        """`limits`: options of prlimit(1) that the daemon is started with."""
        super().__init__(*arguments, label="small")
        self.data_dir.mkdir()
        options = f"size={size},nr_inodes={inodes}"
        mount = f"mount --make-rprivate / && mount -t tmpfs -o {options} none {self.data_dir} && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        enter = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt")
        self.wrapper = (*enter, *(("prlimit", *limits, "--") if limits else ()))
        self.seen = Path(f"/proc/{self._holder.pid}/root{self.data_dir}")

    @property
    def state_dir(self) -> Path:
        """See `Daemon`."""
        return self.seen

    def fill(self, keep: int = 0) -> None:
        """Takes every byte but `keep`."""
        with contextlib.suppress(OSError), (self.seen / "ballast").open("ab", buffering=0) as file:
            free = os.statvfs(self.seen)
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - keep, 1))
        with contextlib.suppress(OSError), (self.seen / "ballast").open("ab", buffering=0) as file:
            while not keep and file.write(bytes(4096)):
                pass

    def fill_inodes(self) -> None:
        """Takes every inode."""
        crowd = self.seen / "crowd"
        with contextlib.suppress(OSError):
            crowd.mkdir()
            for number in range(1_000_000):
                (crowd / str(number)).touch()

    def free(self) -> None:
        """Gives back what the test took."""
        (self.seen / "ballast").unlink(missing_ok=True)
        shutil.rmtree(self.seen / "crowd", ignore_errors=True)

    def leftovers(self) -> dict[str, list[str]]:
        """See `Daemon`; without the small disk itself."""
        found = super().leftovers()
        mounts = [line for line in found.pop("mounts", []) if f" {self.data_dir} " not in line]
        return {**found, "mounts": mounts} if mounts else found

    def _active_snapshots(self) -> list[str]:
        # SQLite follows /proc/PID/root as the link that it seems to be; so it is shown a copy.
        with tempfile.TemporaryDirectory() as place:
            for name in ("argosy.db", "argosy.db-wal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy(self.seen / name, place)
            with contextlib.closing(sqlite3.connect(Path(place, "argosy.db"))) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                rows = database.execute("SELECT key FROM snapshots WHERE kind != 'committed'")
                return [str(row[0]) for row in rows]

    def close(self) -> None:
        """See `Daemon`."""
        try:
            self.free()
            super().close()
        finally:
            self._holder.kill()
            self._holder.wait()
            for pipe in (self._holder.stdin, self._holder.stdout):
                if pipe is not None:
                    pipe.close()
