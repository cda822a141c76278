"""argosyd.images.content: whole blobs or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from argosy.errors import DataLoss, InvalidArgument, NotFound
from argosyd.images.content import ContentStore, digest_of

DATA = b"some bytes"
DIGEST = digest_of(DATA)


@pytest.fixture
async def store(tmp_path: Path) -> ContentStore:
    made = ContentStore(tmp_path)
    await made.start()
    return made


async def test_a_blob_is_what_its_digest_says(store: ContentStore) -> None:
    assert store.put(set(), DATA) == DIGEST
    assert store.read(DIGEST) == DATA
    assert b"".join([p async for p in store.stream(DIGEST, 5)]) == DATA[5:]
    with pytest.raises(NotFound):
        store.read(digest_of(b"other"))


async def test_a_wrong_blob_leaves_nothing(store: ContentStore, tmp_path: Path) -> None:
    with pytest.raises(DataLoss, match="tampered"), store.ingest(set(), DIGEST) as ingest:
        ingest.open()
        ingest.write(b"other bytes")
        ingest.commit()
    assert not store.exists(DIGEST)
    assert os.listdir(tmp_path / "ingest") == []


async def test_a_download_that_was_cut_off_goes_on(store: ContentStore, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), store.ingest(set(), DIGEST) as ingest:
        ingest.open()
        ingest.write(DATA[:4])
        raise ConnectionError
    again = ContentStore(tmp_path)
    await again.start()
    with again.ingest(set(), DIGEST) as ingest:
        ingest.open()
        assert ingest.offset == 4
        ingest.write(DATA[4:])
        assert ingest.commit(len(DATA)) == DIGEST


async def test_too_few_bytes_are_kept_and_too_many_are_not(store: ContentStore, tmp_path: Path) -> None:
    for data, left in ((DATA[:3], 1), (DATA + b"!", 0)):
        with pytest.raises(DataLoss), store.ingest(set(), DIGEST) as ingest:
            ingest.open()
            ingest.restart()
            ingest.write(data)
            ingest.commit(len(DATA))
        assert len(os.listdir(tmp_path / "ingest")) == left


async def test_the_collector_keeps_roots_and_leases(store: ContentStore) -> None:
    root, leased, loose = (store.put(set(), b) for b in (b"root", b"leased", b"loose"))
    with store.lease([leased]):
        assert await store.collect([root]) == ([loose], 5)
    assert await store.collect([root]) == ([leased], 6)


async def test_what_arrives_is_in_its_lease_before_it_is_there(store: ContentStore) -> None:
    with store.lease() as held:
        with store.ingest(held) as ingest:
            ingest.open()
            ingest.write(DATA)
            assert ingest.commit() == DIGEST
        assert await store.collect([]) == ([], 0)
        assert store.leased() == {DIGEST}
        assert not store.holds(held, digest_of(b"other"))
    assert store.leased() == frozenset()
    assert await store.collect([]) == ([DIGEST], len(DATA))


async def test_what_is_named_while_a_collector_asks_is_kept(store: ContentStore) -> None:
    """An image is recorded, and its lease ends, after the collector has asked for every image."""
    with store.holding_on():
        with store.lease() as held:
            digest = store.put(held, DATA)
        assert await store.collect([]) == ([], 0)
    assert store.leased() == frozenset()
    assert await store.collect([]) == ([digest], len(DATA))


async def test_start_throws_away_what_nobody_can_resume(store: ContentStore, tmp_path: Path) -> None:
    for name, age in (("tmp-1", 0), (DIGEST.replace(":", "-"), 0), ("sha256-old", 10**6)):
        path = tmp_path / "ingest" / name
        path.touch()
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    await store.start()
    assert os.listdir(tmp_path / "ingest") == [DIGEST.replace(":", "-")]


@pytest.mark.parametrize(
    "digest", ["", "sha256:..", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 32, "a/../b"]
)
async def test_what_is_no_digest_becomes_no_path(store: ContentStore, digest: str) -> None:
    with pytest.raises(InvalidArgument):
        store.path(digest)
