"""`create`, and what `run` shares with it: making a container, pulling its image when it is missing."""

from __future__ import annotations

import os
from importlib import import_module

from argosy import errors
from argosy.cli.container.settings import ContainerOptions
from argosy.cli.options import UsageError
from argosy.client.containers import Containers
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine
    from argosy.v1 import containers_pb2 as pb


class Create(ContainerOptions):
    """Create a new container."""

    def run(self, engine: Engine) -> int:
        """Prints the id."""
        engine.out(create(engine, self, self.spec()))
        return 0


def create(engine: Engine, options: ContainerOptions, spec: pb.ContainerSpec) -> str:
    """Makes the container; answers its id. Warnings and a pull's progress go to standard error."""
    if options.cidfile and os.path.exists(options.cidfile):
        raise UsageError(
            f"container ID file found, make sure the other container isn't running or delete {options.cidfile}"
        )
    if options.pull == "always":
        _pull(engine, options)
    containers = Containers(engine.channel)
    try:
        made = wait(containers.create(spec, options.name_))
    except errors.NotFound as e:
        if e.kind != "image" or options.pull != "missing":
            raise
        if not options.quiet:
            engine.say(f"Unable to find image '{options.image}' locally")
        _pull(engine, options)
        made = wait(containers.create(spec, options.name_))
    for warning in made.warnings:
        engine.say(f"WARNING: {warning}")
    if options.cidfile:
        try:
            with open(options.cidfile, "x", encoding="utf-8") as file:
                file.write(made.id)
        except OSError as e:
            wait(containers.remove(made.id, force=True))
            raise UsageError(f"failed to write the container ID to {options.cidfile}: {e.strerror}") from None
    return made.id


def _pull(engine: Engine, options: ContainerOptions) -> None:
    # Seldom needed, and its progress bars are heavy.
    import_module("argosy.cli.image.transfer").pull(
        engine, options.image, platform=options.platform, quiet=options.quiet
    )
