"""The file of settings that packages bring says all there is, as it is."""

from __future__ import annotations

import tomllib

from tests.harness.daemon import REPOSITORY

from argosyd.config import Config, from_mapping


def test_the_example_has_every_setting_with_its_default() -> None:
    text = (REPOSITORY / "deploy/argosyd.toml").read_text()
    assert tomllib.loads(text) == {}
    shown = "\n".join(
        line.removeprefix("#") for line in text.splitlines() if line.startswith("#") and line[1:2].isalpha()
    )
    values = from_mapping(tomllib.loads(shown), "the example")
    assert values == {name: getattr(Config(), name) for name in Config.__dataclass_fields__}
