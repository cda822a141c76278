"""Public attacks on container engines, tried here. README.md in this folder says which is which, and where the rest is.

Those that are the runtime's to withstand are tried with crun and runc alike: the engine chooses, starts and feeds them.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.harness.attack import swapping
from tests.harness.daemon import Daemon, busybox_tar
from tests.harness.fixtures import RUNTIMES, a_daemon

TRIES = 12

daemon = a_daemon("known", runtimes=RUNTIMES)


def image_with(daemon: Daemon, name: str, *members: tarfile.TarInfo, changes: tuple[str, ...] = ()) -> None:
    """Busybox with more entries."""
    buffer = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for member in members:
            tar.addfile(member)
    words = [w for change in changes for w in ("--change", change)]
    daemon.argosy("import", *words, "-", name, stdin=buffer.getvalue(), check=True)


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, target, mode
    return member


def programs() -> dict[str, str]:
    """The engine's helpers that run beside a container, by what they contain."""
    paths = [p for name in ("crun", "runc", "conmon") if (p := shutil.which(name))]
    return {p: hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in paths}


def test_the_runtime_cannot_be_written_from_inside(daemon: Daemon) -> None:
    """CVE-2019-5736: /proc/self/exe of the process that enters the container is the host's runtime."""
    before = programs()
    image_with(daemon, "self-exe", entry("self", tarfile.SYMTYPE, "/proc/self/exe"))
    write = """
        for i in $(seq 300); do for p in /proc/[0-9]*/exe; do
            case $(readlink $p) in *crun*|*runc*|*conmon*) echo x >> $p;; esac
        done; done
        sleep 100
    """
    daemon.argosy("run", "-d", "--name=writer", "--network=none", "self-exe", "sh", "-c", write, check=True)
    for _ in range(TRIES):
        daemon.argosy("exec", "writer", "/self", "--version")
        daemon.argosy("exec", "writer", "true")
    daemon.argosy("rm", "-f", "writer", check=True)
    assert programs() == before


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_no_descriptor_leads_out_through_the_working_directory(daemon: Daemon, tmp_path: Path, verb: str) -> None:
    """CVE-2024-21626: a leaked descriptor of the host's tree as working directory."""
    (tmp_path / "canary").write_text("of the host")
    look = f"cat ../../../../../../../../../..{tmp_path}/canary"
    daemon.argosy("run", "-d", "--name=cwd", "--network=none", "busybox", "sleep", "1000", check=True)
    for number in range(3, 40):
        where = f"--workdir=/proc/self/fd/{number}"
        if verb == "run":
            done = daemon.argosy("run", "--rm", "--network=none", where, "busybox", "sh", "-c", look)
        else:
            done = daemon.argosy("exec", where, "cwd", "sh", "-c", look)
        assert b"of the host" not in done.stdout
    daemon.argosy("rm", "-f", "cwd", check=True)


def test_a_volume_swapped_under_a_nested_mount_leads_nowhere(daemon: Daemon, tmp_path: Path) -> None:
    """CVE-2021-30465: the place of a mount, inside a volume that another container writes, becomes a link."""
    daemon.argosy("volume", "create", "shared", check=True)
    make = "mkdir -p /v/a/sub && ln -s /../../../../../../../../../.. /v/b && touch /v/made"
    daemon.argosy("run", "--rm", "--network=none", "-v", "shared:/v", "busybox", "sh", "-c", make, check=True)
    tree = daemon.data_dir / "volumes" / "shared" / "_data"
    mounts = "grep -c /canary /proc/self/mountinfo"
    place = tmp_path / "canary"
    place.mkdir()
    before = Path("/proc/self/mountinfo").read_text()
    with swapping(tree / "a", tree / "b"):
        for _ in range(TRIES):
            done = daemon.argosy(
                "run", "--rm", "--network=none", "-v", "shared:/v", "-v", f"{place}:/v/a/sub", "busybox",
                "sh", "-c", f"{mounts}; ls /bin/busybox",
            )  # fmt: skip
            assert done.returncode != 0 or b"/bin/busybox" in done.stdout
    assert Path("/proc/self/mountinfo").read_text().count("canary") == before.count("canary")
    daemon.argosy("volume", "rm", "shared", check=True)


