from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from argosy.errors import DataLoss
from argosy_cluster.identity.files import MemberFiles, NodeCredentials
from argosy_cluster.model import MemberRecord, NodeRole

RECORD = MemberRecord("c", "n", "name", NodeRole.WORKER, "ab", "0.0.0.0:1", "10.0.0.1:1", ("10.0.0.2:1",), 5)
CREDENTIALS = NodeCredentials(
    b"ca\n",
    b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
    b"-----BEGIN PRIVATE KEY-----\nk\n-----END PRIVATE KEY-----\n",
)


@pytest.fixture
def files(tmp_path: Path) -> MemberFiles:
    return MemberFiles(tmp_path / "cluster")


def test_no_membership(files: MemberFiles) -> None:
    assert files.load() is None
    assert not files.directory.exists()


def test_what_is_kept_is_loaded_and_for_root_alone(files: MemberFiles) -> None:
    files.save_ca_key(b"key")
    files.save_credentials(CREDENTIALS)
    files.save(RECORD)
    assert files.load() == RECORD
    assert files.credentials() == CREDENTIALS
    assert files.ca_key() == b"key"
    assert {p.stat().st_mode & 0o777 for p in files.directory.iterdir()} == {0o600}
    assert files.directory.stat().st_mode & 0o777 == 0o700
    assert not [p for p in files.directory.iterdir() if p.name.startswith(".")]


def test_a_write_that_was_cut_short_leaves_the_old_file(files: MemberFiles) -> None:
    files.save(RECORD)
    (files.directory / ".member.json.new").write_bytes(b'{"clus')
    assert files.load() == RECORD
    files.save(RECORD)
    assert files.load() == RECORD


def test_remove(files: MemberFiles) -> None:
    files.save(RECORD)
    files.remove()
    assert files.load() is None
    files.remove()


@pytest.mark.parametrize(("damage", "read"), [("member.json", MemberFiles.load), ("node.pem", MemberFiles.credentials)])
def test_damage_is_named(files: MemberFiles, damage: str, read: Callable[[MemberFiles], object]) -> None:
    files.save(RECORD)
    files.save_credentials(CREDENTIALS)
    (files.directory / damage).write_bytes(b"")
    with pytest.raises(DataLoss):
        read(files)
