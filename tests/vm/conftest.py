"""One guest for all tests of a run, with argosy installed and an image of busybox's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.vm import image, installing
from tests.vm.guest import Guest

BASE = r"""
set -e
mkdir -p /root/base/bin /root/base/etc /root/base/tmp /root/base/www
cd /root/base
cp /bin/busybox bin/
for name in $(busybox --list); do [ -e bin/$name ] || ln -s busybox bin/$name; done
echo root:x:0:0:root:/:/bin/sh >etc/passwd
tar -c . | argosy import - base
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `python -m tests.vm` tells."""
    parser.addoption("--image", type=Path, required=True, help="a directory with disk.img, vmlinuz and initrd.img")
    parser.addoption("--python", required=True, help="the guest's")
    parser.addoption("--accelerator", default="tcg")


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A machine that runs."""
    place = request.config.getoption("--image")
    made = image.Image(place / "disk.img", place / "vmlinuz", place / "initrd.img")
    directory = tmp_path_factory.mktemp("guest")
    source = installing.pack(request.config.getoption("--python"), directory)
    with Guest(made, directory, source=source, accelerator=request.config.getoption("--accelerator")) as machine:
        yield machine


@pytest.fixture(scope="session")
def guest(machine: Guest) -> Guest:
    """The machine with argosy on it."""
    installing.install(machine)
    machine.check(BASE)
    return machine
