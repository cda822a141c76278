from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from argosy_cluster.membership.liveness import BEAT, RETURN, SILENCE, TICK, Liveness


def run_until_lost(live: Liveness, now: float, until: float) -> list[tuple[str, float]]:
    lost = []
    while now < until:
        lost += [(name, now) for name in live.tick(now)]
        now += TICK
    return lost


@given(silence_after=st.floats(0.0, 20.0), phase=st.floats(0.0, TICK))
def test_a_silent_node_is_told_of_between_2_and_3_seconds(silence_after: float, phase: float) -> None:
    live = Liveness()
    beats = [n * BEAT for n in range(int(silence_after / BEAT) + 1)]
    now, lost_at = phase, None
    live.beat("a", 0.0)
    while lost_at is None:
        while beats and beats[0] <= now:
            live.beat("a", beats.pop(0))
        if "a" in live.tick(now):
            lost_at = now
        now += TICK
        assert now < silence_after + 10
    assert 2.0 <= lost_at - silence_after <= 3.0


@given(st.lists(st.floats(0.05, 2.0), max_size=50))
def test_a_node_that_beats_is_never_lost(gaps: list[float]) -> None:
    live, now, next_tick = Liveness(), 0.0, 0.0
    live.beat("a", now)
    for gap in gaps:
        now += gap
        while next_tick <= now:
            assert live.tick(next_tick) == []
            next_tick += TICK
        live.beat("a", now)


def test_each_loss_is_told_once() -> None:
    live = Liveness()
    live.beat("a", 0.0)
    live.beat("b", 1.0)
    lost = run_until_lost(live, 0.0, 10.0)
    assert [name for name, _ in lost] == ["a", "b"]
    assert "a" not in live


def test_a_pause_of_our_own_is_not_the_nodes_death() -> None:
    live = Liveness()
    live.beat("a", 0.0)
    live.tick(0.1)
    assert live.tick(60.0) == []
    live.beat("a", 60.1)
    assert run_until_lost(live, 60.1, 60.1 + SILENCE - 0.1) == []
    assert run_until_lost(live, 60.1 + SILENCE - 0.1, 70) != []


def test_after_our_own_pause_a_dead_node_is_still_found() -> None:
    live = Liveness()
    live.beat("a", 0.0)
    live.tick(0.1)
    live.tick(60.0)
    lost = run_until_lost(live, 60.1, 70)
    assert [name for name, _ in lost] == ["a"]
    assert lost[0][1] < 60 + 3


def test_nodes_have_time_to_return_when_we_start() -> None:
    live = Liveness()
    live.expect("a", 0.0)
    live.expect("b", 0.0)
    live.beat("b", RETURN - 0.5)
    lost = run_until_lost(live, 0.0, RETURN + 1)
    assert [name for name, _ in lost] == ["a"]


def test_a_forgotten_node_is_not_told_of() -> None:
    live = Liveness()
    live.beat("a", 0.0)
    live.forget("a")
    live.forget("never")
    assert run_until_lost(live, 0.0, 5.0) == []
