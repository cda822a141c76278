"""What an operator can set: defaults, then the TOML file, then the command line.

Every option of the command line stands in the file under the same name with underscores (`data_dir`). An
unknown key is an error that names it.
"""

from __future__ import annotations

import argparse
import dataclasses
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argosy.errors import InvalidArgument, NotFound

LOG_LEVELS = ("debug", "info", "warning", "error")
DEFAULT_FILE = Path("/etc/argosy/argosyd.toml")


@dataclass(frozen=True, slots=True)
class Config:
    """One daemon's settings. Nothing changes while it runs."""

    data_dir: Path = Path("/var/lib/argosy")
    """What must outlive a reboot: blobs, snapshots, volumes, state."""
    run_dir: Path = Path("/run/argosy")
    """What a reboot may clear: sockets, pid files, bundles, namespaces."""
    listen: tuple[str, ...] = ()
    """`unix:///path` or `tcp://address:port`; `unix://RUN_DIR/argosy.sock` when empty."""
    cgroup_parent: str = ""
    """Where containers' control groups are. When empty, below systemd's argosy.slice where that is up, else /argosy."""
    name: str = ""
    """The node's name; the host's name when empty."""
    log_level: str = "info"
    log_format: str = "text"
    """ "text" or "json"."""
    runtime: str = ""
    """ "crun" or "runc"; the first that really starts a container when empty."""
    bridge: str = "argosy0"
    """The default network's interface."""
    bip: str = ""
    """The default network's gateway and subnet, "172.17.0.1/16"; chosen free when empty."""
    default_address_pools: tuple[str, ...] = ()
    """Where new networks' subnets come from, each "172.18.0.0/16,16" (pool, prefix length)."""
    dns: tuple[str, ...] = ()
    """Upstream resolvers; the host's when empty."""
    insecure_registries: tuple[str, ...] = ()
    """Registries spoken to over plain HTTP or without checking certificates; loopback always is one."""
    userns_remap: str = ""
    """Whose subordinate ids containers run under unless they say otherwise: "default", USER, USER:GROUP, UID, UID:GID;
    the host's own ids when empty."""
    labels: tuple[str, ...] = ()
    """The engine's labels, "name=value"; constraints of services can ask for them."""
    tls_cert: str = ""
    """PEM files for tcp:// listeners; all three are needed, clients must show a certificate of tls_ca."""
    tls_key: str = ""
    tls_ca: str = ""

    @property
    def listeners(self) -> tuple[str, ...]:
        """Every address the public API is served on."""
        return self.listen or (f"unix://{self.run_dir}/argosy.sock",)

    @property
    def node_name(self) -> str:
        """The node's name."""
        return self.name or socket.gethostname()


def from_mapping(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Checks names and types of what a file holds. InvalidArgument names the key and the file."""
    known = {f.name: f for f in dataclasses.fields(Config)}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise InvalidArgument(
                f"{source}: unknown key {key!r}: known are {', '.join(sorted(known))}",
                kind="config",
                id=key,
                reason="UNKNOWN_KEY",
            )
        default = known[key].default
        if isinstance(default, tuple):
            good = isinstance(value, list) and all(isinstance(v, str) for v in value)
            want, value = "a list of strings", tuple(value) if good else value
        else:
            good, want = isinstance(value, str), "a string"
        if not good:
            raise InvalidArgument(f"{source}: {key} must be {want}", kind="config", id=key, reason="WRONG_TYPE")
        checked[key] = Path(value) if isinstance(default, Path) else value
    return checked


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a TOML file. NotFound, InvalidArgument (no TOML, unknown key, wrong type)."""
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(f"no config file at {path}", kind="config", id=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"{path}: {error}", kind="config", id=str(path), reason="NOT_TOML") from None
    return from_mapping(values, str(path))


def validate(config: Config) -> Config:
    """Returns the config. InvalidArgument when values do not fit each other."""
    problems = [
        (config.log_level not in LOG_LEVELS, "log_level", f"one of {', '.join(LOG_LEVELS)}"),
        (config.log_format not in ("text", "json"), "log_format", "text or json"),
        (config.runtime not in ("", "crun", "runc"), "runtime", "crun or runc"),
        (config.cgroup_parent[:1] not in ("", "/"), "cgroup_parent", "a path such as /argosy"),
        (not config.data_dir.is_absolute(), "data_dir", "an absolute path"),
        (not config.run_dir.is_absolute(), "run_dir", "an absolute path"),
        (not 1 <= len(config.bridge) <= 15, "bridge", "an interface name of at most 15 characters"),
    ]
    for wrong, key, want in problems:
        if wrong:
            value = getattr(config, key)
            raise InvalidArgument(f"config: {key} is {str(value)!r}: it must be {want}", kind="config", id=key)
    for address in config.listen:
        if not address.startswith(("unix:///", "tcp://")):
            raise InvalidArgument(
                f"config: cannot listen on {address!r}: use unix:///path or tcp://address:port",
                kind="config",
                id="listen",
            )
        if address.startswith("tcp://") and not (config.tls_cert and config.tls_key and config.tls_ca):
            raise InvalidArgument(
                f"config: {address} needs tls_cert, tls_key and tls_ca: whoever reaches the API is root here",
                kind="config",
                id="listen",
                reason="TLS_NEEDED",
            )
    return config


def parser() -> argparse.ArgumentParser:
    """The command line of argosyd."""
    p = argparse.ArgumentParser("argosyd", description="The argosy container engine's daemon.")
    p.add_argument("command", nargs="?", choices=["serve", "check", "purge"], default="serve")
    p.add_argument("--config", type=Path, help=f"TOML file ({DEFAULT_FILE} when it is there)")
    p.add_argument("--version", action="store_true")
    p.add_argument(
        "--keep-data", action="store_true", help="with purge: leave images, containers and volumes on the disk"
    )
    p.add_argument("--format", choices=["table", "json"], help="with check: how it is told")
    for field in dataclasses.fields(Config):
        flag = "--" + field.name.replace("_", "-")
        if isinstance(field.default, tuple):
            p.add_argument(flag, action="append", default=None)
        elif isinstance(field.default, Path):
            p.add_argument(flag, type=Path, default=None)
        else:
            p.add_argument(flag, default=None)
    return p


def load(arguments: argparse.Namespace) -> Config:
    """Defaults, then the file, then the command line. InvalidArgument, NotFound."""
    values: dict[str, Any] = {}
    if arguments.config is not None:
        values.update(read_file(arguments.config))
    elif DEFAULT_FILE.exists():
        values.update(read_file(DEFAULT_FILE))
    for field in dataclasses.fields(Config):
        given = getattr(arguments, field.name)
        if given is not None:
            values[field.name] = tuple(given) if isinstance(field.default, tuple) else given
    return validate(Config(**values))
