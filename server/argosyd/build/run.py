"""RUN: one container, without a monitor, in a writable snapshot, with the same fences as any other container."""

from __future__ import annotations

import asyncio
import contextlib
import json
import posixpath
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argosy.errors import Conflict, NotFound
from argosyd.build import targets
from argosyd.build.caches import Caches
from argosyd.build.copy import Copier
from argosyd.build.mounts import RunMount
from argosyd.build.scratch import throw_away
from argosyd.build.source import Source, resolve
from argosyd.build.stubs import Stubs
from argosyd.build.threads import in_thread
from argosyd.containers.model import ContainerSpec
from argosyd.containers.spec import users
from argosyd.containers.spec.builder import Request, build
from argosyd.containers.spec.facts import Host
from argosyd.host import apparmor
from argosyd.images.model import ImageConfig
from argosyd.network.model import Attachment, AttachRequest, Networker
from argosyd.runtime.cgroups import Cgroups
from argosyd.runtime.oci import OciRuntime, RuntimeFailed
from argosyd.runtime.oneshot import run_bundle
from argosyd.trees.root import Root
from argosyd.volumes.model import MountType, ResolvedMount

HOSTNAME = "argosy-build"
NETWORK_MODES: Mapping[str, str] = {"": "bridge", "default": "bridge", "none": "none", "host": "host"}
"""What `--network` of a build or a RUN means to the network room."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What runs containers here. Known once the containers' room has started."""

    runtime: OciRuntime
    cgroups: Cgroups
    host: Host
    network: Networker
    run_dir: Path
    data_dir: Path


@dataclass(frozen=True, slots=True)
class Command:
    """One RUN, everything expanded. `script` is a here-document to be run as a program, by name and content."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    config: ImageConfig
    network: str
    mounts: tuple[RunMount, ...] = ()
    script: tuple[str, str] | None = None
    shm_size: int = 0


class Networks:
    """The network namespaces of one build: one for each mode, shared by all its RUNs, made when first needed."""

    def __init__(self, id: str, network: Networker, extra_hosts: Sequence[str]) -> None:
        self._id, self._network, self._extra_hosts = id, network, tuple(extra_hosts)
        self._lock = asyncio.Lock()
        self._attached: dict[str, Attachment] = {}

    async def attach(self, mode: str) -> Attachment:
        """What a RUN in this mode gets. Errors as `Networker.attach`."""
        mode = NETWORK_MODES[mode]
        async with self._lock:
            if mode not in self._attached:
                id = network_id(self._id, mode)
                request = AttachRequest(id, "", HOSTNAME, mode, extra_hosts=self._extra_hosts)
                self._attached[mode] = await self._network.attach(request)
            return self._attached[mode]

    async def close(self) -> None:
        """Gives everything back."""
        for mode in list(self._attached):
            await self._network.detach(network_id(self._id, mode))
            del self._attached[mode]


def network_id(build: str, mode: str) -> str:
    """What the network room knows a build's namespace by."""
    return f"build-{build}-{mode}"