@pytest.mark.parametrize("target", ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/etc/passwd"])
def test_masks_are_not_built_from_the_images_null_device(daemon: Daemon, target: str) -> None:
    """CVE-2025-31133, CVE-2025-52565: /dev/null and /dev/console of the image are links to what is to be masked."""
    core = Path("/proc/sys/kernel/core_pattern")
    before = core.read_text()
    image_with(
        daemon, "null-link", entry("dev", tarfile.DIRTYPE), entry("dev/null", tarfile.SYMTYPE, target),
        entry("dev/console", tarfile.SYMTYPE, target), entry("dev/ptmx", tarfile.SYMTYPE, target),
    )  # fmt: skip
    script = """
        test -c /dev/null && ! test -L /dev/null && echo null
        for masked in /proc/kcore /proc/keys /proc/timer_list; do head -c 1 $masked; done
        echo x > /proc/sys/kernel/core_pattern
        echo x > /proc/sysrq-trigger
    """
    for options in ((), ("-t",)):
        done = daemon.argosy("run", "--rm", "--network=none", *options, "null-link", "sh", "-c", script)
        assert done.stdout.startswith(b"null"), done
        assert b"core_pattern: Read-only" in done.stdout + done.stderr
    assert core.read_text() == before


@pytest.mark.parametrize("path", ["/../../../../../../../../etc", "/a/../../../../../../../../root/.ssh"])
def test_an_images_volume_copies_nothing_of_the_host(daemon: Daemon, path: str) -> None:
    """CVE-2022-23648: a VOLUME that climbs, whose content on the host would be copied into the new volume."""
    image_with(daemon, "climbing", changes=(f'VOLUME ["{path}"]',))
    script = "cat /etc/shadow /root/.ssh/* 2>/dev/null; cat /etc/passwd"
    done = daemon.argosy("run", "--rm", "--network=none", "climbing", "sh", "-c", script)
    assert done.stdout in (b"", b"root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000:Bob:/home/bob:/bin/sh\n")


def test_nothing_is_inheritable(daemon: Daemon) -> None:
    """CVE-2022-24769: inheritable capabilities outlive a change of user."""
    for line in (
        ("run", "--rm"),
        ("run", "--rm", "--privileged"),
        ("run", "--rm", "--user=bob", "--cap-add=SYS_ADMIN"),
    ):
        done = daemon.argosy(*line, "--network=none", "busybox", "grep", "CapInh", "/proc/self/status", check=True)
        assert done.stdout.split() == [b"CapInh:", b"0000000000000000"]


def test_the_primary_group_is_among_the_groups(daemon: Daemon) -> None:
    """CVE-2022-36109: a process without its primary group among the supplementary ones escapes negative modes."""
    for options, groups in ((("--user=bob",), {"1000", "10"}), (("--user=7:9",), {"9"}), ((), {"0"})):
        done = daemon.argosy(
            "run", "--rm", "--network=none", *options, "busybox", "grep", "Groups", "/proc/self/status"
        )
        assert groups <= set(done.stdout.decode().split())


@pytest.mark.parametrize("value", ["0-999999999", "0-" + "9" * 60, "0," * 200_000 + "0", "4294967296"])
def test_a_processor_list_without_end_is_refused(daemon: Daemon, value: str) -> None:
    """CVE-2018-20699: a range of processors that takes the daemon's memory."""
    done = daemon.argosy("create", "--name=huge", "--cpuset-cpus", value[:100_000], "busybox", "true")
    assert done.returncode != 0
    assert done.stderr.count(b"\n") == 1
    assert b"internal" not in done.stderr


def test_copying_changes_no_modes_of_the_host(daemon: Daemon, tmp_path: Path) -> None:
    """CVE-2021-41089: `cp` into a container set modes on the host's files."""
    (tmp_path / "dir").mkdir(mode=0o700)
    daemon.argosy("run", "-d", "--name=modes", "--network=none", "busybox", "sleep", "1000", check=True)
    daemon.argosy("exec", "modes", "ln", "-s", str(tmp_path / "dir"), "/tmp/link", check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(entry("link", tarfile.DIRTYPE, mode=0o777))
        tar.addfile(entry(f"..{tmp_path}/dir", tarfile.DIRTYPE, mode=0o777))
    daemon.argosy("cp", "-", "modes:/tmp", stdin=buffer.getvalue())
    assert (tmp_path / "dir").stat().st_mode & 0o777 == 0o700
    daemon.argosy("rm", "-f", "modes", check=True)


def test_an_insecure_run_needs_a_right_that_nobody_has(daemon: Daemon) -> None:
    """CVE-2024-23653: a build that asks for privileges gets none."""
    done = daemon.argosy("build", "-", stdin=b"FROM busybox\nRUN --security=insecure id\n")
    assert done.returncode != 0
    assert b"insecure is not allowed" in done.stderr


def test_the_helpers_are_where_they_were(daemon: Daemon) -> None:
    """Last: what the runtime left behind of all that."""
    ids = daemon.argosy("ps", "-aq").stdout.decode().split()
    if ids:
        daemon.argosy("rm", "-f", *ids, check=True)
    assert daemon.left() == {}
    assert subprocess.run(["mountpoint", "-q", str(daemon.base)], check=False).returncode != 0
