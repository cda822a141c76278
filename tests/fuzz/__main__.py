"""`make fuzz`: every target for a while, guided by coverage where atheris can be installed, by hypothesis elsewhere.

    python -m tests.fuzz [--seconds 60] [--keep DIRECTORY] [TARGET…]

Each target runs in a process of its own. What it fails on is kept under DIRECTORY (a temporary one when none is
given), and its path is told; so is how many inputs ran. Exits with 1 when there is a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tests.fuzz import mutate
from tests.fuzz.targets import DECLARED, TARGETS

_RUNS = re.compile(r"Done (\d+) runs|^#(\d+)\t", re.MULTILINE)
_MEMORY = 2048
"""MiB a target may take."""
_ONE = 20
"""Seconds that one input may take: far more than any does, so that it is a fault by all means."""


def main() -> int:
    """Runs what is asked for, one target after another."""
    parser = argparse.ArgumentParser("tests.fuzz")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", type=Path, help="where what fails, and what was found on the way, is kept")
    arguments = parser.parse_args()
    keep = arguments.keep or Path(tempfile.mkdtemp(prefix="argosy-fuzz-"))
    guided = importlib.util.find_spec("atheris") is not None
    print(
        f"guided by {'coverage (atheris)' if guided else 'hypothesis'}, {arguments.seconds} s a target, kept in {keep}"
    )
    total = faults = 0
    for name in arguments.targets or TARGETS:
        run = _guided if guided else _guessed
        ran, fault = run(name, arguments.seconds, keep)
        total, faults = total + ran, faults + bool(fault)
        print(f"{name:18} {ran:9,} inputs  {fault or 'no fault'}", flush=True)
    print(f"{'all':18} {total:9,} inputs  {faults} targets with faults")
    return 1 if faults else 0


def _guided(name: str, seconds: int, keep: Path) -> tuple[int, str]:
    """atheris, in a process of its own: libFuzzer ends its process. Tells how many inputs ran and what was wrong."""
    corpus, broken = keep / name / "corpus", keep / name / "faults"
    corpus.mkdir(parents=True, exist_ok=True)
    broken.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "tests.fuzz.guided", name, f"-max_total_time={seconds}", f"-max_len={mutate.LONGEST}",
        f"-timeout={_ONE}", f"-rss_limit_mb={_MEMORY}", f"-artifact_prefix={broken}/", "-print_final_stats=1",
        str(corpus), str(mutate.CORPUS / name),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=os.environ)
    counts = [int(a or b) for a, b in _RUNS.findall(done.stderr)]
    if done.returncode == 0:
        return max(counts, default=0), ""
    (broken / "log").write_text(done.stderr + done.stdout)
    told = [line.strip() for line in (done.stderr + done.stdout).splitlines() if "Error" in line or "ERROR" in line]
    found = sorted(p.name for p in broken.iterdir() if p.name != "log")
    return max(counts, default=0), f"FAULT: {(told or ['see the log'])[0][:200]} ({broken}: {', '.join(found)})"


def _guessed(name: str, seconds: int, keep: Path) -> tuple[int, str]:
    """Without coverage: hypothesis changes seeds and makes what fails smaller."""
    ran, row = 0, 0
    last = b""
    corpus = mutate.seeds(name)
    deadline = time.monotonic() + seconds

    def one(data: bytes) -> None:
        nonlocal ran, last
        ran, last = ran + 1, data
        with contextlib.suppress(*DECLARED):
            TARGETS[name](data)

    changed = st.randoms(use_true_random=False).map(lambda source: mutate.mutated(source, corpus))
    options = settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    try:
        while time.monotonic() < deadline:
            seed(row)(options(given(changed | st.binary(max_size=4096))(one)))()
            row += 1
    except Exception as fault:
        path = keep / name / "fault"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(last)
        return ran, f"FAULT: {type(fault).__name__}: {str(fault)[:150]} ({path})"
    return ran, ""


if __name__ == "__main__":
    sys.exit(main())
