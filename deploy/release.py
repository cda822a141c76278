"""Makes what a version is given out as: `python deploy/release.py [--to dist]`.

The sdist, the wheel made from it, a Debian package for each processor and Python, the bill of materials, and the
checksums of all. The wheel is tried in an environment of its own, with nothing of this checkout on its path; the package
of this machine's kind is looked at by lintian. The version is git's: the tag v* on this commit, or else one that says how
many commits came after the last one.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [(arch, python) for arch in ("amd64", "arm64") for python in ("3.11", "3.12", "3.13")]
"""Debian 12, Ubuntu 24.04, Debian 13."""


def say(text: str) -> None:
    """A step, for who waits."""
    print(f"==> {text}", flush=True)


def run(*command: str | Path, **options: object) -> str:
    """Runs a command and gives what it prints."""
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    return str(done.stdout).strip()


def the_version(sdist: Path) -> str:
    """What the version is, from the name of the sdist."""
    return sdist.name.removeprefix("argosy-").removesuffix(".tar.gz")


def fit_to_be_given_out(version: str) -> str:
    """Why a build is none to be given out, else empty: a release is a commit that has a tag, and a changelog of it."""
    if "+" in version:
        return f"{version} is no release: give the commit a tag (git tag -a v1.2.3), with nothing uncommitted"
    if not re.search(rf"(?m)^## {re.escape(version)} ", (ROOT / "CHANGELOG.md").read_text()):
        return f"CHANGELOG.md has no heading for {version}"
    return ""


def build(to: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is made from it, not from the checkout: what is missing in the one fails here."""
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", "--outdir", to, ROOT)
    (sdist,), (wheel,) = to.glob("*.tar.gz"), to.glob("*.whl")
    return sdist, wheel


def test(wheel: Path, version: str) -> None:
    """The wheel in an environment of its own, beside what the lock file names."""
    with tempfile.TemporaryDirectory(prefix="argosy-release-") as scratch:
        place = Path(scratch) / "env"
        venv.create(place, with_pip=True)
        pip = [place / "bin/python", "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check"]
        run(*pip, "--require-hashes", "--requirement", ROOT / "deploy/requirements.lock")
        run(*pip, "--no-deps", wheel)
        run(place / "bin/python", "-m", "pip", "check")
        clean = {"PATH": f"{place}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": scratch}
        for command in (("argosy", "--version"), ("argosyd", "--version")):
            told = run(*command, env=clean, cwd=scratch)
            assert told.split()[-1] == version, f"{command[0]} says {told!r}"
        run("argosy", "run", "--help", env=clean, cwd=scratch)
        run("argosyd", "check", env=clean, cwd=scratch)
        # What the wheel brings is what is imported, and all of it can be.
        run(place / "bin/python", "-I", "-c", WALK, env=clean, cwd=scratch)


WALK = """
import importlib, pkgutil, sys
for top in ("argosy", "argosyd", "argosy_cluster"):
    package = importlib.import_module(top)
    for found in pkgutil.walk_packages(package.__path__, top + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    assert sys.prefix in package.__file__, package.__file__
"""


def sums(to: Path) -> None:
    """The checksums, as sha256sum(1) reads them."""
    files = sorted(p for p in to.iterdir() if p.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files]
    (to / "SHA256SUMS").write_text("".join(lines))


def main() -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--to", type=Path, default=ROOT / "dist")
    p.add_argument("--try", action="store_true", dest="trying", help="make all of it although it is no release")
    p.add_argument("--only", action="append", metavar="ARCH/PYTHON", help="packages for these alone")
    given = p.parse_args()
    wanted = [tuple(o.split("/")) for o in given.only] if given.only else PACKAGES
    if unknown := [f"{a}/{v}" for a, v in wanted if (a, v) not in PACKAGES]:
        p.error(f"no package is made for {unknown[0]}: one of {', '.join(f'{a}/{v}' for a, v in PACKAGES)}")
    with tempfile.TemporaryDirectory(prefix="argosy-release-") as scratch:
        made = Path(scratch)
        say("sdist and wheel")
        sdist, wheel = build(made)
        version = the_version(sdist)
        if (why := fit_to_be_given_out(version)) and not given.trying:
            raise SystemExit(f"release.py: {why}; --try makes it all the same")
        say(f"{version}: tried in an environment of its own")
        test(wheel, version)
        for arch, python in wanted:
            say(f"package for {arch}, Python {python}")
            options = ("--arch", arch, "--python", python, "--wheel", wheel, "--to", made)
            package = run(sys.executable, ROOT / "deploy/deb/build.py", *options).splitlines()[-1]
            run("lintian", "--allow-root", "--fail-on", "error,warning", package)
        run(sys.executable, ROOT / "deploy/deb/sbom.py", made / f"argosy-{version}.cdx.json", version)
        sums(made)
        given.to.mkdir(parents=True, exist_ok=True)
        for file in made.iterdir():
            shutil.copy(file, given.to)
    say(f"{given.to}: {', '.join(sorted(p.name for p in given.to.iterdir()))}")


if __name__ == "__main__":
    main()
