"""What the guest's disk is made from."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.vm import image

_GUEST = image.Guest("debian-13", "trixie", "3.13")
_MADE = image.Recipe(_GUEST, "http://mirror.test/debian/", ("crun", "conmon"), (("/a", "x"),), "maker")


def test_only_the_first_part_of_the_list_is_the_engines() -> None:
    assert image.engine_packages("# a\nconmon\ncrun\n# … and more\nnpm\n") == ("conmon", "crun")


@pytest.mark.parametrize(
    "change",
    [
        {"guest": replace(_GUEST, suite="bookworm")},
        {"mirror": "http://d/"},
        {"packages": ("crun",)},
        {"files": (("/a", "y"),)},
        {"maker": "another"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_input_changes_the_key(change: dict[str, object]) -> None:
    assert replace(_MADE, **change).key != _MADE.key


def test_a_cached_image_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / _MADE.key).mkdir()
    made = image.build(_MADE, tmp_path)
    assert made.disk.parent == tmp_path / _MADE.key
