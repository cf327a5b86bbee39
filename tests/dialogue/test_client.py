"""What may be known of a client: values that no backend can take for anything else."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tlsgate.dialogue.client import ClientFacts, Endpoint


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::192.0.2.1", "::c000:201"),
    ],
)
def test_one_form_of_an_address(said: str, meant: str) -> None:
    """A block list has IPv4 clients by IPv4; a zone is this host's, and no syntax of any backend."""
    assert str(Endpoint(ip_address(said), 25).address) == meant
    assert Endpoint(ip_address(said), 25) == Endpoint(ip_address(meant), 25)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        Endpoint(ip_address("192.0.2.1"), port)


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x7f", "\x85", "\u2028", "\udcff"])
def test_no_control_character(character: str) -> None:
    """Encoded it passes us, but the backend decodes it, and writes it to a header."""
    with pytest.raises(ValueError, match="control"):
        ClientFacts(None, None, helo=f"a{character}b")
    with pytest.raises(ValueError, match="control"):
        ClientFacts(None, None, login=f"a{character}b")


@pytest.mark.parametrize("session", ["a b", "a\r\n", "a" * 65, 'a"', "ä"])
def test_no_other_session_id(session: str) -> None:
    """POP3's XCLIENT and its spaces aren't encoded."""
    with pytest.raises(ValueError, match="session"):
        ClientFacts(None, None, session=session)


def test_values_stay() -> None:
    """They are shared by a session's backend connections."""
    end = Endpoint(ip_address("192.0.2.1"), 25)
    with pytest.raises(AttributeError, match="immutable"):
        end.port = 26  # type: ignore[misc]
