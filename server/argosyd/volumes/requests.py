"""What a mount that somebody asks for must be like."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from pathlib import Path

from argosy.errors import InvalidArgument, NotFound
from argosyd.volumes.model import Mount, MountType, ResolvedMount

RECURSIONS = ("", "enabled", "disabled", "writable", "readonly")
PROPAGATIONS = ("", "private", "rprivate", "shared", "rshared", "slave", "rslave")


def clean(target: str) -> str:
    """A target without "." and ".." and empty parts, as its words alone tell."""
    return posixpath.normpath("/" + target.lstrip("/"))


def checked(mount: Mount) -> Mount:
    """The mount with a clean target. InvalidArgument."""
    if not mount.target.startswith("/"):
        raise InvalidArgument(
            f"invalid mount path: '{mount.target}' mount path must be absolute", kind="mount", id=mount.target
        )
    target = clean(mount.target)
    if target == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'", kind="mount", id=target)
    if mount.propagation not in PROPAGATIONS:
        raise InvalidArgument(
            f"invalid propagation mode {mount.propagation!r}: use one of {', '.join(PROPAGATIONS[1:])}",
            kind="mount",
            id=target,
        )
    _check_recursion(mount, target)
    return replace(mount, target=target)


def _check_recursion(mount: Mount, target: str) -> None:
    """As Docker's client has it, for every client. InvalidArgument."""
    mode = mount.recursive
    problem = ""
    if mode not in RECURSIONS:
        problem = f"invalid bind-recursive {mode!r}: use one of {', '.join(RECURSIONS[1:])}"
    elif mode and mount.type is not MountType.BIND:
        problem = f"bind-recursive is for bind mounts, and this is a {mount.type.value}"
    elif mode in ("writable", "readonly") and not mount.read_only:
        problem = f"bind-recursive={mode} needs readonly as well"
    elif mode == "readonly" and mount.propagation not in ("", "rprivate"):
        problem = "bind-recursive=readonly needs bind-propagation=rprivate"
    if problem:
        raise InvalidArgument(f"mount {target}: {problem}", kind="mount", id=target, reason="INVALID_MOUNT")


def resolve_plain(mount: Mount) -> ResolvedMount:
    """A bind or tmpfs mount."""
    if mount.type is MountType.BIND:
        if not mount.source.startswith("/"):
            raise InvalidArgument(
                f"invalid mount path: '{mount.source}': the source of a bind mount must be an absolute path",
                kind="mount",
                id=mount.source,
            )
        _require_source(mount)
    return ResolvedMount(
        mount.type, mount.target, mount.source if mount.type is MountType.BIND else "",
        read_only=mount.read_only, propagation=mount.propagation,
        tmpfs_size=mount.tmpfs_size, tmpfs_mode=mount.tmpfs_mode, recursive=mount.recursive,
    )  # fmt: skip


def _require_source(mount: Mount) -> None:  # own: a path of the host that the user named
    source = Path(mount.source)
    if source.exists():
        return
    if mount.create_source and not source.is_symlink():
        try:
            source.mkdir(parents=True, mode=0o755)
            return
        except OSError as error:
            raise InvalidArgument(
                f"error while creating mount source path '{source}': {error.strerror}", kind="mount", id=mount.source
            ) from None
    raise NotFound(
        f'invalid mount config for type "bind": bind source path does not exist: {source}',
        kind="mount",
        id=mount.source,
        reason="BIND_SOURCE_MISSING",
    )
