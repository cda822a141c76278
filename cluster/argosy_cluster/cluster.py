"""A daemon's place in a cluster, or that it has none.

What holds under which failure:

- A daemon's death or restart: its membership is on disk before `join` or `init` returns, and its tasks' containers
  do not depend on it. It opens its port and its session again by itself.
- The manager away: nodes go on with the tasks they have and try to reach it once a second, without end; commands that
  need it answer Unavailable with its address. Nothing of its state is lost: every change was on disk before
  it was told. When it is back, nodes that were ready have 5 s to return before they count as lost.
- A node silent: it is down 2 to 3 s later. When it is heard of again it is ready at once.
- A node removed: its calls under way end and new ones are refused at once, by the manager. The node, told so, ends its
  membership and its tasks. Other workers hear of it within 0.5 s and refuse it too.
- A join token rotated: the old one is refused from the next handshake on. A certificate ends after 12 h and is renewed
  after half of that; a node that was off for longer has to join again.

This module imports neither `cryptography` nor the generated stubs: a daemon that is no member pays for neither.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argosy.errors import ArgosyError, Conflict
from argosy_cluster import addresses
from argosy_cluster.clock import Clock, SystemClock
from argosy_cluster.ending import ended
from argosy_cluster.identity import tokens
from argosy_cluster.identity.files import MemberFiles
from argosy_cluster.model import MemberRecord, NodeRole
from argosy_cluster.parts import HostFacts, PartFactory

if TYPE_CHECKING:
    from argosy_cluster.membership.member import Membership

log = logging.getLogger("argosy.cluster")

CERTIFICATE_TTL = 12 * 3600.0


class Cluster:
    """Membership of one daemon. `start` and `close` once each; `init`, `join` and `leave` between them."""

    def __init__(
        self,
        directory: Path,
        name: str,
        host: HostFacts,
        parts: Sequence[PartFactory] = (),
        interceptors: Sequence[Any] = (),
        own_address: Callable[[], str] = lambda: addresses.own_address(()),
        clock: Clock | None = None,
        certificate_ttl: float = CERTIFICATE_TTL,
    ) -> None:
        """`directory` holds the membership; `interceptors` (gRPC server interceptors) turn errors into statuses on the
        cluster port; `own_address` tells the address to advertise when the user gives none."""
        self._files = MemberFiles(directory)
        self._name = name
        self._host = host
        self._parts = parts
        self._interceptors = interceptors
        self._own_address = own_address
        self._clock = clock or SystemClock()
        self._certificate_ttl = certificate_ttl
        self._lock = asyncio.Lock()
        self._record: MemberRecord | None = None
        self._membership: Membership | None = None
        self._background: set[asyncio.Task[None]] = set()
        self.error: ArgosyError | None = None
        """Why a daemon that is a member takes no part, from the last start."""

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def record(self) -> MemberRecord | None:
        """The membership, None when there is none."""
        return self._record

    @property
    def role(self) -> NodeRole | None:
        return self._record.role if self._record is not None else None

    @property
    def node_id(self) -> str:
        return self._record.node_id if self._record is not None else ""

    @property
    def membership(self) -> Membership:
        """The running membership. Conflict (NO_MEMBER); the error of the last start."""
        if self._membership is not None:
            return self._membership
        if self._record is not None and self.error is not None:
            raise self.error
        raise Conflict(
            "this node is not part of a cluster: use `argosy cluster init` to make one "
            "or `argosy cluster join` to join one",
            kind="cluster",
            reason="NO_MEMBER",
        )

    # -- its life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes its place again. A membership that cannot be taken up (port taken, certificate ended) is logged and
        kept in `error`; the daemon does its other work."""
        async with self._lock:
            try:
                self._record = await asyncio.to_thread(self._files.load)
                if self._record is None:
                    if self._files.directory.exists():
                        await asyncio.to_thread(self._files.remove)
                else:
                    await self._run(self._record)
            except ArgosyError as error:
                self.error = error
                log.error("cluster membership not taken up", extra={"facts": {"error": str(error)}})

    async def close(self) -> None:
        """Stops taking part; the membership stays."""
        await ended(tuple(self._background))
        async with self._lock:
            await self._stop()

    async def init(self, advertise_addr: str = "", listen_addr: str = "") -> MemberRecord:
        """Makes a cluster with this daemon as its manager. Conflict (MEMBER, address taken), InvalidArgument."""
        async with self._lock:
            self._check_no_member()
            advertise = addresses.with_port(advertise_addr or self._own_address())
            listen = self._listen(listen_addr, advertise)
            joining = importlib.import_module("argosy_cluster.membership.joining")
            record: MemberRecord = await joining.make_cluster(
                self._files, self._name, listen, advertise, self._certificate_ttl, self._clock
            )
            await self._begin(record)
            await self._membership_connected()
            return record

    async def join(self, remote_addr: str, token: str, advertise_addr: str = "", listen_addr: str = "") -> MemberRecord:
        """Makes this daemon a member of the cluster at `remote_addr`. Conflict (MEMBER, address taken),
        InvalidArgument (token, address), PermissionDenied (token refused, of another cluster), Unavailable."""
        async with self._lock:
            self._check_no_member()
            parsed = tokens.parse(token)
            remote = addresses.with_port(remote_addr)
            advertise = addresses.with_port(advertise_addr) if advertise_addr else ""
            listen = self._listen(listen_addr, advertise)
            joining = importlib.import_module("argosy_cluster.membership.joining")
            record: MemberRecord = await joining.join_cluster(
                self._files, self._name, remote, parsed, listen, advertise, self._clock
            )
            await self._begin(record)
            await self._membership_connected()
            return record

    async def leave(self, force: bool = False) -> None:
        """Ends the membership. Conflict (NO_MEMBER; a manager, or a manager that cannot be told, without `force`)."""
        async with self._lock:
            if self._record is None and not (force and self.error is not None):
                _ = self.membership
            if self.role is NodeRole.MANAGER and not force:
                raise Conflict(
                    "this node is the cluster's manager: the cluster and its services end with it; "
                    "use --force when that is what you want",
                    kind="cluster",
                    reason="IS_MANAGER",
                )
            if self._membership is not None:
                try:
                    await self._membership.leave()
                except ArgosyError as error:
                    log.warning("left without the manager knowing", extra={"facts": {"error": str(error)}})
            await self._forget()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _check_no_member(self) -> None:
        if self._record is not None or self.error is not None:
            raise Conflict(
                "this node is already part of a cluster: `argosy cluster leave` ends that",
                kind="cluster",
                reason="MEMBER",
            )

    @staticmethod
    def _listen(listen_addr: str, advertise_addr: str) -> str:
        """The given address; without one every address of the host, at the advertised port."""
        if listen_addr:
            return addresses.with_port(listen_addr)
        port = addresses.split(advertise_addr)[1] if advertise_addr else addresses.PORT
        return f"0.0.0.0:{port}"

    async def _run(self, record: MemberRecord) -> None:
        member = importlib.import_module("argosy_cluster.membership.member")
        around = member.Surroundings(self._host, self._clock, self._parts, self._interceptors, self._told_removed)
        membership: Membership = member.Membership(record, self._files, around)
        await membership.start()
        self._membership = membership
        self.error = None

    async def _begin(self, record: MemberRecord) -> None:
        """Starts a membership that is new; undoes it when that fails."""
        self._record = record
        try:
            await self._run(record)
        except BaseException:
            await self._forget()
            raise

    async def _membership_connected(self) -> None:
        """Waits a little for the first session, so that `node ls` right after shows the node ready."""
        try:
            async with asyncio.timeout(3):
                await self.membership.session.wait_connected()
        except TimeoutError:
            log.warning("no session with the manager yet")

    async def _stop(self) -> None:
        membership, self._membership = self._membership, None
        if membership is not None:
            await membership.close()

    async def _forget(self) -> None:
        await self._stop()
        await asyncio.to_thread(self._files.remove)
        self._record = None
        self.error = None

    async def _told_removed(self) -> None:
        """The manager says this node is no member any more. The session's task asks, so another one acts."""
        task = asyncio.create_task(self.leave(force=True), name="cluster-removed")
        self._background.add(task)
        task.add_done_callback(self._background.discard)
