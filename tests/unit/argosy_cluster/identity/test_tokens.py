from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import InvalidArgument
from argosy_cluster.identity.tokens import JoinToken, new_secret, parse


@given(st.binary(min_size=32, max_size=32))
def test_a_token_says_what_it_was_made_of(digest: bytes) -> None:
    token = JoinToken(digest.hex(), new_secret())
    assert parse(f" {token}\n") == token
    assert str(token).startswith("ARGTKN-1-")


@given(st.text())
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(text)
    assert caught.value.reason == "MALFORMED_TOKEN"


def test_malformed_tokens_are_refused_without_being_repeated() -> None:
    token = str(JoinToken("ff" * 32, new_secret()))
    for bad in (token[:-1], token + "a", token.upper(), token.replace("-1-", "-2-"), f"ARGTKN-1-{'z' * 50}-{'a' * 25}"):
        with pytest.raises(InvalidArgument) as caught:
            parse(bad)
        assert bad[-20:] not in str(caught.value)


def test_a_token_does_not_show_its_secret_by_accident() -> None:
    token = JoinToken("ab" * 32, new_secret())
    assert token.secret not in repr(token)


def test_secrets_differ() -> None:
    assert len({new_secret() for _ in range(1000)}) == 1000
