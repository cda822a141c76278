"""Read-only mounts: what is mounted below one is read-only too, or the user is told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.harness.daemon import Daemon
from tests.harness.fixtures import RUNTIMES, a_daemon

from argosy.cli.options import UsageError
from argosy.cli.parse.mounts import read_mount
from argosy.errors import InvalidArgument
from argosyd.containers.spec import mounts
from argosyd.runtime import mountattr
from argosyd.volumes.model import Mount, MountType, ResolvedMount

BIND = ResolvedMount(MountType.BIND, "/x", "/d", read_only=True)


def options(mount: ResolvedMount, *, able: bool = True) -> list[str]:
    found = mounts.user_mounts([mount], recursive_read_only=able, is_directory=lambda path: path == "/d")
    made: list[str] = found[0]["options"]
    return made


def test_read_only_goes_all_the_way_down() -> None:
    assert options(BIND) == ["rbind", "rprivate", "rro"]
    assert options(replace(BIND, type=MountType.VOLUME)) == ["rbind", "rprivate", "rro"]
    assert options(replace(BIND, recursive="readonly")) == ["rbind", "rprivate", "rro"]
    assert options(replace(BIND, recursive="writable")) == ["rbind", "rprivate", "ro"]
    assert options(replace(BIND, read_only=False)) == ["rbind", "rprivate", "rw"]
    assert options(replace(BIND, source="/a/file")) == ["rbind", "rprivate", "ro"]
    # crun takes the "r" of any word for a recursive bind.
    assert options(replace(BIND, recursive="disabled", propagation="rslave")) == ["bind", "slave", "ro"]


def test_where_it_cannot_the_user_is_told_or_refused() -> None:
    def unmet(mode: str, kind: MountType = MountType.BIND) -> list[str]:
        asked = Mount(kind, "/x", "/d", read_only=True, recursive=mode)
        return mounts.unmet([asked], recursive_read_only=False)

    assert options(BIND, able=False) == ["rbind", "rprivate", "ro"]
    assert "/x" in unmet("")[0]
    assert unmet("writable") == unmet("disabled") == unmet("", MountType.TMPFS) == []
    with pytest.raises(InvalidArgument) as caught:
        unmet("readonly")
    assert caught.value.reason == "NOT_RECURSIVE"
    assert mounts.unmet([Mount(MountType.BIND, "/x", "/d", read_only=True)], recursive_read_only=True) == []


def test_which_runtimes_can() -> None:
    assert mountattr.runtime_can("crun", "1.8.1")
    assert mountattr.runtime_can("runc", "1.1.5+ds1")
    assert not mountattr.runtime_can("crun", "1.3")
    assert not mountattr.runtime_can("runc", "1.0.3")
    assert not mountattr.runtime_can("youki", "9.9")
    assert not mountattr.runtime_can("crun", "")


@pytest.mark.parametrize(
    "text",
    [
        "type=bind,src=/a,dst=/b,bind-recursive=maybe",
        "type=bind,src=/a,dst=/b,bind-recursive=writable",
        "type=bind,src=/a,dst=/b,readonly,bind-recursive=readonly",
        "type=volume,src=a,dst=/b,bind-recursive=disabled",
    ],
)
def test_what_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_mount(text)


daemon = a_daemon("binds", runtimes=RUNTIMES)


@pytest.fixture
def tree(daemon: Daemon, tmp_path: Path) -> Iterator[Path]:
    """A directory with a memory file system below, mounted where the daemon sees it and nobody else need."""
    assert daemon.process is not None
    (tmp_path / "sub").mkdir()
    inside = ["nsenter", f"--mount=/proc/{daemon.process.pid}/ns/mnt"]
    subprocess.run([*inside, "mount", "-t", "tmpfs", "below", tmp_path / "sub"], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run([*inside, "umount", tmp_path / "sub"], check=True)


WRITE = "touch /x/top 2>/dev/null && echo top; touch /x/sub/below 2>/dev/null && echo below; rm -f /x/top; true"


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("-v {}:/x", "top below"),
        ("-v {}:/x:ro", ""),
        ("--mount type=bind,src={},dst=/x,readonly", ""),
        ("--mount type=bind,src={},dst=/x,readonly,bind-recursive=enabled", ""),
        ("--mount type=bind,src={},dst=/x,readonly,bind-recursive=writable", "below"),
        ("--mount type=bind,src={},dst=/x,readonly,bind-recursive=readonly,bind-propagation=rprivate", ""),
        ("--mount type=bind,src={},dst=/x,readonly,bind-recursive=disabled", ""),
    ],
)
def test_what_can_be_written(daemon: Daemon, tree: Path, form: str, written: str) -> None:
    asked = form.format(tree).split()
    result = daemon.argosy("run", "--rm", "--network", "none", *asked, "busybox", "sh", "-c", WRITE)
    assert (result.returncode, result.stdout.decode().split()) == (0, written.split()), result.stderr


def test_one_file(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("as it was")
    option = f"{tmp_path}/file:/file:ro"
    script = "echo changed 2>/dev/null >/file; cat /file"
    seen = daemon.argosy("run", "--rm", "--network", "none", "-v", option, "busybox", "sh", "-c", script)
    assert (seen.returncode, seen.stdout) == (0, b"as it was"), seen.stderr


def test_a_mount_below_is_left_out_when_asked(daemon: Daemon, tree: Path) -> None:
    option = f"type=bind,src={tree},dst=/x,bind-recursive=disabled"
    seen = daemon.argosy("run", "--rm", "--network", "none", "--mount", option, "busybox", "grep", "/x", "/proc/mounts")
    assert b"/x/sub" not in seen.stdout


def test_the_containers_that_borrow_a_mount_borrow_its_depth(daemon: Daemon, tree: Path) -> None:
    option = f"type=bind,src={tree},dst=/x,readonly,bind-recursive=writable"
    daemon.argosy("create", "--name", "lender", "--mount", option, "busybox", "true", check=True)
    borrowed = ("run", "--rm", "--network", "none", "--volumes-from", "lender", "busybox", "sh", "-c", WRITE)
    assert daemon.argosy(*borrowed).stdout == b"below\n"
    daemon.argosy("rm", "lender", check=True)
