"""`version`."""

from __future__ import annotations

import os
import sys

from argosy import contexts, errors
from argosy.cli.options import Command, text
from argosy.cli.output.objects import show_object
from argosy.client.system import System
from argosy.transport.blocking import wait
from argosy.version import version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from argosy.cli.engine import Engine


class Version(Command):
    """Show the argosy version information."""

    format = text("-f", "--format", help="Format output: json, or a Go template")

    def run(self, engine: Engine) -> int:
        """Prints the client's version, then the daemon's when it answers."""
        system = os.uname()
        client: dict[str, Any] = {
            "Version": version(),
            "ApiVersion": "argosy.v1",
            "PythonVersion": sys.version.partition(" ")[0],
            "Os": system.sysname.lower(),
            "Arch": system.machine,
            "Context": contexts.current(),
        }
        found: dict[str, Any] = {"Client": client, "Server": None}
        failure: errors.ArgosyError | None = None
        try:
            server = wait(System(engine.channel).version())
        except errors.ArgosyError as e:
            failure = e
        else:
            found["Server"] = {
                "Version": server.version,
                "ApiVersion": server.api,
                "PythonVersion": server.python,
                "KernelVersion": server.kernel,
                "Os": server.os,
                "Arch": server.arch,
                "Components": [{"Name": n, "Version": v} for n, v in sorted(server.components.items())],
            }
        if self.format:
            show_object(engine, self.format, found)
        else:
            self._print(engine, found)
        if failure is not None:
            raise failure
        return 0

    def _print(self, engine: Engine, found: dict[str, Any]) -> None:
        for part in ("Client", "Server"):
            if not found[part]:
                continue
            engine.out(f"{part}: argosy")
            for key, value in found[part].items():
                if key != "Components":
                    engine.out(f" {key + ':':<16} {value}")
                    continue
                for component in value:
                    engine.out(f" {component['Name'] + ':':<16} {component['Version']}")
            engine.out("") if part == "Client" and found["Server"] else None
