"""The answers of auth_http: what lets in, what refuses, and what does neither."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.auth.auth_http_answer import LONGEST_WAIT, Again, Allowed, Answer, Denied, Unavailable, read_answer
from tlsgate.auth.auth_http_request import External, Question
from tlsgate.config import HostPort, Protocol
from tlsgate.dialogue.credentials import Credentials
from tlsgate.http.message import Response

QUESTION = Question(Protocol.IMAP, Credentials("ann", b"hunter 2"), IPv4Address("192.0.2.7"))
SERVER = "Auth-Status: OK|Auth-Server: 192.0.2.1|Auth-Port: 143"
BACKEND = HostPort("192.0.2.1", 143)


def said(text: str, status: int = 200, question: Question = QUESTION) -> Answer:
    """What is read of headers, separated by "|"."""
    pairs = (line.partition(":") for line in text.split("|") if line)
    headers = tuple((name.lower(), value.strip(" ").encode("latin-1")) for name, _, value in pairs)
    return read_answer(Response(status, headers, b"Auth-Status: OK"), question)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (SERVER, Allowed(BACKEND, None, None)),
        ("Auth-Status: OK", Allowed(None, None, None)),
        ("Auth-Status: OK|Auth-Server: |Auth-Port: |Auth-Wait: 3|X: y|X: z", Allowed(None, None, None)),
        (
            "Auth-Status: OK|Auth-Server: 2001:DB8::1|Auth-Port: 65535",
            Allowed(HostPort("2001:db8::1", 65535), None, None),
        ),
        (f"{SERVER}|Auth-User: bob|Auth-Pass: other%20 x", Allowed(BACKEND, "bob", b"other%20 x")),
        (f"{SERVER}|Auth-User: jos\xc3\xa9|Auth-Pass: \xff", Allowed(BACKEND, "josé", b"\xff")),
    ],
)
@pytest.mark.parametrize("status", [200, 204])
def test_who_is_let_in_and_where(text: str, status: int, allowed: Allowed) -> None:
    assert said(text, status) == allowed


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("Auth-Status: Invalid login or password", Denied("Invalid login or password", "", 0)),
        ("Auth-Status: No|Auth-Wait: 3", Denied("No", "", 3)),
        ("Auth-Status: No|Auth-Wait: 0009", Denied("No", "", 9)),
        ("Auth-Status: No|Auth-Wait: " + "9" * 5000, Denied("No", "", LONGEST_WAIT)),
        ("Auth-Status: No|Auth-Wait: -3", Denied("No", "", 0)),
        ("Auth-Status: No|Auth-Wait: soon", Denied("No", "", 0)),
        ("Auth-Status: ok|Auth-Server: 192.0.2.1|Auth-Port: 143", Denied("ok", "", 0)),
        ("Auth-Status: OK OK", Denied("OK OK", "", 0)),
        ("Auth-Status: No|Auth-Error-Code: 535 5.7.8", Denied("No", "535 5.7.8", 0)),
        ("Auth-Status: No|Auth-Error-Code: 550", Denied("No", "550", 0)),
        ("Auth-Status: No|Auth-Server: nonsense|Auth-User: ", Denied("No", "", 0)),
        ("Auth-Status: N\xc3\xb6\x01\x7f", Denied("N????", "", 0)),
        ("Auth-Status: " + "y" * 1000, Denied("y" * 400, "", 0)),
    ],
)
@pytest.mark.parametrize("status", [200, 302, 401, 403])
def test_who_is_refused(text: str, status: int, denied: Denied) -> None:
    """nginx looks at no status, and some servers say 401."""
    assert said(text, status) == denied
    assert not denied.temporary


def test_a_refusal_that_is_no_fault_of_the_password() -> None:
    """Counted as one, it would get clients banned while the server has trouble."""
    assert said("Auth-Status: Later|Auth-Error-Code: 451 4.3.0") == (denied := Denied("Later", "451 4.3.0", 0))
    assert denied.temporary


@pytest.mark.parametrize("text", ["bad password hunter 2", "bad password hunter%202 of ann"])
def test_a_refusal_that_quotes_the_password_is_not_passed_on(text: str) -> None:
    assert said(f"Auth-Status: {text}") == Denied("", "", 0)
    by_certificate = Question(Protocol.IMAP, External("ann"), IPv4Address("192.0.2.7"))
    assert said(f"Auth-Status: {text}", question=by_certificate) == Denied(text, "", 0)


def test_a_server_that_wants_to_be_asked_again() -> None:
    assert said("Auth-Status: WAIT|Auth-Wait: 3") == Again(3)
    assert said("Auth-Status: WAIT") == Again(0)


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("", 200, "status 200, no Auth-Status"),  # any web server's page
        ("Auth-Server: 192.0.2.1|Auth-Port: 143", 200, "status 200, no Auth-Status"),
        ("Auth-Status: ", 200, "status 200, no Auth-Status"),
        ("", 404, "status 404, no Auth-Status"),
        ("Auth-Status: OK", 401, "status 401, and yet Auth-Status: OK"),
        ("Auth-Status: OK", 302, "status 302, and yet Auth-Status: OK"),
        ("Auth-Status: OK", 500, "status 500"),
        ("Auth-Status: Invalid login", 503, "status 503"),
        ("Auth-Status: OK|Auth-Status: No", 200, "status 200, more than one Auth-Status"),
        ("Auth-Status: OK|Auth-Server: hunter2|Auth-Port: 143", 200, "status 200, Auth-Server is no IP address"),
        ("Auth-Status: OK|Auth-Server: fe80::1%eth0|Auth-Port: 143", 200, "status 200, Auth-Server has a zone"),
        ("Auth-Status: OK|Auth-Server: \xff|Auth-Port: 143", 200, "status 200, Auth-Server is no IP address"),
        ("Auth-Status: OK|Auth-Port: 143", 200, "status 200, Auth-Server is no IP address"),
        ("Auth-Status: OK|Auth-Server: 192.0.2.1", 200, "status 200, Auth-Port is no port"),
        ("Auth-Status: OK|Auth-Server: 192.0.2.1|Auth-Port: 0", 200, "status 200, Auth-Port is no port"),
        ("Auth-Status: OK|Auth-Server: 192.0.2.1|Auth-Port: 65536", 200, "status 200, Auth-Port is no port"),
        ("Auth-Status: OK|Auth-Server: 192.0.2.1|Auth-Port: 1e3", 200, "status 200, Auth-Port is no port"),
        (f"{SERVER}|Auth-Port: 143", 200, "status 200, more than one Auth-Port"),
        (f"{SERVER}|Auth-User: a\x01b", 200, "control character in user name"),
        (f"{SERVER}|Auth-User: a\xffb", 200, "status 200, Auth-User is not UTF-8"),
        (f"{SERVER}|Auth-User: ", 200, "empty user name"),
        (f"{SERVER}|Auth-Pass: ", 200, "empty password"),
        (f"{SERVER}|Auth-Pass: {'hunter2' * 1000}", 200, "password too long"),
        (f"{SERVER}|Auth-Pass: hunter2|Auth-Pass: hunter2", 200, "more than one Auth-Pass"),
        ("Auth-Status: No|Auth-Error-Code: 250 2.0.0", 200, "status 200, Auth-Error-Code is no code of SMTP"),
        ("Auth-Status: No|Auth-Error-Code: 535 4.7.0", 200, "status 200, Auth-Error-Code is no code of SMTP"),
        ("Auth-Status: No|Auth-Error-Code: 535 5.7.0 hunter2", 200, "status 200, Auth-Error-Code is no code of SMTP"),
    ],
)
def test_what_says_nothing_of_the_login(text: str, status: int, reason: str) -> None:
    """Neither in, nor a wrong password: the client is told to come back."""
    answer = said(text, status)
    assert isinstance(answer, Unavailable) and answer.reason.endswith(reason)
    assert "hunter2" not in answer.reason


_NAMES = ("auth-status", "auth-server", "auth-port", "auth-user", "auth-pass", "auth-wait", "auth-error-code")
_VALUES = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"OK", b"WAIT", b"192.0.2.1", b"::1", b"143", b"451 4.3.0"])
)


@given(st.integers(100, 999), st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES), max_size=8))
def test_any_answer_is_read(status: int, headers: list[tuple[str, bytes]]) -> None:
    """And lets in only by one OK; a fault here would end the session, and tell the client nothing."""
    answer = read_answer(Response(status, tuple(headers), b""), QUESTION)
    if isinstance(answer, Allowed):
        assert [value for name, value in headers if name == "auth-status"] == [b"OK"]
        assert 200 <= status < 300
        if answer.user is not None or answer.secret is not None:
            Credentials(answer.user or "ann", answer.secret or b"x")  # fit for a backend


def test_an_answer_does_not_show_the_password() -> None:
    assert "other" not in repr(said(f"{SERVER}|Auth-Pass: other"))
