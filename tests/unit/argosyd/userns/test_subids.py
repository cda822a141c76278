"""Subordinate ids, and what the words of `--userns-remap` and `--userns` make of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import InvalidArgument, ResourceExhausted
from argosyd.userns import subids
from argosyd.userns.ids import OVERFLOW, IdMap, IdRange, kernel_text, mapped, to_container, to_host
from argosyd.userns.subids import POOL, Host, SubIds, parse, remap

NAMES = {1000: "bob", 100: "users"}
HOST = Host(
    parse("bob:100000:65536\n1001:300000:1000\neve:400000:10\neve:500000:20\n"),
    parse("bob:200000:65536\nusers:600000:5\neve:400000:30\n1001:7000:9\n"),
    lambda number: NAMES.get(number, ""),
    lambda number: NAMES.get(number, ""),
)


def one(inside: int, outside: int, size: int) -> tuple[IdRange, ...]:
    return (IdRange(inside, outside, size),)


def test_lines_that_say_nothing_are_passed_over() -> None:
    text = "# c\n\nbob:100000:65536\nbob:x:1\n:1:1\nbob:1\nbob:1:0\nbob:4294967295:2\nbob:²:3\nzoe:4294967295:1\n"
    assert parse(text) == (SubIds("bob", 100000, 65536), SubIds("zoe", 4294967295, 1))


@pytest.mark.parametrize(
    ("value", "uids", "gids"),
    [
        ("bob", one(0, 100000, 65536), one(0, 200000, 65536)),
        ("1000", one(0, 100000, 65536), one(0, 200000, 65536)),
        ("bob:users", one(0, 100000, 65536), one(0, 600000, 5)),
        ("1000:100", one(0, 100000, 65536), one(0, 600000, 5)),
        ("1001", one(0, 300000, 1000), one(0, 7000, 9)),
        ("eve", (IdRange(0, 400000, 10), IdRange(10, 500000, 20)), one(0, 400000, 30)),
    ],
)
def test_remap_takes_dockers_words(value: str, uids: tuple[IdRange, ...], gids: tuple[IdRange, ...]) -> None:
    assert remap(value, HOST) == IdMap(uids, gids)


@pytest.mark.parametrize("value", ["", ":", "bob:", ":users", "a:b:c", "bo b", "../x", "99999999999", "bob\n", "-1"])
def test_other_words_are_refused(value: str) -> None:
    with pytest.raises(InvalidArgument, match="use default, USER"):
        remap(value, HOST)


def test_who_has_no_subordinate_ids_is_told_where_to_add_them() -> None:
    with pytest.raises(InvalidArgument, match="'zoe' in /etc/subuid: add a line like zoe:100000:65536"):
        remap("zoe", HOST)
    with pytest.raises(InvalidArgument, match="'zoe' in /etc/subgid"):
        remap("bob:zoe", HOST)


def test_default_takes_the_engines_own_ids_or_the_pool() -> None:
    own = Host(parse("argosy:1000000:200000\n"), parse("argosy:3000000:100\n"))
    assert remap("default", own) == IdMap(one(0, 1000000, 65536), one(0, 3000000, 100))
    assert remap("default", HOST) == IdMap(one(0, POOL[0], 65536), one(0, POOL[0], 65536))


def test_auto_finds_the_lowest_gap_beside_default_and_others() -> None:
    own = Host(parse("argosy:1000000:200000\n"), parse("argosy:1000000:200000\n"))
    first = subids.auto(1000, own, ())
    assert first == IdMap(one(0, 1065536, 1000), one(0, 1065536, 1000))
    assert subids.auto(10, own, [first]).root == (1066536, 1066536)
    with pytest.raises(ResourceExhausted, match="auto:size=N"):
        subids.auto(200000, own, [first])


def test_auto_in_the_pool_keeps_clear_of_what_users_were_given() -> None:
    host = Host(parse(f"bob:{POOL[0] + 65536}:7\n"), parse(f"eve:{POOL[0] + 65536 + 7}:3\n"))
    assert subids.auto(5, host, ()).root == (POOL[0] + 65546, POOL[0] + 65546)


def test_sizes_of_auto() -> None:
    assert subids.auto_size("auto") == 65536
    assert subids.auto_size("auto:size=2000") == 2000
    for wrong in ("auto:", "auto:size=", "auto:size=0", "auto:size=x", "auto:uidmapping=1", "auto:size=9999999999"):
        with pytest.raises(InvalidArgument, match="auto:size=N"):
            subids.auto_size(wrong)


@given(st.lists(st.integers(1, 200_000), max_size=20), st.text(alphabet="abc:0123456789\n#", max_size=200))
def test_ranges_of_auto_never_meet(sizes: list[int], text: str) -> None:
    host = Host(parse(text), parse(text))
    taken: list[IdMap] = [remap("default", host)]
    for size in sizes:
        taken.append(subids.auto(size, host, taken))
    spans = sorted((r.outside, r.outside + r.size) for m in taken for r in m.uids)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


def test_ids_are_translated_both_ways() -> None:
    ranges = (IdRange(0, 100000, 10), IdRange(10, 500, 5))
    assert (to_host(ranges, 9), to_host(ranges, 10)) == (100009, 500)
    assert (to_container(ranges, 504), to_container(ranges, 505), to_container(ranges, 0)) == (14, OVERFLOW, OVERFLOW)
    assert (mapped(ranges, 14), mapped(ranges, 15)) == (True, False)
    with pytest.raises(LookupError):
        to_host(ranges, 15)
    assert kernel_text(ranges) == "0 100000 10\n10 500 5\n"


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    for entry in parse(text):
        assert entry.count > 0
        assert entry.first + entry.count <= 1 << 32
