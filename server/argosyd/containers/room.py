"""The containers' room: its parts, put together."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

from argosy.errors import Conflict, NotFound, Unavailable
from argosyd import systemd
from argosyd.containers.attach import Attacher
from argosyd.containers.cell import Cell
from argosyd.containers.change import Changer
from argosyd.containers.commit import Committer
from argosyd.containers.control import Control
from argosyd.containers.copy import Copier
from argosyd.containers.create import Creator
from argosyd.containers.exec import Execs
from argosyd.containers.health import HealthChecker
from argosyd.containers.index import Index
from argosyd.containers.lifecycle import Lifecycle
from argosyd.containers.logs.format import Entry
from argosyd.containers.logs.options import parse as parse_log_options
from argosyd.containers.logs.reader import Query, read
from argosyd.containers.logs.standby import LogKeeper, mark_of
from argosyd.containers.membership import Membership
from argosyd.containers.observe import Observer
from argosyd.containers.paths import Layout
from argosyd.containers.restore import Restorer
from argosyd.containers.rooms import Doors, Shared
from argosyd.containers.roots import Roots
from argosyd.containers.saver import Saver
from argosyd.containers.spec import facts
from argosyd.containers.store import ContainerStore
from argosyd.containers.tasks import TaskSet
from argosyd.events import EventBus
from argosyd.host import apparmor
from argosyd.leftovers import Leftovers
from argosyd.runtime import mountattr
from argosyd.runtime.cgroups import Cgroups
from argosyd.runtime.monitor import Conmon
from argosyd.runtime.oci import OciRuntime
from argosyd.runtime.probe import choose_runtime, find_conmon, find_init, installed_runtimes, version_of
from argosyd.runtime.shelter import Shelter
from argosyd.state.database import Database
from argosyd.system import Pruned, Usage
from argosyd.userns.service import UserNamespaces

log = logging.getLogger(__name__)


class Containers:
    """Holds the parts; each does its own thing. `start` restores, then applies restart policies."""

    def __init__(
        self, *, data_dir: Path, run_dir: Path, cgroup_parent: str, runtime: str,
        database: Database, events: EventBus, doors: Doors, userns: UserNamespaces, leftovers: Leftovers,
    ) -> None:  # fmt: skip
        self._leftovers = leftovers
        self._wanted_runtime = runtime
        self._layout = Layout(data_dir, run_dir)
        self._cgroups = Cgroups(cgroup_parent)
        self._database, self._events, self._doors, self._userns = database, events, doors, userns
        self.index = Index()
        self._tasks = TaskSet()
        self._components: dict[str, str] = {}
        self._keeper: LogKeeper | None = None
        self.runtime: OciRuntime
        self.creator: Creator
        self.lifecycle: Lifecycle
        self.control: Control
        self.attacher: Attacher
        self.execs: Execs
        self.copier: Copier
        self.observer: Observer
        self.changer: Changer
        self.committer: Committer
        self.membership: Membership
        self.shared: Shared

    async def start(self) -> None:
        """Finds the runtime and brings record and world together. Unavailable when no runtime works."""
        run_dir = self._layout.run_dir
        self.runtime = await choose_runtime(run_dir, self._cgroups, self._wanted_runtime)
        conmon = find_conmon()
        runtimes = {r.name: r for r in (*installed_runtimes(run_dir), self.runtime)}
        programs = [conmon, *(r.path for r in runtimes.values())]
        self._components = {Path(p).name: await version_of(p) for p in programs}
        store = ContainerStore(self._database)
        shared = Shared(
            doors=self._doors,
            layout=self._layout,
            host=facts.look(
                self._cgroups.mode,
                find_init(),
                block_weight=self._cgroups.weighs_block_io(),
                recursive_read_only=mountattr.able(
                    {n: self._components[Path(r.path).name] for n, r in runtimes.items()}
                ),
            ),
            cgroups=self._cgroups,
            conmon=Conmon(conmon, self.runtime, run_dir),
            monitors={name: Conmon(conmon, runtime, run_dir) for name, runtime in runtimes.items()},
            store=store,
            saver=Saver(store, self._tasks),
            index=self.index,
            events=self._events,
            tasks=self._tasks,
            userns=self._userns,
            shelter=Shelter(self._cgroups, self._outlives, needed=systemd.started_us()),
        )
        self.shared = shared
        await self._load_apparmor()
        self.creator = Creator(shared)
        self.lifecycle = Lifecycle(shared, self.creator)
        self.control = Control(shared, self.lifecycle)
        self.attacher = Attacher(shared, self.lifecycle)
        self.execs = Execs(shared)
        self._keeper = LogKeeper(shared)
        self.lifecycle.followers += [self._keeper, HealthChecker(shared, self.execs)]
        self.copier = Copier(Roots(shared))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.observer = Observer(shared, memory)
        self.changer = Changer(shared, self.control)
        self.membership = Membership(shared)
        self.committer = Committer(shared)
        restorer = Restorer(shared, self.lifecycle, self.creator, self._leftovers)
        self._keeper.start()
        self._tasks.spawn(shared.shelter.work(), "shelter")
        await restorer.restore()
        for cell in self.index:
            if cell.running:
                self.execs.adopt(cell)
        await restorer.apply_policies()

    async def _load_apparmor(self) -> None:
        """Has the profile ready for the first container; one that cannot be loaded is each start's to report."""
        if self.shared.host.apparmor:
            try:
                await asyncio.to_thread(apparmor.ensure_default)
            except Unavailable as error:
                log.warning("%s", error)

    def _outlives(self, arguments: list[str]) -> bool:
        """Whether a process of ours goes on after the daemon: a monitor, or what keeps the logs then."""
        if mark_of(self._layout.run_dir) in arguments:
            return True
        monitor = bool(arguments) and os.path.basename(arguments[0]) == "conmon"
        return monitor and any(a.startswith(f"--bundle={self._layout.run_dir}/containers/") for a in arguments)

    async def halt(self) -> None:
        """Ends every container in order; the host goes down."""
        await self.control.halt()

    async def close(self) -> None:
        """Lets go of everything; containers run on."""
        await self._tasks.close()
        if self._keeper is not None:
            self._keeper.close()
            await self.shared.shelter.close()
        await asyncio.to_thread(self._cgroups.remove_parent)

    def find(self, reference: str) -> Cell:
        """By id, unique prefix or name. NotFound, InvalidArgument."""
        return self.index.find(reference)

    def states(self) -> Mapping[str, int]:
        """How many containers are in each state."""
        return Counter(cell.state.status.state.value for cell in self.index)

    def components(self) -> Mapping[str, str]:
        """The programs in use and their versions."""
        return dict(self._components)

    def security_options(self) -> list[str]:
        """What fences containers in here unless they say otherwise, in Docker's words."""
        host = self.shared.host
        options = ["name=apparmor"] if host.apparmor else []
        options.append("name=seccomp,profile=builtin")
        if self._userns.default is not None:
            options.append("name=userns")
        return [*options, *(["name=cgroupns"] if host.cgroup_mode == "v2" else [])]

    async def prune(self, filters: Sequence[tuple[str, str]]) -> Pruned:
        """See `Changer.prune`."""
        return Pruned(*await self.changer.prune(filters))

    async def usage(self) -> Usage:
        """What containers' writable snapshots take, for `system df`."""
        total = free = 0
        for cell in self.index:
            size = await self._own_size(cell)
            total += size
            free += 0 if cell.running else size
        return Usage("Containers", len(self.index), sum(c.running for c in self.index), total, free)

    async def _own_size(self, cell: Cell) -> int:
        """0 when its snapshot cannot be found: damage to one container's is no reason to tell nothing of all."""
        try:
            return (await self._doors.snapshots.usage(cell.id)).size
        except (NotFound, FileNotFoundError):
            return 0

    async def sizes(self, cell: Cell) -> tuple[int, int]:
        """Bytes of its writable snapshot, and of that with its image, which may have been removed by force."""
        own = await self._own_size(cell)
        try:
            image = await self._doors.images.resolve(cell.definition.image_id)
        except NotFound:
            return own, own
        return own, own + image.size

    async def logs(self, cell: Cell, query: Query) -> AsyncGenerator[list[Entry], None]:
        """What it wrote; with `follow` until it ends or is removed. Conflict when nothing is kept."""
        if not parse_log_options(cell.definition.spec.log).keep:
            raise Conflict(
                "configured logging driver does not support reading", kind="container", id=cell.id, reason="NO_LOG"
            )
        ended = asyncio.Event()
        run = cell.run
        if run is None or not query.follow:
            ended.set()
        else:
            run.ended.add_done_callback(lambda _: ended.set())
        async with aclosing(read(self._layout.log(cell.id), query, ended)) as reading:
            async for entries in reading:
                yield entries
