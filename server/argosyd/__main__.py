"""`argosyd`: reads the settings, starts the engine, ends it on SIGTERM or SIGINT with containers left running."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import uvloop

from argosyd import config as configuration
from argosyd import logs, purge, systemd
from argosyd.app import Engine
from argosyd.exhausted import translated
from argosyd.host import allocator, check, facts, limits
from argosyd.runtime import mountns
from argosyd.version import VERSION


async def serve(config: configuration.Config, host: facts.HostFacts) -> None:
    """Runs one engine until a signal ends it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    engine = Engine(config, host)
    async with systemd.patience():
        await engine.start()
    systemd.notify("READY=1")
    try:
        await stop.wait()
    finally:
        systemd.notify("STOPPING=1")
        engine.host_goes_down = await systemd.is_stopping()
        async with systemd.patience():
            await engine.close()


def main() -> int:
    """The entry point. 0 after an orderly end, 1 when it cannot start or a check fails, 2 for wrong options."""
    arguments = configuration.parser().parse_args()
    if arguments.version:
        print(f"argosyd {VERSION}")
        return 0
    if arguments.keep_data and arguments.command != "purge":
        print("argosyd: --keep-data goes with purge alone", file=sys.stderr)
        return 2
    if arguments.format and arguments.command != "check":
        print("argosyd: --format goes with check alone", file=sys.stderr)
        return 2
    try:
        config = configuration.load(arguments)
        if arguments.command == "check":
            return check.run(config, arguments.format or "table")
        if os.geteuid() != 0:
            print("argosyd: it must run as root: namespaces, mounts and cgroups need it", file=sys.stderr)
            return 1
        if arguments.command == "purge":
            mountns.enter(config.run_dir, config.runtime)
            asyncio.run(purge.run(config, keep_data=arguments.keep_data))
            return 0
        logs.configure(config.log_level, config.log_format)
        allocator.keep_small()
        # Looked at before a part of the host is hidden from us; entered while there is one thread.
        host = facts.look()
        mountns.enter(config.run_dir, config.runtime)
        limits.raise_open_files()
        uvloop.run(serve(config, host))
    except Exception as error:
        told = translated(error)
        if told is None:
            raise
        print(f"argosyd: {told}", file=sys.stderr)
        return 1
    logging.getLogger("argosyd").info("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
