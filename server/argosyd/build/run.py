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
from argosyd.build.caches import Caches
from argosyd.build.copy import Copier
from argosyd.build.mounts import RunMount
from argosyd.build.source import Source, resolve
from argosyd.build.stubs import Stubs
from argosyd.build.threads import disk
from argosyd.containers.inside import Inside, as_root_of, give
from argosyd.containers.model import ContainerSpec
from argosyd.containers.spec import users
from argosyd.containers.spec.builder import Request, build
from argosyd.containers.spec.facts import Host
from argosyd.host import apparmor
from argosyd.images.model import ImageConfig
from argosyd.network.model import UNPRIVILEGED_SYSCTLS, Attachment, AttachRequest, Networker
from argosyd.runtime import seccompbpf
from argosyd.runtime.cgroups import Cgroups
from argosyd.runtime.oci import OciRuntime, RuntimeFailed
from argosyd.runtime.oneshot import run_bundle
from argosyd.trees.remove import discard
from argosyd.trees.root import Root
from argosyd.userns.ids import IdMap, MountMap, to_host
from argosyd.userns.kernel import Namespaces
from argosyd.userns.service import UserNamespaces
from argosyd.volumes import targets
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
    userns: UserNamespaces


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
    """The network namespaces of one build: one for each mode, shared by all its RUNs, made when first needed. Each
    belongs to a user namespace of its own where the daemon maps containers' ids."""

    def __init__(self, id: str, network: Networker, userns: UserNamespaces, extra_hosts: Sequence[str]) -> None:
        self._id, self._network, self._userns, self._extra_hosts = id, network, userns, tuple(extra_hosts)
        self._lock = asyncio.Lock()
        self._attached: dict[str, tuple[Attachment, Namespaces | None]] = {}
        self._begun: set[str] = set()
        self._held = AsyncExitStack()

    async def attach(self, mode: str) -> tuple[Attachment, Namespaces | None]:
        """What a RUN in this mode gets, and the user namespace that it runs in. Errors as `Networker.attach`, Conflict
        (the host's network in a user namespace)."""
        mode = NETWORK_MODES[mode]
        async with self._lock:
            if mode not in self._attached:
                # Also what could only be made in part is to be given back.
                self._begun.add(mode)
                self._attached[mode] = await self._make(mode)
            return self._attached[mode]

    async def _make(self, mode: str) -> tuple[Attachment, Namespaces | None]:
        sysctls = {} if mode == "host" else UNPRIVILEGED_SYSCTLS
        request = AttachRequest(
            network_id(self._id, mode), "", HOSTNAME, mode, extra_hosts=self._extra_hosts, sysctls=sysctls
        )
        id_map = self._userns.default
        if id_map is None:
            return await self._network.attach(request), None
        if mode == "host":
            raise Conflict(
                "cannot share the host's network namespace when user namespaces are enabled: build without --network=host",
                kind="build", reason="USERNS_CONFLICT",
            )  # fmt: skip
        namespaces = await self._held.enter_async_context(self._userns.hold(id_map))
        return await self._network.attach(request, namespaces.network), namespaces

    async def close(self) -> None:
        """Gives everything back."""
        for mode in list(self._begun):
            await self._network.detach(network_id(self._id, mode))
            self._begun.remove(mode)
            self._attached.pop(mode, None)
        await self._held.aclose()


def network_id(build: str, mode: str) -> str:
    """What the network room knows a build's namespace by."""
    return f"build-{build}-{mode}"


