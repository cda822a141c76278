"""One object, or a list of them, as JSON or through a template."""

from __future__ import annotations

import json

from argosy.cli.output.template import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from argosy.cli.engine import Engine


def show_object(engine: Engine, format: str, value: Any) -> None:
    """Prints one object: "json" is one line, anything else a template."""
    if format == "json":
        engine.out(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    else:
        engine.out(render(format, value))


def show_objects(engine: Engine, format: str, values: list[Any]) -> None:
    """Prints what `inspect` found: a JSON list, or a line of the template for each."""
    if format in ("", "json"):
        indent = None if format else 4
        engine.out(json.dumps(values, ensure_ascii=False, indent=indent))
    else:
        for value in values:
            engine.out(render(format, value))
