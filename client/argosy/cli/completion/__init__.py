"""`argosy completion bash|zsh|fish`: prints the script that a shell loads."""

from __future__ import annotations

from importlib import import_module

from argosy.cli.options import Command, UsageError, argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Completion(Command):
    """Print a shell's completion script."""

    shell = argument("bash|zsh|fish")

    def run(self, engine: Engine) -> int:
        """Prints the script; `source <(argosy completion bash)` loads it."""
        if self.shell not in ("bash", "zsh", "fish"):
            raise UsageError(f"no completion for '{self.shell}': use bash, zsh or fish", 1)
        scripts = import_module("typer.completion")
        engine.out(scripts.get_completion_script(prog_name="argosy", complete_var="_ARGOSY_COMPLETE", shell=self.shell))
        return 0
