from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import Unavailable
from argosy_cluster.clock import ManualClock
from argosy_cluster.identity.renewal import Renewer, renew_at

HOUR = 3600.0


@given(st.floats(0, 1), st.floats(1, 1e6))
def test_between_half_and_two_thirds_of_its_life(chance: float, life: float) -> None:
    assert 100 + life / 2 <= renew_at(100, 100 + life, chance) <= 100 + life * 2 / 3 + 1e-6


async def test_renews_in_time_again_and_again() -> None:
    clock = ManualClock(epoch_ns=0)
    clock_start = clock.time_ns() / 1e9
    renewed: list[float] = []

    async def renew() -> tuple[float, float]:
        now = clock.time_ns() / 1e9
        renewed.append(now - clock_start)
        return now, now + 12 * HOUR

    renewer = Renewer((clock_start, clock_start + 12 * HOUR), renew, clock, chance=lambda: 0.5)
    await renewer.start()
    await clock.advance(36 * HOUR)
    await renewer.close()
    assert renewed == pytest.approx([7 * HOUR * n for n in range(1, 6)], abs=1)


async def test_tries_until_it_works() -> None:
    clock = ManualClock(epoch_ns=0)
    start = clock.time_ns() / 1e9
    tries: list[float] = []

    async def renew() -> tuple[float, float]:
        tries.append(clock.time_ns() / 1e9 - start)
        if len(tries) < 4:
            raise Unavailable("the manager is away")
        return start + tries[-1], start + tries[-1] + 100 * HOUR

    renewer = Renewer((start, start + 100), renew, clock, chance=lambda: 0.0)
    await renewer.start()
    await clock.advance(90)
    await renewer.close()
    assert tries == pytest.approx([50, 51, 52, 53], abs=0.1)


async def test_a_certificate_that_is_late_is_renewed_at_once() -> None:
    clock = ManualClock(epoch_ns=0)
    now = clock.time_ns() / 1e9
    done: list[bool] = []

    async def renew() -> tuple[float, float]:
        done.append(True)
        return now, now + HOUR

    renewer = Renewer((now - 100, now - 10), renew, clock)
    await renewer.start()
    await clock.advance(0.1)
    await renewer.close()
    assert done == [True]
