"""A booted guest: commands in it with an end in time, its console, reboots and power cuts.

Everything about it is in one directory: the overlay that takes its writes, the console's log, the sockets. qemu emulates the
processor unless told otherwise, so every deadline here is generous; `ARGOSY_VM_SLOW=3` makes all of them three times as long.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.vm.image import Image

SLOW = float(os.environ.get("ARGOSY_VM_SLOW", "1"))
BOOT = 600.0
"""Seconds until the agent must have answered."""
COMMAND = 240.0
"""Seconds a command may take when nobody says otherwise."""
_GRACE = 60.0
"""What the agent gets on top to say that a command's time was up."""
_LOOK = 1.0
"""Seconds between looks at a condition: each is a command in a slow machine."""
CONSOLE_LINES = 60


class GuestFailure(AssertionError):
    """The machine did not do what it had to; with the end of its console."""


@dataclass(frozen=True)
class Answer:
    """What a command did. `code` is None when its time was up."""

    code: int | None
    out: str
    err: str


class Guest:
    """One virtual machine, made and ended with `with`."""

    def __init__(self, image: Image, directory: Path, *, source: Path | None = None, accelerator: str = "tcg") -> None:
        """`source` becomes the second disk, byte for byte, to be read only."""
        self._image, self._directory, self._source, self._accelerator = image, directory, source, accelerator
        self.console = directory / "console.log"
        self.boot_id = ""
        self.port = _free_port()
        """The port on this machine's loopback that leads to port 8080 of the guest."""
        self._pending = b""
        self._asked = 0

    def __enter__(self) -> Guest:
        """Starts it and waits until its agent answers; GuestFailure when it does not."""
        overlay = self._directory / "overlay.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self._image.disk.absolute()), "-F", "raw"]
        subprocess.run([*create, str(overlay)], check=True)
        self._qemu = subprocess.Popen(
            self._command(overlay), stdin=subprocess.DEVNULL, stdout=(self._directory / "qemu.log").open("wb"),
            stderr=subprocess.STDOUT, start_new_session=True, cwd=self._directory,
        )  # fmt: skip
        try:
            self._agent = self._connect("agent")
            self._monitor = self._connect("monitor")
            self._hear_boot(BOOT)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Takes it away as it is: nothing of it is kept but the console."""
        self._end()

    def _end(self) -> None:
        self._qemu.kill()
        self._qemu.wait()
        (self._directory / "overlay.qcow2").unlink(missing_ok=True)

    def _command(self, overlay: Path) -> list[str]:
        kernel = (
            "root=/dev/vda rw console=ttyS0 apparmor=1 security=apparmor cgroup_no_v1=all "
            "systemd.unified_cgroup_hierarchy=1 mitigations=off panic=-1 loglevel=4 net.ifnames=0"
        )
        fast = {"tcg": ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"], "kvm": ["-accel", "kvm", "-cpu", "host"]}
        source = ["-drive", f"file={self._source},if=virtio,format=raw,readonly=on"] if self._source else []
        names = ("agent", "monitor")
        chardevs = [w for n in names for w in ("-chardev", f"socket,id={n},path={n}.sock,server=on,wait=off")]
        return [
            "nice", "-n", "19", "qemu-system-x86_64", "-machine", "q35", *fast[self._accelerator], "-smp", "2", "-m", "2048",
            "-display", "none", "-no-user-config", "-nodefaults", "-kernel", str(self._image.kernel.absolute()),
            "-initrd", str(self._image.initrd.absolute()), "-append", kernel,
            "-drive", f"file={overlay.name},if=virtio,format=qcow2,cache=writeback", *source,
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:8080",
            "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
            *chardevs, "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=argosy.agent",
            "-mon", "chardev=monitor,mode=control", "-serial", f"file:{self.console.name}",
        ]  # fmt: skip

    # -- what tests do with it ----------------------------------------------------------------------------------------

    def run(self, command: str, *, timeout: float = COMMAND, input: str = "") -> Answer:
        """A command of bash, by root, to its end or that of its time."""
        self._asked += 1
        asked = {"id": self._asked, "run": command, "input": input, "timeout": timeout * SLOW}
        self._agent.settimeout(_GRACE)
        self._agent.sendall(json.dumps(asked).encode() + b"\n")
        until = time.monotonic() + timeout * SLOW + _GRACE
        while (told := self._hear(until, f"`{command}` has no answer")).get("id") != self._asked:
            if "boot" in told:
                raise self._failure(f"the machine or its agent started again during `{command}`")
        return Answer(told["rc"], told["out"], told["err"])

    def check(self, command: str, *, timeout: float = COMMAND, input: str = "") -> str:
        """What a command that must succeed wrote, without the last newline."""
        answer = self.run(command, timeout=timeout, input=input)
        if answer.code != 0:
            what = "its time was up" if answer.code is None else f"exit code {answer.code}"
            raise self._failure(f"`{command}`: {what}\n{answer.out[-4000:]}{answer.err[-4000:]}")
        return answer.out.rstrip("\n")

    def until(self, command: str, *, timeout: float = COMMAND, good: Callable[[Answer], bool] | None = None) -> str:
        """Waits for a condition: until a command succeeds (or `good` of its answer holds); what it wrote."""
        end = time.monotonic() + timeout * SLOW
        while True:
            answer = self.run(command, timeout=timeout)
            if good(answer) if good else answer.code == 0:
                return answer.out.rstrip("\n")
            if time.monotonic() > end:
                raise self._failure(f"`{command}` never came true: {answer}")
            time.sleep(_LOOK)

    def reboot(self) -> float:
        """As its administrator would; the seconds until the agent answered again."""
        begin = time.monotonic()
        self.run("systemctl reboot", timeout=60)
        self._hear_boot(BOOT)
        return time.monotonic() - begin

    def cut_power(self) -> float:
        """What was not on the disk is lost; the seconds until the agent answered again."""
        begin = time.monotonic()
        self._monitor.sendall(b'{"execute": "qmp_capabilities"}{"execute": "system_reset"}')
        self._hear_boot(BOOT)
        return time.monotonic() - begin

    # -- its sockets --------------------------------------------------------------------------------------------------

    def _connect(self, name: str) -> socket.socket:
        """qemu makes its sockets before it starts the machine. Paths of sockets are short, those of tests are not."""
        end = time.monotonic() + 30 * SLOW
        made = socket.socket(socket.AF_UNIX)
        directory = os.open(self._directory, os.O_PATH)
        try:
            while True:
                try:
                    made.connect(f"/proc/self/fd/{directory}/{name}.sock")
                    return made
                except OSError:
                    if self._qemu.poll() is not None or time.monotonic() > end:
                        raise self._failure("qemu does not start") from None
                    time.sleep(0.1)
        finally:
            os.close(directory)

    def _hear_boot(self, timeout: float) -> None:
        """Waits for the first line of another boot."""
        until = time.monotonic() + timeout * SLOW
        while (told := self._hear(until, "the machine does not come up")).get("boot", self.boot_id) == self.boot_id:
            pass
        self.boot_id = told["boot"]

    def _hear(self, until: float, problem: str) -> dict[str, Any]:
        """The next line from the agent, before that time."""
        while b"\n" not in self._pending:
            left = until - time.monotonic()
            if left <= 0:
                raise self._failure(f"{problem} in time")
            self._agent.settimeout(left)
            try:
                read = self._agent.recv(65536)
            except TimeoutError:
                continue
            if not read:
                raise self._failure(f"{problem}: qemu ended with {self._qemu.wait(10)}")
            self._pending += read
        line, self._pending = self._pending.split(b"\n", 1)
        try:
            told: dict[str, Any] = json.loads(line)
        except ValueError:
            # The end of a line that a reboot cut off.
            return {}
        return told

    def _failure(self, problem: str) -> GuestFailure:
        texts = []
        for name in ("qemu.log", "console.log"):
            file = self._directory / name
            lines = file.read_text(errors="replace").splitlines() if file.exists() else []
            texts.append(f"-- {name} --\n" + "\n".join(lines[-CONSOLE_LINES:]))
        return GuestFailure(problem + "\n" + "\n".join(texts))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
