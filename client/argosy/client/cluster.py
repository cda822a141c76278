"""The cluster as a whole: made, joined, left."""

from __future__ import annotations

from argosy.client.rpc import Api
from argosy.v1 import cluster_pb2 as pb

_S = "/argosy.v1.Cluster/"


class Cluster(Api):
    """Calls of argosy.v1.Cluster."""

    async def init(self, advertise_addr: str = "", listen_addr: str = "") -> pb.InitResponse:
        """Makes this daemon the first manager of a new cluster."""
        request = pb.InitRequest(advertise_addr=advertise_addr, listen_addr=listen_addr)
        return await self._rpc.unary(_S + "Init", request, pb.InitResponse)

    async def join(
        self, remote_addr: str, token: str, advertise_addr: str = "", listen_addr: str = ""
    ) -> pb.JoinResponse:
        """Makes this daemon a member."""
        request = pb.JoinRequest(
            remote_addr=remote_addr, token=token, advertise_addr=advertise_addr, listen_addr=listen_addr
        )
        return await self._rpc.unary(_S + "Join", request, pb.JoinResponse)

    async def leave(self, force: bool = False) -> None:
        """Ends the membership; its tasks stop."""
        await self._rpc.unary(_S + "Leave", pb.LeaveRequest(force=force), pb.LeaveResponse)

    async def inspect(self) -> pb.InspectClusterResponse:
        """All about the cluster."""
        return await self._rpc.unary(_S + "Inspect", pb.InspectClusterRequest(), pb.InspectClusterResponse)

    async def join_token(self, role: pb.NodeRole.ValueType, rotate: bool = False) -> pb.JoinTokenResponse:
        """The token to join with in that role; a new one with `rotate`."""
        request = pb.JoinTokenRequest(role=role, rotate=rotate)
        return await self._rpc.unary(_S + "JoinToken", request, pb.JoinTokenResponse)
