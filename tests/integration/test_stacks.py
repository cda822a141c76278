"""A daemon that is asked what it does says so, and goes on."""

from __future__ import annotations

from tests.harness.commands import CLI
from tests.harness.fixtures import a_daemon

daemon = a_daemon("stacks")


def test_usr1_has_the_daemon_write_what_its_tasks_and_threads_wait_for(cli: CLI) -> None:
    for told in (cli.daemon.stacks(), cli.daemon.stacks()):
        assert "Current thread" in told
        # A task is shown down to where it waits, not only where it began.
        assert "server/argosyd/__main__.py" in told
        assert "asyncio/locks.py" in told
    assert (cli.daemon.run_dir / "stacks").stat().st_mode & 0o777 == 0o600
    assert cli.ok("ps", "-q") == ""
