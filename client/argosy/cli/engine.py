"""What every command gets: the way to the daemon, and to the user."""

from __future__ import annotations

import sys

from argosy import contexts, errors
from argosy.cli.output.plain import plain, tell
from argosy.status import UNREACHABLE
from argosy.transport.blocking import BlockingChannel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Engine:
    """One daemon, one terminal. The connection is made with the first call.

    `host` and `context` are what --host and --context say, empty when they are not given.
    """

    def __init__(self, host: str = "", context: str = "") -> None:
        self.host = host
        self.context = context
        self._channel: BlockingChannel | None = None
        self._terminal: bool | None = None

    @property
    def channel(self) -> BlockingChannel:
        """The channel commands call over."""
        if self._channel is None:
            self._channel = BlockingChannel(*contexts.resolve(self.host, self.context))
        return self._channel

    def out(self, text: str) -> None:
        """One line of data, to standard output; as it is, unless a terminal would act on it."""
        if self._terminal is None:
            self._terminal = sys.stdout.isatty()
        sys.stdout.write((plain(text) if self._terminal else text) + "\n")

    def say(self, text: str) -> None:
        """One line for the person, to standard error."""
        sys.stdout.flush()
        tell(text)

    def fail(self, error: BaseException) -> None:
        """Says one error."""
        self.say(f"argosy: {error}")


def for_each(engine: Engine, names: list[str], act: Callable[[str], object], echo: bool = True) -> int:
    """Does `act(name)` for each, prints the names that worked, says the errors; 1 when there was one."""
    code = 0
    for name in names:
        try:
            act(name)
        except errors.ArgosyError as e:
            if e.reason == UNREACHABLE:
                raise
            engine.fail(e)
            code = 1
        else:
            if echo:
                engine.out(name)
    return code
