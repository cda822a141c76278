"""`pull` and `push`."""

from __future__ import annotations

from argosy import errors
from argosy.cli.image.credentials import credentials
from argosy.cli.options import Command, argument, flag, text
from argosy.cli.output.progress import progress
from argosy.client.images import Images
from argosy.transport.blocking import each
from argosy.v1 import images_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Pull(Command):
    """Download an image from a registry."""

    all_tags = flag("-a", "--all-tags", help="Download all tagged images in the repository")
    platform = text("--platform", help="Set platform if the image has several")
    quiet = flag("-q", "--quiet", help="Suppress verbose output")
    image = argument("NAME[:TAG|@DIGEST]")

    def run(self, engine: Engine) -> int:
        """Prints the full reference; progress goes to standard error."""
        result = pull(engine, self.image, self.platform, self.quiet, self.all_tags)
        engine.out(result.reference)
        return 0


class Push(Command):
    """Upload an image to a registry."""

    quiet = flag("-q", "--quiet", help="Suppress verbose output")
    image = argument("NAME[:TAG]")

    def run(self, engine: Engine) -> int:
        """Prints the digest."""
        result: pb.PushResult | None = None
        if not self.quiet:
            engine.say(f"The push refers to repository [{self.image.rpartition(':')[0] or self.image}]")
        with progress(self.quiet) as show:
            for reply in each(Images(engine.channel).push(self.image, credentials(self.image))):
                if reply.HasField("progress"):
                    show.step(reply.progress)
                else:
                    result = reply.result
        if result is None:
            raise errors.Internal("the daemon ended the push without a result")
        tag = result.reference.rpartition(":")[2]
        engine.out(result.reference if self.quiet else f"{tag}: digest: {result.digest} size: {result.size}")
        return 0


def pull(engine: Engine, image: str, platform: str = "", quiet: bool = False, all_tags: bool = False) -> pb.PullResult:
    """Fetches an image, showing progress on standard error."""
    request = pb.PullRequest(reference=image, platform=platform, auth=credentials(image), all_tags=all_tags)
    result: pb.PullResult | None = None
    with progress(quiet) as show:
        for reply in each(Images(engine.channel).pull(request)):
            if reply.HasField("progress"):
                show.step(reply.progress)
            else:
                result = reply.result
    if result is None:
        raise errors.Internal("the daemon ended the pull without a result")
    if not quiet:
        engine.say(f"Digest: {result.digest}")
        state = "Image is up to date" if result.up_to_date else "Downloaded newer image"
        engine.say(f"Status: {state} for {result.reference}")
    return result
