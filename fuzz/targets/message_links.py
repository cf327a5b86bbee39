"""A message's parts, encodings, markup and links."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address, IPv6Address

from fuzz.choices import Choices, cut
from tlsgate.mail.surbl.scanner import Scanner
from tlsgate.mail.surbl.suffixes import Suffixes


@cache
def _suffixes() -> Suffixes:
    return Suffixes()


def fuzz(data: bytes) -> None:
    choices = Choices(data)
    sizes, message = choices.some(3), choices.rest
    if choices.flag():
        message = message.replace(b"\n", b"\r\n")
    whole, pieces = Scanner(_suffixes()), Scanner(_suffixes())
    told = whole.feed(message)
    for each in cut([message], sizes):
        pieces.feed(each)
    told += whole.finish()
    pieces.finish()
    assert pieces.sites == whole.sites
    assert told == whole.sites
    assert pieces.beyond == whole.beyond
    for site in whole.sites:
        if isinstance(site, str):
            assert site.isascii()
            assert site == site.lower()
            assert 0 < len(site) <= 253
            assert " " not in site
        else:
            assert isinstance(site, IPv4Address | IPv6Address)
