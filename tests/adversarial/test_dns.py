"""Cases E2 to E4 on the wire: what a stranger has the DNS say of itself, or a list of everybody, turns no mail away.

What fails here has good mail refused for another's DNS, lets names forge headers and commands, or asks without end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
import trio

from tests.admission.look_ups import CLIENT, POINTER, REVERSED, mx_screener
from tests.dns_server import SERVFAIL, DnsServer, Reply, has
from tests.gate import pool_of
from tests.legacy_server import LegacyServer, Smtp
from tests.test_mx_session import FROM_CLIENT, NOBODY_TRUSTED, PROXIES, XCLIENT, greeted, message, receiving, secured
from tlsgate.admission.look_ups import Checks
from tlsgate.config import ClientAddress, Screening

pytestmark = pytest.mark.timeout(60)

LISTED = (f"{REVERSED}.bl.test", "A")
SENDER = ("sender.example", "TXT")
EVERYTHING = Checks(dnsbl=True, reverse_dns=True, helo=False, spf=True)
Says = Mapping[tuple[str, str], Reply]

LISTS: dict[str, Says] = {
    "servfail": {LISTED: SERVFAIL},
    "refuses_us": {LISTED: has("127.255.255.254")},
    "outside_of_127": {LISTED: has("192.0.2.80")},
    "alias_of_itself": {LISTED: Reply(answer=(f"{LISTED[0]}. CNAME a.test.", f"a.test. CNAME {LISTED[0]}."))},
    "answer_of_another_name": {LISTED: Reply(answer=("evil.test. A 127.0.0.2",))},
}
NAMES: dict[str, Says] = {
    "a_hundred": {(POINTER, "PTR"): Reply(records=tuple(f"host{n}.test." for n in range(100)), truncated=True)},
    "localhost": {(POINTER, "PTR"): has("localhost."), ("localhost", "A"): has("127.0.0.1")},
    "of_somebody_else": {(POINTER, "PTR"): has("mail.example.org."), ("mail.example.org", "A"): has("192.0.2.1")},
    "with_a_line": {(POINTER, "PTR"): has("evil\\013\\010RCPT.test.")},
    "with_utf8": {(POINTER, "PTR"): has("\\195\\164.test.")},
    "with_markup": {(POINTER, "PTR"): has("<script>.test.")},
    "of_253": {(POINTER, "PTR"): has(f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 55}.test.")},
    "that_says_unavailable": {(POINTER, "PTR"): has("[unavailable].test.")},
}
POLICIES: dict[str, Says] = {
    "of_itself": {SENDER: has('"v=spf1 redirect=sender.example"')},
    "in_a_ring": {
        SENDER: has('"v=spf1 include:a.test -all"'),
        ("a.test", "TXT"): has('"v=spf1 include:sender.example"'),
    },
    "of_eleven_includes": {
        SENDER: has('"v=spf1 include:i0.test -all"'),
        **{(f"i{n}.test", "TXT"): has(f'"v=spf1 include:i{n + 1}.test ?all"') for n in range(12)},
    },
    "of_eleven_terms": {SENDER: has(f'"v=spf1 {"a:x.test " * 11}-all"')},
    "of_three_voids": {SENDER: has('"v=spf1 a:v1.test a:v2.test a:v3.test -all"')},
    "of_a_macro_that_is_none": {SENDER: has('"v=spf1 exists:%{d0}.test -all"')},
    "twice": {SENDER: has('"v=spf1 -all"', '"v=spf1 +all"')},
    "that_is_no_text": {SENDER: has('"v=spf1 \\255\\000 -all"')},
}


async def sent(nursery: trio.Nursery, says: Says, *, over_tls: bool) -> tuple[DnsServer, LegacyServer]:
    """One message of CLIENT's, that must be taken while the DNS says this."""
    server = await DnsServer().serve(nursery)
    for (name, kind), reply in says.items():
        server.says(name, kind, reply)
    script = Smtp({b"XCLIENT": b"220 Ok\r\n"}, keywords=XCLIENT)
    legacy: LegacyServer = await nursery.start(LegacyServer(script).serve)
    making, _ = mx_screener(server, nursery, checks=EVERYTHING, settings=Screening(), timeout=10.0)
    pool = pool_of(legacy.address, client_address=ClientAddress.XCLIENT)
    async with receiving(pool, rules=NOBODY_TRUSTED, proxies=PROXIES, screener=making) as running:
        client = await (secured if over_tls else greeted)(running, FROM_CLIENT)
        with trio.fail_after(20):
            assert await message(client) == b"250 2.0.0 Queued"
            client.close()
            await running.quiet()
    return server, legacy


def told_of(legacy: LegacyServer) -> list[bytes]:
    """What the backend was told of the client's name."""
    (told,) = re.findall(rb"XCLIENT (.*)\r\n", legacy.talks[0].heard)
    return [word for word in told.split() if word.startswith(b"NAME=")]


both = pytest.mark.parametrize("over_tls", [False, True], ids=["clear", "tls"])


@both
@pytest.mark.parametrize("name", LISTS)
async def test_E2_lists(nursery: trio.Nursery, name: str, over_tls: bool) -> None:
    server, _ = await sent(nursery, LISTS[name], over_tls=over_tls)
    assert server.questions(LISTED[0])


@both
@pytest.mark.parametrize("name", NAMES)
async def test_E3_names(nursery: trio.Nursery, name: str, over_tls: bool) -> None:
    server, legacy = await sent(nursery, NAMES[name], over_tls=over_tls)
    assert len([each for each in server.asked if each[1] == "A"]) < 10
    assert told_of(legacy) == [b"NAME=[UNAVAILABLE]"]
    received = re.sub(rb"\r\n\t", b" ", legacy.messages[0])
    assert b"Received: from peer.example (unknown [%s]) " % CLIENT.encode() in received
    assert b"iprev=pass" not in received


@both
@pytest.mark.parametrize("name", POLICIES)
async def test_E4_policies(nursery: trio.Nursery, name: str, over_tls: bool) -> None:
    """A fault of the domain's is no fail: nobody is refused for it, and nobody passes by it."""
    server, legacy = await sent(nursery, POLICIES[name], over_tls=over_tls)
    assert len(server.asked) < 40
    results = re.sub(rb"\r\n\t", b" ", legacy.messages[0])
    assert b"spf=permerror " in results
    assert b"spf=pass" not in results
