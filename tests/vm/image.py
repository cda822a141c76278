"""The guest's disk: a Debian system with the packages baked in that argosy's depends on, as a file that qemu starts from.

An image lies below `.vm/`, under a name that changes with everything it is made of. It is never written to: each run has
an overlay of its own. Nothing is mounted to make it, and the kernel lies beside it, so that qemu needs no boot loader.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.matrix.trees import whole

_HERE = Path(__file__).parent
ROOT = _HERE.parents[1]
SIZE = "8G"
SYSTEM = (
    "apparmor", "busybox-static", "ca-certificates", "curl", "dbus", "init", "initramfs-tools", "iproute2",
    "linux-image-amd64", "procps", "python3", "udev", "util-linux", "zstd",
)  # fmt: skip
"""What is there before anybody installs argosy."""


@dataclass(frozen=True)
class Guest:
    """One system. `python` as pip writes it; `origin` and `suite` as apt does."""

    name: str
    suite: str
    python: str
    origin: str = "Debian"


GUESTS = (Guest("debian-13", "trixie", "3.13"), Guest("debian-12", "bookworm", "3.11"))


@dataclass(frozen=True)
class Recipe:
    """What an image is made from: two equal recipes give images that may stand for each other."""

    guest: Guest
    mirror: str
    packages: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    """Places in the guest with their text."""
    maker: str
    """The text of this module: options count as well."""

    @property
    def key(self) -> str:
        """A short name that changes with each input."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.guest.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Image:
    """What qemu starts from."""

    disk: Path
    kernel: Path
    initrd: Path


def engine_packages(listing: str) -> tuple[str, ...]:
    """The first part of deploy/packages.txt: what argosyd needs to run."""
    first = listing.split("\n# … and", 1)[0]
    return tuple(line for line in first.splitlines() if line and not line.startswith("#"))


def recipe(guest: Guest, mirror: str) -> Recipe:
    """The recipe for a guest, from this checkout."""
    packages = {*engine_packages((ROOT / "deploy/packages.txt").read_text()), *SYSTEM}
    return Recipe(guest, mirror, tuple(sorted(packages)), _files(), Path(__file__).read_text())


def _files() -> tuple[tuple[str, str], ...]:
    # As many write it: it fits containers' links, too, and the engine's must stand that.
    network = "[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nIPv6AcceptRA=no\n"
    return (
        ("/etc/fstab", "/dev/vda / ext4 rw 0 1\n"),
        ("/etc/hostname", "guest\n"),
        ("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 guest\n"),
        ("/etc/initramfs-tools/conf.d/small", "MODULES=list\nCOMPRESS=zstd\n"),
        ("/etc/initramfs-tools/modules", "virtio_pci\nvirtio_blk\next4\ncrc32c_generic\n"),
        ("/etc/modules-load.d/agent.conf", "virtio_console\n"),
        ("/etc/systemd/network/wired.network", network),
        ("/etc/systemd/system/vm-agent.service", (_HERE / "agent.service").read_text()),
        ("/usr/local/sbin/vm-agent", (_HERE / "agent.py").read_text()),
    )


def build(made: Recipe, cache: Path) -> Image:
    """The image of a recipe, made now or found in the cache; it has its name only when it is whole."""
    place = whole(cache / made.key, partial(_make, made))
    return Image(place / "disk.img", place / "vmlinuz", place / "initrd.img")


def _make(made: Recipe, part: Path) -> None:
    part.mkdir()
    # Not in the checkout: hooks of packages run in it, and it is as large as a system.
    with tempfile.TemporaryDirectory(prefix="argosy-vm-") as scratch:
        tree = Path(scratch) / "tree"
        _make_tree(made, Path(scratch), tree)
        for pattern, name in (("vmlinuz-*", "vmlinuz"), ("initrd.img-*", "initrd.img")):
            shutil.copyfile(max((tree / "boot").glob(pattern)), part / name)
        command = ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(tree), str(part / "disk.img"), SIZE]
        subprocess.run(command, check=True)


def _make_tree(made: Recipe, scratch: Path, tree: Path) -> None:
    """The system as a directory. Files come before packages, so that theirs are made as these say."""
    for place, text in made.files:
        file = scratch / "files" / place[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    units = "vm-agent.service systemd-networkd.service"
    masked = "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer"
    hooks = (
        f"essential:copy-in {scratch}/files/etc /",
        f"customize:copy-in {scratch}/files/etc {scratch}/files/usr /",
        f"customize:chroot \"$1\" sh -c 'systemctl enable {units} && systemctl mask {masked} && update-initramfs -u -k all'",
        "customize:chroot \"$1\" sh -c 'passwd -d root && truncate -s 0 /etc/machine-id && mkdir -p /var/log/journal'",
    )
    command = [
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--components=main",
        *(f"--{stage}-hook={text}" for stage, text in (hook.split(":", 1) for hook in hooks)),
        f"--include={','.join(made.packages)}", made.guest.suite, str(tree), made.mirror,
    ]  # fmt: skip
    subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(scratch)})
