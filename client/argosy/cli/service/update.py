"""`service update`."""

from __future__ import annotations

import shlex

from argosy import errors
from argosy.cli.image.credentials import credentials
from argosy.cli.options import argument, flag, many, text
from argosy.cli.parse.pairs import read_pairs
from argosy.cli.service.change import roll_back
from argosy.cli.service.converge import converge
from argosy.cli.service.settings import ServiceOptions, add_env, add_mounts, service_port
from argosy.client.services import Services
from argosy.transport.blocking import wait
from argosy.v1 import services_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, MutableSequence
    from typing import TypeVar

    from argosy.cli.engine import Engine

    T = TypeVar("T")

_ATTEMPTS = 5


class Update(ServiceOptions):
    """Update a service."""

    interspersed = True

    args = text("--args", help="Service command args", metavar="command")
    constraint_add = many("--constraint-add", help="Add or update a placement constraint")
    constraint_rm = many("--constraint-rm", help="Remove a constraint")
    container_label_add = many("--container-label-add", help="Add or update a container label")
    container_label_rm = many("--container-label-rm", help="Remove a container label by its key")
    env_add = many("--env-add", help="Add or update an environment variable")
    env_rm = many("--env-rm", help="Remove an environment variable")
    force = flag("--force", help="Force update even if no changes require it")
    host_add = many("--host-add", help="Add a custom host-to-IP mapping (host:ip)")
    host_rm = many("--host-rm", help="Remove a custom host-to-IP mapping (host:ip)")
    image = text("--image", help="Service image tag")
    label_add = many("--label-add", help="Add or update a service label")
    label_rm = many("--label-rm", help="Remove a label by its key")
    mount_add = many("--mount-add", help="Add or update a mount on a service", metavar="mount")
    mount_rm = many("--mount-rm", help="Remove a mount by its target path")
    placement_pref_add = many("--placement-pref-add", help="Add a placement preference", metavar="pref")
    placement_pref_rm = many("--placement-pref-rm", help="Remove a placement preference", metavar="pref")
    publish_add = many("--publish-add", help="Add or update a published port", metavar="port")
    publish_rm = many("--publish-rm", help="Remove a published port by its target port", metavar="port")
    rollback = flag("--rollback", help="Rollback to previous specification")
    service = argument("SERVICE")

    def run(self, engine: Engine) -> int:
        """Prints the service, and waits until the update has ended."""
        api = Services(engine.channel)
        if self.rollback:
            return roll_back(engine, self.service, self.detach, self.quiet)
        before = self._update(api)
        engine.out(self.service)
        return 0 if self.detach else converge(engine, self.service, self.quiet, before)

    def _update(self, api: Services) -> pb.Service:
        """Reads, changes and writes the spec, again when somebody was faster; answers the service before."""
        attempts = 0
        while True:
            attempts += 1
            before = wait(api.inspect(self.service))
            spec = pb.ServiceSpec()
            spec.CopyFrom(before.spec)
            self._change(spec)
            auth = credentials(spec.container.image) if self.with_registry_auth else None
            try:
                wait(api.update(before.id, spec, before.version, auth))
            except errors.Aborted:
                if attempts == _ATTEMPTS:
                    raise
            else:
                return before

    def _change(self, spec: pb.ServiceSpec) -> None:
        self.apply(spec)
        container = spec.container
        if self.image:
            container.image = self.image
        if "args" in self.given:
            del container.command[:]
            container.command.extend(shlex.split(self.args))
        if self.force:
            spec.force_update += 1
        _labels(spec.labels, self.label_add, self.label_rm)
        _labels(container.labels, self.container_label_add, self.container_label_rm)
        _keep(container.env, lambda entry: entry.partition("=")[0] not in self.env_rm)
        add_env(spec, self.env_add, [])
        _keep(container.mounts, lambda mount: mount.target not in self.mount_rm)
        add_mounts(spec, self.mount_add)
        _list(container.extra_hosts, self.host_add, self.host_rm)
        _list(spec.placement.constraints, self.constraint_add, self.constraint_rm)
        _list(spec.placement.preferences, self.placement_pref_add, self.placement_pref_rm)
        self._ports(spec)

    def _ports(self, spec: pb.ServiceSpec) -> None:
        added = [port for entry in self.publish_add for port in service_port(entry)]
        gone = {(_target(entry)) for entry in self.publish_rm}
        gone |= {(port.target, port.protocol or "tcp") for port in added}
        kept = [port for port in spec.ports if (port.target, port.protocol or "tcp") not in gone]
        del spec.ports[:]
        spec.ports.extend([*kept, *added])


def _target(entry: str) -> tuple[int, str]:
    """Container port and protocol of "80", "80/udp" or "8080:80"."""
    [port, *_] = service_port(entry)
    return port.target, port.protocol or "tcp"


def _labels(labels: MutableMapping[str, str], added: list[str], removed: list[str]) -> None:
    for key in removed:
        labels.pop(key, None)
    labels.update(read_pairs(added))


def _list(values: MutableSequence[str], added: list[str], removed: list[str]) -> None:
    _keep(values, lambda value: value not in removed)
    values.extend(value for value in added if value not in values)


def _keep(values: MutableSequence[T], wanted: Callable[[T], bool]) -> None:
    kept = [value for value in values if wanted(value)]
    del values[:]
    values.extend(kept)
