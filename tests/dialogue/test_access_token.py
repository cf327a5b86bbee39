"""An access token as a value."""

from __future__ import annotations

import pytest

from tlsgate.dialogue.access_token import LONGEST_TOKEN, BearerToken
from tlsgate.dialogue.credentials import LONGEST_USER, CredentialsError


def test_the_token_is_not_shown() -> None:
    assert repr(BearerToken("abc", "user")) == "BearerToken(authzid='user')"


@pytest.mark.parametrize(
    "token", ["", "=", "a b", "a=b", "abc\n", "abc\r\nx", "a\0", "\u00e4", "a" * (LONGEST_TOKEN + 1)]
)
def test_what_is_no_token(token: str) -> None:
    """It goes into an HTTP request, or to a backend, as it is."""
    with pytest.raises(CredentialsError) as caught:
        BearerToken(token)
    assert not token or token not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_longest_token() -> None:
    with pytest.raises(CredentialsError):
        BearerToken("a" * (LONGEST_TOKEN + 1))
    assert len(BearerToken("a" * LONGEST_TOKEN).token) == LONGEST_TOKEN


@pytest.mark.parametrize("authzid", [" ", "a\r\nb", "a\0", "x" * (LONGEST_USER + 1)])
def test_a_name_that_no_backend_could_be_told(authzid: str) -> None:
    with pytest.raises(CredentialsError):
        BearerToken("abc", authzid)


def test_whose_it_is_said_to_be() -> None:
    assert BearerToken("abc", "alice").user == "alice"
    assert BearerToken("abc").user == ""
