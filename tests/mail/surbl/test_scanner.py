"""Whole messages: links are found wherever a reader's program would show them, in any pieces, and in bounded time."""

from __future__ import annotations

import base64
import itertools
import time
import tracemalloc
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.mail.surbl.scanner import Scanner
from tlsgate.mail.surbl.site import Site
from tlsgate.mail.surbl.suffixes import Suffixes

_SUFFIXES = Suffixes()


def scan(message: bytes, length: int = 16_384) -> Scanner:
    scanner = Scanner(_SUFFIXES)
    for at in range(0, len(message), length):
        scanner.feed(message[at : at + length])
    scanner.finish()
    return scanner


def sites(message: bytes) -> tuple[Site, ...]:
    """What is found in a message, with line ends of CR LF, cut in several ways."""
    message = message.replace(b"\n", b"\r\n")
    found = scan(message).sites
    for length in (1, 5, 10**9):
        assert scan(message, length).sites == found, length
    return found


_NEWSLETTER = b"""\
From: Shop <news@shop.example>
Subject: Offers from www.example.edu
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="=_part"

This is a message in MIME format.
--=_part
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Offers: https://track.exam=
ple.com/click?u=3D1&v=3Dlong=
er or shop=2Eexample.org.

--=_part
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "http://www.w3.org/TR/x.dtd">
<html xmlns=3D"http://www.w3.org/1999/xhtml"><body>
<a style=3D"color:red" href=3D"https://click.exa=
mple.net/?id=3D3D">www.example.org</a>
<img src=3D"//img.b=C3=BCcher-shop.de/1.png" alt=3D"x.example.info">
</body></html>
--=_part--
"""

_FORWARDED = b"""\
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: text/plain

FYI
--outer
Content-Type: message/rfc822

From: x@spam.example.edu
Subject: hello
Content-Type: multipart/related; boundary=inner

--inner
Content-Type: text/html
Content-Transfer-Encoding: base64

%b
--inner--
--outer
Content-Type: text/plain; charset=utf-16
Content-Transfer-Encoding: base64

%b
--outer--
""" % (
    base64.encodebytes(b'<p>Hi <a href="http://www.example.com@0xC6.51.25607/">there</a>').strip(),
    base64.encodebytes("mehr auf www.example.org".encode("utf-16")).strip(),
)

_ATTACHED = b"""\
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=us-ascii

See the log of www.example.com.
--b
Content-Type: text/plain; name=access.log
Content-Disposition: attachment; filename=access.log

http://one.example.net/
--b
Content-Type: application/octet-stream; name=x.bin
Content-Disposition: attachment

http://two.example.org/
--b
Content-Type: image/svg+xml
Content-Transfer-Encoding: base64

%b
--b
Content-Type: text/html; name=invoice.html
Content-Disposition: attachment

<script src="//js.example.info/x"></script>
--b--
""" % base64.encodebytes(b"<a href='http://three.example.edu/'>").strip()


def test_a_newsletter() -> None:
    assert sites(_NEWSLETTER) == ("example.com", "example.org", "example.net", "xn--bcher-shop-9db.de")


def test_a_forwarded_message() -> None:
    assert sites(_FORWARDED) == (IPv4Address("198.51.100.7"), "example.org")


def test_attachments() -> None:
    """Readers show text and open pages and pictures that have links; other files speak of any host."""
    assert sites(_ATTACHED) == ("example.com", "example.net", "example.edu", "example.info")


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (b"Subject: x\n\nhttp://a.example.com/\n", ("example.com",)),
        (b"Subject: http://a.example.com/\n\nhello\n", ()),
        (b"\nhttp://a.example.com/ www.example.com http://example.com./\n", ("example.com",)),
        (b"\nhttp://printer.local/ http://10.1.2.3/ http://[::1]/ http://127.1/ http://intranet/\n", ()),
        (b"\nmail alice@example.com\n", ()),
        (b"Content-Disposition: attachment\n\nhttp://a.example.com/\n", ("example.com",)),
        (b"Content-Type: application/pdf\n\nhttp://a.example.com/\n", ()),
        (b"Content-Type: text/calendar\n\nURL:http://a.example.com/\n", ("example.com",)),
        (b"Content-Type: multipart/mixed\n\nhttp://a.example.com/\n", ("example.com",)),
        (b"Content-Transfer-Encoding: base64\n\naHR0cDov\nL2V4YW1w\nbGUuY29t\n", ("example.com",)),
        (b"Content-Transfer-Encoding: base64\n\neCB3d3cuZXhhbXBsZS5jb20\n", ("example.com",)),
    ],
)
def test_small_messages(message: bytes, found: tuple[Site, ...]) -> None:
    assert sites(message) == found


_PAGE = base64.encodebytes(b"<p><a href='//a.example.com/'>x</a>")
_PART = b"--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n%b--b--\n" % _PAGE
_LONG = b"b" * 300
_X = b";\n x=" + b"x" * 990


