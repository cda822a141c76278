"""What is installed: the lock files fit pyproject.toml, name every file by its hash, and stay few."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.harness.daemon import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
MOST = 24
"""Distributions of an installation, argosy itself among them."""


def locked(name: str) -> dict[str, str]:
    """Distributions of a lock file with their versions."""
    text = (REPOSITORY / "deploy" / name).read_text().replace("\\\n", "")
    found = {}
    for line in text.splitlines():
        told, *hashes = line.split("--hash=")
        assert hashes, f"{told} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", h) for h in hashes), told
        requirement = Requirement(told)
        (version,) = requirement.specifier
        assert version.operator == "==", told
        if requirement.marker is None or requirement.marker.evaluate({"sys_platform": "linux"}):
            found[canonicalize_name(requirement.name)] = version.version
    return found


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.lock", PROJECT["dependencies"]),
        ("requirements-dev.lock", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]),
    ],
)
def test_a_lock_file_fits_what_is_asked_for(name: str, wanted: list[str]) -> None:
    versions = locked(name)
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {name}: make lock"
        assert version in requirement.specifier, f"{name} has {requirement.name} {version}: make lock"


def test_what_runs_was_tested() -> None:
    tested = locked("requirements-dev.lock")
    assert {name: tested.get(name) for name in locked("requirements.lock")} == locked("requirements.lock")


def test_an_installation_is_of_few_distributions() -> None:
    assert len(locked("requirements.lock")) + 1 <= MOST
