"""The driver "local": one directory a volume, on which a file system may be mounted (`type`, `device`, `o`)."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from argosy.errors import InvalidArgument, ResourceExhausted, Unavailable
from argosyd.runtime.inroot import open_in_root
from argosyd.runtime.spawn import Child, run
from argosyd.snapshots import mounts

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
OPTIONS = ("type", "device", "o")
MOUNT_TIMEOUT = 60.0
"""Seconds for a file system of a volume to be mounted; a server on the network may not answer."""


def check_name(name: str) -> None:
    """InvalidArgument when a volume cannot be called so."""
    if not NAME.fullmatch(name) or len(name) > 255:
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            f'"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed: to mount a host directory, give an absolute path',
            kind="volume",
            id=name,
            reason="INVALID_NAME",
        )


def check_options(options: Mapping[str, str]) -> None:
    """InvalidArgument when an option is unknown or one that another needs is missing."""
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        raise InvalidArgument(
            f'invalid option: "{unknown[0]}": the local driver takes {", ".join(OPTIONS)}',
            kind="volume",
            reason="INVALID_OPTION",
        )
    for missing, present in (("type", "device"), ("device", "type"), ("device", "o")):
        if options.get(present) and not options.get(missing):
            raise InvalidArgument(
                f'missing required option: "{missing}" ("{present}" needs it)', kind="volume", reason="INVALID_OPTION"
            )


class LocalDriver:
    """Volumes below one directory. Each call is for one volume; the caller keeps calls for one apart."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def start(self) -> None:
        """Makes the directory that holds them all; only root may list it."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._root.chmod(0o701)

    def path(self, name: str) -> Path:
        """Where a volume's data is."""
        return self._root / name / "_data"

    def create(self, name: str) -> None:
        """Makes an empty volume; again and again is fine."""
        path = self.path(name)
        path.parent.mkdir(mode=0o701, exist_ok=True)
        path.mkdir(mode=0o755, exist_ok=True)
        path.chmod(0o755)

    async def remove(self, name: str) -> None:
        """Unmounts and deletes; nothing when there is nothing."""
        await self.unmount(name)
        await asyncio.to_thread(_delete, self._root / name)

    def names(self) -> set[str]:
        """What lies on the disk."""
        return {entry.name for entry in os.scandir(self._root)}

    def mounted(self, name: str) -> bool:
        """Whether a file system is mounted on a volume."""
        return self.path(name) in mounts.mounted_below(self._root / name)

    async def mount(self, name: str, options: Mapping[str, str]) -> None:
        """Mounts what the options say, unless it is mounted. Unavailable with mount(8)'s own words."""
        if not options.get("device") or self.mounted(name):
            return
        extra = ("-o", options["o"]) if options.get("o") else ()
        arguments = ("mount", "-t", options["type"], *extra, "--", options["device"], str(self.path(name)))
        try:
            result = await run(arguments, timeout=MOUNT_TIMEOUT)
        except TimeoutError:
            problem = f"no answer within {MOUNT_TIMEOUT:.0f} s"
        else:
            if result.code == 0:
                return
            problem = " ".join(result.output.split()) or f"mount ended with {result.code}"
        raise Unavailable(
            f"failed to mount local volume {name}: {problem}", kind="volume", id=name, reason="VOLUME_MOUNT_FAILED"
        )

    async def unmount(self, name: str) -> None:
        """Takes the mount away; nothing when there is none."""
        if self.mounted(name):
            await asyncio.to_thread(mounts.unmount, self.path(name))

    def empty(self, name: str) -> bool:
        """Whether nothing lies in a volume."""
        with os.scandir(self.path(name)) as entries:
            return all(entry.name == "lost+found" for entry in entries)

    def clear(self, name: str) -> None:
        """Throws away all that lies in a volume."""
        for entry in os.scandir(self.path(name)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)

    async def fill(self, name: str, root: Path, target: str) -> None:
        """Copies the directory `target` of an image's root: owners, modes, times, xattrs, links, devices.

        Nothing when the image has no directory there. `target` is looked up inside `root`, never outside.
        """
        try:
            source = open_in_root(root, target, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return
        try:
            if not stat.S_ISDIR(os.fstat(source).st_mode):
                return
            # "/." makes the copy take the directory's own owner and mode too.
            arguments = ("cp", "-a", "--reflink=auto", "-T", "--", f"/proc/self/fd/{source}/.", str(self.path(name)))
            result = await Child(arguments, pass_fds=(source,)).wait()
        finally:
            os.close(source)
        if result.code != 0:
            problem = " ".join(result.output.split())[:500]
            raise ResourceExhausted(
                f"cannot copy the image's {target} into volume {name}: {problem}", kind="volume", id=name
            )

    def size(self, name: str) -> int:
        """Bytes on disk."""
        seen: set[tuple[int, int]] = set()
        total = 0
        pending = [os.fspath(self.path(name))]
        while pending:
            try:
                entries = list(os.scandir(pending.pop()))
            except FileNotFoundError:
                continue
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if (info.st_dev, info.st_ino) not in seen:
                    seen.add((info.st_dev, info.st_ino))
                    total += info.st_blocks * 512
                if stat.S_ISDIR(info.st_mode):
                    pending.append(entry.path)
        return total


def _delete(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        pass
