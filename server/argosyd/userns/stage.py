"""Where a container in a user namespace is started from.

The runtime looks its root up as the container's root, who is nobody on the host. So that the data directory stays
closed to everybody, the root and the volumes are mounted below the run directory, in a directory that only the group
of that container's root may enter.
"""

from __future__ import annotations

import os
from pathlib import Path

from argosyd.host import mounts
from argosyd.userns.ids import MountMap
from argosyd.userns.kernel import bind_mapped


class Stage:
    """One container's. Calls block shortly; `clear` again and again is fine."""

    def __init__(self, run_dir: Path, id: str) -> None:
        self._top = run_dir / "userns"
        self._place = self._top / id

    def open(self, gid: int) -> None:  # own: below the run directory
        """Makes the directory; `gid` is the host's of the container's root."""
        self._top.mkdir(exist_ok=True, mode=0o711)
        self._top.chmod(0o711)
        self._place.mkdir(exist_ok=True, mode=0o700)
        os.chown(self._place, 0, gid)
        self._place.chmod(0o710)

    def root(self, root: Path) -> Path:  # own: below the run directory
        """The container's root, seen here."""
        place = self._place / "root"
        place.mkdir(exist_ok=True)
        mounts.mount_bind(root, place)
        return place

    def mapped(self, name: str, source: Path, mapping: MountMap) -> Path:  # own: below the run directory
        """A directory or file of the engine's own, id-mapped. Unsupported (file system)."""
        self.open(mapping.root[1])
        place = self._place / name
        if source.is_dir():
            place.mkdir(exist_ok=True)
        else:
            place.touch()
        bind_mapped(source, place, mapping)
        return place

    def clear(self) -> None:  # own: below the run directory
        """Unmounts and removes it all; nothing when there is nothing."""
        try:
            entries = sorted(os.listdir(self._place))
        except FileNotFoundError:
            return
        for name in entries:
            # What is made here is empty: what is seen in one is a mount, and never removed.
            mounts.unmount(self._place / name)
            if (self._place / name).is_dir():
                (self._place / name).rmdir()
            else:
                (self._place / name).unlink()
        self._place.rmdir()
