"""The index of an image archive: names, links, contents, and what is refused."""

from __future__ import annotations

import io
import tarfile

import pytest

from argosy.errors import ArgosyError
from argosyd.images.tarindex import TarIndex


def archive(*members: tuple[str, bytes, str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, link, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data)
            tar.addfile(info, io.BytesIO(data))
    return out


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_members_are_found_by_name_and_through_links() -> None:
    index = TarIndex(
        archive(
            ("./a/layer.tar", FILE, "", b"one"), ("b/layer.tar", LINK, "../a/layer.tar", b""),
            ("c", HARD, "a/layer.tar", b""), ("loop", LINK, "loop", b""), ("gone", LINK, "nowhere", b""),
            ("empty", FILE, "", b""), ("last", FILE, "", b"x" * 3_000_000),
        )
    )  # fmt: skip
    for name in ("a/layer.tar", "./a/layer.tar", "b/layer.tar", "c"):
        member = index.find(name)
        assert member is not None
        assert b"".join(index.read(member)) == b"one"
    assert [index.find(n) for n in ("loop", "gone", "nothing")] == [None, None, None]
    last = index.find("last")
    assert last is not None
    assert [len(piece) for piece in index.read(last)] == [1 << 20, 1 << 20, 3_000_000 - (2 << 20)]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (io.BytesIO(b"no tar" * 100), "no tar archive"),
        (io.BytesIO(archive(("a", FILE, "", b"x" * 5000)).getvalue()[:3000]), "middle of an entry"),
        (archive(("../a", FILE, "", b"")), "climbs out"),
    ],
)
def test_what_is_refused(file: io.BytesIO, words: str) -> None:
    with pytest.raises(ArgosyError, match=words):
        TarIndex(file)


def test_there_is_an_end_to_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosyd.images.tarindex._MOST", 5)
    with pytest.raises(ArgosyError, match="more than 5 entries"):
        TarIndex(archive(*(("same", FILE, "", b"") for _ in range(6))))
