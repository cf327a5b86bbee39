"""The question of auth_http, header for header as an nginx sends it (tests/system has a real one)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from tlsgate.auth.attempt import Proxied, Secured
from tlsgate.auth.auth_http_request import Envelope, External, Question, escaped, request_headers
from tlsgate.auth.certificate_facts import CertificateFacts
from tlsgate.config import Protocol
from tlsgate.dialogue.client import Endpoint, NoName
from tlsgate.dialogue.credentials import Credentials, CredentialsError

ANN = Credentials("ann@example.org", b"hunter2")
CLIENT = IPv4Address("192.0.2.7")
CERTIFICATE = CertificateFacts("CN=ann", "CN=ca", "0A", "29d6a8")

CASES: dict[str, tuple[Question, str]] = {
    "imap": (
        Question(Protocol.IMAP, ANN, CLIENT, name="client.example.net"),
        """\
Auth-Method: plain
Auth-User: ann@example.org
Auth-Pass: hunter2
Auth-Protocol: imap
Auth-Login-Attempt: 1
Client-IP: 192.0.2.7
""",
    ),
    "pop3 behind a load balancer, over TLS": (
        Question(
            Protocol.POP3,
            Credentials("us er%é", b'p%20 a:"b\t\x7f\xff'),
            IPv6Address("2001:DB8:0::7"),
            attempt=3,
            proxied=Proxied(
                Endpoint(IPv6Address("2001:db8::7"), 4711), Endpoint(IPv6Address("::ffff:198.51.100.3"), 995)
            ),
            tls=Secured("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ),
        """\
Auth-Method: plain
Auth-User: us%20er%25é
Auth-Pass: p%2520%20a:"b%09\x7f\udcff
Auth-Protocol: pop3
Auth-Login-Attempt: 3
Client-IP: 2001:db8::7
Proxy-Protocol-Addr: 2001:db8::7
Proxy-Protocol-Port: 4711
Proxy-Protocol-Server-Addr: 198.51.100.3
Proxy-Protocol-Server-Port: 995
Auth-SSL: on
Auth-SSL-Protocol: TLSv1.3
Auth-SSL-Cipher: TLS_AES_256_GCM_SHA384
""",
    ),
    "submission by a certificate": (
        Question(
            Protocol.SUBMISSION,
            External("me me"),
            IPv6Address("::ffff:192.0.2.7"),
            name="client.example.net",
            tls=Secured("TLSv1.2", "X", asks=True, certificate=CERTIFICATE),
        ),
        """\
Auth-Method: external
Auth-User: me%20me
Auth-Pass: \n\
Auth-Protocol: smtp
Auth-Login-Attempt: 1
Client-IP: 192.0.2.7
Client-Host: client.example.net
Auth-SSL: on
Auth-SSL-Protocol: TLSv1.2
Auth-SSL-Cipher: X
Auth-SSL-Verify: SUCCESS
Auth-SSL-Subject: CN=ann
Auth-SSL-Issuer: CN=ca
Auth-SSL-Serial: 0A
Auth-SSL-Fingerprint: 29d6a8
""",
    ),
    "mail without a login": (
        Question(
            Protocol.MX,
            Envelope("me.example", "MAIL FROM:<a@b.c> SIZE=5 ", "RCPT TO:<d@e.f>"),
            CLIENT,
            name=NoName.TEMPUNAVAIL,
            tls=Secured("TLSv1.2", "X", asks=True),
        ),
        """\
Auth-Method: none
Auth-User: \n\
Auth-Pass: \n\
Auth-Protocol: smtp
Auth-Login-Attempt: 1
Client-IP: 192.0.2.7
Client-Host: [TEMPUNAVAIL]
Auth-SMTP-Helo: me.example
Auth-SMTP-From: MAIL FROM:<a@b.c> SIZE=5
Auth-SMTP-To: RCPT TO:<d@e.f>
Auth-SSL: on
Auth-SSL-Protocol: TLSv1.2
Auth-SSL-Cipher: X
Auth-SSL-Verify: NONE
""",
    ),
}


@pytest.mark.parametrize(("question", "expected"), CASES.values(), ids=CASES)
def test_the_headers_of_a_question(question: Question, expected: str) -> None:
    """An existing authentication server would see something else than before."""
    sent = b"".join(b"%s: %s\n" % (name.encode(), value) for name, value in request_headers(question))
    assert sent.decode(errors="surrogateescape") == expected


def test_every_octet_that_could_end_a_header_is_escaped() -> None:
    """A password would else be a header of its own: "Auth-SSL-Verify: SUCCESS"."""
    for octet in range(256):
        sent = escaped(bytes([octet]))
        assert sent == (b"%%%02X" % octet if octet <= 0x20 or octet == 0x25 else bytes([octet]))


@pytest.mark.parametrize(
    "values", [("a\nb", "", ""), ("", "MAIL FROM:<>\rX: y", ""), ("", "", "RCPT\0"), ("\ud800", "", "")]
)
def test_an_envelope_holds_no_line_ends(values: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="control character"):
        Envelope(*values)


@pytest.mark.parametrize("user", ["", "a\r\nb"])
def test_nobody_logs_in_by_a_certificate_as_nobody(user: str) -> None:
    with pytest.raises(CredentialsError):
        External(user)


def test_to_be_somebody_else_cannot_be_asked() -> None:
    """The server would say OK to the one, and the backend let in the other."""
    Question(Protocol.IMAP, Credentials("ann", b"x", authzid="ann"), CLIENT)
    with pytest.raises(ValueError, match="authzid"):
        Question(Protocol.IMAP, Credentials("ann", b"x", authzid="bob"), CLIENT)


def test_a_question_does_not_show_the_password() -> None:
    assert "hunter2" not in repr(Question(Protocol.IMAP, ANN, CLIENT))
