"""What a stage knows at one point: its config, its ARGs, and what its variables mean."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence

from argosy.errors import InvalidArgument
from argosyd.build.stages import PREDEFINED_ARGS, check_arg, copy_words
from argosyd.dockerfile.expand import expand, expand_words
from argosyd.dockerfile.limits import MAX_ENVIRONMENT, Budget, too_much
from argosyd.dockerfile.parser import Instruction
from argosyd.dockerfile.words import json_form, pairs, split_words
from argosyd.images import changes
from argosyd.images.model import ImageConfig


class Scope:
    """Changes from instruction to instruction, each at a cost of its own length and of what it expands to."""

    def __init__(
        self, config: ImageConfig, given: Mapping[str, str], outer: Mapping[str, str], escape: str = "\\",
        budget: Budget | None = None,
    ) -> None:  # fmt: skip
        """`given` are --build-arg, `outer` the ARGs before the first FROM; `budget` is the whole build's."""
        self.given, self.outer, self.escape = given, outer, escape
        self.budget = budget or Budget()
        self.args: dict[str, str] = {}
        self.author = ""
        self.used_args: set[str] = set()
        self._draft = changes.Draft(config)
        self._args_size = 0
        self._cmd_is_own = False
        self.variables: Mapping[str, str] = ChainMap(self._draft.variables, self.args)
        """What `$name` means; ENV goes before ARG."""

    @property
    def config(self) -> ImageConfig:
        """The config as it is now."""
        return self._draft.config()

    @property
    def user(self) -> str:
        """The config's user."""
        return self._draft.fixed.user

    @property
    def directory(self) -> str:
        """The config's working directory, "/" when it has none."""
        return self._draft.fixed.working_dir or "/"

    def run_environment(self) -> tuple[list[str], list[str]]:
        """What a RUN sees besides the image's ENV: what counts for the cache, and proxies, which do not."""
        own = self._draft.variables
        counted = [f"{n}={v}" for n, v in self.args.items() if n not in own and n not in PREDEFINED_ARGS]
        proxies = [f"{n}={v}" for n, v in self.given.items() if n in PREDEFINED_ARGS and n not in own]
        return counted, proxies

    def expand(self, text: str) -> str:
        """One word. InvalidArgument."""
        return expand(text, self.variables, self.escape, self.budget)

    def words(self, text: str) -> list[str]:
        """Several. InvalidArgument."""
        return expand_words(text, self.variables, self.escape, self.budget)

    def copy_words(self, instruction: Instruction) -> list[str]:
        """Sources and destination of COPY and ADD, expanded. InvalidArgument with the place."""
        try:
            words = copy_words(instruction, self.variables, self.escape, self.budget)
        except InvalidArgument as error:
            raise instruction.wrong(error.message, error.reason) from None
        if len(words) < 2:
            raise instruction.wrong("it requires at least two arguments: SOURCE… DESTINATION", "MISSING_ARGUMENT")
        return words

    def take_triggers(self) -> list[str]:
        """The ONBUILD instructions of the base, which it has no more."""
        return self._draft.take_triggers()

    def apply(self, instruction: Instruction) -> None:
        """An instruction that touches no file. InvalidArgument with its place."""
        try:
            _CHANGES[instruction.keyword](self, instruction)
        except InvalidArgument as error:
            if "line" in error.metadata:
                raise
            raise instruction.wrong(error.message.removeprefix(f"{instruction.keyword}: "), error.reason) from None

    # -- one for each instruction -------------------------------------------------------------------------------

    def _arg(self, instruction: Instruction) -> None:
        for word in split_words(instruction.text, self.escape):
            name, has_default, default = word.partition("=")
            if name in self.given:
                self._set_arg(name, self.given[name])
                self.used_args.add(name)
            elif has_default:
                self._set_arg(name, self.expand(default))
            elif name in self.outer:
                self._set_arg(name, self.outer[name])

    def _set_arg(self, name: str, value: str) -> None:
        check_arg(name, value)
        self._args_size += len(name) + len(value) - len(self.args.get(name, ""))
        if self._args_size > MAX_ENVIRONMENT:
            raise too_much("characters in all variables", MAX_ENVIRONMENT, "no program can be given more")
        self.args[name] = value

    def _env(self, instruction: Instruction) -> None:
        # All of one instruction see the values from before it.
        found = [(self.expand(n), self.expand(v)) for n, v in pairs(instruction.text, self.escape)]
        for name, value in found:
            self._draft.set_env(name, value)

    def _label(self, instruction: Instruction) -> None:
        for name, value in pairs(instruction.text, self.escape):
            self._draft.set_label(self.expand(name), self.expand(value))

    def _expose(self, instruction: Instruction) -> None:
        self._draft.expose(self.words(instruction.text))

    def _volume(self, instruction: Instruction) -> None:
        listed = json_form(instruction.text)
        paths: Sequence[str]
        paths = [self.expand(p) for p in listed] if listed is not None else self.words(instruction.text)
        self._draft.add_volumes(changes.volume_paths(paths))

    def _user(self, instruction: Instruction) -> None:
        user = self.expand(instruction.text.strip())
        if not user:
            raise InvalidArgument("the user is empty: expected NAME, UID or UID:GID", reason="WRONG_ARGUMENTS")
        self._draft.set(user=user)

    def working_dir(self, instruction: Instruction) -> str:
        """What WORKDIR sets, absolute; it is made by the stage. InvalidArgument with the place."""
        try:
            path = self.expand(instruction.text.strip())
            if not path:
                raise InvalidArgument("the path is empty", reason="WRONG_ARGUMENTS")
            self._draft.set(working_dir=changes.join(self._draft.fixed.working_dir, path))
        except InvalidArgument as error:
            raise instruction.wrong(error.message, error.reason) from None
        return self._draft.fixed.working_dir

    def _stop_signal(self, instruction: Instruction) -> None:
        self._draft.set(stop_signal=self.expand(instruction.text.strip()))

    def _shell(self, instruction: Instruction) -> None:
        self._draft.set(shell=json_form(instruction.text) or ())

    def _cmd(self, instruction: Instruction) -> None:
        self._cmd_is_own = True
        self._draft.set(cmd=self._command(instruction))

    def _entrypoint(self, instruction: Instruction) -> None:
        # What the base image runs would be the arguments of another program.
        cmd = self._draft.fixed.cmd if self._cmd_is_own else ()
        self._draft.set(entrypoint=self._command(instruction), cmd=cmd)

    def _command(self, instruction: Instruction) -> tuple[str, ...]:
        return changes.command_words(self._draft.fixed, instruction.text) if instruction.text.strip() else ()

    def _health_check(self, instruction: Instruction) -> None:
        flags = [f"--{f.name}={f.value}" for f in instruction.flags if f.name != "start-interval"]
        self._draft.set(health_check=changes.read_health_check(" ".join((*flags, instruction.text))))

    def _on_build(self, instruction: Instruction) -> None:
        self._draft.add_trigger(instruction.text + instruction.raw_heredocs)

    def _maintainer(self, instruction: Instruction) -> None:
        self.author = instruction.text


_CHANGES = {
    "ARG": Scope._arg,
    "CMD": Scope._cmd,
    "ENTRYPOINT": Scope._entrypoint,
    "ENV": Scope._env,
    "EXPOSE": Scope._expose,
    "HEALTHCHECK": Scope._health_check,
    "LABEL": Scope._label,
    "MAINTAINER": Scope._maintainer,
    "ONBUILD": Scope._on_build,
    "SHELL": Scope._shell,
    "STOPSIGNAL": Scope._stop_signal,
    "USER": Scope._user,
    "VOLUME": Scope._volume,
}
