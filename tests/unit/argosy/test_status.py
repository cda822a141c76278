"""Errors keep their class, reason, object and metadata on their way over gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from argosy import errors
from argosy.status import DETAILS_KEY, UNREACHABLE, from_rpc_error, to_status

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and c.__base__ is errors.ArgosyError]


class FakeRpcError(grpc.RpcError):
    """What a channel raises, without a channel."""

    def __init__(self, code: str, message: str, trailers: tuple[tuple[str, Any], ...]) -> None:
        self._parts = (grpc.StatusCode[code], message, trailers)

    def code(self) -> grpc.StatusCode:
        return self._parts[0]

    def details(self) -> str:
        return self._parts[1]

    def trailing_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self._parts[2]


def carried(error: BaseException) -> errors.ArgosyError:
    status = to_status(error)
    return from_rpc_error(FakeRpcError(status.code, status.message, status.trailers))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_survives(cls: type[errors.ArgosyError]) -> None:
    there = cls("no", kind="container", id="4c01", reason="WHY", metadata={"line": "7", "é": "ü"})
    back = carried(there)
    assert type(back) is cls
    assert (back.message, back.kind, back.id, back.reason, back.metadata) == (
        "no", "container", "4c01", "WHY", {"line": "7", "é": "ü"},
    )  # fmt: skip


def test_the_bytes_are_google_rpc_status() -> None:
    status = to_status(errors.NotFound("No such image: x", kind="image", id="x"))
    parsed = status_pb2.Status.FromString(status.details)
    info = error_details_pb2.ErrorInfo()
    assert parsed.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert parsed.message == "No such image: x"
    assert parsed.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "NOT_FOUND", "argosy", {"kind": "image", "id": "x"},
    )  # fmt: skip


def test_a_stranger_is_internal() -> None:
    back = carried(KeyError("x"))
    assert type(back) is errors.Internal
    assert back.message == "KeyError: 'x'"


def test_a_channel_that_fails_is_told_from_a_daemon_that_refuses() -> None:
    dead = from_rpc_error(FakeRpcError("UNAVAILABLE", "connect failed", ()))
    assert (type(dead), dead.reason) == (errors.Unavailable, UNREACHABLE)
    assert carried(errors.Unavailable("registry is down")).reason == "UNAVAILABLE"


def test_long_messages_stay_within_the_trailers_limit() -> None:
    status = to_status(errors.Internal("x" * 100_000, metadata={"a": "y" * 100_000}))
    assert len(status.message) + len(status.details) < 8000


@given(st.binary(max_size=200))
def test_garbage_in_the_trailers_is_not_an_error_of_its_own(data: bytes) -> None:
    back = from_rpc_error(FakeRpcError("NOT_FOUND", "gone", ((DETAILS_KEY, data),)))
    assert type(back) is errors.NotFound
