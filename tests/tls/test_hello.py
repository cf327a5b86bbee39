"""The server name in a ClientHello: what it reads decides which certificate and which minimum version hold."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from OpenSSL import SSL

from tests.tls import hellos
from tests.tls.peer import Visitor, hello_of, in_records
from tlsgate.tls.hello import Hello, octets_wanted, server_name

NAME = "mail.example.net"
HELLO = hello_of(Visitor(), NAME.encode())[1]
SHORT_HELLO = hello_of(Visitor(versions=(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)), NAME.encode())[1]
NAMELESS = hello_of(Visitor())[1]
# More zeros than a record can claim: they complete it, and the next one isn't a handshake's.
ZEROS = bytes(1 << 17)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100, 1000, 16384])
def test_a_name_is_found_however_the_hello_is_cut_into_records(size: int) -> None:
    assert server_name(in_records(HELLO, size)) == NAME


@pytest.mark.parametrize("size", [1, 7, 16384])
def test_every_beginning_is_incomplete_and_more_octets_never_change_an_answer(size: int) -> None:
    whole = in_records(SHORT_HELLO, size)
    assert {server_name(whole[:at]) for at in range(len(whole))} == {Hello.INCOMPLETE}
    assert server_name(whole + whole) == NAME


def test_a_hello_without_a_name() -> None:
    assert server_name(NAMELESS) is Hello.WITHOUT_NAME


def test_octets_wanted_leads_from_the_first_octet_to_the_whole_hello() -> None:
    """If it asked for too few, a slow client would cost a wake-up an octet; for too many, it would be waited for."""
    whole = in_records(HELLO, 1000)
    have, looks = 0, 0
    while server_name(whole[:have]) is Hello.INCOMPLETE:
        wanted = octets_wanted(whole[:have])
        assert have < wanted <= len(whole)
        have, looks = wanted, looks + 1
    assert have == len(whole)
    assert looks == 2 * -(-(len(HELLO) - 5) // 1000)


@pytest.mark.parametrize(
    "data",
    [
        b"a LOGIN u p\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x80\x2e\x01\x00\x02",  # SSLv2
        b"\x15\x03\x01\x00\x02\x01\x00",  # an alert
        b"\x16\x03\x01\x00\x00",  # an empty record
        b"\x16\x03\x01\x00\x01\x02",  # a ServerHello
        HELLO[:5] + b"\x01\x00\x00\x00",  # a hello of nothing
        in_records(HELLO, 10)[:15] + b"\x17\x03\x01\x00\x01",  # other data between its records
    ],
)
def test_what_is_no_hello_is_openssls_to_judge(data: bytes) -> None:
    """INCOMPLETE here would wait for octets that never come, and the client would get no alert."""
    assert server_name(data) is Hello.WITHOUT_NAME


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\0\0",
        b"\0\x03\0\0\0",  # an empty name
        b"\0\x04\x01\0\x01a",  # not a host name
        hellos.server_name(b"\xff\xfe"),
        hellos.server_name("bücher.example".encode()),
    ],
)
def test_a_server_name_that_says_nothing(body: bytes) -> None:
    assert server_name(hellos.client_hello([(hellos.SERVER_NAME, body)])) is Hello.WITHOUT_NAME


def test_a_name_that_lies_about_its_length_stays_within_its_extension() -> None:
    lies = b"\0\x06\0\xff\xffabc"
    after = (21, b"padding")
    assert server_name(hellos.client_hello([(hellos.SERVER_NAME, lies), after])) == "abc"


def _check(data: bytes) -> None:
    """What holds for any octets at all."""
    found = server_name(data)
    if found is Hello.INCOMPLETE:
        assert octets_wanted(data) > len(data)
        assert server_name(data + ZEROS) is not Hello.INCOMPLETE
    else:
        assert server_name(data + b"\x16\x03\x01\x00\x05more.") == found


@given(st.binary(max_size=600))
@example(b"")
def test_random_octets(data: bytes) -> None:
    _check(data)


@given(st.binary(max_size=300))
def test_random_octets_behind_a_hellos_header(data: bytes) -> None:
    _check(b"\x16\x03\x01" + len(data).to_bytes(2) + b"\x01" + data)


_edits = st.lists(
    st.tuples(st.integers(0, len(HELLO)), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=6
)


@given(_edits, st.integers(1, 600), st.integers(0, 4 * len(HELLO)))
def test_a_mutated_fragmented_and_truncated_hello(edits: list[tuple[int, int, bytes]], size: int, end: int) -> None:
    """Octets replaced, dropped and put in, anywhere, then cut into records and cut short."""
    data = bytearray(HELLO)
    for at, dropped, inserted in edits:
        data[at : at + dropped] = inserted
    _check(bytes(data)[:end])
    _check(in_records(bytes(data), size)[:end])
