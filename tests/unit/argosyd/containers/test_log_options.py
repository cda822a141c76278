"""`--log-opt`: each option has an effect, says what holds anyway, or is refused by name."""

from __future__ import annotations

import pytest

from argosy.errors import InvalidArgument
from argosyd.containers.logs.options import check, parse
from argosyd.containers.model import LogConfig


@pytest.mark.parametrize(
    "name", ["compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"]
)
def test_an_option_without_an_effect_is_refused_when_a_container_is_made(name: str) -> None:
    config = LogConfig("json-file", {name: "x"})
    with pytest.raises(InvalidArgument, match=f"log option {name} is not supported"):
        check(config)
    # One that was made with it before goes on.
    assert parse(config).keep


def test_what_holds_anyway_may_be_said() -> None:
    check(LogConfig("local", {"compress": "false", "mode": "blocking", "max-size": "1m", "max-file": "2"}))
