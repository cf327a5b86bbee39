"""XCLIENT's commands, whatever the client is called. The rest of it is in transcripts."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.client import ClientFacts, Endpoint, NoName
from tlsgate.dialogue.xclient import LoginTooLong, ehlo_name, offered, smtp_commands

ALL = frozenset(["NAME", "ADDR", "PROTO", "HELO", "REVERSE_NAME", "PORT", "LOGIN", "DESTADDR", "DESTPORT"])
_OURS = Endpoint(IPv6Address("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), 65535)
_text = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=255)
_hosts = st.lists(st.sampled_from(["a", "n" * 63, "1", "-", "ü"]), max_size=5).map(".".join)
_ends = st.none() | st.builds(Endpoint, st.ip_addresses(), st.integers(0, 65535))
_facts = st.builds(
    ClientFacts, _ends, _ends, name=st.sampled_from(NoName) | _hosts, helo=_text | _hosts, esmtp=st.booleans()
)


def _read(command: bytes) -> dict[str, str]:
    """The attributes as a server reads them: split at spaces, then xtext decoded."""
    assert command.endswith(b"\r\n") and len(command) <= 512
    verb, *words = command[:-2].split(b" ")
    assert verb == b"XCLIENT"
    pairs = [word.split(b"=") for word in words]
    assert all(len(pair) == 2 and len(pair[1]) <= 255 for pair in pairs)
    decoded = {
        name.decode(): re.sub(rb"\+([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), value).decode()
        for name, value in pairs
    }
    assert len(decoded) == len(pairs)
    return decoded


@given(_facts, _text, st.frozensets(st.sampled_from(sorted(ALL))).map(lambda some: some | {"ADDR"}))
def test_a_server_reads_what_was_meant(client: ClientFacts, login: str, attributes: frozenset[str]) -> None:
    """No value ends its word, its line or its attribute; nothing is said that the server hasn't asked for."""
    try:
        commands = smtp_commands(client, login, attributes)
    except LoginTooLong:
        assert len(login.encode()) * 3 > 255
        return
    assert 1 <= len(commands) <= 2
    read = [_read(command) for command in commands]
    together = {name: value for each in read for name, value in each.items()}
    assert together.keys() <= attributes
    assert together.get("LOGIN", "") == (login if "LOGIN" in attributes else "")
    assert client.helo.startswith(together.get("HELO", ""))
    assert {"ADDR", "LOGIN", "HELO", "PROTO"} & together.keys() <= read[-1].keys()
    assert next(iter(read[-1])) == "ADDR"
    if "PROTO" in attributes:
        assert together["PROTO"] == ("ESMTP" if client.esmtp else "SMTP")


@given(_facts)
def test_no_client_has_our_address_or_name(client: ClientFacts) -> None:
    """A server without them goes on with those of the connection: ours, which it trusts."""
    together: dict[str, str] = {}
    for command in smtp_commands(client, "", ALL):
        together |= _read(command)
    assert {"ADDR", "PORT", "NAME", "PROTO"} <= together.keys()
    assert ("REVERSE_NAME" in together) == (together["NAME"] in list(NoName))
    assert together["NAME"] in (client.name, NoName.UNAVAILABLE)
    source = client.source
    expected = "[UNAVAILABLE]" if source is None else f"{'IPV6:' * (source.address.version == 6)}{source.address}"
    assert together["ADDR"] == expected


@given(_facts)
def test_ehlo_is_a_domain_or_a_literal(client: ClientFacts) -> None:
    """It isn't encoded: what a client called itself is said again only where it can be nothing else."""
    said = ehlo_name(client, "gate.example")
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,255}|\[[A-Za-z0-9.:]+\]", said)
    assert said == client.helo or said == "gate.example" or client.source is not None


@pytest.mark.parametrize("helo", ["client.example", "[192.0.2.7]", "[IPv6:2001:db8::7]", "localhost", "my_pc"])
def test_a_plain_name_is_kept(helo: str) -> None:
    """Postfix takes EHLO's name for the client's, whatever XCLIENT has said: its checks would be made of ours."""
    assert ehlo_name(ClientFacts(_OURS, None, helo=helo), "gate.example") == helo


@pytest.mark.parametrize("helo", ["", "my pc", "a\tb", "10.0.0.1", "a..b", "-", "[", "a>", "ü.example", "h" * 254])
def test_any_other_is_told_by_its_address(helo: str) -> None:
    facts = ClientFacts(Endpoint(IPv4Address("192.0.2.7"), 1), None, helo=helo.replace("\t", " "))
    assert ehlo_name(facts, "gate.example") == "[192.0.2.7]"


def test_the_longest_user_name() -> None:
    """With all else as long as it can be, there is room for it."""
    client = ClientFacts(_OURS, _OURS, name="n" * 63, helo="h" * 255)
    for login in ("a" * 255, "+" * 85):
        assert _read(smtp_commands(client, login, ALL)[-1])["LOGIN"] == login
        with pytest.raises(LoginTooLong):
            smtp_commands(client, login + "a", ALL)


@pytest.mark.parametrize(
    ("keywords", "attributes"),
    [
        ((), ""),
        (("XCLIENT",), ""),
        (("XCLIENT NAME HELO",), ""),
        (("", " ", "SIZE", "xclient addr Helo"), "ADDR HELO"),
        (("XCLIENTS ADDR", "AUTH XCLIENT ADDR"), ""),
    ],
)
def test_what_is_offered(keywords: tuple[str, ...], attributes: str) -> None:
    assert offered(keywords) == frozenset(attributes.split())
