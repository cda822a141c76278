"""argosyd.runtime.oneshot: what a runtime leaves that fails without a word, as one does on a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosyd.runtime.oci import OciRuntime, RuntimeFailed
from argosyd.runtime.oneshot import run_bundle


def runtime(tmp_path: Path, script: str) -> OciRuntime:
    """A runtime whose `run` is a shell script; it finds its root and the container's id in $root and $id."""
    program = tmp_path / "crun"
    program.write_text(
        '#!/bin/sh\nroot=; for a; do case "$a" in --root=*) root=${a#--root=};; run|delete) did=$a;; esac; id=$a; done\n'
        f'case "$did" in run) {script};; esac\n'
    )
    program.chmod(0o755)
    root = tmp_path / "root"
    root.mkdir()
    return OciRuntime("crun", str(program), root)


async def run(tmp_path: Path, script: str) -> tuple[int, list[str]]:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    made = runtime(tmp_path, script)
    try:
        return await run_bundle(made, "build-1", bundle, lambda *_: None), [p.name for p in made.root.iterdir()]
    except RuntimeFailed:
        assert not list(made.root.iterdir())
        raise


async def test_a_record_left_by_a_failure_goes_and_tells_that_it_is_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailed, match="without saying why"):
        await run(tmp_path, 'mkdir "$root/$id"; exit 1')


async def test_a_record_left_by_a_step_that_succeeded_goes(tmp_path: Path) -> None:
    assert await run(tmp_path, 'mkdir "$root/$id"') == (0, [])


async def test_a_step_that_fails_is_no_failure_of_the_runtime(tmp_path: Path) -> None:
    assert await run(tmp_path, "exit 7") == (7, [])
