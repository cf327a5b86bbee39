"""Hosts as browsers read them: whoever writes one so that only we read it otherwise gets a listed link through."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.mail.surbl.site import read_site


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("www.Example.COM", "www.example.com"),
        ("example.com.", "example.com"),
        ("example.com..", "example.com"),
        ("ex%61mple%2Ecom", "example.com"),
        ("ｅｘａｍｐｌｅ．ｃｏｍ", "example.com"),  # noqa: RUF001
        ("example。com", "example.com"),
        ("exam\u00adple\u200b.com", "example.com"),
        ("bücher.example.com", "xn--bcher-kva.example.com"),
        ("b%C3%BCcher.example.com", "xn--bcher-kva.example.com"),
        ("BU\u0308CHER.example.com", "xn--bcher-kva.example.com"),
        ("faß.de", "xn--fa-hia.de"),
        ("ΣΑΣ.gr", "xn--mxa9ab.gr"),
        ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ("\u2603.net", "xn--n3h.net"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("example.com%2f@example.net", "example.com"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert read_site(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "198.51.100.7",
        "198.51.100.7.",
        "3325256711",
        "0xC6336407",
        "0xc6.0x33.0x64.0x7",
        "0306.063.0144.07",
        "198.51.25607",
        "198.3367943",
        "198.51.100.%37",
        "１９８.51.100.7",  # noqa: RUF001
        "[::ffff:198.51.100.7]",
    ],
)
def test_every_form_of_an_ipv4_address(text: str) -> None:
    assert read_site(text) == IPv4Address("198.51.100.7")


def test_ipv6_addresses() -> None:
    assert read_site("[2001:DB8::1]") == IPv6Address("2001:db8::1")
    assert read_site("[fe80::1%25eth0]") == IPv6Address("fe80::1")


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "a..b", "-a.com", "a" * 64 + ".com", "a." * 127 + "com", "x" * 2000, "é" * 62 + ".com"),
        *("256.1.1.1", "1.2.3.4.5", "09.1.1.1", "4294967296", "1.2.3.0x1g", "1.2..3", "a.1", "[", "[]", "[::g]", "%"),
    ],
)
def test_what_nobody_can_connect_to(text: str) -> None:
    assert read_site(text) is None


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_any_text(text: str) -> None:
    """It goes into questions, logs and replies: nothing but letters, digits, "-", "_" and dots may come out."""
    site = read_site(text)
    if isinstance(site, str):
        assert 0 < len(site) <= 253
        assert set(site) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
