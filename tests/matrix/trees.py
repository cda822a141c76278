"""Trees of other distributions, as `deploy/packages.sh` would find them: apt, a Python, and nothing of argosy's."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SYSTEM = (
    "apt", "ca-certificates", "git", "iproute2", "kmod", "libc-bin", "make", "mount", "procps", "python3", "python3-venv",
    "util-linux", "xz-utils",
)  # fmt: skip
"""What a machine has before anybody runs `make` there."""


@dataclass(frozen=True)
class Userland:
    """One distribution. `components` as in sources.list; `keyring` is a package below the mirror's pool with its
    SHA-256, where Debian's own apt does not trust the archive."""

    name: str
    origin: str
    suite: str
    components: str = "main"
    keyring: tuple[str, str] | None = None
    python: str = "python3"


_UBUNTU_KEYS = (
    "pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb",
    "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8",
)
USERLANDS = (
    Userland("debian-12", "Debian", "bookworm"),
    Userland("debian-13", "Debian", "trixie"),
    Userland("ubuntu-24.04", "Ubuntu", "noble", "main,universe", _UBUNTU_KEYS),
)


def mirror_of(origin: str, targets: str) -> str | None:
    """That distribution's archive among apt's own sources, given lines of "ORIGIN URI"."""
    for line in targets.splitlines():
        told, _, uri = line.rpartition(" ")
        if told == origin:
            return uri.rstrip("/")
    return None


def apt_targets() -> str:
    """What `mirror_of` reads, of this machine's apt."""
    form = "$(ORIGIN) $(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def key(userland: Userland, mirror: str) -> str:
    """A name that changes with everything a tree is made of."""
    text = repr((userland, mirror, SYSTEM))
    return f"{userland.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def build(userland: Userland, mirror: str, cache: Path) -> Path:
    """The tree, made now or found in the cache; it has its name only when it is whole."""
    command = [
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--components={userland.components}",
        f"--include={','.join(SYSTEM)}",
    ]  # fmt: skip

    def make(part: Path) -> None:
        trusted = [] if userland.keyring is None else [f"--keyring={_keyring(userland, mirror, cache)}"]
        subprocess.run([*command, *trusted, userland.suite, str(part), mirror], check=True)

    return whole(cache / key(userland, mirror), make)


def whole(place: Path, make: Callable[[Path], None]) -> Path:
    """What is slow to make: `make` makes it where it is told, unless it is there already. It has its name only when it
    is whole."""
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}.part")
        if part.exists():
            shutil.rmtree(part)
        make(part)
        part.rename(place)
    return place


def _keyring(userland: Userland, mirror: str, cache: Path) -> Path:
    """The archive's keys, from its own package, which must be the one that is known here."""
    assert userland.keyring is not None
    place, digest = userland.keyring
    with urllib.request.urlopen(f"{mirror}/{place}", timeout=60) as answer:
        package = answer.read(1 << 20)
    if (found := hashlib.sha256(package).hexdigest()) != digest:
        raise ValueError(f"{mirror}/{place} has SHA-256 {found}, not {digest}: not the package that is trusted here")
    (cache / "keyring.deb").write_bytes(package)
    subprocess.run(["dpkg-deb", "--extract", "keyring.deb", f"keys-{userland.name}"], check=True, cwd=cache)
    return cache / f"keys-{userland.name}/usr/share/keyrings/ubuntu-archive-keyring.gpg"