@pytest.mark.parametrize(
    ("message", "unclear"),
    [
        (b"Content-Type: multipart/mixed%b; boundary=b\n\n" % (_X * 3) + _PART, False),
        (b"Content-Type: multipart/mixed%b; boundary=b\n\n" % (_X * 12) + _PART, True),
        (b"Content-Type: multipart/mixed; x=%b; boundary=b\n\n" % (b"x" * 8170) + _PART, True),
        (b"Content-Type: (%b) multipart/mixed; boundary=b\n\n" % (b"x" * 9000) + _PART, True),
        (b"Content-Type: multipart/mixed; (c) boundary=b\n\n" + _PART, False),
        (b"Content-Type: multipart/mixed; boundary=a(b)\n\n" + _PART.replace(b"--b", b"--a(b)"), True),
        (b"Content-Type: multipart/mixed\n\n--decoy\n\n" + _PART, True),
        (b"Content-Type: multipart/mixed\n\n--decoy\nContent-Type: image/png\n\n" + _PART, True),
        (b"Content-Type: multipart/mixed; boundary=%b\n\n" % (_LONG) + _PART.replace(b"--b", b"--" + _LONG), True),
        (_PART[4:].replace(b"base64", b"(hi) base64"), False),
        (_PART[4:].replace(b"base64", b'"base64"'), False),
        (_PART[4:].replace(b"base64", b"\n " + b" \t\n" * 1000 + b" base64"), False),
        (_PART[4:].replace(b"base64", b"(" + b"x" * 9000 + b") base64"), True),
        (b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n\n" * 200 + _PART, True),
        (b"Content-Type: multipart/mixed\n\n<http://a.example.com/> <!--", True),
        (b"Content-Type: multipart/mixed\n\n<!--\nhttp://a.example.com/", True),
        (b"Content-Type: multipart/mixed\n\n--b\nContent-Type: text/html\n\n<!--\n--x\n--><a href=//example.com", True),
        (b"Content-Type: multipart/mixed\n\n--http://a.example.com/\n", True),
        (b"Content-Type: image/svg+xml\n\n<a xlink:href='//a.example.com/'/>", False),
        (b"Content-Type: application/xhtml+xml\n\n<a href='//a.example.com/'/>", False),
        (b"Content-Type: application/xml\n\n<a href='//a.example.com/'/>", False),
        (b"Content-Type: text/x-any\nContent-Disposition: attachment\n\nhttp://a.example.com/", False),
        (b"Content-Type: message/delivery-status\n\nX: http://a.example.com/", False),
        (b"Content-Transfer-Encoding: x-any\n\nhttp://example=2ecom/", True),
    ],
)  # fmt: skip
def test_headers_that_are_hard_to_read_hide_nothing(message: bytes, unclear: bool) -> None:
    """And where something has to be guessed, that is told."""
    assert sites(message) == ("example.com",)
    assert scan(message.replace(b"\n", b"\r\n")).beyond is unclear


def test_sites_are_told_once_and_while_the_message_streams() -> None:
    """Look-ups begin before the end."""
    scanner = Scanner(_SUFFIXES)
    assert scanner.feed(b"\r\nhttp://a.example.com/\r\n" + b"x\r\n" * 6000) == ("example.com",)
    assert scanner.feed(b"http://b.example.com/ http://a.example.net/\r\n") == ()
    assert scanner.finish() == ("example.net",)
    assert scanner.sites == ("example.com", "example.net")
    assert not scanner.beyond


@pytest.mark.parametrize(
    ("head", "link"),
    [
        (b"\r\n", b"http://www.example.net@a.example.com:80/x "),
        (b"\r\n", b"http://www.b\xc3\xbccher.example.com/ "),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"http://www.exam=\r\nple=2Ecom/ "),
        (b"Content-Type: text/html\r\n\r\n", b"<a title='>' href='http://www.exam&#x70;le.com/'>x</a>"),
        (b"Content-Type: text/html\r\n\r\n", b"<!-- <a> --><p>www.exam<b></b>ple&period;com</p>"),
        (b"Content-Type: text/html\r\n\r\n", b"<style>p { background: url(http://www.example.com/) }</style>"),
    ],
)
def test_a_link_on_the_edge_of_two_blocks(head: bytes, link: bytes) -> None:
    """Texts are searched block by block, and a sender can reckon where one ends."""
    for before in range(8192 - len(link) - 1, 8193):
        assert scan(head + (b"word " * 2000)[:before] + b" " + link + b"word " * 2000).sites == ("example.com",), before


# -- bounds -----------------------------------------------------------------------------------------


