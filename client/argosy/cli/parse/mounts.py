"""Mounts: `-v`, `--mount`, `--tmpfs`."""

from __future__ import annotations

import os

from argosy.cli.options import UsageError
from argosy.cli.parse.pairs import read_fields
from argosy.cli.parse.sizes import read_size

_RECURSIONS = ("enabled", "disabled", "writable", "readonly")
_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")


class MountSpec:
    """One mount; the fields of argosy.v1.Mount. `type` is "bind", "volume" or "tmpfs"."""

    def __init__(self, type: str, source: str, target: str) -> None:
        self.type = type
        self.source = source
        self.target = target
        self.read_only = False
        self.propagation = ""
        self.no_copy = False
        self.tmpfs_size = 0
        self.tmpfs_mode = 0
        self.volume_driver = ""
        self.volume_options: dict[str, str] = {}
        self.volume_labels: dict[str, str] = {}
        self.create_source = False
        self.recursive = ""


def read_volume(text: str) -> MountSpec:
    """One `-v [source:]target[:options]`. A source that is a path is bound, a name is a volume."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise UsageError(f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        mount = MountSpec("volume", "", parts[0])
    else:
        source = parts[0]
        if source.startswith(("/", "./", "../", "~")) or source in (".", ".."):
            mount = MountSpec("bind", os.path.abspath(os.path.expanduser(source)), parts[1])
            mount.create_source = True
        else:
            mount = MountSpec("volume", source, parts[1])
        for option in parts[2].split(",") if len(parts) == 3 else ():
            _volume_option(mount, option, text)
    _check_target(mount.target, text)
    return mount


def _volume_option(mount: MountSpec, option: str, text: str) -> None:
    if option in ("ro", "readonly"):
        mount.read_only = True
    elif option in _PROPAGATIONS:
        mount.propagation = option
    elif option == "nocopy":
        mount.no_copy = True
    # SELinux labels and consistency hints change nothing on hosts argosy runs on; Docker takes them so.
    elif option not in ("rw", "z", "Z", "consistent", "cached", "delegated"):
        raise UsageError(f"invalid mode: {option} in volume specification '{text}'")


def read_mount(text: str) -> MountSpec:
    """One `--mount type=…,source=…,target=…,…`."""
    mount = MountSpec("volume", "", "")
    for key, value in read_fields(text, "argument for --mount"):
        given = value is not None
        value = value or ""
        if key == "type":
            mount.type = value.lower()
        elif key in ("source", "src"):
            mount.source = value
        elif key in ("target", "dst", "destination"):
            mount.target = value
        elif key in ("readonly", "ro"):
            mount.read_only = not given or _truth(key, value)
        elif key == "bind-propagation":
            if value not in _PROPAGATIONS:
                raise UsageError(f"invalid propagation '{value}' for --mount")
            mount.propagation = value
        elif key == "bind-recursive":
            if value not in _RECURSIONS:
                raise UsageError(f"invalid value for bind-recursive: '{value}': use one of {', '.join(_RECURSIONS)}")
            mount.recursive = value
        elif key == "bind-nonrecursive":
            mount.recursive = "disabled" if not given or _truth(key, value) else mount.recursive
        elif key == "consistency":
            # A hint for hosts that argosy does not run on.
            pass
        elif key == "bind-create-src":
            mount.create_source = not given or _truth(key, value)
        elif key == "volume-nocopy":
            mount.no_copy = not given or _truth(key, value)
        elif key == "volume-driver":
            mount.volume_driver = value
        elif key == "volume-opt":
            name, _, rest = value.partition("=")
            mount.volume_options[name] = rest
        elif key == "volume-label":
            name, _, rest = value.partition("=")
            mount.volume_labels[name] = rest
        elif key == "tmpfs-size":
            mount.tmpfs_size = read_size(value, "tmpfs-size")
        elif key == "tmpfs-mode":
            mount.tmpfs_mode = _mode(value)
        else:
            raise UsageError(f"unexpected key '{key}' in '{key}={value}' of --mount")
    _check_mount(mount, text)
    return mount


def read_tmpfs(text: str) -> MountSpec:
    """One `--tmpfs target[:options]`."""
    target, _, options = text.partition(":")
    mount = MountSpec("tmpfs", "", target)
    for option in options.split(",") if options else ():
        key, _, value = option.partition("=")
        if key == "size":
            mount.tmpfs_size = read_size(value, "tmpfs size")
        elif key == "mode":
            mount.tmpfs_mode = _mode(value)
        elif key == "ro":
            mount.read_only = True
        elif key not in ("rw", "nosuid", "nodev", "noexec", "exec", "suid", "dev", "uid", "gid"):
            raise UsageError(f"invalid tmpfs option '{option}'")
    _check_target(target, text)
    return mount


def _check_mount(mount: MountSpec, text: str) -> None:
    if mount.type not in ("bind", "volume", "tmpfs"):
        raise UsageError(f"unsupported mount type '{mount.type}': use bind, volume or tmpfs")
    if not mount.target:
        raise UsageError(f"target is required in --mount {text}")
    _check_target(mount.target, text)
    if mount.type == "bind":
        if not mount.source:
            raise UsageError(f"source is required in --mount {text}")
        mount.source = os.path.abspath(os.path.expanduser(mount.source))
        _check_recursion(mount)
    elif mount.recursive:
        raise UsageError(f"bind-recursive is for bind mounts, and this is a {mount.type}")
    elif mount.type == "tmpfs" and mount.source:
        raise UsageError("tmpfs mounts take no source")


def _check_recursion(mount: MountSpec) -> None:
    if mount.recursive in ("writable", "readonly") and not mount.read_only:
        raise UsageError(
            f"option 'bind-recursive={mount.recursive}' requires 'readonly' to be specified in conjunction"
        )
    if mount.recursive == "readonly" and mount.propagation != "rprivate":
        raise UsageError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
        )


def _check_target(target: str, text: str) -> None:
    if not target.startswith("/") or os.path.normpath(target) in ("/", "//"):
        raise UsageError(f"invalid mount '{text}': the path in the container must be absolute and not '/'")


def _truth(key: str, value: str) -> bool:
    if value in ("1", "true", "True"):
        return True
    if value in ("0", "false", "False"):
        return False
    raise UsageError(f"invalid value for {key}: {value}")


def _mode(value: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise UsageError(f"invalid mode '{value}': use octal digits") from None
