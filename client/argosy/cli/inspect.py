"""`inspect`, of any object and of each kind."""

from __future__ import annotations

from argosy import contexts, errors
from argosy.cli.options import Command, UsageError, arguments, flag, text
from argosy.cli.output.objects import show_objects
from argosy.cli.shape.container import container_shape
from argosy.cli.shape.context import context_shape
from argosy.cli.shape.image import image_shape
from argosy.cli.shape.network import network_shape, volume_shape
from argosy.cli.shape.service import node_shape, service_shape
from argosy.client.containers import Containers
from argosy.client.images import Images
from argosy.client.networks import Networks
from argosy.client.nodes import Nodes
from argosy.client.services import Services
from argosy.client.volumes import Volumes
from argosy.status import UNREACHABLE
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from argosy.cli.engine import Engine

_FORMAT = "Format output: json, or a Go template"


class Inspect(Command):
    """Return low-level information on objects of any kind."""

    format = text("-f", "--format", help=_FORMAT)
    size = flag("-s", "--size", help="Display total file sizes if the type is container")
    type = text("--type", help="Only inspect objects of the given type")
    names = arguments("NAME|ID [NAME|ID...]")

    kinds: tuple[str, ...] = ("container", "image", "network", "volume", "service", "node", "context")

    def run(self, engine: Engine) -> int:
        """Prints what was found, says what was not; 1 then."""
        if self.type and self.type not in self.kinds:
            raise UsageError(f'unknown type: "{self.type}": use one of {", ".join(self.kinds)}', 1)
        kinds = (self.type,) if self.type else self.kinds
        found: list[Any] = []
        failures: list[errors.ArgosyError] = []
        for name in self.names:
            try:
                found.append(_find(engine, name, kinds, self.size))
            except errors.ArgosyError as e:
                if e.reason == UNREACHABLE:
                    raise
                failures.append(e)
        if found or not self.format:
            show_objects(engine, self.format, found)
        for failure in failures:
            engine.fail(failure)
        return 1 if failures else 0


class InspectContainer(Inspect):
    """Display detailed information on one or more containers."""

    type = text("--type", help="", default="container", hidden=True)


class InspectImage(Inspect):
    """Display detailed information on one or more images."""

    type = text("--type", help="", default="image", hidden=True)


class InspectNetwork(Inspect):
    """Display detailed information on one or more networks."""

    type = text("--type", help="", default="network", hidden=True)


class InspectVolume(Inspect):
    """Display detailed information on one or more volumes."""

    type = text("--type", help="", default="volume", hidden=True)


class InspectService(Inspect):
    """Display detailed information on one or more services."""

    type = text("--type", help="", default="service", hidden=True)
    pretty = flag("--pretty", help="Print the information in a human friendly format", hidden=True)


class InspectNode(Inspect):
    """Display detailed information on one or more nodes."""

    type = text("--type", help="", default="node", hidden=True)
    pretty = flag("--pretty", help="Print the information in a human friendly format", hidden=True)


def _find(engine: Engine, name: str, kinds: tuple[str, ...], size: bool) -> Any:
    """The first object of those kinds. NotFound of the one kind that was asked for, or of any."""
    look: dict[str, Callable[[], Any]] = {
        "container": lambda: container_shape(wait(Containers(engine.channel).inspect(name, size))),
        "image": lambda: image_shape(wait(Images(engine.channel).inspect(name)).image),
        "network": lambda: network_shape(wait(Networks(engine.channel).inspect(name))),
        "volume": lambda: volume_shape(wait(Volumes(engine.channel).inspect(name))),
        "service": lambda: service_shape(wait(Services(engine.channel).inspect(name))),
        "node": lambda: node_shape(wait(Nodes(engine.channel).inspect(name))),
        "context": lambda: context_shape(contexts.load(name)),
    }
    for kind in kinds:
        try:
            return look[kind]()
        except errors.ArgosyError as e:
            # A daemon outside a cluster answers Conflict for services and nodes; a name may be no reference.
            passed = isinstance(e, errors.NotFound | errors.InvalidArgument | errors.Conflict | errors.Unsupported)
            if len(kinds) == 1 or not passed or e.reason == "AMBIGUOUS":
                raise
    raise errors.NotFound(f"No such object: {name}", id=name)
