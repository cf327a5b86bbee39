"""The test suite of openspf.org for RFC 7208, all of it: without a DNS, and by the resolver from a name server.

Whoever fails here refuses mail that its domain lets through, or takes what it doesn't.
"""

from __future__ import annotations

from ipaddress import ip_address

import pytest
import trio

from tests.dns_server import DnsServer
from tests.mail.spf.zones import Case, ZoneResolver, serve, suite
from tlsgate.mail.spf import SpfResult, check_mail_from
from tlsgate.mail.spf.lookups import Asks

CASES = suite()


def test_the_suite_is_whole() -> None:
    assert len(CASES) == 203


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case(case: Case) -> None:
    assert_right(case, await check(case, ZoneResolver(case.zone)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case_by_the_resolver(case: Case, nursery: trio.Nursery) -> None:
    server = await DnsServer().serve(nursery)
    serve(case.zone, server)
    assert_right(case, await check(case, server.resolver()))


async def check(case: Case, resolver: Asks) -> SpfResult:
    return await check_mail_from(ip_address(case.host), case.mail_from, case.helo, resolver, receiver="mx.example.org")


def assert_right(case: Case, result: SpfResult) -> None:
    assert result.result in case.results, result
    if case.explanation is not None:
        assert result.explanation == case.explanation.replace("DEFAULT", "")
