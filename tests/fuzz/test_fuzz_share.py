"""The share of `make fuzz` that every run takes: seeds and inputs made of them, always the same ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.fuzz import mutate
from tests.fuzz.hostile import HOSTILE, Make
from tests.fuzz.targets import DECLARED, TARGETS
from tests.fuzz.work import count

INPUTS = 1_500
"""Of each target, besides its seeds."""
SMALL = 4_000
"""Bytes of the smaller of two inputs whose work is compared."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_raises_what_it_declares_and_nothing_else(name: str, record_property: Callable[..., None]) -> None:
    ran = refused = 0
    for data in mutate.inputs(name, INPUTS):
        try:
            TARGETS[name](data)
        except DECLARED:
            refused += 1
        except BaseException as fault:
            pytest.fail(f"{name} fails with {type(fault).__name__}: {fault} on {data[:300]!r}")
        ran += 1
    record_property("inputs", ran)
    print(f"{name}: {ran} inputs ran, {refused} of them refused")
    assert ran > INPUTS
    assert refused < ran or name in ("headers", "frames"), "no seed is taken: the corpus is worth nothing"


CASES = [(name, number, make) for name, makes in HOSTILE.items() for number, make in enumerate(makes)]


@pytest.mark.parametrize(("name", "number", "make"), CASES, ids=[f"{n}-{k}" for n, k, _ in CASES])
def test_work_grows_no_faster_than_its_input(name: str, number: int, make: Make) -> None:
    """Four times the input is four times the work, and half as much again for what is rounded; never sixteen."""
    target = TARGETS[name]
    # Once before: what is made once must not be counted for the smaller one.
    small, large = make(SMALL), make(4 * SMALL)
    count(target, small)
    few, many = count(target, small), count(target, large)
    assert many <= 6 * few + 2_000, f"{few} instructions for {len(small)} bytes, {many} for {len(large)}"


def test_every_target_has_hostile_inputs() -> None:
    assert HOSTILE.keys() == TARGETS.keys()
