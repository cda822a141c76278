"""Errors of argosy on the wire: canonical gRPC codes with a google.rpc.ErrorInfo detail.

The daemon's interceptor calls `to_status`, the client `from_rpc_error`; nothing else translates errors.
The detail travels as a serialized google.rpc.Status in the trailing metadata `grpc-status-details-bin`,
where the status libraries of all languages look for it (https://grpc.io/docs/guides/error/, "richer error
model"). The three messages involved are small and frozen, so they are written
and read here field by field: importing googleapis' stubs would cost each command 20 ms.
"""

from __future__ import annotations

from argosy import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

__all__ = [
    "CODES",
    "DETAILS_KEY",
    "DOMAIN",
    "UNREACHABLE",
    "Status",
    "from_parts",
    "from_rpc_error",
    "one_line",
    "to_status",
]

DOMAIN = "argosy"
"""google.rpc.ErrorInfo.domain of every error of ours."""

DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata that carries the serialized google.rpc.Status."""

UNREACHABLE = "DAEMON_UNREACHABLE"
"""The reason of an `Unavailable` that came from no daemon: nothing answers at the address."""

# https://grpc.github.io/grpc/core/md_doc_statuscodes.html
_NUMBERS = {
    "OK": 0, "CANCELLED": 1, "UNKNOWN": 2, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6, "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9,
    "ABORTED": 10, "OUT_OF_RANGE": 11, "UNIMPLEMENTED": 12, "INTERNAL": 13, "UNAVAILABLE": 14,
    "DATA_LOSS": 15, "UNAUTHENTICATED": 16,
}  # fmt: skip

CODES = tuple(_NUMBERS)
"""Names of the canonical codes; a code's number is its index."""

_CLASSES: dict[str, type[errors.ArgosyError]] = {
    cls.code: cls
    for cls in (
        errors.InvalidArgument,
        errors.NotFound,
        errors.AlreadyExists,
        errors.Conflict,
        errors.Aborted,
        errors.PermissionDenied,
        errors.Unauthenticated,
        errors.ResourceExhausted,
        errors.Unavailable,
        errors.TimedOut,
        errors.DataLoss,
        errors.Unsupported,
        errors.Internal,
    )
}

_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

# gRPC refuses trailers of more than 8 KiB in all, and the message stands in them twice.
_MESSAGE_LIMIT = 2000
_VALUE_LIMIT = 500


class Status:
    """What a server answers with: `code` names a grpc.StatusCode, `details` is a serialized google.rpc.Status."""

    __slots__ = ("code", "details", "message")

    def __init__(self, code: str, message: str, details: bytes) -> None:
        self.code = code
        self.message = message
        self.details = details

    @property
    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata, for `context.set_trailing_metadata`."""
        return ((DETAILS_KEY, self.details),)


def to_status(error: BaseException) -> Status:
    """The status of any exception; what is not of argosy's family is an INTERNAL of its class and text."""
    if not isinstance(error, errors.ArgosyError):
        error = errors.Internal(f"{type(error).__name__}: {error}".removesuffix(": "))
    metadata = {key: str(value)[:_VALUE_LIMIT] for key, value in error.metadata.items()}
    if error.kind:
        metadata["kind"] = error.kind
    if error.id:
        metadata["id"] = error.id[:_VALUE_LIMIT]
    message = _shortened(error.message)
    info = _text(1, error.reason) + _text(2, DOMAIN)
    for key, value in metadata.items():
        info += _bytes(3, _text(1, key) + _text(2, value))
    detail = _text(1, _ERROR_INFO) + _bytes(2, info)
    number = _NUMBERS[error.code]
    return Status(error.code, message, _varint(1 << 3) + _varint(number) + _text(2, message) + _bytes(3, detail))


def one_line(text: str) -> str:
    """Foreign text as one line that does nothing to who reads it: what cannot be printed is written as Python does."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _shortened(message: str) -> str:
    """A line that fits, and that UTF-8 can write: gRPC sends what is no plain ASCII as three letters a byte."""
    message = one_line(message[:_MESSAGE_LIMIT])
    if message.isascii():
        return message[:_MESSAGE_LIMIT]
    return message.encode("utf-8", "replace")[: _MESSAGE_LIMIT // 2].decode("utf-8", "ignore")


def from_rpc_error(error: Any) -> errors.ArgosyError:
    """The argosy error behind a grpc.RpcError or grpc.aio.AioRpcError, as the daemon raised it.

    An `Unavailable` with reason `UNREACHABLE` means that no daemon said so, the channel did.
    """
    return from_parts(error.code().name, error.details() or "", error.trailing_metadata() or ())


def from_parts(code: str, message: str, trailers: Iterable[Sequence[Any]]) -> errors.ArgosyError:
    """The same for a code's name, a message and trailing metadata."""
    cls = _CLASSES.get(code, errors.ArgosyError)
    info = _error_info(trailers)
    if info is None:
        if code == "UNIMPLEMENTED":
            message = "the daemon does not serve this call: it is of another version, or without that part"
        return cls(message, reason=UNREACHABLE if code == "UNAVAILABLE" else code)
    reason, metadata = info
    kind, id = metadata.pop("kind", ""), metadata.pop("id", "")
    return cls(message, kind=kind, id=id, reason=reason, metadata=metadata)


def _error_info(trailers: Iterable[Sequence[Any]]) -> tuple[str, dict[str, str]] | None:
    """Reason and metadata of the ErrorInfo in trailing metadata; None when there is none to be read."""
    for key, value in trailers:
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return _parse_status(value)
            except ValueError:
                return None
    return None


def _parse_status(data: bytes) -> tuple[str, dict[str, str]] | None:
    for field, detail in _fields(data):
        if field != 3:
            continue
        any_message = dict(_fields(detail))
        if any_message.get(1) != _ERROR_INFO.encode():
            continue
        reason, domain, metadata = "", "", {}
        for number, value in _fields(any_message.get(2, b"")):
            if number == 1:
                reason = value.decode()
            elif number == 2:
                domain = value.decode()
            elif number == 3:
                entry = dict(_fields(value))
                metadata[entry.get(1, b"").decode()] = entry.get(2, b"").decode()
        if domain == DOMAIN:
            return reason, metadata
    return None


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode("utf-8", "replace"))


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Length-delimited fields of one message, others passed over. ValueError when it is malformed."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire = key & 7
        if wire == 0:
            _, at = _read_varint(data, at)
        elif wire == 1 or wire == 5:
            at += 8 if wire == 1 else 4
        elif wire == 2:
            size, at = _read_varint(data, at)
            if at + size > len(data):
                raise ValueError("truncated field")
            yield key >> 3, data[at : at + size]
            at += size
        else:
            raise ValueError(f"unknown wire type {wire}")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("truncated varint")
