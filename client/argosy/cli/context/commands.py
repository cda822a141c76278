"""`context` and its verbs."""

from __future__ import annotations

from importlib import import_module

from argosy import contexts
from argosy.cli.engine import for_each
from argosy.cli.options import Command, UsageError, argument, arguments, flag, optional, text
from argosy.cli.output.listing import Listing
from argosy.cli.parse.pairs import read_fields
from argosy.cli.shape.context import context_shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine

_ENDPOINT = "Endpoint: host=ADDRESS[,ca=FILE,cert=FILE,key=FILE]"


class Create(Command):
    """Create a context."""

    description = text("--description", help="Description of the context")
    docker = text("--endpoint", "--docker", help=_ENDPOINT, metavar="endpoint")
    host_ = text("--host", help="Address of the daemon", metavar="address")
    context = argument("CONTEXT")

    def run(self, engine: Engine) -> int:
        """Prints the name."""
        fields = _endpoint(self.docker)
        host = self.host_ or fields.pop("host", "")
        fields.pop("host", None)
        if not host:
            raise UsageError("the address of the daemon is missing: use --endpoint host=ADDRESS", 1)
        contexts.save(contexts.Context(self.context, host, self.description, **fields))
        engine.out(self.context)
        engine.say(f'Successfully created context "{self.context}"')
        return 0


class Update(Command):
    """Update a context."""

    description = text("--description", help="Description of the context")
    docker = text("--endpoint", "--docker", help=_ENDPOINT, metavar="endpoint")
    context = argument("CONTEXT")

    def run(self, engine: Engine) -> int:
        """Prints the name."""
        found = contexts.load(self.context)
        if "description" in self.given:
            found.description = self.description
        for key, value in _endpoint(self.docker).items():
            setattr(found, key, value)
        contexts.save(found, replace=True)
        engine.out(self.context)
        engine.say(f'Successfully updated context "{self.context}"')
        return 0


class Ls(Command):
    """List contexts."""

    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    quiet = flag("-q", "--quiet", help="Only show context names")

    def run(self, engine: Engine) -> int:
        """Prints a table, the current context marked."""
        current = contexts.current()
        rows = []
        for name in contexts.names():
            found = contexts.load(name)
            rows.append(
                {
                    "Name": name,
                    "Current": "true" if name == current else "false",
                    "Mark": " *" if name == current else "",
                    "Description": found.description,
                    "DockerEndpoint": found.host,
                    "Endpoint": found.host,
                    "Error": "",
                }
            )
        listing = Listing("{{.Name}}{{.Mark}}\t{{.Description}}\t{{.Endpoint}}\t{{.Error}}", {"Mark": ""}, "{{.Name}}")
        listing.show(engine, self.format, self.quiet, rows)
        return 0


class Rm(Command):
    """Remove one or more contexts."""

    force = flag("-f", "--force", help="Force the removal of a context in use")
    contexts = arguments("CONTEXT [CONTEXT...]")

    def run(self, engine: Engine) -> int:
        """Prints the names."""
        return for_each(engine, self.contexts, lambda name: contexts.remove(name, self.force))


class Use(Command):
    """Set the current context."""

    context = argument("CONTEXT")

    def run(self, engine: Engine) -> int:
        """Prints the name."""
        contexts.use(self.context)
        engine.out(self.context)
        engine.say(f'Current context is now "{self.context}"')
        return 0


class Show(Command):
    """Print the name of the current context."""

    def run(self, engine: Engine) -> int:
        """Prints the name."""
        engine.out(engine.context or contexts.current())
        return 0


class Inspect(Command):
    """Display detailed information on one or more contexts."""

    format = text("-f", "--format", help="Format output: json, or a Go template")
    context = optional("[CONTEXT]")

    def run(self, engine: Engine) -> int:
        """Prints JSON."""
        found = contexts.load(self.context or engine.context or contexts.current())
        # Templates and JSON are heavier than all the other verbs.
        import_module("argosy.cli.output.objects").show_objects(engine, self.format, [context_shape(found)])
        return 0


def _endpoint(text: str) -> dict[str, str]:
    fields = {key: value or "" for key, value in read_fields(text, "endpoint")} if text else {}
    if unknown := set(fields) - {"host", "ca", "cert", "key"}:
        raise UsageError(f"unknown endpoint field '{min(unknown)}': use host, ca, cert and key", 1)
    return fields
