"""Authentication-Results of ours: RFC 8601's grammar, whatever strangers' values are."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tlsgate.mail.authentication_results import Result, authentication_results, value
from tlsgate.mail.forged_results import ForgedResults


def _unfolded(written: bytes) -> str:
    return re.sub(r"\r\n\t", " ", written.decode()).removesuffix("\r\n")


def test_results() -> None:
    written = authentication_results(
        "mail.example.org",
        [
            Result("spf", "pass", properties=(("smtp.mailfrom", "a@b.test"), ("smtp.helo", "mx.b.test"))),
            Result("iprev", "fail", "no name (yet)", (("policy.iprev", "2001:db8::1"),)),
            Result("auth", "pass"),
        ],
    )
    assert _unfolded(written) == (
        "Authentication-Results: mail.example.org; spf=pass smtp.mailfrom=a@b.test smtp.helo=mx.b.test;"
        ' iprev=fail reason="no name (yet)" policy.iprev="2001:db8::1"; auth=pass'
    )


def test_no_result() -> None:
    assert authentication_results("mail.example.org", []) == b"Authentication-Results: mail.example.org; none\r\n"


def test_a_literal_for_a_name() -> None:
    """server.hostname may be one; it is no token."""
    assert authentication_results("[192.0.2.1]", []) == b'Authentication-Results: "[192.0.2.1]"; none\r\n'


_VALUE = r'(?:[^\s()<>@,;:\\"/\[\]?=]+|[^\s()<>@,;:\\"/\[\]?=]*@[A-Za-z0-9.-]+|"(?:[^"\\]|\\.)*")'


@given(st.text(max_size=600), st.text(max_size=600))
def test_any_values(sender: str, reason: str) -> None:
    """A sender that ends its value could add "; dkim=pass" of its own."""
    written = authentication_results("us.test", [Result("spf", "fail", reason, (("smtp.mailfrom", sender),))])
    reasoned = rf" reason={_VALUE}" if reason else ""
    assert re.fullmatch(
        rf"Authentication-Results: us\.test; spf=fail{reasoned} smtp\.mailfrom={_VALUE}", _unfolded(written), re.ASCII
    )
    assert max(map(len, written.split(b"\r\n"))) < 998


def test_values_in_quotes() -> None:
    assert value('a"b\\c') == '"a\\"b\\\\c"'
    assert value("") == '""'
    assert value('"a b"@c.test') == '"\\"a b\\"@c.test"'
    assert value("@c.test") == "@c.test"


@given(st.sampled_from(["us.test", "[192.0.2.1]", "[IPv6:2001:db8::1]", "xn--bcher-kva.test"]), st.text(max_size=50))
def test_what_we_write_is_what_we_remove(name: str, sender: str) -> None:
    """Else a forged field that looks just as ours would pass."""
    forged = authentication_results(name, [Result("spf", "pass", properties=(("smtp.mailfrom", sender),))])
    filtered = ForgedResults(name)
    message = forged + b"Subject: x\r\n\r\n" + forged
    assert filtered.feed(message) + filtered.finish() == b"Subject: x\r\n\r\n" + forged
