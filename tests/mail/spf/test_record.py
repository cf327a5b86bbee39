"""Records: which TXT record is one, and what spoils it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tlsgate.mail.spf.faults import PermError
from tlsgate.mail.spf.record import All, Ip, parse, select
from tlsgate.mail.spf.result import Result


@pytest.mark.parametrize(
    ("texts", "selected"),
    [
        ([], None),
        (["v=spf10 -all", "v=spf1-all", " v=spf1", "v=spf", ""], None),
        (["google-site-verification=x", "v=spf1"], "v=spf1"),
        (["V=SPF1 -all"], "V=SPF1 -all"),
    ],
)
def test_selection(texts: list[str], selected: str | None) -> None:
    assert select(texts) == selected


def test_two_records_are_a_fault() -> None:
    with pytest.raises(PermError):
        select(["v=spf1 -all", "V=spf1"])


def test_directives_as_they_stand() -> None:
    record = parse("v=spf1  IP4:192.0.2.0/24 ~ip6:2001:DB8::/32  -aLL ")
    assert [(each.text, each.result, each.mechanism) for each in record.directives] == [
        ("IP4:192.0.2.0/24", Result.PASS, Ip(ip_address("192.0.2.0"), 24)),
        ("~ip6:2001:DB8::/32", Result.SOFTFAIL, Ip(ip_address("2001:db8::"), 32)),
        ("-aLL", Result.FAIL, All()),
    ]


@pytest.mark.parametrize(
    "term",
    [
        "foo",
        "+redirect=a.b",
        "redirect=",
        "redirect=a.b REDIRECT=a.b",
        "exp=a.b exp=a.b",
        "x=%",
        "all:a.b",
        "include",
        "include:",
        "a:",
        "a:a.b/33",
        "a:a.b/24/24",
        "a:a.b/",
        "a:a.b//129",
        "mx/024",
        "ptr/24",
        "exists",
        "ip4:1.2.3",
        "ip4:01.2.3.4",
        "ip4:1.2.3.4/33",
        "ip4:2001:db8::1",
        "ip6:1.2.3.4",
        "ip6:fe80::1%1",
        "ip6::::",
        "-",
        "--all",
        "ip4:192.0.2.\u0661",
        "a\tall",
        "a\u00a0all",
        "a\x00",
    ],
)
def test_a_fault_behind_what_matches_is_found(term: str) -> None:
    with pytest.raises(PermError):
        parse(f"v=spf1 +all {term}")


def test_a_huge_record_isnt_read() -> None:
    with pytest.raises(PermError, match="8192"):
        parse("v=spf1 " + "ip4:192.0.2.1 " * 4000)


def test_a_fault_says_where_in_few_words() -> None:
    with pytest.raises(PermError) as caught:
        parse("v=spf1 a:" + "x" * 4000)
    assert str(caught.value) == "a:" + "x" * 58 + ": a domain without a top label"
