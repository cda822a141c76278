"""`history`."""

from __future__ import annotations

from argosy.cli.options import Command, argument, flag, text
from argosy.cli.output.listing import Listing
from argosy.cli.output.units import ago, ellipsis, human_size, rfc3339
from argosy.client.images import Images
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class History(Command):
    """Show the history of an image."""

    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    human = flag("-H", "--human", default=True, help="Print sizes and dates in human readable format")
    no_trunc = flag("--no-trunc", help="Don't truncate output")
    quiet = flag("-q", "--quiet", help="Only show image IDs")
    image = argument("IMAGE")

    def run(self, engine: Engine) -> int:
        """Prints a table, newest step first. Only the image itself has an id."""
        api = Images(engine.channel)
        id = wait(api.inspect(self.image)).image.id
        rows = []
        for at, entry in enumerate(wait(api.history(self.image))):
            shown = id if self.no_trunc else id.partition(":")[2][:12]
            by = " ".join(entry.created_by.replace("\t", " ").split("\n"))
            rows.append(
                {
                    "ID": shown if at == 0 else "<missing>",
                    "CreatedSince": ago(entry.created) if self.human else rfc3339(entry.created),
                    "CreatedAt": rfc3339(entry.created),
                    "CreatedBy": by if self.no_trunc else ellipsis(by, 45),
                    "Size": human_size(entry.size, 3) if self.human else str(entry.size),
                    "Comment": entry.comment,
                }
            )
        listing = Listing(
            "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
            {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedBy": "CREATED BY", "CreatedAt": "CREATED AT"},
            "{{.ID}}",
        )
        listing.show(engine, self.format, self.quiet, rows)
        return 0
