"""[state] url, taken apart."""

from __future__ import annotations

import pytest

from tlsgate.state.server import Server, parse_server


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("valkey://h", Server("h")),
        ("valkey://h:7000/2", Server("h", 7000, 2)),
        ("redis://h/", Server("h")),
        ("valkeys://h", Server("h", tls=True)),
        ("rediss://[2001:db8::1]:1/0", Server("2001:db8::1", 1, tls=True)),
        ("valkey://:p%40ss@h", Server("h", password="p@ss")),
        ("valkey://u:p%2f@h", Server("h", username="u", password="p/")),
    ],
)
def test_a_url_says_where_and_who(url: str, server: Server) -> None:
    assert parse_server(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter2@h",
        "valkey://:hunter2@",
        "valkey://:hunter2@h/x",
        "valkey://:hunter2@h:x",
        "valkey://h/9999999999?hunter2",
    ],
)
def test_a_bad_url_is_not_shown(url: str) -> None:
    """Its password would be in a log."""
    with pytest.raises(ValueError, match=r"^(is|has) ") as caught:
        parse_server(url)
    assert "hunter2" not in str(caught.value)


def test_a_server_does_not_show_its_password() -> None:
    assert "hunter2" not in repr(parse_server("valkey://u:hunter2@h"))
