"""Named daemons: `~/.argosy/contexts/NAME.json`, and the name of the current one in `~/.argosy/context`.

A context holds an address and, for tcp://, the paths of a TLS identity. "default" is always there: it is the
daemon of this host. `ARGOSY_CONFIG` moves the directory.
"""

from __future__ import annotations

import os
from importlib import import_module

from argosy import errors
from argosy.transport.address import DEFAULT, parse_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from argosy.transport.tls import Identity

NAME = "default"
"""The context that needs no file."""

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Context:
    """One named daemon; `ca`, `cert` and `key` are paths of PEM files, empty without TLS."""

    __slots__ = ("ca", "cert", "description", "host", "key", "name")

    def __init__(
        self, name: str, host: str, description: str = "", ca: str = "", cert: str = "", key: str = ""
    ) -> None:
        self.name = name
        self.host = host
        self.description = description
        self.ca = ca
        self.cert = cert
        self.key = key

    def identity(self) -> Identity | None:
        """The TLS identity; None without one."""
        return _identity(self.ca, self.cert, self.key)


def config_dir() -> str:
    """Where contexts are kept."""
    return os.environ.get("ARGOSY_CONFIG") or os.path.join(os.path.expanduser("~"), ".argosy")


def resolve(host: str = "", context: str = "") -> tuple[str, Identity | None]:
    """The address and identity to use, for a --host and a --context. NotFound when there is no such context.

    An explicit host wins, then a context, then `ARGOSY_HOST`, `ARGOSY_CONTEXT`, the current context. For a
    tcp:// host without a context the identity is ca.pem, cert.pem and key.pem in `ARGOSY_CERT_PATH`.
    """
    if host and context:
        raise errors.InvalidArgument("conflicting options: either specify --host or --context, not both")
    if not context:
        host = host or os.environ.get("ARGOSY_HOST", "")
        if host:
            return host, _identity_of_environment(host)
    name = context or current()
    if name == NAME:
        return DEFAULT, None
    found = load(name)
    return found.host, found.identity()


def current() -> str:
    """The name of the context in use."""
    named = os.environ.get("ARGOSY_CONTEXT")
    if named:
        return named
    try:
        with open(os.path.join(config_dir(), "context"), encoding="utf-8") as file:
            return file.read().strip() or NAME
    except OSError:
        return NAME


def use(name: str) -> None:
    """Makes it the current one. NotFound."""
    load(name)
    os.makedirs(config_dir(), mode=0o700, exist_ok=True)
    _write(os.path.join(config_dir(), "context"), name + "\n")


def load(name: str) -> Context:
    """One context. NotFound; InvalidArgument when its file is malformed."""
    if name == NAME:
        return Context(NAME, os.environ.get("ARGOSY_HOST") or DEFAULT, "The daemon of this host")
    path = _path(name)
    json = import_module("json")
    try:
        with open(path, encoding="utf-8") as file:
            data: dict[str, Any] = json.load(file)
        texts = {key: str(data.get(key, "")) for key in ("host", "description", "ca", "cert", "key")}
    except FileNotFoundError:
        raise errors.NotFound(
            f'context "{name}" does not exist: `argosy context ls` shows those that do', kind="context", id=name
        ) from None
    except (ValueError, AttributeError, RecursionError) as e:
        raise errors.InvalidArgument(f"{path} is malformed: {e}", kind="context", id=name) from None
    return Context(name, **texts)


def save(context: Context, replace: bool = False) -> None:
    """Writes one. AlreadyExists; InvalidArgument for a wrong name, address or half an identity."""
    path = _path(context.name)
    if context.name == NAME:
        raise errors.InvalidArgument('"default" is a reserved name', kind="context", id=NAME)
    if not replace and os.path.exists(path):
        raise errors.AlreadyExists(f'context "{context.name}" already exists', kind="context", id=context.name)
    parse_address(context.host)
    identity = [context.ca, context.cert, context.key]
    if any(identity) and not all(identity):
        raise errors.InvalidArgument("a TLS identity needs ca, cert and key", kind="context", id=context.name)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fields = {name: getattr(context, name) for name in ("host", "description", "ca", "cert", "key")}
    _write(path, str(import_module("json").dumps(fields, indent=2)) + "\n")


def remove(name: str, force: bool = False) -> None:
    """Deletes one. NotFound; Conflict when it is in use and `force` is not given."""
    if name == NAME:
        raise errors.InvalidArgument('context "default" cannot be removed', kind="context", id=name)
    load(name)
    if current() == name:
        if not force:
            raise errors.Conflict(f'context "{name}" is in use, set another context first', kind="context", id=name)
        use(NAME)
    os.unlink(_path(name))


def names() -> list[str]:
    """Every context, "default" first."""
    try:
        files = os.listdir(os.path.join(config_dir(), "contexts"))
    except OSError:
        files = []
    return [NAME, *sorted(f.removesuffix(".json") for f in files if f.endswith(".json"))]


def _path(name: str) -> str:
    if not name or name[0] not in _LETTERS or not all(c in _LETTERS + "_.+-" for c in name):
        raise errors.InvalidArgument(
            f'context name "{name}" is invalid: use letters, digits and _ . + -, a letter or digit first'
        )
    return os.path.join(config_dir(), "contexts", f"{name}.json")


def _write(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def _identity_of_environment(host: str) -> Identity | None:
    folder = os.environ.get("ARGOSY_CERT_PATH")
    if not folder or not host.startswith("tcp://"):
        return None
    return _identity(*(os.path.join(folder, f"{name}.pem") for name in ("ca", "cert", "key")))


def _identity(ca: str, cert: str, key: str) -> Identity | None:
    if not ca:
        return None
    # TLS is heavy and only tcp:// needs it.
    identity: Identity = import_module("argosy.transport.tls").Identity(ca, cert, key)
    return identity
