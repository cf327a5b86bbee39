"""Received: what it says, and that a stranger's words say nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.client import ClientFacts, Endpoint, NoName
from tlsgate.dialogue.smtp_syntax import SmtpSyntaxError, ehlo_name
from tlsgate.mail.received import Tls, received

AT = datetime(2026, 3, 1, 9, 5, 7, tzinfo=UTC)
TLS13 = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def _client(
    address: str | None = "192.0.2.1", helo: str = "host.test", name: str | NoName = "rdns.test", esmtp: bool = True
) -> ClientFacts:
    source = None if address is None else Endpoint(ip_address(address), 4711)
    return ClientFacts(source, None, "abc123", name, helo, esmtp)


def _unfolded(written: bytes) -> str:
    return re.sub(r"\r\n\t", " ", written.decode()).removesuffix("\r\n")


def test_all_that_is_known() -> None:
    written = received(_client(), "mail.example.org", TLS13, AT, logged_in=True)
    assert written == (
        b"Received: from host.test (rdns.test [192.0.2.1]) by mail.example.org with\r\n"
        b"\tESMTPSA id abc123 tls TLS_AES_256_GCM_SHA384 (TLSv1.3);\r\n"
        b"\tSun, 01 Mar 2026 09:05:07 +0000\r\n"
    )


CLIENTS = {
    _client("2001:db8::1"): "from host.test (rdns.test [IPv6:2001:db8::1]) by",
    _client(helo="[192.0.2.1]"): "from [192.0.2.1] (rdns.test [192.0.2.1]) by",
    _client(helo="[IPv6:2001:db8::1]"): "from [IPv6:2001:db8::1] (rdns.test [192.0.2.1]) by",
    _client(helo=""): "from [192.0.2.1] (rdns.test [192.0.2.1]) by",
    _client(helo="my laptop (new)"): "from [192.0.2.1] (rdns.test [192.0.2.1]) (helo=my laptop ?new?) by",
    _client(helo="host.test) by us"): "from [192.0.2.1] (rdns.test [192.0.2.1]) (helo=host.test? by us) by",
    _client(name=NoName.UNAVAILABLE): "from host.test (unknown [192.0.2.1]) by",
    _client(name="a) by us (b"): "from host.test (unknown [192.0.2.1]) by",
    _client(None, name=NoName.UNAVAILABLE): "from host.test (unknown) by",
    _client(None, helo="", name=NoName.UNAVAILABLE): "from unknown (unknown) by",
}


@pytest.mark.parametrize(("client", "said"), CLIENTS.items())
def test_clients(client: ClientFacts, said: str) -> None:
    assert _unfolded(received(client, "us.test", None, AT, logged_in=False)).startswith(f"Received: {said} us.test")


@pytest.mark.parametrize(
    ("esmtp", "tls", "logged_in", "said"),
    [
        (True, TLS13, True, "ESMTPSA"),
        (True, TLS13, False, "ESMTPS"),
        (True, None, False, "ESMTP"),
        (False, None, False, "SMTP"),
    ],
)
def test_protocols(esmtp: bool, tls: Tls | None, logged_in: bool, said: str) -> None:
    """RFC 3848. Filters weigh mail by it: ESMTPSA is a user's, not a stranger's."""
    written = _unfolded(received(_client(esmtp=esmtp), "us.test", tls, AT, logged_in=logged_in))
    assert f" with {said} id abc123" in written


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        (Tls("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256"), "tls TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 (TLSv1.2);"),
        (Tls("TLSv1.2", "ECDHE-RSA-CHACHA20-POLY1305"), "tls TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 (TLSv1.2);"),
        (Tls("TLSv1.2", "OTHER-SHA"), "(TLSv1.2 OTHER-SHA);"),
    ],
)
def test_suites_have_their_registered_names(tls: Tls, said: str) -> None:
    """RFC 8314 4.3."""
    assert f" id abc123 {said} " in _unfolded(received(_client(), "us.test", tls, AT, logged_in=True))


@given(st.text(min_size=1, max_size=255))
def test_any_name_in_ehlo(name: str) -> None:
    """D6: whatever a client calls itself, there is one field, whose comments end where they should."""
    try:
        client = _client(helo=ehlo_name(name))
    except SmtpSyntaxError:
        return
    written = received(client, "us.test", TLS13, AT, logged_in=False)
    assert re.fullmatch(
        r"Received: from ([A-Za-z0-9_.-]+|\[[A-Za-z0-9:.]+\]) \([^()\\\r\n]*\)(?: \(helo=[^()\\\r\n]*\))?"
        r" by us\.test with ESMTPS id abc123 tls \w+ \(TLSv1\.3\); Sun, 01 Mar 2026 09:05:07 \+0000",
        _unfolded(written),
    )
    assert max(map(len, written.split(b"\r\n"))) < 998
