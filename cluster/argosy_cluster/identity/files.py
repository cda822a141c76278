"""A daemon's membership on disk: data_dir/cluster/, readable by root alone.

============  ==================================================================
member.json   the `MemberRecord`; it is there exactly while the daemon is a member
node.pem      the node's certificate and private key in one file, so that they change together
ca.pem        the CA's certificate
ca-key.pem    the CA's private key (managers)
state.db      the cluster's state (managers)
============  ==================================================================

Each file is written to a temporary name, synced and renamed. Joining writes member.json last and leaving
removes it first: whatever lies there without it is left over and is removed at the next start.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import DataLoss
from argosy_cluster.codec import decode, encode
from argosy_cluster.model import MemberRecord


@dataclass(frozen=True, slots=True)
class NodeCredentials:
    """What a node proves itself with; all PEM."""

    ca: bytes
    certificate: bytes
    key: bytes


class MemberFiles:
    """The directory of one daemon. Its methods block; each takes well under a millisecond but for the sync."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state.db"

    def load(self) -> MemberRecord | None:
        """The membership, None when there is none. DataLoss."""
        try:
            return decode(MemberRecord, (self.directory / "member.json").read_bytes())
        except FileNotFoundError:
            return None

    def save(self, record: MemberRecord) -> None:
        self._write("member.json", encode(record))

    def credentials(self) -> NodeCredentials:
        """What `save_credentials` kept. DataLoss."""
        try:
            both = (self.directory / "node.pem").read_bytes()
            ca = (self.directory / "ca.pem").read_bytes()
        except OSError as error:
            raise self.unreadable(str(error)) from error
        at = both.find(b"-----BEGIN PRIVATE KEY-----")
        if at <= 0:
            raise self.unreadable("node.pem holds no certificate and key")
        return NodeCredentials(ca, both[:at], both[at:])

    def save_credentials(self, credentials: NodeCredentials) -> None:
        self._write("ca.pem", credentials.ca)
        self._write("node.pem", credentials.certificate + credentials.key)

    def ca_key(self) -> bytes:
        """The CA's private key. DataLoss."""
        try:
            return (self.directory / "ca-key.pem").read_bytes()
        except OSError as error:
            raise self.unreadable(str(error)) from error

    def save_ca_key(self, key: bytes) -> None:
        self._write("ca-key.pem", key)

    def remove(self) -> None:
        """Ends the membership on disk."""
        (self.directory / "member.json").unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.directory / f".{name}.new"
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.directory / name)
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def unreadable(self, why: str) -> DataLoss:
        """The error for files that are damaged or missing."""
        return DataLoss(
            f"the membership in {self.directory} cannot be read ({why}): "
            "leave with `argosy cluster leave --force` and join again",
            kind="cluster",
            id=str(self.directory),
            reason="MEMBERSHIP_UNREADABLE",
        )
