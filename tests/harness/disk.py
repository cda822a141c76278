"""A disk that loses power: what was written to it up to any moment, and not flushed, may be there or not."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.harness.daemon import REPOSITORY, SETTLE_TIMEOUT
from tests.harness.recorder import ENTRY, FLUSH

BLOCK = 4096
"""What a disk writes whole."""


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout.strip()


def _unmount(point: Path) -> None:
    """Once the namespaces and devices that used it are gone."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while True:
        try:
            _run("umount", str(point))
            return
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Mounted:
    """An ext4 on a loop device over a file, mounted."""

    def __init__(self, file: Path, point: Path) -> None:
        self._file, self._point = file, point
        self._device = _run("losetup", "--find", "--show", str(file))
        point.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "ext4", self._device, str(point))

    def close(self) -> None:
        """Takes it away, and waits: namespaces that end hold it for a while, and write to it."""
        _unmount(self._point)
        _run("losetup", "--detach", self._device)
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while _run("losetup", "--associated", str(self._file)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._device} is still in use")
            time.sleep(0.02)


class Disk:
    """Records what is written to it from the start on."""

    def __init__(self, directory: Path, size: str = "256M") -> None:
        """`directory` is for its files."""
        self._log, self._point = directory / "log", directory / "point"
        self._image, self._before = directory / "image", directory / "before"
        with self._image.open("wb") as file:
            file.truncate(int(size.removesuffix("M")) << 20)
        _run("mkfs.ext4", "-q", "-b", str(BLOCK), str(self._image))
        shutil.copyfile(self._image, self._before)
        self._point.touch()
        self._log.touch()
        command = [sys.executable, "-m", "tests.harness.recorder", str(self._image), str(self._point), str(self._log)]
        self._recorder = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)
        assert self._recorder.stdout is not None
        assert self._recorder.stdout.readline() == b"serving\n"

    def mount(self, point: Path) -> Mounted:
        """Mounts it there."""
        return Mounted(self._point, point)

    @property
    def written(self) -> int:
        """How much the record holds by now: a moment that `cut` can go back to."""
        return self._log.stat().st_size

    def close(self) -> None:
        """Ends the recording, when it is mounted no more."""
        _unmount(self._point)
        self._recorder.wait(timeout=30)

    def cut(self, moment: int, seed: int, to: Path) -> Path:
        """The disk as a power cut at that moment may have left it, as a file.

        What was flushed before is there; of what was written since, each block is or is not, as `seed` has it.
        """
        chance = random.Random(seed)
        kept = chance.choice((0.0, 0.5, 0.9, 1.0))
        shutil.copyfile(self._before, to)
        pending: list[tuple[int, bytes]] = []
        with self._log.open("rb") as log, to.open("r+b") as file:

            def settle(entries: list[tuple[int, bytes]]) -> None:
                for offset, data in entries:
                    file.seek(offset)
                    file.write(data)

            while log.tell() < moment and len(header := log.read(ENTRY.size)) == ENTRY.size:
                offset, size = ENTRY.unpack(header)
                if offset == FLUSH:
                    settle(pending)
                    pending = []
                    continue
                data = log.read(size)
                pending += [(offset + at, data[at : at + BLOCK]) for at in range(0, size, BLOCK)]
            settle([entry for entry in pending if chance.random() < kept])
        return to
