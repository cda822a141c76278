"""`exec`."""

from __future__ import annotations

from argosy.cli.container.stream import Session, require_terminal
from argosy.cli.options import Command, argument, arguments, flag, many, text
from argosy.cli.parse.pairs import read_env
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Exec(Command):
    """Execute a command in a running container."""

    interspersed = False
    fails_with = 125

    detach = flag("-d", "--detach", help="Detached mode: run command in the background")
    detach_keys = text("--detach-keys", help="Override the key sequence for detaching a container")
    env = many("-e", "--env", help="Set environment variables")
    env_file = many("--env-file", help="Read in a file of environment variables")
    interactive = flag("-i", "--interactive", help="Keep STDIN open even if not attached")
    privileged = flag("--privileged", help="Give extended privileges to the command")
    tty = flag("-t", "--tty", help="Allocate a pseudo-TTY")
    user = text("-u", "--user", help="Username or UID (format: <name|uid>[:<group|gid>])")
    workdir = text("-w", "--workdir", help="Working directory inside the container")
    container = argument("CONTAINER")
    command = arguments("COMMAND [ARG...]")

    def run(self, engine: Engine) -> int:
        """Ends with the command's exit code."""
        if self.tty and self.interactive and not self.detach:
            require_terminal()
        opening = pb.ExecStart(
            container=self.container,
            command=self.command,
            tty=self.tty,
            stdin=self.interactive and not self.detach,
            detach=self.detach,
            env=read_env(self.env, self.env_file),
            user=self.user,
            working_dir=self.workdir,
            privileged=self.privileged,
        )
        return Session(engine, self.container, self.tty and not self.detach, self.detach_keys).exec(opening)
