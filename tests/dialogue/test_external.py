"""EXTERNAL."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.dialogue.challenge import Challenge, SaslError
from tlsgate.dialogue.external import External
from tlsgate.dialogue.proofs import Proven


def test_the_certificate_says_who_and_the_client_as_whom() -> None:
    """RFC 4422 A: the client's words never change who it is."""
    assert External("alice").start(b"") == Proven("alice")
    assert External("alice").start(b"bob") == Proven("alice", "bob")
    exchange = External("alice")
    assert exchange.start(None) == Challenge(b"")
    assert exchange.respond("bøb".encode()) == Proven("alice", "bøb")
    assert exchange.user == "alice"


@pytest.mark.parametrize("response", [b"\xff", b"a\0b", b"a\r\nb", b"x" * 600])
def test_an_identity_that_cannot_be_told_to_a_backend(response: bytes) -> None:
    with pytest.raises(SaslError):
        External("alice").start(response)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_response(response: bytes) -> None:
    try:
        proven = External("alice").start(response)
    except SaslError:
        return
    assert proven == Proven("alice", response.decode())
