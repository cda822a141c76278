#!/usr/bin/env python3
"""In the guest: runs the commands that arrive on a virtio-serial port, one JSON object a line, and answers likewise.

A question is {"id", "run", "input", "timeout"}; an answer {"id", "rc", "out", "err"}, where `rc` is null for a command that
was ended because its time was up. The first line of each start says which boot this is.
"""

import json
import os
import signal
import subprocess

PORT = "/dev/virtio-ports/argosy.agent"
BOOT = "/proc/sys/kernel/random/boot_id"
LONGEST = 1 << 20
"""Bytes of output that are answered: the last ones."""


def run(asked):
    """The answer to one question."""
    process = subprocess.Popen(
        ["/bin/bash", "-c", asked["run"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(asked["input"].encode(), timeout=asked["timeout"])
        code = process.returncode
    except subprocess.TimeoutExpired:
        code = None
        os.killpg(process.pid, signal.SIGKILL)
        try:
            out, err = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            out, err = b"", b"something that was started keeps the output open"
    told = {"out": out[-LONGEST:].decode(errors="replace"), "err": err[-LONGEST:].decode(errors="replace")}
    return {"id": asked["id"], "rc": code, **told}


def main():
    """Says hello, then serves until the machine stops."""
    with open(BOOT) as file:
        boot = file.read().strip()
    with open(PORT, "r+b", buffering=0) as port:
        send(port, {"boot": boot})
        pending = b""
        while True:
            pending += os.read(port.fileno(), 65536)
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                try:
                    send(port, run(json.loads(line)))
                except (ValueError, KeyError):
                    # What is left of a line that was on its way when the machine started again.
                    continue


def send(port, value):
    """One line, however many writes it takes."""
    left = json.dumps(value).encode() + b"\n"
    while left:
        left = left[port.write(left) :]


main()
