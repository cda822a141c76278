"""What a stage knows at one point: its config, its ARGs, and what its variables mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from argosy.errors import InvalidArgument
from argosyd.build.stages import PREDEFINED_ARGS
from argosyd.dockerfile.expand import expand, expand_words
from argosyd.dockerfile.parser import Instruction
from argosyd.dockerfile.words import json_form, pairs, split_words
from argosyd.images import changes
from argosyd.images.model import ImageConfig


@dataclass(slots=True)
class Scope:
    """Changes from instruction to instruction. `given` are --build-arg, `outer` the ARGs before the first FROM."""

    config: ImageConfig
    given: Mapping[str, str]
    outer: Mapping[str, str]
    escape: str = "\\"
    args: dict[str, str] = field(default_factory=dict)
    author: str = ""
    used_args: set[str] = field(default_factory=set)
    _cmd_is_own: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """What `$name` means; ENV goes before ARG."""
        return {**self.args, **dict(entry.partition("=")[::2] for entry in self.config.env)}

    def run_environment(self) -> tuple[list[str], list[str]]:
        """What a RUN sees besides the image's ENV: what counts for the cache, and proxies, which do not."""
        own = {entry.partition("=")[0] for entry in self.config.env}
        counted = [f"{n}={v}" for n, v in self.args.items() if n not in own and n not in PREDEFINED_ARGS]
        proxies = [f"{n}={v}" for n, v in self.given.items() if n in PREDEFINED_ARGS and n not in own]
        return counted, proxies

    def expand(self, text: str) -> str:
        """One word. InvalidArgument."""
        return expand(text, self.variables, self.escape)

    def words(self, text: str) -> list[str]:
        """Several. InvalidArgument."""
        return expand_words(text, self.variables, self.escape)

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
                self.args[name] = self.given[name]
                self.used_args.add(name)
            elif has_default:
                self.args[name] = self.expand(default)
            elif name in self.outer:
                self.args[name] = self.outer[name]

    def _env(self, instruction: Instruction) -> None:
        variables = self.variables
        env = self.config.env
        for name, value in pairs(instruction.text, self.escape):
            # All of one instruction see the values from before it.
            env = changes.set_env(env, expand(name, variables, self.escape), expand(value, variables, self.escape))
        self.config = replace(self.config, env=env)

    def _label(self, instruction: Instruction) -> None:
        found = {self.expand(n): self.expand(v) for n, v in pairs(instruction.text, self.escape)}
        self.config = replace(self.config, labels={**self.config.labels, **found})

    def _expose(self, instruction: Instruction) -> None:
        self._change("EXPOSE", " ".join(self.words(instruction.text)))

    def _volume(self, instruction: Instruction) -> None:
        listed = json_form(instruction.text)
        paths = [self.expand(p) for p in listed] if listed is not None else self.words(instruction.text)
        if not paths or not all(p.strip() for p in paths):
            raise InvalidArgument("it takes one path or more: VOLUME /data", reason="WRONG_ARGUMENTS")
        self.config = replace(self.config, volumes=tuple(sorted({*self.config.volumes, *paths})))

    def _user(self, instruction: Instruction) -> None:
        user = self.expand(instruction.text.strip())
        if not user:
            raise InvalidArgument("the user is empty: expected NAME, UID or UID:GID", reason="WRONG_ARGUMENTS")
        self.config = replace(self.config, user=user)

    def working_dir(self, instruction: Instruction) -> str:
        """What WORKDIR sets, absolute; it is made by the stage. InvalidArgument with the place."""
        try:
            path = self.expand(instruction.text.strip())
        except InvalidArgument as error:
            raise instruction.wrong(error.message, error.reason) from None
        if not path:
            raise instruction.wrong("the path is empty", "WRONG_ARGUMENTS")
        self.config = replace(self.config, working_dir=changes.join(self.config.working_dir, path))
        return self.config.working_dir

    def _stop_signal(self, instruction: Instruction) -> None:
        self.config = replace(self.config, stop_signal=self.expand(instruction.text.strip()))

    def _shell(self, instruction: Instruction) -> None:
        self.config = replace(self.config, shell=json_form(instruction.text) or ())

    def _cmd(self, instruction: Instruction) -> None:
        self._cmd_is_own = True
        self.config = replace(self.config, cmd=self._command(instruction))

    def _entrypoint(self, instruction: Instruction) -> None:
        # What the base image runs would be the arguments of another program.
        cmd = self.config.cmd if self._cmd_is_own else ()
        self.config = replace(self.config, entrypoint=self._command(instruction), cmd=cmd)

    def _command(self, instruction: Instruction) -> tuple[str, ...]:
        return changes.command_words(self.config, instruction.text) if instruction.text.strip() else ()

    def _health_check(self, instruction: Instruction) -> None:
        flags = [f"--{f.name}={f.value}" for f in instruction.flags if f.name != "start-interval"]
        self._change("HEALTHCHECK", " ".join((*flags, instruction.text)))

    def _on_build(self, instruction: Instruction) -> None:
        trigger = instruction.text + instruction.raw_heredocs
        self.config = replace(self.config, on_build=(*self.config.on_build, trigger))

    def _maintainer(self, instruction: Instruction) -> None:
        self.author = instruction.text

    def _change(self, keyword: str, text: str) -> None:
        self.config = changes.INSTRUCTIONS[keyword](self.config, text)


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
