"""argosyd.images.reference: Docker's grammar."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import InvalidArgument
from argosyd.images.reference import parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("grafana/loki", "docker.io/grafana/loki:latest", "grafana/loki:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
        ("127.0.0.1:5000/team/x", "127.0.0.1:5000/team/x:latest", "127.0.0.1:5000/team/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("quay.io/a/b-c__d.e:v1.0", "quay.io/a/b-c__d.e:v1.0", "quay.io/a/b-c__d.e:v1.0"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}", f"alpine@{DIGEST}"),
        (f"alpine:3@{DIGEST}", f"docker.io/library/alpine:3@{DIGEST}", f"alpine:3@{DIGEST}"),
        ("Registry.io/x", "Registry.io/x:latest", "Registry.io/x:latest"),
    ],
)
def test_names(text: str, full: str, familiar: str) -> None:
    parsed = parse(text).with_default_tag()
    assert (str(parsed), parsed.familiar) == (full, familiar)


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", "A", "a/B", "a//b", "/a", "a/", "a:b:c/d", "a@sha256:abc", "a:" + "x" * 129, "f" * 64, "a b",
     "-a", "a__", "a___b", "http://a/b", "../a", "a/../b"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        parse(text)


@given(st.text(alphabet="abAB01:/@.-_[]localhst256 é\0", max_size=90))
def test_any_text_is_a_reference_or_refused_and_what_is_one_reads_back(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parsed = parse(text).with_default_tag()
        assert parse(str(parsed)) == parsed
        assert parse(parsed.familiar) == parsed


def test_a_name_is_never_shortened_to_another() -> None:
    parsed = parse("docker.io/a.example/library/x")
    assert parsed.familiar == "docker.io/a.example/library/x"
    assert parse(parsed.familiar) == parsed
