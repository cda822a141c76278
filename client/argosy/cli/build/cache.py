"""`builder prune` and `builder du`."""

from __future__ import annotations

from argosy.cli.confirm import confirm
from argosy.cli.options import Command, flag, text
from argosy.cli.output.listing import Listing
from argosy.cli.output.units import ago, ellipsis, human_size
from argosy.cli.parse.sizes import read_size
from argosy.client.builds import Builds
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Prune(Command):
    """Remove build cache."""

    all = flag("-a", "--all", help="Remove all build cache, not just what no image needs")
    force = flag("-f", "--force", help="Do not prompt for confirmation")
    keep_storage = text("--keep-storage", "--reserved-space", help="Amount of disk space to keep", metavar="bytes")

    def run(self, engine: Engine) -> int:
        """Prints what was removed and how much room it took."""
        which = "all build cache" if self.all else "all dangling build cache"
        keep = read_size(self.keep_storage, "keep-storage") if self.keep_storage else 0
        if not self.force and not confirm(f"WARNING! This will remove {which}."):
            return 0
        gone = wait(Builds(engine.channel).prune_cache(self.all, keep))
        if gone.deleted:
            engine.out("Deleted build cache objects:")
            for id in gone.deleted:
                engine.out(id)
            engine.out("")
        engine.out(f"Total reclaimed space: {human_size(gone.space_reclaimed)}")
        return 0


class Du(Command):
    """Show what the build cache holds."""

    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    quiet = flag("-q", "--quiet", help="Only display IDs")

    def run(self, engine: Engine) -> int:
        """Prints a table."""
        rows = [
            {
                "ID": record.id,
                "Instruction": ellipsis(" ".join(record.instruction.split()), 50),
                "CreatedSince": ago(record.created),
                "LastUsedSince": ago(record.last_used),
                "Size": human_size(record.size, 3),
                "InUse": "true" if record.in_use else "false",
            }
            for record in wait(Builds(engine.channel).list_cache())
        ]
        listing = Listing(
            "{{.ID}}\t{{.Instruction}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.Size}}\t{{.InUse}}",
            {"ID": "CACHE ID", "CreatedSince": "CREATED", "LastUsedSince": "LAST USED", "InUse": "IN USE"},
            "{{.ID}}",
        )
        listing.show(engine, self.format, self.quiet, rows)
        return 0
