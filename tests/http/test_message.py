"""URLs taken apart: a wrong one asks the wrong server, or shows a password."""

from __future__ import annotations

import pytest

from tlsgate.config import HostPort
from tlsgate.http.message import Response, place


@pytest.mark.parametrize(
    ("url", "address", "secure", "host", "target"),
    [
        ("http://127.0.0.1:8080/auth", HostPort("127.0.0.1", 8080), False, "127.0.0.1:8080", "/auth"),
        ("http://auth.example.org", HostPort("auth.example.org", 80), False, "auth.example.org", "/"),
        (
            "http://auth.example.org:80/a?b=c&d#e",
            HostPort("auth.example.org", 80),
            False,
            "auth.example.org",
            "/a?b=c&d",
        ),
        ("https://auth.example.org?x", HostPort("auth.example.org", 443), True, "auth.example.org", "/?x"),
        ("https://Auth.example.org:80/", HostPort("auth.example.org", 80), True, "auth.example.org:80", "/"),
        ("http://[2001:db8::1]/", HostPort("2001:db8::1", 80), False, "[2001:db8::1]", "/"),
        ("http://[2001:db8::1]:81/", HostPort("2001:db8::1", 81), False, "[2001:db8::1]:81", "/"),
    ],
)
def test_where_a_url_leads(url: str, address: HostPort, secure: bool, host: str, target: str) -> None:
    found = place(url)
    assert (found.origin.address, found.origin.secure, found.host, found.target) == (address, secure, host, target)
    assert found.authorization is None


def test_a_password_in_the_url_is_sent_as_basic_and_not_shown() -> None:
    found = place("https://us%20er:hun%3Ater2@auth.example.org/")
    assert found.authorization == b"Basic dXMgZXI6aHVuOnRlcjI="
    assert "dXMgZXI" not in repr(found) and "hun" not in repr(found)
    assert found.host == "auth.example.org"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "auth.example.org/secret",
        "ftp://auth.example.org/secret",
        "http://",
        "http://:80/secret",
        "http://auth.example.org:99999/secret",
        "http://auth.example.org/secret\r\nX: y",
        "http://auth.example.org/sec ret",
        "http://auth.example.org/secrét",
        "http://[::1/secret",
    ],
)
def test_what_is_no_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^not an http or https URL$"):
        place(url)


def test_values_of_a_header_and_a_repr_without_them() -> None:
    response = Response(200, (("auth-pass", b"hunter2"), ("x", b"1"), ("x", b"2")), b"hunter2")
    assert response.values("x") == (b"1", b"2")
    assert response.values("y") == ()
    assert "hunter2" not in repr(response)
