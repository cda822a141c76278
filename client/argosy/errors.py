"""The one family of errors of argosy, raised by the daemon's domain and by the client alike.

::

    ArgosyError
    ├── InvalidArgument    the request can never work as it stands        INVALID_ARGUMENT
    ├── NotFound           the object is not there                        NOT_FOUND
    ├── AlreadyExists      the name is taken                              ALREADY_EXISTS
    ├── Conflict           the object's state forbids it                  FAILED_PRECONDITION
    ├── Aborted            somebody changed it meanwhile; read it again   ABORTED
    ├── PermissionDenied   the caller may not                             PERMISSION_DENIED
    ├── Unauthenticated    the caller is not known                        UNAUTHENTICATED
    ├── ResourceExhausted  disk, ports, addresses or a quota ran out      RESOURCE_EXHAUSTED
    ├── Unavailable        something needed does not answer; try again    UNAVAILABLE
    ├── TimedOut           it took longer than allowed                    DEADLINE_EXCEEDED
    ├── DataLoss           bytes are not what their digest says           DATA_LOSS
    ├── Unsupported        this engine or host cannot do it               UNIMPLEMENTED
    └── Internal           a defect                                       INTERNAL

Every error says in one line what was wrong, with which object, and what to do. Programs decide on the
class and on `reason`, never on the text. This module imports nothing, so any code may use it.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "Aborted", "AlreadyExists", "ArgosyError", "Conflict", "DataLoss", "Internal", "InvalidArgument",
    "NotFound", "PermissionDenied", "ResourceExhausted", "TimedOut", "Unauthenticated", "Unavailable",
    "Unsupported",
]  # fmt: skip


class ArgosyError(Exception):
    """The root of the family.

    `reason` is an UPPER_SNAKE_CASE word a program may decide on (google.rpc.ErrorInfo.reason); `kind` and
    `id` name the object ("container", "4c01db0b339c"); `metadata` holds further strings by name.
    """

    code: str = "UNKNOWN"
    default_reason: str = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        kind: str = "",
        id: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.id = id
        self.reason = reason or self.default_reason
        self.metadata: dict[str, str] = dict(metadata or {})

    def __str__(self) -> str:
        return self.message


class InvalidArgument(ArgosyError):
    """The request can never work as it stands."""

    code, default_reason = "INVALID_ARGUMENT", "INVALID_ARGUMENT"


class NotFound(ArgosyError):
    """The object is not there."""

    code, default_reason = "NOT_FOUND", "NOT_FOUND"


class AlreadyExists(ArgosyError):
    """The name is taken."""

    code, default_reason = "ALREADY_EXISTS", "ALREADY_EXISTS"


class Conflict(ArgosyError):
    """The object's state forbids it: it runs, it is in use, it is being removed."""

    code, default_reason = "FAILED_PRECONDITION", "CONFLICT"


class Aborted(ArgosyError):
    """Somebody changed the object meanwhile; read it again and repeat."""

    code, default_reason = "ABORTED", "ABORTED"


class PermissionDenied(ArgosyError):
    """The caller may not do this."""

    code, default_reason = "PERMISSION_DENIED", "PERMISSION_DENIED"


class Unauthenticated(ArgosyError):
    """The caller did not say who it is, or not rightly."""

    code, default_reason = "UNAUTHENTICATED", "UNAUTHENTICATED"


class ResourceExhausted(ArgosyError):
    """Disk, ports, addresses or a quota ran out."""

    code, default_reason = "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"


class Unavailable(ArgosyError):
    """Something needed does not answer; the same call may work later."""

    code, default_reason = "UNAVAILABLE", "UNAVAILABLE"


class TimedOut(ArgosyError):
    """It took longer than allowed."""

    code, default_reason = "DEADLINE_EXCEEDED", "TIMED_OUT"


class DataLoss(ArgosyError):
    """Bytes are not what their digest says."""

    code, default_reason = "DATA_LOSS", "DATA_LOSS"


class Unsupported(ArgosyError):
    """This engine or this host cannot do it."""

    code, default_reason = "UNIMPLEMENTED", "UNSUPPORTED"


class Internal(ArgosyError):
    """A defect in argosy."""

    code, default_reason = "INTERNAL", "INTERNAL"
