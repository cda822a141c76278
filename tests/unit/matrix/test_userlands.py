"""Which archive a tree of another distribution comes from, and when a tree may be used again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.matrix import trees

TARGETS = """Node Source https://node.test/node
Debian http://mirror.test/debian/
Debian http://mirror.test/debian
Debian http://security.test/debian-security
"""


def test_the_archive_is_the_first_that_apt_has_of_a_distribution() -> None:
    assert trees.mirror_of("Debian", TARGETS) == "http://mirror.test/debian"
    assert trees.mirror_of("Ubuntu", TARGETS) is None
    assert trees.mirror_of("Node", TARGETS) is None


def test_a_tree_is_known_by_all_that_it_is_made_of() -> None:
    debian = trees.USERLANDS[0]
    key = trees.key(debian, "http://a")
    assert key.startswith("debian-12-")
    assert key == trees.key(replace(debian), "http://a")
    others = {trees.key(debian, "http://b"), trees.key(replace(debian, components="main,contrib"), "http://a")}
    assert len({key, *others}) == 3


def test_what_is_not_whole_has_no_name_and_is_made_again(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(part: Path, *, fail: bool = False) -> None:
        part.mkdir()
        made.append(part)
        if fail:
            raise OSError("cut off")

    place = tmp_path / "cache/tree"
    with pytest.raises(OSError, match="cut off"):
        trees.whole(place, partial(make, fail=True))
    assert not place.exists()
    assert trees.whole(place, make) == trees.whole(place, make) == place
    assert place.is_dir()
    assert len(made) == 2
