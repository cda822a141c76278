"""Makes the Debian package: `python deploy/deb/build.py [--arch amd64|arm64] [--python 3.13] [--to dist]`.

It has an environment of its own below /opt/argosy, made of the wheels that deploy/requirements.lock names, for one
processor and one Python, neither of which needs to be this machine's. What it depends on of the distribution is the
first part of deploy/packages.txt.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OPT = "opt/argosy"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
STRIP = {"amd64": "x86_64-linux-gnu-strip", "arm64": "aarch64-linux-gnu-strip"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""Of the oldest distribution it is for, and older."""
ESSENTIAL = ("tar",)
"""What every system has, and no package may say that it needs."""
COMPILED = ("libc6 (>= 2.34)", "libgcc-s1", "libstdc++6")
"""What is compiled in wheels is linked to."""
NOT_NEEDED = ("*.pyx", "*.pxd", "*.c", "*.h", "*.a", "tests", "bin")
"""Of wheels: sources of what is compiled already, tests, commands that nobody calls."""
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/argosy",
    "zsh": "usr/share/zsh/vendor-completions/_argosy",
    "fish": "usr/share/fish/vendor_completions.d/argosy.fish",
}
INIT = """#!/{opt}/bin/python -I
import sys

from argosyd.__main__ import main

sys.exit(main())
"""
CONTROL = """Package: argosy
Version: {version}
Architecture: {arch}
Maintainer: argosy's maintainers <argosy@localhost>
Installed-Size: {size}
Depends: {depends}
Recommends: apparmor, ca-certificates
Suggests: runc
Section: admin
Priority: optional
Description: container engine with a gRPC API
 Images from Dockerfiles and registries, containers, networks and volumes with
 the words that users of Docker know; services that several hosts run together,
 by number, by schedule or by load; containers that move between hosts.
 .
 The daemon is argosyd, the command is argosy.
"""


@dataclass(frozen=True)
class Target:
    """What a package is for."""

    arch: str
    """As dpkg writes it."""
    python: str
    """ "3.13"."""

    def suffix(self) -> str:
        """Of the package's version: a newer distribution's is an upgrade."""
        return "+py" + self.python.replace(".", "")

    def pip(self) -> list[str]:
        """Options of pip that choose its wheels."""
        machine = MACHINES[self.arch]
        chosen = [word for glibc in GLIBC for word in ("--platform", f"{glibc}_{machine}")]
        return ["--only-binary=:all:", "--implementation=cp", f"--python-version={self.python}", *chosen]


def debian_version(version: str) -> str:
    """A version of PEP 440 as one that sorts likewise for dpkg (deb-version(7)): what comes before a release has a "~"."""
    public, plus, local = version.partition("+")
    return re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", public) + plus + local


def depends(listing: str, python: str) -> str:
    """The field Depends, from the first part of deploy/packages.txt."""
    first = listing.split("\n# … and", 1)[0]
    names = [line for line in first.splitlines() if line and not line.startswith("#")]
    # Either starts containers.
    runtimes = [name for name in ("crun", "runc") if name in names]
    rest = [name for name in names if name not in (*runtimes, *ESSENTIAL)]
    return ", ".join([f"python{python}", " | ".join(runtimes), *rest, *COMPILED, "debconf | debconf-2.0", "passwd"])


def unit(text: str) -> str:
    """A unit of systemd as a package has it: what is installed by hand is below /usr/local."""
    return text.replace("/usr/local/bin/", "/usr/bin/").replace("/usr/local/share/", "/usr/share/")


