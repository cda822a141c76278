"""Where the files of a container are."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from argosyd.containers.logs.keeper import LOG
from argosyd.trees.remove import remove

SHARED_MEMORY = "shm"
"""Of a bundle: where a /dev/shm that several containers see is mounted."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Directories of one daemon: what outlives a reboot below `data_dir`, what does not below `run_dir`."""

    data_dir: Path
    run_dir: Path

    def home(self, id: str) -> Path:
        """What lasts: logs, hosts, hostname, resolv.conf."""
        return self.data_dir / "containers" / id

    def bundle(self, id: str) -> Path:
        """The OCI bundle. It is there from before the first kernel object of a start until after the last one."""
        return self.run_dir / "containers" / id

    def log(self, id: str) -> Path:
        """The log that is written now; each of its files has a number after its name, the oldest the lowest."""
        return self.home(id) / LOG

    def exec_bundle(self, id: str, exec_id: str) -> Path:
        """Where an exec's monitor has its files."""
        return self.bundle(id) / "exec" / exec_id


def remove_directory(directory: Path) -> None:
    """Removes one of the engine's own, or says why not: what stays must not be taken for gone. OSError."""
    for tries_left in (2, 1, 0):
        try:
            remove(directory)
        except OSError as error:
            # A monitor may write its last word into it.
            if error.errno != errno.ENOTEMPTY or not tries_left:
                raise
        # Not so when somebody else took out of it what was to be removed next.
        if not directory.exists():  # own: a container's home
            return
