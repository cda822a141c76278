"""What users write is read as Docker reads it, and nothing else ends in anything but a usage error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.cli.container.terminal import Escape, read_keys
from argosy.cli.options import UsageError
from argosy.cli.parse.mounts import read_mount, read_tmpfs, read_volume
from argosy.cli.parse.pairs import read_env, read_fields, read_filters, read_pairs
from argosy.cli.parse.ports import read_exposed, read_ports
from argosy.cli.parse.sizes import read_cpus, read_size, read_swap
from argosy.cli.parse.times import read_duration, read_moment


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("1.5g", 3 << 29),
        ("2kb", 2048),
        ("2KiB", 2048),
        ("7b", 7),
        ("1 g", 1 << 30),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1.2.3g", "1mm", "٣m", "1e3"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(UsageError):
        read_size(text)


def test_swap_and_cpus() -> None:
    assert read_swap("-1") == -1
    assert [read_cpus(t) for t in ("1", "1.5", ".25", "0.000000001")] == [10**9, 1_500_000_000, 250_000_000, 1]
    for wrong in ("", ".", "-1", "1.0000000001", "x"):
        with pytest.raises(UsageError):
            read_cpus(wrong)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("10s", 10**10),
        ("1m30s", 9 * 10**10),
        ("1.5h", 5400 * 10**9),
        ("300ms", 3 * 10**8),
        ("-2s", -2 * 10**9),
        ("1us", 1000),
        ("1µs", 1000),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert read_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1s2", "-", "1..5s", "1.s.", "5 s"])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(UsageError):
        read_duration(text)


def test_moments() -> None:
    now = 2_000_000_000 * 10**9
    assert read_moment("10m", now) == now - 600 * 10**9
    assert read_moment("1136073845.5") == 1_136_073_845_500_000_000
    assert read_moment("2006-01-02T15:04:05.000000007Z") == 1_136_214_245_000_000_007
    assert read_moment("2006-01-02T15:04:05+01:00") == (1_136_214_245 - 3600) * 10**9
    for wrong in ("yesterday", "2006-13-01", ""):
        with pytest.raises(UsageError):
            read_moment(wrong)


def ports(text: str) -> list[tuple[str, int, int, str]]:
    return [(p.host_ip, p.host_port, p.container_port, p.protocol) for p in read_ports(text)]


def test_ports() -> None:
    assert ports("80") == [("", 0, 80, "tcp")]
    assert ports("8080:80") == [("", 8080, 80, "tcp")]
    assert ports("127.0.0.1:8080:80/udp") == [("127.0.0.1", 8080, 80, "udp")]
    assert ports("127.0.0.1::80") == [("127.0.0.1", 0, 80, "tcp")]
    assert ports("127.0.0.1:0:80") == [("127.0.0.1", 0, 80, "tcp")]
    assert ports("[::1]:8080:80") == [("::1", 8080, 80, "tcp")]
    assert ports("8000-8002:80-82") == [("", 8000 + n, 80 + n, "tcp") for n in range(3)]
    assert ports("8000-8010:80") == [("", 8000, 80, "tcp")]
    assert ports("published=8080,target=80,protocol=udp") == [("", 8080, 80, "udp")]
    assert read_exposed("80-81/udp") == ["80/udp", "81/udp"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "80:",
        "x:80",
        "80:x",
        "80:0",
        "70000:80",
        "8000-8001:80-82",
        "82-80",
        "80/icmp",
        "999.1.1.1:80:80",
        "a:b:c:d",
        "target=",
        "foo=1,target=80",
    ],
)
def test_wrong_ports(text: str) -> None:
    with pytest.raises(UsageError):
        read_ports(text)


def test_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bound = read_volume("./x:/y:ro,rslave")
    assert (bound.type, bound.source, bound.target) == ("bind", str(tmp_path / "x"), "/y")
    assert (bound.read_only, bound.propagation, bound.create_source) == (True, "rslave", True)
    named = read_volume("data:/var/lib:nocopy")
    assert (named.type, named.source, named.no_copy, named.create_source) == ("volume", "data", True, False)
    assert (read_volume("/cache").type, read_volume("/cache").source) == ("volume", "")
    for wrong in ("", "a:b:c:d", "a::", "a:/b:oops", "a:b", "/x:/"):
        with pytest.raises(UsageError):
            read_volume(wrong)


def test_mounts() -> None:
    bound = read_mount("type=bind,source=/a,target=/b,readonly,bind-propagation=rshared")
    assert (bound.type, bound.source, bound.target, bound.read_only) == ("bind", "/a", "/b", True)
    assert not bound.create_source
    tmpfs = read_mount("type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1770")
    assert (tmpfs.tmpfs_size, tmpfs.tmpfs_mode) == (64 << 20, 0o1770)
    volume = read_mount('type=volume,src=v,dst=/v,"volume-opt=o=size=1,uid=2",volume-label=a=b,volume-nocopy=true')
    assert (volume.volume_options, volume.volume_labels, volume.no_copy) == ({"o": "size=1,uid=2"}, {"a": "b"}, True)
    assert read_tmpfs("/run:size=1m,mode=755,noexec").tmpfs_mode == 0o755
    for wrong in (
        "type=bind,target=/b",
        "type=x,target=/b",
        "source=a",
        "target=b",
        "target=/b,x=1",
        "type=tmpfs,source=a,target=/b",
        'target=/b,"x',
    ):
        with pytest.raises(UsageError):
            read_mount(wrong)


def test_environment(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=1\n  B=two words \nHOME\nNOT_HERE\n")
    environ = {"HOME": "/root", "TERM": "vt100"}
    assert read_env(["A=2", "TERM", "NOPE"], [str(file)], environ) == [
        "A=2",
        "B=two words ",
        "HOME=/root",
        "TERM=vt100",
    ]
    file.write_text("A B=1\n")
    for values, files in ((["=x"], []), ([], [str(file)]), ([], [str(tmp_path / "none")])):
        with pytest.raises(UsageError):
            read_env(values, files)


def test_pairs_and_filters() -> None:
    assert read_pairs(["a=b=c", "d"]) == {"a": "b=c", "d": ""}
    assert read_filters(["Label=a=b", "status = running"]) == [("label", "a=b"), ("status", "running")]
    with pytest.raises(UsageError):
        read_filters(["status"])


def test_detach_keys() -> None:
    assert read_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert read_keys("a,ctrl-],ctrl-@") == b"a\x1d\x00"
    for wrong in ("", "ctrl-1", "ab", "ctrl-"):
        with pytest.raises(UsageError):
            read_keys(wrong)


@given(st.lists(st.binary(max_size=6), max_size=8))
def test_detach_keys_are_found_wherever_reads_cut_them(pieces: list[bytes]) -> None:
    keys = b"\x10\x11"
    whole = b"".join(pieces)
    escape = Escape(keys)
    passed, detached = b"", False
    for piece in pieces:
        more, detached = escape.feed(piece)
        passed += more
        if detached:
            break
    at = whole.find(keys)
    assert detached == (at >= 0)
    # What may be the keys' beginning waits for the next byte.
    assert passed == (whole[:at] if detached else whole.removesuffix(b"\x10"))


@pytest.mark.parametrize(
    "read",
    [
        read_size,
        read_swap,
        read_cpus,
        read_duration,
        read_moment,
        read_ports,
        read_exposed,
        read_volume,
        read_mount,
        read_tmpfs,
        read_keys,
        lambda t: read_fields(t, "x"),
        lambda t: read_pairs([t]),
        lambda t: read_filters([t]),
    ],
)
@given(text=st.one_of(st.text(max_size=30), st.text('0123456789:-,./="abkmgs[]~', max_size=20)))
def test_any_text_is_read_or_refused(read: Callable[[str], Any], text: str) -> None:
    try:
        read(text)
    except UsageError:
        pass
