"""The random driver, as much of it as there is time for; `make soak` gives it more."""

from __future__ import annotations

import os

import pytest
from tests.driver.__main__ import drive

SEED = int(os.environ.get("DRIVER_SEED", "20"))


@pytest.mark.parametrize("seed", [SEED, SEED + 1, SEED + 2])
def test_after_random_commands_and_blows_the_record_equals_the_world(seed: int) -> None:
    driver = drive(seed, 100)
    print(f"seed {seed}: {driver.carried_out} carried out, {driver.counts['refused']} refused")
    # A driver whose every command is refused drives nothing.
    assert driver.carried_out >= 20