class Runner:
    """Runs commands of one build."""

    def __init__(self, id: str, tools: Tools, networks: Networks, caches: Caches) -> None:
        self._id, self._tools, self._networks, self._caches = id, tools, networks, caches
        self._count = 0

    async def mapping(self, command: Command) -> MountMap | None:
        """How the root that a command runs in is to be mounted. Errors as `Networks.attach`."""
        _, namespaces = await self._networks.attach(command.network)
        return namespaces.mount_map if namespaces else None

    async def run(
        self, command: Command, root: Path, sources: Mapping[str, Source], sink: Callable[[int, bytes], None]
    ) -> int:
        """Runs to the end in a root that is mounted with its `mapping`; tells the exit code. Conflict when the command cannot be started.

        `sources` holds what its bind mounts read from, by name.
        """
        self._count += 1
        id = f"build-{self._id}-{self._count}"
        bundle = self._tools.run_dir / "build" / id
        bundle.mkdir(parents=True, mode=0o700)  # own: in the run directory
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._clean, id, bundle)
            attachment, namespaces = await self._networks.attach(command.network)
            userns = Inside(namespaces, self._tools.userns.stage(id)) if namespaces else None
            id_map = userns.id_map if userns else None
            mounts = [await self._mount(m, sources, bundle, n, stack) for n, m in enumerate(command.mounts)]
            tree = stack.enter_context(Root.at(root))
            made = await disk.to_the_end(self._prepare, id, command, root, tree, attachment, mounts, bundle, userns)
            try:
                code = await run_bundle(self._tools.runtime, id, bundle, sink, made.owner)
            except RuntimeFailed as error:
                raise Conflict(
                    f"cannot start {command.args[0]!r}: {error}", kind="step", reason="STEP_FAILED",
                    metadata={"exit_code": "127"},
                ) from None  # fmt: skip
            # Of a RUN that was cut off nothing is kept.
            await disk.to_the_end(_clean_stubs, made.stubs, id_map)
            return code

    async def _clean(self, id: str, bundle: Path) -> None:
        await self._tools.userns.unstage(id)
        await self._tools.cgroups.remove(self._tools.cgroups.path(id))
        await disk.to_the_end(discard, bundle)

    def _prepare(
        self, id: str, command: Command, root: Path, tree: Root, attachment: Attachment,
        mounts: Sequence[ResolvedMount], bundle: Path, userns: Inside | None,
    ) -> _Made:  # fmt: skip
        """Writes the bundle and makes ready what it mounts on. Blocking."""
        id_map = userns.id_map if userns else None
        mounts = targets.settle(tree, mounts)
        with as_root_of(id_map):
            targets.make_working_dir(tree, command.config.working_dir or "/", mounts)
        if userns is not None:
            mounts = userns.mounts(mounts, (MountType.BIND,))
        shown = mounts if command.script is None else [*mounts, _script(command.script, bundle)]
        config = self._config(id, command, root, tree, attachment, tuple(shown), bundle, userns)
        if config["process"].get("apparmorProfile") == apparmor.DEFAULT:
            apparmor.ensure_default()
        seccompbpf.annotate(config, self._tools.runtime.name)
        (bundle / "config.json").write_text(json.dumps(config))  # own: the bundle
        users_own = [m.target for m in mounts]
        ends = [m["destination"] for m in config["mounts"]]
        stubs = Stubs(tree, _canonical(tree, [e for e in ends if targets.in_image(e, users_own)]))
        with as_root_of(id_map):
            targets.make(tree, mounts)
        uid: int = config["process"]["user"]["uid"]
        return _Made(stubs, to_host(id_map.uids, uid) if id_map else uid)

    def _config(
        self, id: str, command: Command, root: Path, tree: Root, attachment: Attachment,
        mounts: tuple[ResolvedMount, ...], bundle: Path, userns: Inside | None,
    ) -> dict[str, Any]:  # fmt: skip
        files = {"hosts": attachment.hosts, "hostname": HOSTNAME + "\n", "resolv.conf": attachment.resolv_conf}
        for name, content in files.items():
            (bundle / name).write_text(content)  # own: the bundle
            (bundle / name).chmod(0o644)  # own: the bundle
            give(bundle / name, userns.id_map if userns else None)
        # The bundle's own directory is closed to others; what is mounted out of it is not.
        mode = NETWORK_MODES[command.network]
        spec = ContainerSpec(
            image="", env=command.env, network_mode=mode, shm_size=command.shm_size,
            working_dir=command.config.working_dir or "/",
        )  # fmt: skip
        user = users.resolve(command.config.user, tree.read_text("/etc/passwd"), tree.read_text("/etc/group"))
        request = Request(
            id=id, spec=spec, image=command.config, args=command.args,
            rootfs=str(userns.rootfs(root) if userns else root),
            cgroup=self._tools.cgroups.path(id), user=user, hostname=HOSTNAME,
            network_namespace=attachment.namespace, mounts=mounts, hosts_path=str(bundle / "hosts"),
            hostname_path=str(bundle / "hostname"), resolv_conf_path=str(bundle / "resolv.conf"),
            runtime=self._tools.runtime.name, userns=userns.user if userns else None,
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
        stack.push_async_callback(disk.to_the_end, discard, copy)
        await disk.to_the_end(_copy_out, source, mount.source, copy)
        return ResolvedMount(MountType.BIND, mount.target, str(copy / "it"), read_only=mount.read_only)


@dataclass(frozen=True, slots=True)
class _Made:
    """What is ready for a RUN: `owner` is the host's uid of its process."""

    stubs: Stubs
    owner: int


def _clean_stubs(stubs: Stubs, id_map: IdMap | None) -> None:
    with as_root_of(id_map):
        stubs.clean()


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
