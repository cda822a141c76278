"""`system dial-stdio`: what ssh:// runs on the other host."""

from __future__ import annotations

import os
import select

from argosy import contexts
from argosy.cli.container.stream import write_all
from argosy.cli.options import Command
from argosy.transport.address import parse_address
from argosy.transport.dial import dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from argosy.cli.engine import Engine

_CHUNK = 1 << 18


class DialStdio(Command):
    """Join standard input and output to the daemon's socket."""

    def run(self, engine: Engine) -> int:
        """Ends when either side does."""
        host, identity = contexts.resolve(engine.host, engine.context)
        stream = dial(parse_address(host), identity)
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(stream.fileno(), select.POLLIN)
        # Bytes TLS has deciphered already, which no poll of the socket tells of.
        deciphered: Callable[[], int] = getattr(stream, "pending", int)
        while True:
            for fd, _ in poll.poll():
                data = os.read(0, _CHUNK) if fd == 0 else stream.recv(_CHUNK)
                while fd and data and deciphered():
                    data += stream.recv(_CHUNK)
                if not data:
                    return 0
                if fd == 0:
                    stream.sendall(data)
                else:
                    write_all(1, data)
