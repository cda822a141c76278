"""argosyd.images.unpack: a layer on disk, its deletions as overlay marks."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
import zstandard

from argosy.errors import DataLoss, InvalidArgument
from argosyd.images.unpack import unpack


def layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))

        add("d/", tarfile.DIRTYPE, mode=0o2751, uid=3, gid=4, mtime=1000)
        add(
            "d/f",
            data=b"hello",
            mode=0o4755,
            uid=7,
            gid=8,
            mtime=5,
            pax_headers={"mtime": "5.25", "SCHILY.xattr.user.k": "v"},
        )
        add("d/link", tarfile.SYMTYPE, linkname="/etc/passwd")
        add("d/hard", tarfile.LNKTYPE, linkname="d/f")
        add("d/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
        add("d/fifo", tarfile.FIFOTYPE)
        add("e/.wh.gone")
        add("o/.wh..wh..opq")
        add("o/new", data=b"n")
    return out.getvalue()


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        lambda d: zstandard.compress(d),
        lambda d: gzip.compress(d[:5000]) + gzip.compress(d[5000:]),
    ],
)
def test_everything_arrives_as_it_was(tmp_path: Path, pack: object) -> None:
    data = layer()
    packed = pack(data)  # type: ignore[operator]
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    pieces = [packed[i : i + 1000] for i in range(0, len(packed), 1000)]
    found = unpack(pieces, tmp_path, diff_id=digest)
    assert (found.diff_id, found.size) == (digest, 6)
    d, f = (tmp_path / "d").stat(), (tmp_path / "d/f").stat()
    assert (stat.S_IMODE(d.st_mode), d.st_uid, d.st_gid, d.st_mtime) == (0o2751, 3, 4, 1000)
    assert (stat.S_IMODE(f.st_mode), f.st_uid, f.st_gid, f.st_mtime, f.st_nlink) == (0o4755, 7, 8, 5.25, 2)
    assert os.getxattr(tmp_path / "d/f", "user.k") == b"v"
    assert os.readlink(tmp_path / "d/link") == "/etc/passwd"
    assert (tmp_path / "d/null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO((tmp_path / "d/fifo").stat().st_mode)
    gone = (tmp_path / "e/gone").stat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(tmp_path / "o", "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(tmp_path / "o")) == ["new"]


def test_a_wrong_diff_id(tmp_path: Path) -> None:
    with pytest.raises(DataLoss, match="tampered") as caught:
        unpack([layer()], tmp_path, diff_id="sha256:" + "0" * 64)
    assert caught.value.reason == "WRONG_DIGEST"


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_layer_that_stops_early(tmp_path: Path, cut: float) -> None:
    packed = gzip.compress(layer())
    with pytest.raises(DataLoss):
        unpack([packed[: int(len(packed) * cut)]], tmp_path)


def test_a_link_put_where_something_is_deleted(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a/.wh.x"))
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
    (tmp_path / "in").mkdir()
    with pytest.raises((InvalidArgument, DataLoss)):
        unpack([out.getvalue()], tmp_path / "in")
    assert not (tmp_path / "x").exists()
