"""`images`."""

from __future__ import annotations

from argosy.cli.options import Command, flag, many, optional, text
from argosy.cli.output.listing import Listing
from argosy.cli.output.units import ago, human_size, local_time, short_id
from argosy.cli.parse.pairs import read_filters
from argosy.client.images import Images as ImagesApi
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from argosy.cli.engine import Engine
    from argosy.v1 import images_pb2 as pb

_NONE = "<none>"


class Images(Command):
    """List images."""

    all = flag("-a", "--all", help="Show all images (default hides intermediate images)")
    digests = flag("--digests", help="Show digests")
    filter = many("-f", "--filter", help="Filter output based on conditions provided", metavar="filter")
    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    no_trunc = flag("--no-trunc", help="Don't truncate output")
    quiet = flag("-q", "--quiet", help="Only show image IDs")
    repository = optional("[REPOSITORY[:TAG]]")

    def run(self, engine: Engine) -> int:
        """Prints a table."""
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        images = wait(ImagesApi(engine.channel).list(self.repository, filters, self.all))
        digest = "\t{{.Digest}}" if self.digests else ""
        listing = Listing(
            "{{.Repository}}\t{{.Tag}}" + digest + "\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
            {"ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"},
            "{{.ID}}",
        )
        rows = [row for image in images for row in rows_of(image, not self.no_trunc)]
        if self.quiet and not self.format:
            rows = list({row["ID"]: row for row in rows}.values())
        listing.show(engine, self.format, self.quiet, rows)
        return 0


def familiar(name: str) -> str:
    """A repository as Docker shows it: without docker.io and library."""
    return name.removeprefix("docker.io/library/").removeprefix("docker.io/")


def rows_of(image: pb.Image, trunc: bool) -> Iterator[dict[str, str]]:
    """A row for each name, by Docker's field names; one of "<none>" without any."""
    digests = {}
    for digest in image.repo_digests:
        repository, _, value = digest.partition("@")
        digests[repository] = value
    names = [_split(tag) for tag in image.repo_tags]
    named = {repository for repository, _ in names}
    names += [(repository, _NONE) for repository in digests if repository not in named]
    for repository, tag in names or [(_NONE, _NONE)]:
        yield {
            "Containers": str(image.containers) if image.containers else "N/A",
            "CreatedAt": local_time(image.created),
            "CreatedSince": ago(image.created),
            "Digest": digests.get(repository, _NONE),
            "ID": short_id(image.id) if trunc else image.id,
            "Repository": familiar(repository),
            "SharedSize": "N/A",
            "Size": human_size(image.size, 3),
            "Tag": tag,
            "UniqueSize": "N/A",
            "VirtualSize": human_size(image.size, 3),
        }


def _split(reference: str) -> tuple[str, str]:
    repository, _, tag = reference.rpartition(":")
    return repository, tag
