"""The program `argosy` as our own installations start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LAUNCHER = Path(__file__).parents[4] / "client/argosy/cli/launcher"


def test_it_finds_the_package_and_its_libraries_without_what_others_have_run_at_every_start(tmp_path: Path) -> None:
    code = f"import sys; sys.argv = ['argosy', '--version']; exec(open({str(LAUNCHER)!r}).read())"
    done = subprocess.run(
        [sys.executable, "-S", "-X", "importtime", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("argosy version ")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "argosy.cli" in imported
    assert not imported & {"site", "sitecustomize", "_distutils_hack"}


def test_nothing_comes_from_the_directory_that_somebody_is_in(tmp_path: Path) -> None:
    """Whatever the file that names the sources ends in."""
    library = tmp_path / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    library.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    source = tmp_path / "source"
    (source / "argosy/cli").mkdir(parents=True)
    (source / "argosy/__init__.py").touch()
    (source / "argosy/cli/__init__.py").write_text(
        "import json, sys\ndef main(): print(json.dumps([__file__, *sys.path]))\n"
    )
    (library / "_argosy.pth").write_text(f"{source}\n\n")
    here = tmp_path / "here"
    (here / "argosy").mkdir(parents=True)
    (here / "argosy/__init__.py").write_text("raise SystemExit('from here')\n")
    code = f"import sys; sys.executable = {str(tmp_path / 'bin/python')!r}; exec(open({str(LAUNCHER)!r}).read())"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=here, env={})
    assert done.returncode == 0, done.stderr
    found, *path = json.loads(done.stdout)
    assert found == str(source / "argosy/cli/__init__.py")
    assert [str(Path(p).resolve()) for p in path if "source" in p or "site-packages" in p] == [
        str(source),
        str(library),
    ]
    assert not {"", ".", str(here)} & set(path)
