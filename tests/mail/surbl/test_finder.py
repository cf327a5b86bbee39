"""Hosts in text: what a reader could click on or type is found, and what is no link isn't asked about."""

from __future__ import annotations

import pytest

from tlsgate.mail.surbl.finder import Finder, read_reference


def found(*pieces: str, names: bool = True) -> list[str]:
    hosts: list[str] = []
    finder = Finder(hosts.append, names=names)
    for piece in pieces:
        finder.feed(piece)
    finder.finish()
    return list(dict.fromkeys(hosts))


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("see http://a.example.com/path?q#f", "a.example.com"),
        ("see HTTPS://a.example.com:8443/", "a.example.com"),
        ("(http://a.example.com)", "a.example.com"),
        ("http://a.example.com, or", "a.example.com"),
        ("hxxp://a.example.com", "a.example.com"),
        ("http:\\\\a.example.com\\x", "a.example.com"),
        ("http:////a.example.com", "a.example.com"),
        ("http://good.example.net@a.example.com/", "a.example.com"),
        ("http://good.example.net:80@x@a.example.com/", "a.example.com"),
        ("http://good.example.net%2F@a.example.com/", "a.example.com"),
        ("http://[2001:db8::1]:80/", "[2001:db8::1]"),
        ("http://3325256711/", "3325256711"),
        ("http://a%2eexample%2ecom/", "a%2eexample%2ecom"),
        ("http://bücher.example.com/", "bücher.example.com"),
    ],
)
def test_uris(text: str, host: str) -> None:
    """Alone, too: names that stand in a user's place are no hosts."""
    assert found(text, names=False) == [host]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("Visit www.example.com.", ["www.example.com"]),
        ("example.com/offer and EXAMPLE.net!", ["example.com", "EXAMPLE.net"]),
        ("请访问example.com谢谢", ["example.com", "请访问example.com谢谢"]),
        ("пример.рф", ["пример.рф"]),
        ("ｅｘａｍｐｌｅ．ｃｏｍ", ["ｅｘａｍｐｌｅ．ｃｏｍ"]),  # noqa: RUF001
        ("exa\u200bmple.c\u00adom", ["example.com"]),
        ("mail alice@example.com or a.b@example.com", []),
        ("version 1.2.3.4, 12.5 %", []),
        ("http://good.example.net@bad.example.com/", ["bad.example.com"]),
        ("path /srv/example.com/file.zip", []),
        ("no dots. Here", []),
    ],
)
def test_names_that_stand_alone(text: str, hosts: list[str]) -> None:
    assert found(text) == hosts


def test_text_without_spaces_may_go_on_behind_a_name() -> None:
    assert found("http://example.com查看", names=False) == ["example.com查看", "example.com"]


def test_a_word_may_be_cut_anywhere() -> None:
    text = "go to http://good.example.net@bad.example.com:80/ now"
    for cut in range(len(text)):
        assert found(text[:cut], text[cut:], names=False) == ["bad.example.com"], cut


def test_a_word_without_an_end_is_not_held() -> None:
    """It would take all of our memory, and all of our time when each piece is searched again."""
    finder = Finder(lambda host: None)
    for _ in range(100):
        finder.feed("x." * 5000)
        assert len(finder._held) <= 8192


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        ("http://a.example.com/x", ["a.example.com"]),
        ("//a.example.com/x", ["a.example.com"]),
        ("\\/a.example.com/x", ["a.example.com"]),
        ("http:a.example.com", ["a.example.com"]),
        (" ht\ntp:/\t/a.exam\r\nple.com/", ["a.example.com"]),
        ("http://x:y@a.example.com/", ["a.example.com"]),
        ("http://a.example.com/?to=http://b.example.com/", ["a.example.com", "b.example.com"]),
        ("http://a.example.com/?to=http%3A%2F%2Fb.example.com", ["a.example.com", "b.example.com"]),
        ("0; url=http://a.example.com/", ["a.example.com"]),
        ("mailto:alice@example.com", []),
        ("tel:123", []),
        ("index.html", []),
        ("cid:x@example.com", []),
    ],
)
def test_attributes(value: str, hosts: list[str]) -> None:
    seen: list[str] = []
    read_reference(value, seen.append)
    assert list(dict.fromkeys(seen)) == hosts
