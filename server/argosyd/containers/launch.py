"""From a created container to a running process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from argosy.errors import Conflict, InvalidArgument, Unavailable
from argosy.numbers import whole
from argosyd.containers import failure, inside
from argosyd.containers.cell import Cell, Run
from argosyd.containers.copy import looking
from argosyd.containers.inside import Inside
from argosyd.containers.logs.keeper import open_log, write_plan
from argosyd.containers.logs.options import parse as parse_log_options
from argosyd.containers.model import ContainerSpec
from argosyd.containers.paths import SHARED_MEMORY
from argosyd.containers.rooms import Shared
from argosyd.containers.spec import users
from argosyd.containers.spec.builder import OWN_FILES, Request, build
from argosyd.containers.spec.mounts import DEFAULT_SHM_SIZE
from argosyd.host import apparmor
from argosyd.host import mounts as memory
from argosyd.network.model import UNPRIVILEGED_SYSCTLS, Attachment, AttachRequest, PortMapping
from argosyd.runtime import seccompbpf
from argosyd.runtime.monitor import Log, Monitored, Stdio
from argosyd.runtime.oci import RuntimeFailed
from argosyd.runtime.proc import PidFd, ProcessGone, child_of
from argosyd.runtime.uts import set_domainname
from argosyd.trees.root import Root
from argosyd.volumes import targets
from argosyd.volumes.model import MountType

_MAX_EXPOSED = 10_000
"""Ports that --publish-all may open: each one is a port of the host."""


def exposed_ports(cell: Cell) -> list[PortMapping]:
    """EXPOSE of the image and `--expose`, ranges taken apart, as mappings to ports the engine chooses."""
    found: dict[tuple[int, str], None] = {}
    for text in (*cell.definition.image.exposed_ports, *cell.definition.spec.exposed_ports):
        numbers, _, protocol = text.partition("/")
        first, _, last = numbers.partition("-")
        low, high = whole(first, 65535), whole(last or first, 65535)
        if low is None or high is None or protocol not in ("", "tcp", "udp", "sctp"):
            raise InvalidArgument(f"invalid exposed port: {text[:60]}", kind="port", id=text[:60])
        for port in range(low, high + 1):
            found[(port, protocol or "tcp")] = None
            if len(found) > _MAX_EXPOSED:
                raise InvalidArgument(f"more than {_MAX_EXPOSED} ports are exposed", kind="port", id=text)
    return [PortMapping(container_port=port, protocol=protocol) for port, protocol in found]


def attach_request(cell: Cell) -> AttachRequest:
    """What a container wants of the network."""
    spec = cell.definition.spec
    ports = list(spec.ports)
    if spec.publish_all:
        known = {(p.container_port, p.protocol or "tcp") for p in ports}
        ports += [p for p in exposed_ports(cell) if (p.container_port, p.protocol) not in known]
    own_namespace = spec.network_mode != "host" and not spec.network_mode.startswith("container:")
    sysctls = dict(UNPRIVILEGED_SYSCTLS) if own_namespace else {}
    sysctls.update({n: v for n, v in spec.sysctls.items() if n.startswith("net.")})
    return AttachRequest(
        container_id=cell.id,
        name=cell.name,
        hostname=spec.hostname or cell.id[:12],
        mode=spec.network_mode or "bridge",
        domainname=spec.domainname,
        endpoints=spec.endpoints,
        ports=tuple(ports),
        extra_hosts=spec.extra_hosts,
        dns=spec.dns,
        dns_search=spec.dns_search,
        dns_options=spec.dns_options,
        sysctls=sysctls,
    )


class Launcher:
    """Makes what a start needs, and starts it. Whoever calls holds the container's lock."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared

    async def launch(self, cell: Cell) -> Run:
        """Mounts, attaches, and runs; what a failed try leaves is the caller's to clean up.

        InvalidArgument with COMMAND_NOT_FOUND or COMMAND_NOT_EXECUTABLE, Conflict (port), Unavailable.
        """
        s = self._s
        bundle = s.layout.bundle(cell.id)
        bundle.mkdir(parents=True, mode=0o700)  # own: in the run directory
        async with inside.enter(s.userns, cell.id, cell.definition.id_map, self._joined(cell)) as userns:
            return await self._launch(cell, bundle, userns)

    async def _launch(self, cell: Cell, bundle: Path, userns: Inside | None) -> Run:
        s, id = self._s, cell.id
        snapshots, network = s.doors.snapshots, userns.network if userns else ""
        try:
            async with asyncio.TaskGroup() as group:
                mounting = group.create_task(userns.mount(snapshots, id) if userns else snapshots.mount(id))
                attaching = group.create_task(s.doors.network.attach(attach_request(cell), network))
                group.create_task(s.doors.volumes.mounted(id))
        except BaseExceptionGroup as errors:
            # One cause at a time is what a person can act on.
            raise errors.exceptions[0] from None
        root, attachment = mounting.result(), attaching.result()
        _make_working_dir(cell, root)
        config = self._config(cell, root, attachment, bundle, userns)
        if config["process"].get("apparmorProfile") == apparmor.DEFAULT:
            await asyncio.to_thread(apparmor.ensure_default)
        seccompbpf.annotate(config, s.conmon_of(cell).runtime.name)
        (bundle / "config.json").write_text(json.dumps(config))  # own: the bundle
        cell.change(endpoints=attachment.endpoints, ports=attachment.ports)
        return await self._run(cell, bundle, root, config)

    def _config(
        self, cell: Cell, root: Path, attachment: Attachment, bundle: Path, userns: Inside | None
    ) -> dict[str, Any]:
        s, definition = self._s, cell.definition
        spec = definition.spec
        home = s.layout.home(cell.id)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)  # own: in the data directory
        hostname = socket.gethostname() if spec.uts_mode == "host" else self._hostname(cell, attachment)
        files: Mapping[str, str] = {
            "hosts": attachment.hosts,
            "hostname": hostname + "\n",
            "resolv.conf": attachment.resolv_conf,
        }
        for name, content in files.items():
            # Written in place: a file that is mounted somewhere keeps its inode.
            (home / name).write_text(content)  # own: the container's home, not its root
            os.chmod(home / name, 0o644)  # own: as above
            inside.give(home / name, definition.id_map)
        with Root.at(root) as tree:
            passwd, group = tree.read_text("/etc/passwd"), tree.read_text("/etc/group")
            mounts = targets.settle(tree, definition.mounts)
            places = targets.follow(tree, OWN_FILES, [m.target for m in mounts])
        user = users.resolve(spec.user or definition.image.user, passwd, group, spec.group_add)
        request = Request(
            id=cell.id,
            spec=spec,
            image=definition.image,
            args=definition.args,
            rootfs=str(userns.rootfs(root) if userns else root),
            cgroup=s.cgroup(cell),
            user=user,
            hostname=hostname,
            network_namespace=attachment.namespace,
            mounts=userns.mounts(mounts, (MountType.VOLUME,)) if userns else mounts,
            places=places,
            hosts_path=str(home / "hosts"),
            hostname_path=str(home / "hostname"),
            resolv_conf_path=str(home / "resolv.conf"),
            pid_namespace=self._namespace(spec.pid_mode, "pid"),
            ipc_namespace=self._namespace(spec.ipc_mode, "ipc"),
            shm=self._shared_memory(cell, spec, bundle),
            runtime=s.conmon_of(cell).runtime.name,
            userns=userns.user if userns else None,
        )
        return build(request, s.host).spec

    def _hostname(self, cell: Cell, attachment: Attachment) -> str:
        spec = cell.definition.spec
        if spec.network_mode == "host" and not spec.hostname:
            return socket.gethostname()
        return spec.hostname or attachment.hostname or cell.id[:12]

    def _joined(self, cell: Cell) -> str:
        """The user namespace of the container whose other namespaces it joins; "" when it has its own or none."""
        spec = cell.definition.spec
        modes = (spec.network_mode, spec.pid_mode, spec.ipc_mode)
        mode = next((m for m in modes if m.startswith("container:")), "")
        return self._namespace(mode, "user") if cell.definition.id_map is not None else ""

    def _namespace(self, mode: str, kind: str) -> str:
        """The path of another container's namespace. Conflict when that one does not run."""
        if not mode.startswith("container:"):
            return ""
        other = self._s.index.find(mode.removeprefix("container:"))
        if other.run is None:
            raise Conflict(
                f"cannot join the {kind} namespace of container {other.id[:12]}: it is not running",
                kind="container",
                id=other.id,
                reason="NOT_RUNNING",
            )
        if kind == "ipc" and other.definition.spec.ipc_mode not in ("shareable", "host"):
            raise Conflict(
                f"cannot join the IPC namespace of container {other.id[:12]}: start it with --ipc shareable",
                kind="container",
                id=other.id,
                reason="NOT_SHAREABLE",
            )
        return f"/proc/{other.run.process.pid}/ns/{kind}"

    def _shared_memory(self, cell: Cell, spec: ContainerSpec, bundle: Path) -> str:
        """A directory on the host for a /dev/shm that several containers see; "" when each has its own."""
        if spec.ipc_mode.startswith("container:"):
            return str(self._s.layout.bundle(spec.ipc_mode.removeprefix("container:")) / SHARED_MEMORY)
        if spec.ipc_mode == "shareable":
            directory = bundle / SHARED_MEMORY
            directory.mkdir(mode=0o700)  # own: the bundle
            # Memory with a limit: the run directory's own is the host's.
            memory.mount_memory(directory, spec.shm_size or DEFAULT_SHM_SIZE)
            return str(directory)
        return ""

    def _log(self, cell: Cell, bundle: Path) -> Log:
        options, home = parse_log_options(cell.definition.spec.log), self._s.layout.home(cell.id)
        if not options.keep:
            return Log(None)
        turn_over = 0
        if options.segments:
            turn_over = open_log(str(home), options.segment, options.segments)
            write_plan(bundle, home, options.segments)
        return Log(self._s.layout.log(cell.id), turn_over)

    async def _run(self, cell: Cell, bundle: Path, root: Path, config: dict[str, Any]) -> Run:
        s, spec = self._s, cell.definition.spec
        # A person may leave a terminal and come back to it.
        keep_stdin = spec.tty or not spec.stdin_once
        stdio = Stdio(tty=spec.tty, stdin=spec.open_stdin, keep_stdin=keep_stdin)
        log = self._log(cell, bundle)
        try:
            made = await s.conmon_of(cell).create(cell.id, bundle, stdio, log)
            run = _open_run(bundle, made)
            cell.run = run
            for joiner in cell.take_joiners():
                joiner.join(run)
            inside.give_streams(made.monitor_pid, config["process"], cell.definition.id_map)
            if cell.definition.id_map is not None and spec.domainname and spec.uts_mode != "host":
                set_domainname(made.pid, spec.domainname)
            await s.conmon_of(cell).runtime.start(cell.id)
        except RuntimeFailed as error:
            process = config["process"]
            command = cell.definition.args[0]
            raise await looking.run_for(
                f"container {cell.id[:12]}",
                failure.explain, str(error), id=cell.id, command=command, cwd=process["cwd"], env=process["env"], root=root,
                mounts=cell.definition.mounts,
            ) from None  # fmt: skip
        return run


def _make_working_dir(cell: Cell, root: Path) -> None:
    """Makes the working directory when the image lacks it, as Docker does; below a mount it is the user's to make."""
    path = cell.definition.spec.working_dir or cell.definition.image.working_dir
    if not path or any(path == m.target or path.startswith(m.target + "/") for m in cell.definition.mounts):
        return
    try:
        with Root.at(root) as tree, inside.as_root_of(cell.definition.id_map):
            os.close(tree.make_directories(path))
    except OSError as error:
        raise InvalidArgument(
            f"cannot use {path} as the working directory: {error.strerror}",
            kind="container",
            id=cell.id,
            reason="INVALID_WORKING_DIR",
        ) from None


def _open_run(bundle: Path, made: Monitored) -> Run:
    try:
        process = child_of(made.monitor_pid, made.pid)
    except ProcessGone:
        raise Unavailable("the container's process ended before it was started", kind="monitor") from None
    try:
        monitor = PidFd(made.monitor_pid)
    except ProcessGone:
        process.close()
        raise Unavailable("conmon ended before the container was started", kind="monitor") from None
    except OSError:
        process.close()
        raise
    return Run(bundle, process, monitor, asyncio.get_running_loop().create_future())
