"""This host, for whoever installs things: what is written goes to memory, and the rest is read-only. Commands have the
host's network only where they ask for it: an engine must not be taken off it."""

from __future__ import annotations

import subprocess
from pathlib import Path

WRITTEN = ("opt", "usr", "etc", "var", "run")
"""Directories of the host that an installation writes to."""
PRIVATE = """
set -e
mount --make-rprivate /
mount -t tmpfs memory {place}/memory
for d in {written}; do
    mkdir -p {place}/memory/$d/upper {place}/memory/$d/work
    mount -t overlay -o lowerdir=/$d,upperdir={place}/memory/$d/upper,workdir={place}/memory/$d/work overlay /$d
done
mount --bind {place} {place}
mount -o remount,bind,ro /
echo ready
exec sh
"""


class Host:
    """A shell in the namespace. Use as a context."""

    def __init__(self, place: Path, directory: Path) -> None:
        """`place` is the one directory that is written to; `directory`, below it, where commands run."""
        # Control groups are the host's own here, and a purge ends whatever is in them.
        theirs = [str(p) for form in ("argosy/*/", "*/argosy/*/") for p in Path("/sys/fs/cgroup").glob(form)]
        assert not theirs, f"this host has containers of its own that a test would end: {theirs}"
        (place / "memory").mkdir()
        self.place, self.directory = place, directory
        self.online = False
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-c", PRIVATE.format(place=place, written=" ".join(WRITTEN))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment(),
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def environment(self, first: str = "") -> dict[str, str]:
        path = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {
            "PATH": f"{first}:{path}" if first else path,
            "HOME": str(self.place),
            "TMPDIR": str(self.place),
            "LANG": "C.UTF-8",
        }

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command there."""
        net = [] if self.online else [f"--net=/proc/{self.process.pid}/ns/net"]
        return ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", *net, f"--wd={self.directory}", *command]

    def __call__(self, *command: str, first: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.inside(*command), env=self.environment(first), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400,
            check=False,
        )  # fmt: skip

    def written(self) -> set[str]:
        """Files and links below /opt and /usr/local that the host has not."""
        found = self(
            "find", f"{self.place}/memory/opt/upper", f"{self.place}/memory/usr/upper/local", "!", "-type", "d"
        )
        return set(found.stdout.split())
