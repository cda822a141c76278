"""`--format` and `-q` of commands that list things."""

from __future__ import annotations

from importlib import import_module

from argosy.cli.output.plain import plain
from argosy.cli.output.tables import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from argosy.cli.engine import Engine


class Listing:
    """How one kind of thing is listed.

    `columns` is the table's template, `headers` names columns whose heading is not the field's name in
    capitals, `quiet` is the template of -q.
    """

    def __init__(self, columns: str, headers: Mapping[str, str], quiet: str) -> None:
        self.columns = columns
        self.headers = headers
        self.quiet = quiet

    def show(self, engine: Engine, format: str, quiet: bool, rows: Sequence[Mapping[str, Any]]) -> None:
        """Prints `rows` as `format` says: "", "table", "table TEMPLATE", "json", "raw" or TEMPLATE."""
        if quiet and format in ("", "table"):
            format = self.quiet
        if format in ("", "table"):
            self._table(engine, self.columns, rows)
        elif format == "json":
            dumps = import_module("json").dumps
            for row in rows:
                fields = {key: value for key, value in row.items() if not callable(value)}
                engine.out(dumps(fields, ensure_ascii=False, separators=(",", ":")))
        elif format.startswith("table "):
            self._table(engine, _unescape(format.removeprefix("table ").strip()), rows)
        else:
            template = _unescape(format)
            for row in rows:
                engine.out(render(template, row))

    def _table(self, engine: Engine, template: str, rows: Sequence[Mapping[str, Any]]) -> None:
        names = _Headers(self.headers)
        header = render(template, names).split("\t")
        cells = [render(template, row).replace("\n", " ").split("\t") for row in rows]
        engine.out(
            table(header, cells) if len(header) > 1 else "\n".join([header[0], *(plain("".join(c)) for c in cells)])
        )


class _Headers(dict[str, "Any"]):
    """Any field's heading."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers)

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return str.upper if name == "Label" else name.upper()


def labels(found: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a row that tell of labels: {{.Labels}} and {{.Label "name"}}."""
    return {
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(found.items())),
        "Label": lambda name: found.get(name, ""),
    }


def render(template: str, row: Mapping[str, Any]) -> str:
    """A template over one row. Plain fields, by far the most usual, need no template engine."""
    out = []
    rest = template
    while rest:
        before, opened, rest = rest.partition("{{")
        out.append(before)
        if not opened:
            break
        inner, closed, rest = rest.partition("}}")
        name = inner.strip()
        if not closed or name[:1] != "." or not name[1:].isalnum() or name[1:] not in row or name == ".Label":
            return str(import_module("argosy.cli.output.template").render(template, row))
        value = row[name[1:]]
        out.append(value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value))
    return "".join(out)


def _unescape(format: str) -> str:
    return format.replace("\\t", "\t").replace("\\n", "\n")
