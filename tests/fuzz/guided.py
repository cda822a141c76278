"""One target under atheris: `python -m tests.fuzz.guided TARGET [libFuzzer's options]`. Needs atheris."""

from __future__ import annotations

import importlib
import sys

import atheris

# Only what is instrumented guides: ours, and what the standard library reads formats with.
with atheris.instrument_imports(
    include=["argosy", "argosyd", "argosy_cluster", "json", "tomllib", "tests.fuzz.targets"]
):
    targets = importlib.import_module("tests.fuzz.targets")


def main() -> None:
    """Runs until libFuzzer ends the process."""
    target = targets.TARGETS[sys.argv[1]]

    def one(data: bytes) -> None:
        try:
            target(data)
        except targets.DECLARED:
            pass

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
