"""The driver "local": one directory a volume, on which a file system may be mounted (`type`, `device`, `o`)."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path

from argosy.errors import InvalidArgument, ResourceExhausted, Unavailable
from argosyd.host import mounts
from argosyd.runtime.spawn import run
from argosyd.trees.copy import copy_tree
from argosyd.trees.remove import empty, remove
from argosyd.trees.root import Root
from argosyd.trees.usage import measure
from argosyd.work import checkpoint, removing

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
OPTIONS = ("type", "device", "o")
MOUNT_TIMEOUT = 60.0
"""Seconds for a file system of a volume to be mounted; a server on the network may not answer."""
_ASIDE = ".aside-"
"""No volume is called so."""


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
        """Makes the directory that holds them all."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)  # own: the directory of all volumes

    def path(self, name: str) -> Path:
        """Where a volume's data is."""
        return self._root / name / "_data"

    def create(self, name: str) -> None:
        """Makes an empty volume. OSError; FileExistsError when something is in its place."""
        path = self.path(name)
        path.parent.mkdir(mode=0o700)  # own: a new volume's
        path.mkdir(mode=0o755)  # own: a new volume's
        path.chmod(0o755)  # own: a new volume's

    async def remove(self, name: str) -> None:
        """Unmounts and deletes; nothing when there is nothing. OSError when something of it stays."""
        await self.unmount(name)
        await removing.to_the_end(remove, self._root / name)

    def set_aside(self, name: str) -> Path:
        """Gives what is left of a volume a place that no volume has, so that the name is free. OSError."""
        if name.startswith(_ASIDE):
            return self._root / name
        place = self._root / f"{_ASIDE}{secrets.token_hex(8)}"
        (self._root / name).rename(place)  # own: in the directory of all volumes
        return place

    def names(self) -> set[str]:
        """What lies on the disk."""
        return set(os.listdir(self._root))  # own: the directory of all volumes

    def is_volume(self, name: str) -> bool:
        """Whether what lies there under a name is a volume, rather than what is left of one."""
        return NAME.fullmatch(name) is not None and self.path(name).is_dir()  # own: in the directory of all volumes

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

    # What follows blocks, and holds the tree for itself: it goes on for a while when its caller is cancelled.

    def empty(self, name: str) -> bool:
        """Whether nothing lies in a volume."""
        fd = _open(self.path(name))
        try:
            with os.scandir(fd) as entries:
                return all(entry.name == "lost+found" for entry in entries)
        finally:
            os.close(fd)

    def clear(self, name: str, writing: threading.Lock) -> None:
        """Throws away all that lies in a volume, once nobody who holds `writing` does so any more. OSError."""
        with writing:
            fd = _open(self.path(name))
            try:
                empty(fd)
            finally:
                os.close(fd)

    def fill(self, name: str, root: Path, target: str, writing: threading.Lock) -> None:
        """Copies the directory `target` of an image's root: owners, modes, times, xattrs, links, devices.

        Nothing when the image has no directory there. `target` is looked up inside `root`, never outside.
        ResourceExhausted with what the kernel said.
        """
        try:
            with Root.at(root) as image:
                source = image.directory(target)
        except OSError:
            return
        with writing, source:
            # Whoever wanted it may be gone already, and be waiting to clear what there is.
            checkpoint()
            with Root.at(self.path(name)) as volume:
                try:
                    copy_tree(source.fd, volume.fd)
                except OSError as error:
                    raise ResourceExhausted(
                        f"cannot copy the image's {target} into volume {name}: {error.strerror}", kind="volume", id=name
                    ) from None

    def size(self, name: str) -> int:
        """Bytes on disk; 0 when it is gone."""
        try:
            with Root.at(self.path(name)) as top:
                return measure(top.fd, same_mount=True).disk
        except FileNotFoundError:
            return 0


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # own: a volume's top