def test_a_hundred_sites() -> None:
    scanner = scan(b"\r\n" + b" ".join(b"http://a.n%d.co.uk/" % n for n in range(500)))
    assert scanner.sites == tuple(f"n{n}.co.uk" for n in range(100))
    assert scanner.beyond


@pytest.mark.parametrize("length", [1000, 10**9])
def test_a_megabyte_of_text(length: int) -> None:
    """What is behind it isn't looked at, and that is told."""
    message = b"\r\n" + b"word " * 200_000 + b"http://a.example.com/ " + b"word " * 20_000 + b"http://a.example.net/ "
    scanner = scan(message, length)
    assert scanner.sites == ("example.com",)
    assert scanner.beyond


def test_a_megabyte_that_is_read_in_several_ways_is_one() -> None:
    """Else whoever makes us guess need send less before a link."""
    head = b"Content-Type: multipart/mixed\r\n\r\n"
    link = b" http://a.example.com/ "
    assert scan(head + b"word " * 200_000 + link).sites == ("example.com",)
    assert scan(head + b"word " * 220_000 + link).sites == ()


def test_a_megabyte_is_counted_over_all_parts_and_not_for_attachments() -> None:
    attached = b"--b\r\nContent-Type: image/png\r\n\r\n" + b"A" * 3_000_000 + b"\r\n"
    text = b"--b\r\n\r\n" + b"word " * 100_000 + b"\r\n"
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    link = b"--b\r\n\r\nhttp://a.example.com/\r\n"
    assert scan(head + attached + text + link).sites == ("example.com",)
    assert scan(head + text * 3 + link).sites == ()


def test_text_that_decodes_to_nothing_is_counted_too() -> None:
    link = base64.encodebytes(b"http://a.example.com/ ")
    junk = b"Content-Transfer-Encoding: base64\r\n\r\n" + b"!" * 3_000_000
    assert scan(junk + link).sites == ("example.com",)
    assert scan(junk + b"!" * 2_000_000 + link).beyond


def test_names_that_lead_nowhere_are_counted_too() -> None:
    """Each takes some time to read."""
    names = [b"http://n%d.test/ " % n for n in range(6000)]
    link = b"http://a.example.com/"
    assert scan(b"\r\n" + b"".join(names[:4000]) + link).sites == ("example.com",)
    assert scan(b"\r\n" + b"".join(names) + link).sites == ()
    assert scan(b"\r\n" + b"".join(names)).beyond


