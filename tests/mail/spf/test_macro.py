"""Macros: what they stand for, what isn't one, and that no record makes a text without end of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tlsgate.mail.spf.faults import PermError
from tlsgate.mail.spf.macro import Values, domain_spec, expand, letters, macro_string

RFC = Values(
    client=ip_address("192.0.2.3"),
    sender="strong-bad@email.example.com",
    domain="email.example.com",
    helo="mx.example.org",
    receiver="gate.example.net",
    name="unknown",
)
RFC_6 = replace(RFC, client=ip_address("2001:db8::cb01"))


@pytest.fixture
def int_digits() -> Iterator[None]:
    """The least digits that the interpreter can be told to take."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(sys.int_info.str_digits_check_threshold)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        # RFC 7208 7.4
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        # the rest of 7.1 to 7.3
        ("%{h} %{r} %{c} %{p}", "mx.example.org gate.example.net 192.0.2.3 unknown"),
        ("%%%_%-", "% %20"),
        ("%{D2R}", "example.email"),
        ("%{S}", "strong-bad%40email.example.com"),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(macro_string(text), RFC) == expanded


def test_nibbles_of_ipv6() -> None:
    nibbles = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    assert expand(domain_spec("%{ir}.%{v}._spf.%{d2}"), RFC_6).lower() == f"{nibbles}.ip6._spf.example.com"


def test_number_of_parts_beyond_an_integer(int_digits: None) -> None:
    """Else the interpreter's limit on integers, which isn't a fault of a record, would end a session."""
    assert expand(macro_string("%{d" + "9" * 4000 + "r}"), RFC) == "com.example.email"


@pytest.mark.parametrize(
    "text", ["%", "%a", "%{", "%{d", "%{d}%", "%{x}", "%{d0}", "%{d00}", "%{d2x}", "%(d)", "\x7f", "\n"]
)
def test_what_is_no_macro(text: str) -> None:
    with pytest.raises(PermError):
        macro_string(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "museum",
        "museum.",
        "a.123",
        "a.-b",
        "a.b-",
        "a.b..",
        "a.b/24",
        "%{d}com",
        "%{d}%%_",
        "%{c}",
        "%{r}.a",
        "a b",
    ],
)
def test_what_is_no_domain(text: str) -> None:
    with pytest.raises(PermError):
        domain_spec(text)


@pytest.mark.parametrize(
    "text", ["a.b", "a.b.", "a.1-2", "a.xn--p1ai", "%{d}", "%{d}.a", "a:b/c.d", "a%%", "_a.b", "a..b"]
)
def test_what_is_a_domain(text: str) -> None:
    assert domain_spec(text)


def test_letters_are_found_in_either_case() -> None:
    assert letters(macro_string("%{P}.%{d}%%s")) == {"p", "d"}


@pytest.mark.parametrize("text", ["%{s}" * 1000, "%{s1r}" * 600, "%{S}" * 1000])
def test_an_explosion_is_a_fault(text: str) -> None:
    """A few kilobytes of macros that each stand for a long sender: neither the text nor the work is unbounded."""
    sender = "a." * 2000 + "@example.com"
    with pytest.raises(PermError):
        expand(macro_string(text), replace(RFC, sender=sender))


def test_a_text_without_end_isnt_read() -> None:
    with pytest.raises(PermError):
        macro_string("a" * 65_000)
