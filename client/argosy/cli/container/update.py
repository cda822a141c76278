"""`update`."""

from __future__ import annotations

from argosy.cli.container.settings import restart_policy
from argosy.cli.engine import for_each
from argosy.cli.options import Command, UsageError, arguments, integer, text
from argosy.cli.parse.sizes import read_cpus, read_size, read_swap
from argosy.client.containers import Containers
from argosy.transport.blocking import wait
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Update(Command):
    """Update configuration of one or more containers."""

    blkio_weight = integer("--blkio-weight", help="Block IO weight, 10 to 1000", metavar="uint16")
    cpu_period = integer("--cpu-period", help="Limit CPU CFS period, microseconds")
    cpu_quota = integer("--cpu-quota", help="Limit CPU CFS quota, microseconds")
    cpu_shares = integer("-c", "--cpu-shares", help="CPU shares (relative weight)")
    cpus = text("--cpus", help="Number of CPUs", metavar="decimal")
    cpuset_cpus = text("--cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)")
    cpuset_mems = text("--cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1)")
    memory = text("-m", "--memory", help="Memory limit", metavar="bytes")
    memory_reservation = text("--memory-reservation", help="Memory soft limit", metavar="bytes")
    memory_swap = text("--memory-swap", help="Memory and swap together; -1 is unlimited swap", metavar="bytes")
    pids_limit = integer("--pids-limit", help="Tune container pids limit (-1 for unlimited)")
    restart = text("--restart", help="Restart policy to apply when a container exits")
    containers = arguments("CONTAINER [CONTAINER...]")

    def run(self, engine: Engine) -> int:
        """Prints the names."""
        if not self.given:
            raise UsageError("you must provide one or more flags when using this command", 1)
        request = pb.UpdateContainerRequest()
        resources = request.resources
        resources.nano_cpus = read_cpus(self.cpus) if self.cpus else 0
        resources.memory_bytes = read_size(self.memory, "memory") if self.memory else 0
        resources.memory_swap_bytes = read_swap(self.memory_swap) if self.memory_swap else 0
        if self.memory_reservation:
            resources.memory_reservation_bytes = read_size(self.memory_reservation, "memory-reservation")
        resources.pids_limit = self.pids_limit or 0
        resources.cpu_shares = self.cpu_shares or 0
        resources.cpu_quota_us = self.cpu_quota or 0
        resources.cpu_period_us = self.cpu_period or 0
        resources.cpuset_cpus = self.cpuset_cpus
        resources.cpuset_mems = self.cpuset_mems
        resources.blkio_weight = self.blkio_weight or 0
        if self.restart:
            request.restart_policy.CopyFrom(restart_policy(self.restart))

        def update(name: str) -> None:
            request.container = name
            for warning in wait(Containers(engine.channel).update(request)):
                engine.say(f"WARNING: {warning}")

        return for_each(engine, self.containers, update)
