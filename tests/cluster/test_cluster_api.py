"""The Cluster and Nodes services as clients see them, at a manager and at a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from tests.cluster.inprocess import Lot, free_port

from argosy.errors import ArgosyError
from argosy.status import from_rpc_error
from argosy.v1 import cluster_pb2, cluster_pb2_grpc, nodes_pb2, nodes_pb2_grpc
from argosy_cluster.cluster import Cluster
from argosy_cluster.forwarding import ForwardInterceptor
from argosy_cluster.parts import PeerOf
from argosyd.api.cluster import ClusterServicer
from argosyd.api.interceptors import ErrorInterceptor
from argosyd.api.nodes import NodesServicer
from argosyd.member import public_part

WORKER, MANAGER = cluster_pb2.NODE_ROLE_WORKER, cluster_pb2.NODE_ROLE_MANAGER
DRAIN, ACTIVE = nodes_pb2.NODE_AVAILABILITY_DRAIN, nodes_pb2.NODE_AVAILABILITY_ACTIVE


async def seven() -> int:
    return 7


async def tasks(node_id: str) -> list[nodes_pb2.Task]:
    return [nodes_pb2.Task(id="t1", node_id=node_id)]


class Api:
    """One daemon's cluster side and its public API."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name, self._address = name, f"unix:{directory}/{name}.sock"

    async def start(self, lot: Lot) -> Api:
        def forwarded(server: aio.Server, peer: PeerOf) -> None:
            nodes = NodesServicer(self.cluster, tasks, lambda context: peer(context).node_id)
            nodes_pb2_grpc.add_NodesServicer_to_server(nodes, server)
            cluster_pb2_grpc.add_ClusterServicer_to_server(ClusterServicer(self.cluster, seven), server)

        self.cluster: Cluster = await lot.node(self.name, [public_part(forwarded)])
        self.server = aio.server(interceptors=[ErrorInterceptor(), ForwardInterceptor(self.cluster)])
        nodes_pb2_grpc.add_NodesServicer_to_server(NodesServicer(self.cluster, tasks), self.server)
        cluster_pb2_grpc.add_ClusterServicer_to_server(ClusterServicer(self.cluster, seven), self.server)
        self.server.add_insecure_port(self._address)
        await self.server.start()
        self.channel = aio.insecure_channel(self._address)
        self.clusters = cluster_pb2_grpc.ClusterStub(self.channel)
        self.nodes = nodes_pb2_grpc.NodesStub(self.channel)
        return self

    async def close(self) -> None:
        await self.channel.close(None)
        await self.server.stop(0)

    async def names(self, **filters: str) -> list[str]:
        request = nodes_pb2.ListNodesRequest()
        for key, value in filters.items():
            request.filters.add(key=key, value=value)
        return [n.name for n in (await self.nodes.List(request)).nodes]


@pytest.fixture
async def pair(lot: Lot, tmp_path: Path) -> AsyncIterator[tuple[Api, Api]]:
    """A manager and a worker, made through the API."""
    manager, worker = await Api(tmp_path, "m").start(lot), await Api(tmp_path, "w").start(lot)
    made = await manager.clusters.Init(cluster_pb2.InitRequest(advertise_addr=f"127.0.0.1:{free_port()}"))
    joined = await worker.clusters.Join(
        cluster_pb2.JoinRequest(
            remote_addr=made.advertise_addr, token=made.worker_token, listen_addr=f"127.0.0.1:{free_port()}"
        )
    )
    assert joined.role == WORKER
    yield manager, worker
    await worker.close()
    await manager.close()


async def refused(call: Any) -> ArgosyError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_both_tell_the_same_of_the_cluster_but_of_themselves(pair: tuple[Api, Api]) -> None:
    manager, worker = pair
    at_manager = await manager.clusters.Inspect(cluster_pb2.InspectClusterRequest())
    at_worker = await worker.clusters.Inspect(cluster_pb2.InspectClusterRequest())
    assert (at_manager.role, at_worker.role) == (MANAGER, WORKER)
    assert at_worker.node_id == worker.cluster.node_id
    assert (at_worker.nodes, at_worker.services, at_worker.manager_reachable) == (2, 7, True)
    for answer in (at_manager, at_worker):
        answer.ClearField("role")
        answer.ClearField("node_id")
    assert at_manager == at_worker