@pytest.mark.parametrize(
    "message",
    [
        "\r\n" + "".join(f"http://{n:0195}\U0001f600 " for n in range(5000)),
        "\r\n" + "".join(f"http://{n:0100}.{n:060}.com " for n in range(5000)),
        "\r\n" + "\U0001f600" * 200_000,
        "Content-Type: text/html\r\n\r\n" + "\U0001f600" * 20_000 + "<a x=" + "\U0001f600" * 2000,
        "Content-Type: text/html\r\n\r\n<a x=" + "\U0001f600" * 3000 + ">" + "\U0001f600" * 20_000,
        "Content-Type: text/html\r\n\r\n<style>" + "\U0001f600" * 20_000 + "</style><p>" + "\U0001f600" * 20_000,
        "Content-Type: multipart/mixed\r\n\r\n" + "\U0001f600" * 20_000 + "<a x=" + "\U0001f600" * 1000,
        "Content-Type: multipart/mixed\r\n\r\n<style>{0}</style><p>{0} <a x={0}".format("\U0001f600" * 20_000),
        "Content-Type: multipart/mixed\r\n\r\n<style>{0}</style><p>{0} <a x={0}".format("x" * 20_000),
        "Content-Type: text/plain" + ";x=\U0001f600" * 40_000,
    ],
)
def test_little_memory_is_held(message: str) -> None:
    """A client that falls silent in the middle of its message keeps it for minutes, and many clients do."""
    data = message.encode()
    scan(data)  # what is made once for all
    tracemalloc.start()
    try:
        scanner = Scanner(_SUFFIXES)
        held = 0
        for at in range(0, len(data), 16_384):
            scanner.feed(data[at : at + 16_384])
            held = max(held, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    print("HELD", held)
    assert held < 150_000


_HTML = b"Content-Type: text/html\r\n\r\n"
_BASE64 = b"Content-Transfer-Encoding: base64\r\n\r\n"
_QUOTED = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
_MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
_UNCLEAR = b"Content-Type: multipart/mixed\r\n\r\n"
_HOSTILE = {
    "tags": _HTML + b"<a " * 350_000,
    "comments": _HTML + b"<!--" * 250_000,
    "less-than": _HTML + b"<" * 1_000_000,
    "quotes": _HTML + b'<a href="' * 110_000,
    "mixed quotes": _HTML + b"<a b='\"<a c=\"'" * 70_000,
    "equals": _HTML + b"<a =" * 250_000,
    "attributes": _HTML + b"<a " + b"a " * 500_000,
    "entities": _HTML + b"&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 30_000,
    "long entity": _HTML + b"&#" + b"9" * 1_000_000,
    "small tags": _HTML + b"<p>" * 330_000,
    "links": _HTML + b"".join(b'<a href="http://x%d.aa">' % n for n in range(40_000)),
    "dots": b"\r\n" + b"a." * 500_000,
    "names": b"\r\n" + b" ".join(b"a%d.example.com" % n for n in range(60_000)),
    "unknown names": b"\r\n" + b"a.a " * 250_000,
    "schemes": b"\r\n" + b"a://" * 250_000,
    "at": b"\r\na://" + b"@" * 1_000_000,
    "spaces": _QUOTED + (b"=" + b" " * 8000) * 500,
    "soft breaks": _QUOTED + b"=\r\n" * 1_400_000,
    "padding": _BASE64 + b"A=" * 2_000_000,
    "junk": _BASE64 + b"!\r\n" * 3_000_000,
    "header": b"a:\r\n" * 300_000,
    "long header": b"Content-Type: " + b';a="' * 500_000,
    "delimiters": _MIXED + b"--b\r\nContent-Type: image/png\r\n\r\n" + b"--bb\r\n" * 1_000_000,
    "parts": _MIXED + b"--b\r\n\r\nhello\r\n" * 10_000,
    "messages": b"Content-Type: message/rfc822\r\n\r\n" * 10_000,
    "nested": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200)),
    "unclear delimiters": _UNCLEAR + b"--b\r\n" * 200_000,
    "unclear lines": _UNCLEAR + b"--" * 400_000 + b"-- --\r\n" * 200_000,
    "unclear attributes": _UNCLEAR + b"<a " + b"a " * 500_000,
    "unclear tags": _UNCLEAR + b"<p>" * 250_000,
    "unclear links": _UNCLEAR + b"".join(b'<a href="http://x%d.aa">' % n for n in range(40_000)),
    "unclear names": _UNCLEAR + b"a://" * 250_000,
    "unclear soft breaks": _UNCLEAR + b"=\r\n" * 400_000,
    "unclear parts": _UNCLEAR + b"\r\n" * 500_000,
    "comments in fields": (b"Content-Type: " + b"(" * 250_000),
    "small folds": b"Content-Type: x" + b"\r\n y" * 60_000,
    "quotes in fields": b"Content-Type: x;(" + b'";a=' * 60_000,
    "attachment": _MIXED + b"--b\r\nContent-Type: image/png\r\n\r\n" + (b"A" * 76 + b"\r\n") * 100_000,
}


@pytest.mark.parametrize("message", _HOSTILE.values(), ids=_HOSTILE.keys())
def test_hostile_messages_take_linear_time(message: bytes) -> None:
    """Each takes less than 0.8 s on one slow core; what is quadratic takes minutes."""
    before = time.process_time()
    scan(message)
    assert time.process_time() - before < 5


# -- any octets -------------------------------------------------------------------------------------

_SNIPPETS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b"=", b"=\r\n", b"--", b"--b", b"--b--", b"--c\r\n", b"&#", b"&amp;", b"<", b">"),
    *(b"<a href=", b'"', b"'", b"http://", b"//", b"@", b"%41", b"a.example.com", b"198.51.100.7", b"<!--", b"-->"),
    *(b"<style>", b"</style>", b"aHR0cDovL2V4YW1wbGUuY29t", "b\u00fccher.de".encode(), b"\xff\xfe", b" ", b"x" * 600),
    *(b"Content-Type: text/html\r\n\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"\r\n--b\r\n"),
    *(b"Content-Type: message/rfc822\r\n\r\n", b"Content-Type: multipart/x; boundary=c\r\n\r\n", b"y" * 9000),
    *(b"Content-Type: text/plain; charset=utf-16\r\n", b"Content-Transfer-Encoding: base64\r\n\r\n"),
    *(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"Content-Type: multipart/x\r\n\r\n", b"(", b")"),
]
_MESSAGES = st.lists(st.sampled_from(_SNIPPETS) | st.binary(max_size=20), max_size=40).map(b"".join)


@settings(deadline=None)
@given(_MESSAGES, st.lists(st.integers(0, 20_000), max_size=10))
def test_any_octets_in_any_pieces(message: bytes, cuts: list[int]) -> None:
    """Nothing is an error, and no cut hides a link: a sender chooses where segments end."""
    whole = scan(message, 10**9)
    scanner = Scanner(_SUFFIXES)
    told: list[Site] = []
    places = [0, *sorted(cut for cut in cuts if cut < len(message)), len(message)]
    for begin, end in itertools.pairwise(places):
        told += scanner.feed(message[begin:end])
    told += scanner.finish()
    assert tuple(told) == scanner.sites == whole.sites
    assert scanner.beyond == whole.beyond
