"""What a client of a build that does not read costs."""

from __future__ import annotations

import asyncio

import pytest

from argosyd.api import builds
from argosyd.build.model import BuildOutput, BuildWarning
from argosyd.images.model import Progress


@pytest.mark.parametrize("size", [1, 100, 32_768])
async def test_output_that_nobody_reads_is_bounded_however_small_its_pieces(size: int) -> None:
    queue = builds._Queue()
    count = 2 * builds.MOST_WAITING // size if size > 1 else 100_000
    for _ in range(count):
        queue.put(BuildOutput(1, 1, b"x" * size))
        queue.put(Progress("layer", "Downloading", 1, 2))
    waiting = queue._events.qsize()
    assert waiting * (builds._EVENT_COST + size / 2) <= 2 * builds.MOST_WAITING
    queue.put(BuildWarning("kept"))
    got = [await queue.get() for _ in range(waiting + 1)]
    assert got[-1] == BuildWarning("kept")
    queue.put(BuildOutput(1, 1, b"late"))
    skipped = await queue.get()
    assert isinstance(skipped, BuildWarning)
    told = sum(len(e.data) for e in got if isinstance(e, BuildOutput)) + int(skipped.text.split()[0])
    assert told == count * size
    assert await queue.get() == BuildOutput(1, 1, b"late")
    assert queue._waiting == 0
    async with asyncio.timeout(1):
        queue.put(None)
        assert await queue.get() is None
