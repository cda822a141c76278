"""`info`."""

from __future__ import annotations

from importlib import import_module

from argosy.cli.options import Command, text
from argosy.cli.output.units import bytes_size
from argosy.client.system import System
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine
    from argosy.v1 import system_pb2 as pb


class Info(Command):
    """Display system-wide information."""

    format = text("-f", "--format", help="Format output: json, or a Go template")

    def run(self, engine: Engine) -> int:
        """Prints what the daemon runs on and holds; its warnings go to standard error."""
        info = wait(System(engine.channel).info())
        if self.format:
            # Templates and JSON are heavier than all the rest of this command.
            import_module("argosy.cli.output.objects").show_object(engine, self.format, _shape(info))
            return 0
        lines = [
            ("Containers", info.containers),
            (" Running", info.containers_running),
            (" Paused", info.containers_paused),
            (" Stopped", info.containers_stopped),
            ("Images", info.images),
            ("Storage Driver", info.storage_driver),
            ("Cgroup Version", info.cgroup_version),
            ("Default Runtime", info.runtime),
            ("Cluster", info.cluster_role or "inactive"),
            *([(" NodeID", info.node_id)] if info.node_id else []),
            *([("Security Options", " ".join(info.security_options))] if info.security_options else []),
            ("Kernel Version", info.kernel),
            ("Operating System", info.operating_system),
            ("OSType", "linux"),
            ("Architecture", info.arch),
            ("CPUs", info.cpus),
            ("Total Memory", bytes_size(info.memory_bytes)),
            ("Name", info.name),
            ("ID", info.id),
            ("argosy Root Dir", info.data_dir),
            ("argosy Run Dir", info.run_dir),
        ]
        for name, value in lines:
            engine.out(f"{name}: {value}")
        for warning in info.warnings:
            engine.say(f"WARNING: {warning}")
        return 0


def _shape(info: pb.InfoResponse) -> dict[str, object]:
    """By Docker's names (GET /info)."""
    return {
        "ID": info.id,
        "Containers": info.containers,
        "ContainersRunning": info.containers_running,
        "ContainersPaused": info.containers_paused,
        "ContainersStopped": info.containers_stopped,
        "Images": info.images,
        "Driver": info.storage_driver,
        "CgroupVersion": info.cgroup_version,
        "DefaultRuntime": info.runtime,
        "KernelVersion": info.kernel,
        "OperatingSystem": info.operating_system,
        "OSType": "linux",
        "Architecture": info.arch,
        "NCPU": info.cpus,
        "MemTotal": info.memory_bytes,
        "Name": info.name,
        "DockerRootDir": info.data_dir,
        "RunDir": info.run_dir,
        "Swarm": {
            "NodeID": info.node_id,
            "LocalNodeState": "active" if info.node_id else "inactive",
            "ControlAvailable": info.cluster_role == "manager",
        },
        "SecurityOptions": list(info.security_options),
        "Warnings": list(info.warnings) or None,
    }
