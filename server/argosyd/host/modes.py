"""Who may reach what the engine keeps on the disk: root alone.

Below the data directory lie environments with passwords, and roots of containers with set-user-ID programs that would
run as the host's root for whoever finds a way to them (CVE-2021-41091, CVE-2021-41103). So the directory is closed to
everybody. A container in a user namespace comes to its root through the run directory (`userns.stage`), which others
may pass through but not list; what lies in it is closed but for the sockets.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from argosy.errors import Conflict

log = logging.getLogger(__name__)

_DATA = ("build", "containers", "content", "snapshots", "volumes")
_RUN = ("build", "containers", "netns")
_STRANGERS_ALLOWED = {"lock", "lost+found"}


def close_off(data_dir: Path, run_dir: Path) -> None:
    """Makes both directories and the rooms' own in them; mends modes and owners that let others in, with a line in the
    log. Conflict when a directory is not the engine's to close."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
    _require_own(data_dir)
    _require_unshared(run_dir)
    mended = _mend(data_dir, ".", 0o700)
    mended += _make(data_dir, _DATA) + _make(run_dir, _RUN)
    for name in sorted(os.listdir(data_dir)):
        mended += _mend(data_dir, name, 0o700)
    for line in mended:
        log.warning("closed to others: %s", line)


def _require_own(data_dir: Path) -> None:
    names = set(os.listdir(data_dir))
    if "argosy.db" not in names and (strange := sorted(names - {*_DATA, *_STRANGERS_ALLOWED})):
        raise Conflict(
            f"{data_dir} is no data directory of argosyd's, it has {strange[0]!r}: give one of its own with --data-dir",
            kind="data-dir",
            id=str(data_dir),
            reason="NOT_A_DATA_DIR",
        )


def _require_unshared(run_dir: Path) -> None:
    mode = stat.S_IMODE(run_dir.stat().st_mode)
    if mode & 0o022:
        raise Conflict(
            f"{run_dir} can be written by others ({mode:04o}): chmod go-w it, or give another --run-dir",
            kind="run-dir",
            id=str(run_dir),
            reason="RUN_DIR_OPEN",
        )


def _make(above: Path, names: Iterable[str]) -> list[str]:
    mended = []
    for name in names:
        try:
            os.mkdir(above / name, 0o700)
        except FileExistsError:
            mended += _mend(above, name, 0o700)
    return mended


def _mend(above: Path, name: str, most: int) -> list[str]:
    """Takes from a directory or file what `most` does not have. What is neither is left: nobody comes to it."""
    path = above / name
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) and not stat.S_ISREG(info.st_mode):
        return []
    mode = stat.S_IMODE(info.st_mode)
    changes = []
    if info.st_uid != os.geteuid():
        os.chown(path, os.geteuid(), -1, follow_symlinks=False)
        changes.append(f"owner {info.st_uid} is now {os.geteuid()}")
    if mode & ~most:
        path.chmod(mode & most)
        changes.append(f"mode {mode:04o} is now {mode & most:04o}")
    return [f"{path}: {', '.join(changes)}"] if changes else []