def run(*command: str, **options: object) -> str:
    """Runs a command and gives what it prints."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    return str(done.stdout)


def environment(target: Target, wheel: Path, root: Path) -> None:
    """The environment below /opt/argosy: a `venv` without pip, from wheels whose hashes are known."""
    site = root / OPT / "lib" / f"python{target.python}" / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check", "--no-compile",
           "--target", str(site), *target.pip()]  # fmt: skip
    run(*pip, "--require-hashes", "--requirement", str(ROOT / "deploy/requirements.lock"))
    with tempfile.TemporaryDirectory() as scratch:
        run(*pip[: -len(target.pip()) - 1], scratch, "--no-deps", str(wheel))
        for entry in Path(scratch).iterdir():
            if entry.name != "bin":
                shutil.move(entry, site / entry.name)
    for pattern in NOT_NEEDED:
        for path in list(site.rglob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    if strip := shutil.which(STRIP[target.arch]):
        run(strip, "--strip-unneeded", *map(str, site.rglob("*.so")))
    bin = root / OPT / "bin"
    bin.mkdir()
    (bin / "python").symlink_to(f"/usr/bin/python{target.python}")
    (root / OPT / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {target.python}\n"
    )
    launcher = (ROOT / "client/argosy/cli/launcher").read_text().partition("\n")[2]
    # Without `site`, for the reasons that it tells.
    (bin / "argosy").write_text(f"#!/{OPT}/bin/python -S\n{launcher}")
    (bin / "argosyd").write_text(INIT.format(opt=OPT))


def system(root: Path, version: str, target: Target) -> None:
    """What the host sees: commands, units, settings, documentation."""
    usr = root / "usr"
    for directory in (
        "bin",
        "lib/systemd/system",
        "lib/systemd/network",
        "share/doc/argosy",
        "share/lintian/overrides",
    ):
        (usr / directory).mkdir(parents=True)
    for name in ("argosy", "argosyd"):
        (usr / "bin" / name).symlink_to(f"/{OPT}/bin/{name}")
    for name in ("argosyd.service", "argosy.slice"):
        (usr / "lib/systemd/system" / name).write_text(unit((ROOT / "deploy" / name).read_text()))
    shutil.copy(ROOT / "deploy/argosy.network", usr / "lib/systemd/network/10-argosy.network")
    (root / "etc/argosy").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/argosyd.toml", root / "etc/argosy")
    doc = usr / "share/doc/argosy"
    for name in ("README.md", "ARCHITECTURE.md", "SECURITY.md"):
        shutil.copy(ROOT / name, doc)
    compress((ROOT / "CHANGELOG.md").read_bytes(), doc / "changelog.gz")
    compress(changelog(version).encode(), doc / "changelog.Debian.gz")
    (doc / "copyright").write_text(copyright_of(root / OPT))
    shutil.copy(HERE / "overrides", usr / "share/lintian/overrides/argosy")
    run(sys.executable, str(HERE / "sbom.py"), str(doc / "sbom.cdx.json"), version)
    for shell, place in COMPLETIONS.items():
        (root / place).parent.mkdir(parents=True)
        (root / place).write_text(run(str(Path(sys.executable).parent / "argosy"), "completion", shell))
    run(sys.executable, str(HERE / "manual.py"), str(usr / "share/man"), version)


def compress(data: bytes, to: Path) -> None:
    """As policy has it: small, and the same for the same data."""
    to.write_bytes(gzip.compress(data, 9, mtime=0))


def built_at() -> datetime:
    """The time of the last commit, for each build of it to be the same."""
    told = os.environ.get("SOURCE_DATE_EPOCH") or run("git", "-C", str(ROOT), "log", "-1", "--format=%ct")
    return datetime.fromtimestamp(int(told), UTC)


def changelog(version: str) -> str:
    """Debian's own (deb-changelog(5)); what changed stands in the project's."""
    return (
        f"argosy ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n"
        f" -- argosy's maintainers <argosy@localhost>  {format_datetime(built_at())}\n"
    )


def copyright_of(environment: Path) -> str:
    """Whose work is in the package, and under which terms (each distribution's own texts lie beside it)."""
    lines = ["Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/", "Upstream-Name: argosy", "",
             "Files: *", "Copyright: 2026 the authors of argosy", "License: Apache-2.0", ""]  # fmt: skip
    for metadata in sorted(environment.rglob("*.dist-info/METADATA")):
        text = metadata.read_text(errors="replace").partition("\n\n")[0]
        fields = dict(re.findall(r"(?m)^([A-Za-z-]+): (.*)$", text))
        if fields["Name"] != "argosy":
            told = fields.get("License-Expression") or fields.get("License") or "as its own files tell"
            place = metadata.parent.relative_to(environment.parents[1])
            lines += [
                f"Files: {place}/*",
                f"Copyright: 2026 the authors of {fields['Name']}",
                f"License: {told[:60]}",
                "",
            ]
    lines += ["License: Apache-2.0", " On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.", ""]
    return "\n".join(lines)


def control(root: Path, version: str, target: Target) -> None:
    """What dpkg reads."""
    place = root / "DEBIAN"
    place.mkdir()
    files = sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink() and place not in p.parents)
    sums = [f"{hashlib.md5(p.read_bytes()).hexdigest()}  {p.relative_to(root)}\n" for p in files]
    (place / "md5sums").write_text("".join(sums))
    (place / "conffiles").write_text("/etc/argosy/argosyd.toml\n")
    size = sum(-(-p.stat().st_size // 1024) for p in files)
    text = (ROOT / "deploy/packages.txt").read_text()
    (place / "control").write_text(
        CONTROL.format(version=version, arch=target.arch, size=size, depends=depends(text, target.python))
    )
    shutil.copy(HERE / "templates", place)
    for name in SCRIPTS:
        shutil.copy(HERE / name, place)


def settle(root: Path) -> None:
    """Modes and times that do not tell of the machine it was made on."""
    at = built_at().timestamp()
    executable = {*(root / "DEBIAN" / name for name in SCRIPTS), root / OPT / "bin/argosy", root / OPT / "bin/argosyd"}
    for path in [*root.rglob("*"), root]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in executable else 0o644)
        os.utime(path, (at, at), follow_symlinks=False)


def build(target: Target, wheel: Path, to: Path, more: str = "") -> Path:
    """The package, from a wheel of this project. `more` is put behind its version."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        found = re.search(r"(?m)^Version: (.*)$", archive.read(metadata).decode())
    assert found is not None
    version = f"{debian_version(found[1])}-1{target.suffix()}{more}"
    with tempfile.TemporaryDirectory(prefix="argosy-deb-") as scratch:
        root = Path(scratch) / "argosy"
        root.mkdir()
        environment(target, wheel, root)
        system(root, version, target)
        control(root, version, target)
        settle(root)
        package = to / f"argosy_{version}_{target.arch}.deb"
        run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(package),
            env={**os.environ, "SOURCE_DATE_EPOCH": str(int(built_at().timestamp()))})  # fmt: skip
    return package


def a_wheel(to: Path) -> Path:
    """This checkout's."""
    before = set(to.glob("*.whl"))
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(to), str(ROOT))
    made = sorted(set(to.glob("*.whl")) - before or before, key=lambda p: p.stat().st_mtime)
    return made[-1]


def main() -> None:
    """The command line."""
    here = {machine: arch for arch, machine in MACHINES.items()}.get(platform.machine(), "amd64")
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--arch", choices=sorted(MACHINES), default=here)
    p.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}", help="the distribution's")
    p.add_argument("--wheel", type=Path, help="one that is made already")
    p.add_argument("--to", type=Path, default=ROOT / "dist")
    p.add_argument("--more", default="", help="put behind the package's version")
    given = p.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    print(build(Target(given.arch, given.python), given.wheel or a_wheel(given.to), given.to, given.more))


if __name__ == "__main__":
    main()
