"""The ID that a backend is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.imap_id import id_fields
from tlsgate.dialogue.imap_syntax import Cursor

_names = st.sampled_from(["name", "NAME", "version", "os", "vendor", "x-originating-ip", "X-Session-ID"]) | st.text()


def _read(argument: bytes) -> list[tuple[bytes, bytes | None]]:
    cursor = Cursor([argument])
    fields = []
    if not cursor.nil():
        cursor.expect(b"(")
        while not cursor.accept(b")"):
            name = cursor.string()
            cursor.expect(b" ")
            fields.append((name, cursor.nstring()))
            cursor.spaces()
    cursor.end()
    return fields


@given(st.lists(st.tuples(_names, st.none() | st.text()), max_size=30))
def test_no_client_can_say_what_only_we_may(own: list[tuple[str, str | None]]) -> None:
    """x-originating-ip from a client would be another client's address in the backend's bans and logs."""
    argument = id_fields(ClientFacts(None, None, session="Ab3x", id_fields=tuple(own)))
    told = _read(argument)
    assert [value for name, value in told if name.lower().startswith(b"x-")] == [b"Ab3x"]
    assert all(32 <= octet < 127 for octet in argument)
    said = {(name.lower(), value) for name, value in own}
    assert all((name.decode(), (value or b"").decode()) in said for name, value in told[1:])


def test_it_is_never_longer_than_what_servers_read() -> None:
    """Dovecot ends a session whose line is longer; ours are kept, the client's are dropped whole."""
    names = ["name", "version", "os", "os-version", "vendor", "support-url", "date"]
    own = tuple((name, '"' * 128) for name in names)
    argument = id_fields(ClientFacts(None, None, session="Ab3x", id_fields=own))
    assert len(argument) < 950
    told = _read(argument)
    assert told[0] == (b"x-session-id", b"Ab3x")
    assert 1 < len(told) < 8
    assert {value for _, value in told[1:]} == {b'"' * 128}