class Runner:
    """Runs commands of one build."""

    def __init__(self, id: str, tools: Tools, networks: Networks, caches: Caches) -> None:
        self._id, self._tools, self._networks, self._caches = id, tools, networks, caches
        self._count = 0

    async def run(
        self, command: Command, root: Path, sources: Mapping[str, Source], sink: Callable[[int, bytes], None]
    ) -> int:
        """Runs to the end in a mounted root; tells the exit code. Conflict when the command cannot be started.

        `sources` holds what its bind mounts read from, by name.
        """
        self._count += 1
        id = f"build-{self._id}-{self._count}"
        bundle = self._tools.run_dir / "build" / id
        bundle.mkdir(parents=True, mode=0o700)  # own: in the run directory
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._clean, id, bundle)
            attachment = await self._networks.attach(command.network)
            mounts = [await self._mount(m, sources, bundle, n, stack) for n, m in enumerate(command.mounts)]
            tree = stack.enter_context(Root.at(root))
            stubs = await in_thread(self._prepare, id, command, root, tree, attachment, mounts, bundle)
            try:
                code = await run_bundle(self._tools.runtime, id, bundle, sink)
            except RuntimeFailed as error:
                raise Conflict(
                    f"cannot start {command.args[0]!r}: {error}", kind="step", reason="STEP_FAILED",
                    metadata={"exit_code": "127"},
                ) from None  # fmt: skip
            # Of a RUN that was cut off nothing is kept.
            await in_thread(stubs.clean)
            return code

    async def _clean(self, id: str, bundle: Path) -> None:
        await self._tools.cgroups.remove(self._tools.cgroups.path(id))
        await in_thread(throw_away, bundle)

    def _prepare(
        self, id: str, command: Command, root: Path, tree: Root, attachment: Attachment,
        mounts: Sequence[ResolvedMount], bundle: Path,
    ) -> Stubs:  # fmt: skip
        """Writes the bundle and makes ready what it mounts on. Blocking."""
        mounts = targets.settle(tree, mounts)
        targets.make_working_dir(tree, command.config.working_dir or "/", mounts)
        shown = mounts if command.script is None else [*mounts, _script(command.script, bundle)]
        config = self._config(id, command, root, tree, attachment, tuple(shown), bundle)
        if config["process"].get("apparmorProfile") == apparmor.DEFAULT:
            apparmor.ensure_default()
        (bundle / "config.json").write_text(json.dumps(config))  # own: the bundle
        users_own = [m.target for m in mounts]
        ends = [m["destination"] for m in config["mounts"]]
        stubs = Stubs(tree, _canonical(tree, [e for e in ends if targets.in_image(e, users_own)]))
        targets.make(tree, mounts)
        return stubs

    def _config(
        self, id: str, command: Command, root: Path, tree: Root, attachment: Attachment,
        mounts: tuple[ResolvedMount, ...], bundle: Path,
    ) -> dict[str, Any]:  # fmt: skip
        files = {"hosts": attachment.hosts, "hostname": HOSTNAME + "\n", "resolv.conf": attachment.resolv_conf}
        for name, content in files.items():
            (bundle / name).write_text(content)  # own: the bundle
            (bundle / name).chmod(0o644)  # own: the bundle
        # The bundle's own directory is closed to others; what is mounted out of it is not.
        mode = NETWORK_MODES[command.network]
        spec = ContainerSpec(
            image="", env=command.env, network_mode=mode, shm_size=command.shm_size,
            working_dir=command.config.working_dir or "/",
        )  # fmt: skip
        user = users.resolve(command.config.user, tree.read_text("/etc/passwd"), tree.read_text("/etc/group"))
        request = Request(
            id=id, spec=spec, image=command.config, args=command.args, rootfs=str(root),
            cgroup=self._tools.cgroups.path(id), user=user, hostname=HOSTNAME,
            network_namespace=attachment.namespace, mounts=mounts, hosts_path=str(bundle / "hosts"),
            hostname_path=str(bundle / "hostname"), resolv_conf_path=str(bundle / "resolv.conf"),
            runtime=self._tools.runtime.name,
        )  # fmt: skip
        return build(request, self._tools.host).spec

    async def _mount(
        self, mount: RunMount, sources: Mapping[str, Source], bundle: Path, number: int, stack: AsyncExitStack
    ) -> ResolvedMount:
        if mount.type == "tmpfs":
            return ResolvedMount(MountType.TMPFS, mount.target, tmpfs_size=mount.size)
        if mount.type == "cache":
            path = await self._caches.enter(mount, bundle / f"mount-{number}", stack)
            return ResolvedMount(MountType.BIND, mount.target, str(path), read_only=mount.read_only)
        source = sources[mount.source_name]
        # A copy: what is bound must not change under others, and the context is not unpacked at all.
        copy = self._tools.data_dir / "build" / "tmp" / f"{bundle.name}-{number}"
        copy.mkdir(mode=0o700)  # own: in the scratch directory
        stack.push_async_callback(in_thread, throw_away, copy)
        await in_thread(_copy_out, source, mount.source, copy)
        return ResolvedMount(MountType.BIND, mount.target, str(copy / "it"), read_only=mount.read_only)


def _copy_out(source: Source, path: str, target: Path) -> None:
    with Root.at(target) as root:
        Copier(root).copy(source, found_in(source, path), "it")


def found_in(source: Source, path: str) -> str:
    """A path with links followed inside its source. NotFound."""
    real = resolve(source, path)
    if real is None or source.lookup(real) is None:
        raise NotFound(f'"/{path.strip("/")}" not found in {source.what}', kind="path", id=path, reason="NO_SUCH_FILE")
    return real


def _canonical(tree: Root, paths: Sequence[str]) -> list[str]:
    """Where the runtime will mount; what it will refuse is left out."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            found.append(tree.canonical(path))
    return found


def _script(script: tuple[str, str], bundle: Path) -> ResolvedMount:
    name, content = script
    path = bundle / "script"
    path.write_text(content)  # own: the bundle
    path.chmod(0o755)  # own: the bundle
    return ResolvedMount(MountType.BIND, script_path(name), str(path), read_only=True)


def script_path(name: str) -> str:
    """Where a here-document that is a program is seen."""
    return f"/dev/pipes/{posixpath.basename(name)}"
