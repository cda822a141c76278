"""Whether and when a container is started again: a pure function of how it ended (Docker's rules)."""

from __future__ import annotations

from argosyd.containers.model import RestartCondition, RestartPolicy

FIRST_DELAY, LONGEST_DELAY = 0.1, 60.0
STEADY_AFTER = 10.0
"""Seconds of running after which the next delay is the first one again."""


def next_delay(last: float, ran: float) -> float:
    """Seconds to wait: 0.1, doubled each time up to a minute, from the start again after a steady run."""
    if ran >= STEADY_AFTER or last <= 0:
        return FIRST_DELAY
    return min(last * 2, LONGEST_DELAY)


def wanted(policy: RestartPolicy, *, exit_code: int, stopped_by_user: bool, restarts: int) -> bool:
    """Whether the policy asks for another start after an exit."""
    if stopped_by_user or policy.condition is RestartCondition.NO:
        return False
    if policy.condition is RestartCondition.ON_FAILURE:
        return exit_code != 0 and (policy.max_retries == 0 or restarts < policy.max_retries)
    return True


def wanted_at_boot(
    policy: RestartPolicy, *, was_running: bool, exit_code: int, stopped_by_user: bool, restarts: int
) -> bool:
    """Whether it is started when the daemon starts and finds it not running.

    `always` overrides an earlier stop by the user; the others do not. A container that was never started stays.
    """
    if policy.condition is RestartCondition.ALWAYS:
        return True
    if policy.condition is RestartCondition.UNLESS_STOPPED:
        return not stopped_by_user
    return was_running and wanted(policy, exit_code=exit_code, stopped_by_user=stopped_by_user, restarts=restarts)
