"""Opens the byte stream to a daemon."""

from __future__ import annotations

# CPython's C half of `socket`: the Python half costs a command 8 ms, and a unix socket needs none of it.
import _socket
from importlib import import_module

from argosy import errors
from argosy.status import UNREACHABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.transport.address import Address
    from argosy.transport.tls import Identity
    from argosy.transport.wire import Socket


def dial(address: Address, identity: Identity | None = None) -> Socket:
    """A connected stream. Unavailable, with reason `UNREACHABLE`, when nothing answers; PermissionDenied."""
    try:
        if address.scheme == "unix":
            return _dial_unix(address.path)
        # TLS and ssh need modules that take as long to import as everything else together.
        if address.scheme == "tcp":
            stream: Socket = import_module("argosy.transport.tls").dial(address, identity)
        else:
            stream = import_module("argosy.transport.ssh").dial(address)
        return stream
    except PermissionError as e:
        raise errors.PermissionDenied(
            f"permission denied while connecting to the argosy daemon at {address.text}: be root, or a user "
            f"who may write to the socket"
        ) from e
    except OSError as e:
        raise unreachable(address.text, e) from e


def unreachable(name: str, error: OSError | None = None) -> errors.Unavailable:
    """What a client says when nothing answers at an address."""
    usual = error is None or isinstance(error, ConnectionRefusedError | FileNotFoundError)
    why = "" if usual or error is None else f" ({error.strerror or error})"
    return errors.Unavailable(
        f"Cannot connect to the argosy daemon at {name}. Is argosyd running?{why}", reason=UNREACHABLE
    )


def _dial_unix(path: str) -> Socket:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
