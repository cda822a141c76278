"""A proxy that cuts long answers off: `python cutter.py PORT TARGET BYTES TIMES`, all on loopback.

The first TIMES connections whose answer grows past BYTES are closed there; each cut is a line on standard output.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress


class Cutter:
    """One proxy."""

    def __init__(self, target: int, limit: int, times: int) -> None:
        self._target, self._limit, self._left = target, limit, times

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        sending = asyncio.ensure_future(_copy(reader, back))
        sent = 0
        with suppress(OSError):
            while data := await there.read(16384):
                sent += len(data)
                if self._left and sent > self._limit:
                    self._left -= 1
                    print("cut", flush=True)
                    break
                writer.write(data)
                await writer.drain()
        sending.cancel()
        for end in (writer, back):
            end.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(16384):
            writer.write(data)
            await writer.drain()


async def main() -> None:
    """Serves until it is ended."""
    port, target, limit, times = (int(a) for a in sys.argv[1:5])
    cutter = Cutter(target, limit, times)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", port)
    print("serving", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
