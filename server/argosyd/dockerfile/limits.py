"""How large a Dockerfile and what it makes may be: far above any real one, and low enough that none holds the daemon up.

Everything that reads a Dockerfile takes a time linear in its size and in what its variables expand to. With these
limits the worst file costs a fraction of a second of one core. Sizes are in characters.
"""

from __future__ import annotations

from dataclasses import dataclass

from argosy.errors import InvalidArgument

MAX_SIZE = 1 << 20
"""A whole file, here-documents included."""
MAX_LINE = 65_535
"""One physical line, as in BuildKit (bufio.MaxScanTokenSize)."""
MAX_INSTRUCTIONS = 5_000
MAX_STAGES = 500
MAX_FLAGS = 200
"""Flags of one instruction."""
MAX_WORDS = 20_000
"""Sources of a COPY, words of a JSON form, pairs of one instruction."""
MOST_WARNINGS = 20
MAX_HEREDOC = 512 << 10
"""One here-document; twice that once its variables are expanded."""
MAX_EXPANDED = 256 << 10
"""What one piece of text may become when its variables are expanded."""
MAX_VALUE = 128 << 10
"""A variable: with a longer one the kernel starts no program (execve(2), MAX_ARG_STRLEN)."""
MAX_VARIABLES = 4_096
MAX_ENVIRONMENT = 1 << 20
"""All variables of a stage, names and values."""
MAX_CONFIG = 1 << 20
"""All that an image's config holds: it is shown with the image and with each of its containers, and no message of the
API is larger."""
MAX_PATH = 4_096
"""As the kernel has it, the final NUL counted (PATH_MAX)."""
MAX_PORTS = 65_536
"""Ports that one file names, those named again counted again."""
MAX_TRIGGERS = 256
"""ONBUILD instructions of one image."""
MAX_BUILD_ARGS = 1_000
MAX_CHANGES = 1_000
"""`--change` instructions of one commit or import."""
MAX_WORK = 64 << 20
"""What all expansions of one build may make in total; a character that is held against a pattern counts for 32."""
PATTERN_COST = 32


def too_much(what: str, limit: int, advice: str) -> InvalidArgument:
    """The error for one of these limits; who calls knows the place."""
    return InvalidArgument(f"more than {limit} {what}: {advice}", kind="dockerfile", reason="TOO_LARGE")


@dataclass(slots=True)
class Budget:
    """What one build may still spend on expansion."""

    left: int = MAX_WORK

    def take(self, amount: int) -> None:
        """Counts. InvalidArgument once nothing is left."""
        self.left -= amount
        if self.left < 0:
            raise too_much("characters in all that the variables of this file expand to", MAX_WORK,
                           "let a RUN do it")  # fmt: skip
