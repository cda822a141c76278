"""The Debian package, by dpkg: in a mount namespace where whatever it writes goes to memory. With a daemon, containers and
systemd it is tried in a machine of its own (`make vm`)."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.daemon import REPOSITORY
from tests.harness.host import Host

BUILD = REPOSITORY / "deploy/deb/build.py"
RELEASE = REPOSITORY / "deploy/release.py"
SYSTEM_PYTHON = "/usr/bin/python3"
LARGEST = 100 << 10
"""KiB that it takes installed."""


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def given_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make release` makes, with the package for this machine's distribution, whatever Python runs the tests."""
    python = run(SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    arch = run("dpkg", "--print-architecture")
    place = tmp_path_factory.mktemp("given-out")
    run(sys.executable, str(RELEASE), "--try", "--only", f"{arch}/{python}", "--to", str(place))
    return place


@pytest.fixture(scope="module")
def package(given_out: Path) -> Path:
    (found,) = given_out.glob("*.deb")
    return found


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a later version."""
    tree = tmp_path_factory.mktemp("newer")
    run("dpkg-deb", "--raw-extract", str(package), str(tree))
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+later", control.read_text()))
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(tree) + ".deb")
    return Path(str(tree) + ".deb")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path, tmp_path) as made:
        # Else dpkg would remove /opt, which is a mount here.
        shell(
            made,
            "mkdir -p somebody/DEBIAN somebody/opt/somebody && cd somebody && printf 'Package: somebody\\nVersion: 1\\n"
            "Architecture: all\\nMaintainer: x <x@localhost>\\nDescription: x\\n' >DEBIAN/control && "
            "dpkg-deb -Znone -b . ../somebody.deb && dpkg -i ../somebody.deb",
        )
        yield made


def done(host: Host, *command: str) -> str:
    """What a command says that must succeed."""
    found = host(*command)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


def shell(host: Host, text: str) -> str:
    return done(host, "sh", "-c", text).strip()


def test_what_is_given_out_is_whole(given_out: Path) -> None:
    """It has been tried already, in an environment of its own, and lintian had nothing to say."""
    assert {"".join(p.suffixes[-2:]) if p.suffix == ".gz" else p.suffix for p in given_out.iterdir()} == {
        ".tar.gz", ".whl", ".deb", ".json", "",
    }  # fmt: skip
    run("sh", "-c", f"cd {given_out} && sha256sum --quiet --strict --check SHA256SUMS")
    refused = subprocess.run(
        [sys.executable, str(RELEASE), "--only", "amd64/2.7"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "no package is made for amd64/2.7" in refused.stderr


@pytest.mark.parametrize(
    ("version", "why"), [("0.1.0", ""), ("0.2.0.dev3+g12ab", "is no release"), ("99.0.0", "has no heading for 99.0.0")]
)
def test_a_release_is_a_commit_with_a_tag_and_a_heading(version: str, why: str) -> None:
    code = f"import runpy; print(runpy.run_path({str(RELEASE)!r})['fit_to_be_given_out']({version!r}))"
    told = run(sys.executable, "-c", code)
    assert why in told
    assert bool(why) == bool(told)


def test_it_is_small_and_says_what_it_is_made_of(package: Path, tmp_path: Path) -> None:
    assert int(run("dpkg-deb", "--field", str(package), "Installed-Size")) < LARGEST
    run("dpkg-deb", "--extract", str(package), str(tmp_path))
    made_of = json.loads((tmp_path / "usr/share/doc/argosy/sbom.cdx.json").read_text())
    named = {(c["name"].lower().replace(".", "-"), c["version"]) for c in made_of["components"]}
    site = next(tmp_path.glob("opt/argosy/lib/python3*/site-packages"))
    found = set()
    for metadata in site.glob("*.dist-info/METADATA"):
        fields = dict(
            re.findall(r"(?m)^(Name|Version): (.*)$", metadata.read_text(errors="replace").partition("\n\n")[0])
        )
        found.add((fields["Name"].lower().replace(".", "-").replace("_", "-"), fields["Version"]))
    found = {pair for pair in found if pair[0] != "argosy"}
    assert found <= named
    assert len(found) < 24
    page = gzip.decompress((tmp_path / "usr/share/man/man1/argosy-run.1.gz").read_bytes()).decode()
    assert "\\-\\-publish" in page
    assert "keep\\-data" in gzip.decompress((tmp_path / "usr/share/man/man8/argosyd.8.gz").read_bytes()).decode()


def test_installed_upgraded_and_removed(host: Host, package: Path, newer: Path) -> None:
    shell(host, "getent group argosy >/dev/null && groupdel argosy || true")
    done(host, "dpkg", "--install", str(package))
    version = done(host, "argosy", "--version").split()[-1]
    assert done(host, "argosyd", "--version").split()[-1] == version
    assert done(host, "argosyd", "check")
    assert done(host, "getent", "group", "argosy")
    assert "complete" in shell(host, "cat /usr/share/bash-completion/completions/argosy")
    assert shell(host, "find /opt/argosy -name '*.pyc' | head -n 1")
    # What the operator has written stays.
    shell(host, "echo 'log_level = \"debug\"' >/etc/argosy/argosyd.toml")
    done(host, "dpkg", "--install", str(newer))
    assert shell(host, "cat /etc/argosy/argosyd.toml") == 'log_level = "debug"'
    assert shell(host, "dpkg-query -W -f '${Version}' argosy").endswith("+later")

    shell(host, "mkdir -p /var/lib/argosy/volumes && echo data >/var/lib/argosy/argosy.db")
    done(host, "dpkg", "--remove", "argosy")
    assert shell(host, "ls /opt /usr/bin | grep -w argosy; cat /var/lib/argosy/argosy.db /etc/argosy/argosyd.toml") == (
        'data\nlog_level = "debug"'
    )
    # Who is not asked has his data kept.
    told = shell(host, "DEBIAN_FRONTEND=noninteractive dpkg --purge argosy 2>&1")
    assert "images, containers and volumes stay in /var/lib/argosy" in told
    assert shell(host, "ls /etc/argosy 2>/dev/null; cat /var/lib/argosy/argosy.db") == "data"


def test_a_purge_deletes_what_is_the_engines_alone(host: Host, package: Path) -> None:
    done(host, "dpkg", "--install", str(package))
    shell(
        host,
        "mkdir -p /var/lib/argosy/volumes/v /run/mine && echo mine >/run/mine/file && echo x >/var/lib/argosy/argosy.db",
    )
    shell(host, "mount --bind /run/mine '/var/lib/argosy/volumes/v'")
    done(host, "dpkg", "--remove", "argosy")
    shell(host, "echo 'argosy argosy/delete-data boolean true' | debconf-set-selections")
    told = shell(host, "DEBIAN_FRONTEND=noninteractive dpkg --purge argosy 2>&1")
    assert "/var/lib/argosy is deleted" in told
    assert shell(host, "cat /run/mine/file; ls -d /var/lib/argosy 2>/dev/null || echo gone") == "mine\ngone"
    assert shell(host, "getent group argosy || echo gone") == "gone"


def test_what_stays_mounted_is_not_walked_into(host: Host, package: Path) -> None:
    done(host, "dpkg", "--install", str(package))
    shell(
        host,
        "mkdir -p /var/lib/argosy/v /run/mine && echo mine >/run/mine/file && : >/var/lib/argosy/argosy.db && "
        "mount --bind /run/mine /var/lib/argosy/v",
    )
    done(host, "dpkg", "--remove", "argosy")
    shell(
        host,
        "mkdir -p /var/lib/argosy/v && (mountpoint -q /var/lib/argosy/v || mount --bind /run/mine /var/lib/argosy/v)",
    )
    shell(host, "echo 'argosy argosy/delete-data boolean true' | debconf-set-selections")
    # Somebody is in it, so that it cannot be unmounted.
    told = shell(host, "cd /var/lib/argosy/v && DEBIAN_FRONTEND=noninteractive dpkg --purge argosy 2>&1")
    assert "/var/lib/argosy/v stays mounted, so /var/lib/argosy was not deleted" in told
    assert shell(host, "cat /var/lib/argosy/v/file") == "mine"


def test_an_installation_from_sources_is_not_written_over(host: Host, package: Path) -> None:
    shell(host, "mkdir -p /opt/argosy && echo theirs >/opt/argosy/file")
    refused = host("dpkg", "--install", str(package))
    assert refused.returncode != 0
    assert "deploy/install.sh --uninstall" in refused.stderr
    assert shell(host, "ls /opt/argosy") == "file"


@pytest.mark.parametrize(
    ("version", "debian"),
    [
        ("0.2.0", "0.2.0"), ("0.2.0rc1", "0.2.0~rc1"), ("0.1.1.dev7+gab1b2", "0.1.1~dev7+gab1b2"), ("1.0a2", "1.0~a2"),
        ("1.0.post1", "1.0.post1"),
    ],
)  # fmt: skip
def test_versions_sort_as_they_should(version: str, debian: str) -> None:
    code = f"import runpy; print(runpy.run_path({str(BUILD)!r})['debian_version']({version!r}))"
    assert run(sys.executable, "-c", code) == debian
    public = debian.partition("+")[0]
    if "~" in public:
        assert (
            subprocess.run(
                ["dpkg", "--compare-versions", public, "lt", public.partition("~")[0]], check=False
            ).returncode
            == 0
        )
