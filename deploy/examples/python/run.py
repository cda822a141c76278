"""Runs a command in a container with argosy's own client: `python run.py IMAGE [COMMAND...]`."""

from __future__ import annotations

import sys

from argosy.client import Client
from argosy.errors import ArgosyError
from argosy.v1 import containers_pb2 as pb


def run(image: str, command: list[str]) -> int:
    """The command's exit code."""
    # Without a host it is the daemon that the command line would talk to: ARGOSY_HOST, a context, or this machine's.
    with Client() as client:
        made = client.containers.create(pb.ContainerSpec(image=image, command=command))
        try:
            client.containers.start(made.id)
            for batch in client.containers.logs(
                pb.LogsRequest(container=made.id, stdout=True, stderr=True, follow=True)
            ):
                for entry in batch.entries:
                    out = sys.stderr if entry.stream == pb.STREAM_STDERR else sys.stdout
                    out.buffer.write(entry.data)
                    out.flush()
            return int(client.containers.wait(made.id).exit_code)
        finally:
            client.containers.remove(made.id, force=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: run.py IMAGE [COMMAND...]")
    try:
        sys.exit(run(sys.argv[1], sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except ArgosyError as error:
        print(f"{error.reason}: {error}", file=sys.stderr)
        sys.exit(125)