async def test_a_worker_tells_what_it_knows_while_the_manager_is_away(pair: tuple[Api, Api]) -> None:
    manager, worker = pair
    await manager.cluster.close()
    answer = await worker.clusters.Inspect(cluster_pb2.InspectClusterRequest())
    assert not answer.manager_reachable
    assert answer.node_id == worker.cluster.node_id
    assert (await refused(worker.nodes.List(nodes_pb2.ListNodesRequest()))).reason == "MANAGER_UNREACHABLE"


async def test_self_is_the_node_that_was_asked(pair: tuple[Api, Api]) -> None:
    for api in pair:
        assert (await api.nodes.List(nodes_pb2.ListNodesRequest())).self_id == api.cluster.node_id
        found = await api.nodes.Inspect(nodes_pb2.InspectNodeRequest(node="self"))
        assert found.node.name == api.name
        assert (await api.nodes.Tasks(nodes_pb2.NodeTasksRequest(node="self"))).tasks[0].node_id == api.cluster.node_id


async def test_update_changes_what_it_names_and_no_more(pair: tuple[Api, Api]) -> None:
    manager, worker = pair
    await worker.nodes.Update(nodes_pb2.UpdateNodeRequest(node="w", availability=DRAIN, label_add={"a": "1", "b": ""}))
    await worker.nodes.Update(nodes_pb2.UpdateNodeRequest(node="w", label_rm=["b"]))
    node = (await manager.nodes.Inspect(nodes_pb2.InspectNodeRequest(node="w"))).node
    assert node.spec.availability == DRAIN
    assert dict(node.spec.labels) == {"a": "1"}
    assert node.status.state == "ready"
    missing = await refused(manager.nodes.Update(nodes_pb2.UpdateNodeRequest(node="w", label_rm=["b"])))
    assert missing.reason == "NO_SUCH_LABEL"
    malformed = await refused(manager.nodes.Update(nodes_pb2.UpdateNodeRequest(node="w", label_add={"": "x"})))
    assert malformed.code == "INVALID_ARGUMENT"


async def test_list_filters(pair: tuple[Api, Api]) -> None:
    manager, worker = pair
    await manager.nodes.Update(nodes_pb2.UpdateNodeRequest(node="w", label_add={"disk": "ssd"}))
    assert await worker.names() == ["m", "w"]
    assert await worker.names(role="manager") == ["m"]
    assert await worker.names(label="disk") == ["w"]
    assert await worker.names(label="disk=hdd") == []
    assert await worker.names(name="w", availability="active") == ["w"]
    assert await worker.names(id=manager.cluster.node_id[:20]) == ["m"]
    assert (await refused(worker.names(colour="red"))).code == "INVALID_ARGUMENT"


async def test_tokens_are_shown_and_rotated_from_any_node(pair: tuple[Api, Api]) -> None:
    manager, worker = pair
    shown = await worker.clusters.JoinToken(cluster_pb2.JoinTokenRequest(role=WORKER))
    assert shown == await manager.clusters.JoinToken(cluster_pb2.JoinTokenRequest())
    rotated = await worker.clusters.JoinToken(cluster_pb2.JoinTokenRequest(role=WORKER, rotate=True))
    assert rotated.token != shown.token
    of_managers = await worker.clusters.JoinToken(cluster_pb2.JoinTokenRequest(role=MANAGER))
    assert of_managers.token not in (shown.token, rotated.token)


async def test_removal(pair: tuple[Api, Api]) -> None:
    manager, _ = pair
    assert (await refused(manager.nodes.Remove(nodes_pb2.RemoveNodeRequest(node="w")))).reason == "NODE_READY"
    gone = await refused(manager.nodes.Remove(nodes_pb2.RemoveNodeRequest(node="m", force=True)))
    assert gone.reason == "IS_MANAGER"
    await manager.nodes.Remove(nodes_pb2.RemoveNodeRequest(node="w", force=True))
    assert await manager.names() == ["m"]
    assert (await refused(manager.nodes.Inspect(nodes_pb2.InspectNodeRequest(node="w")))).code == "NOT_FOUND"


async def test_a_daemon_outside_a_cluster_says_what_to_do(lot: Lot, tmp_path: Path) -> None:
    alone = await Api(tmp_path, "alone").start(lot)
    try:
        for call in (
            alone.nodes.List(nodes_pb2.ListNodesRequest()),
            alone.clusters.Inspect(cluster_pb2.InspectClusterRequest()),
            alone.clusters.JoinToken(cluster_pb2.JoinTokenRequest()),
            alone.clusters.Leave(cluster_pb2.LeaveRequest()),
        ):
            error = await refused(call)
            assert error.reason == "NO_MEMBER"
            assert "cluster init" in str(error)
    finally:
        await alone.close()
