"""Connections to other daemons' cluster ports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from grpc import aio

from argosy_cluster.ending import ended
from argosy_cluster.identity.ca import MANAGER_NAME
from argosy_cluster.identity.files import NodeCredentials
from argosy_cluster.transport.server import MAX_MESSAGE

CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A peer that is cut off without a word is noticed within 4 s, and tried again within 1 s of its return.
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 2000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
]

LINGER = 60.0
"""Seconds after which a channel with an old certificate is closed, whatever still runs on it."""


def open_channel(addr: str, expected: str, credentials: NodeCredentials) -> aio.Channel:
    """A channel to "address:port", whose certificate must bear the name `expected`."""
    secure = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", expected)]
    return aio.secure_channel(addr, secure, options=options)


class ChannelPool:
    """The channels of one daemon, one a peer, made when first asked for. See argosy_cluster.parts.Channels."""

    def __init__(self, credentials: NodeCredentials, manager_addr: Callable[[], str]) -> None:
        """`manager_addr` tells the "address:port" of the manager to talk to."""
        self._credentials = credentials
        self._manager_addr = manager_addr
        self._open: dict[tuple[str, str], aio.Channel] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def manager_addr(self) -> str:
        """Where `manager` leads."""
        return self._manager_addr()

    def manager(self) -> aio.Channel:
        """To the manager; whoever answers must prove to be one."""
        return self._get(self._manager_addr(), MANAGER_NAME)

    def node(self, node_id: str, addr: str) -> aio.Channel:
        """To that node, which must prove to be it."""
        return self._get(addr, node_id)

    def _get(self, addr: str, expected: str) -> aio.Channel:
        channel = self._open.get((addr, expected))
        if channel is None:
            channel = self._open[addr, expected] = open_channel(addr, expected, self._credentials)
        return channel

    def renew(self, credentials: NodeCredentials) -> None:
        """Calls from now on use the new certificate; those under way have `LINGER` seconds."""
        self._credentials = credentials
        old, self._open = self._open, {}
        for channel in old.values():
            task = asyncio.create_task(channel.close(LINGER), name="cluster-channel-close")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Ends every call."""
        await ended(tuple(self._closing))
        channels, self._open = list(self._open.values()), {}
        await asyncio.gather(*(channel.close(None) for channel in channels), return_exceptions=True)
