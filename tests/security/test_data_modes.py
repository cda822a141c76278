"""What the engine keeps is closed to every user of the host, whatever an older version left open."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.harness.daemon import Daemon

from argosy.errors import Conflict
from argosyd.host.modes import close_off

NOBODY = 65534

_LOOK = """
import os, stat, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
found = []
for path in sys.stdin.read().split("\\0"):
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        pass
    else:
        found.append(path)
    if os.access(path, os.X_OK) and not os.path.isdir(path):
        found.append(path + " (runs)")
print("\\n".join(found))
"""


def reachable(paths: list[Path]) -> list[str]:
    """Those of the paths that a user of the host, who has been told their names, can open or run."""
    told = "\0".join(map(os.fspath, paths))
    result = subprocess.run(
        [sys.executable, "-c", _LOOK], input=told, capture_output=True, text=True, check=True, timeout=60
    )
    return result.stdout.split("\n")[:-1] if result.stdout.strip() else []


def everything(top: Path) -> list[Path]:
    return [top, *(Path(above, name) for above, dirs, files in os.walk(top) for name in (*dirs, *files))]


def test_the_look_sees_what_is_open(daemon: Daemon) -> None:
    """Else the other tests could not fail."""
    assert daemon.base.stat().st_mode & 0o001
    open_file = daemon.base / "open"
    open_file.write_text("x")
    open_file.chmod(0o755)
    assert reachable([open_file]) == [str(open_file), f"{open_file} (runs)"]
    open_file.unlink()


def test_nothing_below_the_data_directory_is_reached(daemon: Daemon) -> None:
    script = "cp /bin/busybox /sneaky && chmod 4755 /sneaky && cp /sneaky /v/sneaky && sleep 600"
    daemon.argosy(
        "run", "-d", "--name", "holder", "--network", "none", "-e", "PASSWORD=x", "-v", "data:/v", "busybox",
        "sh", "-c", script, check=True,
    )  # fmt: skip
    pid = daemon.argosy("inspect", "-f", "{{.State.Pid}}", "holder").stdout.decode().strip()
    wanted = Path("/proc", pid, "root/v/sneaky")
    # Until the container has made it.
    subprocess.run(["timeout", "10", "sh", "-c", f"until test -u {wanted}; do sleep 0.05; done"], check=True)

    def check() -> None:
        paths = everything(daemon.data_dir)
        assert any(p.name == "sneaky" and p.stat().st_mode & stat.S_ISUID for p in paths if p.is_file())
        assert {"argosy.db", "argosy.db-wal", "argosy.db-shm"} <= {p.name for p in paths}
        assert reachable(paths) == []
        sockets = {daemon.run_dir / "argosy.sock"}
        assert reachable([p for p in everything(daemon.run_dir) if p not in sockets]) == []
        for name in ("argosy.db", "argosy.db-wal", "argosy.db-shm"):
            assert stat.S_IMODE((daemon.data_dir / name).stat().st_mode) == 0o600

    check()
    # As the versions before left it; the start mends it, and says so.
    daemon.stop()
    for path in (daemon.data_dir, daemon.data_dir / "snapshots", daemon.data_dir / "volumes", daemon.run_dir):
        path.chmod(0o711)
    for directory in (*(daemon.data_dir / "snapshots").iterdir(), *(daemon.data_dir / "volumes").iterdir()):
        directory.chmod(0o711)
    (daemon.data_dir / "argosy.db").chmod(0o644)
    os.chown(daemon.data_dir / "containers", NOBODY, NOBODY)
    assert [p for p in reachable(everything(daemon.data_dir)) if p.endswith("sneaky (runs)")]
    daemon.start()
    check()
    told = daemon.log.read_text()
    assert f"{daemon.data_dir / 'argosy.db'}: mode 0644 is now 0600" in told
    assert f"{daemon.data_dir / 'containers'}: owner 65534 is now 0" in told
    assert daemon.argosy("exec", "holder", "echo", "on").stdout == b"on\n"
    daemon.argosy("rm", "-f", "holder", check=True)
    daemon.argosy("volume", "rm", "data", check=True)


def test_the_socket_is_for_root_and_its_group(daemon: Daemon) -> None:
    socket = daemon.run_dir / "argosy.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o660
    look = (
        "import os, socket, sys; os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(65534);"
        "socket.socket(socket.AF_UNIX).connect(sys.argv[2])"
    )

    def connects(group: int) -> bool:
        command = [sys.executable, "-c", look, str(group), str(socket)]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

    assert not connects(NOBODY)
    before = socket.stat().st_gid
    os.chown(socket, 0, 4242)
    try:
        assert connects(4242)
    finally:
        os.chown(socket, 0, before)


def test_directories_of_others_are_not_closed(tmp_path: Path) -> None:
    shared = tmp_path / "home"
    (shared / "alice").mkdir(parents=True)
    shared.chmod(0o755)
    with pytest.raises(Conflict, match="no data directory of argosyd's"):
        close_off(shared, tmp_path / "run")
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    everybody = tmp_path / "tmp"
    everybody.mkdir()
    everybody.chmod(0o1777)
    with pytest.raises(Conflict, match="can be written by others"):
        close_off(tmp_path / "data", everybody)
