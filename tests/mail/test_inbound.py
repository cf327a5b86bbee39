"""The rules for strangers' mail: who is turned away, for good or for now, and what is said of it.

A wrong 550 loses mail; a missing one lets spam through; what a refusal says is all that its sender has to go by.
"""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.admission.look_ups import CLIENT, POINTER, LookUpRecords, list_client, mx_screener, name_client
from tests.dns_server import SERVFAIL, SILENT, DnsServer, Reply, has
from tests.mail.surbl.told import ZONE, Told
from tlsgate.admission.door import Entry
from tlsgate.admission.look_ups import Checks
from tlsgate.admission.network import Network, parse_client
from tlsgate.admission.rules import Standing
from tlsgate.admission.screened import Screened, Screener
from tlsgate.config import Action, Dnsbl, Protocol, Screening
from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.smtp_events import Mail
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.dialogue.smtp_syntax import Path
from tlsgate.mail.inbound import InboundPolicy
from tlsgate.mail.relay_rules import RelayDomains
from tlsgate.mail.stamp import Stamp
from tlsgate.mail.surbl import Links, Suffixes

_NOTHING = Checks(dnsbl=False, reverse_dns=False, helo=False)
_DNSBL = Checks(dnsbl=True, reverse_dns=False, helo=False)
_NAME = Checks(dnsbl=False, reverse_dns=True, helo=False)
_HELO = Checks(dnsbl=False, reverse_dns=False, helo=True)
_SPF = Checks(dnsbl=False, reverse_dns=False, helo=False, spf=True)
_ALL = Checks(dnsbl=True, reverse_dns=True, helo=True, spf=True, surbl=True)
_PASSES = "PASS", ""


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


@pytest.fixture(scope="module")
def suffixes() -> Suffixes:
    return Suffixes()


class _Desk:
    """A client's session, as its policy sees it, and what the policy has told."""

    def __init__(self, screener: Screener, screened: Screened | None, links: Links | None = None) -> None:
        self.helo = "peer.example"
        self.found: list[tuple[str, int, str, str | None]] = []
        self.refused: list[tuple[str, str, str]] = []
        self.policy = InboundPolicy(RelayDomains(("example.org",)), screener, screened, links, self._stamp, self)

    def _stamp(self) -> Stamp:
        source = Endpoint(IPv4Address(CLIENT), 4711)
        return Stamp("mail.example.org", ClientFacts(source, None, "Ab3x", helo=self.helo), None, False)

    def recipient_refused(self, sender: str, recipient: str, reason: str) -> None:
        self.refused.append((sender, recipient, reason))

    def screened(self, result: str, score: int, found: str, sender: str | None = None) -> None:
        self.found.append((result, score, found, sender))

    async def mail(self, sender: str = "eve@sender.example") -> SmtpReply | None:
        return await self.policy.sender(Mail(Path(sender), ()))

    async def rcpt(self, recipient: str = "bob@example.org") -> tuple[str, str]:
        """The code of a refusal and its first line's text, or PASS and nothing."""
        said = await self.policy.recipient(Path(recipient))
        return _read(said if isinstance(said, SmtpReply) else None)

    async def one(self, sender: str = "eve@sender.example", recipient: str = "bob@example.org") -> tuple[str, str]:
        """A whole transaction up to its one recipient."""
        assert await self.mail(sender) is None
        said = await self.rcpt(recipient)
        self.policy.over()
        return said

    async def body(self, text: bytes) -> tuple[str, str]:
        """What is said to a message's end."""
        assert await self.policy.message() is None
        passage = self.policy.passage()
        await passage.feed(text)
        said = await self.policy.whole(passage)
        passage.cancel()
        return _read(said)


def _read(said: SmtpReply | None) -> tuple[str, str]:
    if said is None:
        return _PASSES
    code, text = said.lines[0].split(" ", 1)
    return f"{said.code} {code}", text


def _desk(
    server: DnsServer,
    nursery: trio.Nursery,
    *zones: Dnsbl,
    checks: Checks,
    settings: Screening,
    timeout: float = 5.0,
    links: Links | None = None,
) -> tuple[_Desk, LookUpRecords]:
    making, told = mx_screener(server, nursery, *zones, checks=checks, settings=settings, timeout=timeout)
    screened = making.begin(Entry(parse_client(CLIENT), Network(0, 0, 0), Standing.STRANGER, ()))
    assert screened is not None
    return _Desk(making, screened, links), told


def _zones(**weights: int) -> list[Dnsbl]:
    return [Dnsbl(zone=f"{name}.test", weight=weight, protocols=(Protocol.MX,)) for name, weight in weights.items()]


# -- DNS lists ------------------------------------------------------------------------------------------


async def test_a_listed_client_is_told_by_whom_and_where_to_complain(server: DnsServer, nursery: trio.Nursery) -> None:
    list_client(server)
    desk, told = _desk(server, nursery, checks=_DNSBL, settings=Screening())
    await desk.mail()
    said = await desk.policy.recipient(Path("bob@example.org"))
    assert said == SmtpReply(
        550,
        (
            "5.7.1 Mail is refused: listed by bl.test (127.0.0.2)",
            "5.7.1 if this is wrong, write to the postmaster of the recipient's domain, whose mail is not screened",
        ),
    )
    assert await desk.policy.recipient(Path("ann@example.org")) == said
    assert desk.found == [("reject", 3, "listed by bl.test (127.0.0.2)", "eve@sender.example")]
    assert told.checked["sender", "reject"] == 1


async def test_nobody_is_sent_to_complain_at_an_allow_list(server: DnsServer, nursery: trio.Nursery) -> None:
    for zone in ("bl.test", "wl.test"):
        list_client(server, zone)
    desk, _ = _desk(server, nursery, *_zones(bl=5, wl=-2), checks=_DNSBL, settings=Screening())
    code, text = await desk.one()
    assert code == "550 5.7.1"
    assert text == "Mail is refused: listed by bl.test (127.0.0.2), allowed by wl.test (127.0.0.2)"


@pytest.mark.parametrize(
    ("weights", "tempfail", "expected"),
    [
        ({"bl": 3}, 0, "550 5.7.1"),
        ({"bl": 2}, 0, "PASS"),
        ({"bl": 2}, 2, "451 4.7.1"),
        ({"bl": 1}, 2, "PASS"),
        ({"bl": 3}, 2, "550 5.7.1"),
        ({"bl": 1, "bl2": 2}, 0, "550 5.7.1"),
        ({"bl": 3, "wl": -1}, 0, "PASS"),
        ({"bl": 4, "wl": -1}, 0, "550 5.7.1"),
    ],
)
async def test_weights_are_summed_up(
    server: DnsServer, nursery: trio.Nursery, weights: dict[str, int], tempfail: int, expected: str
) -> None:
    for name in weights:
        list_client(server, f"{name}.test")
    settings = Screening(tempfail_score=tempfail)
    desk, _ = _desk(server, nursery, *_zones(**weights), checks=_DNSBL, settings=settings)
    assert (await desk.one())[0] == expected


async def test_an_allow_list_that_does_not_answer_puts_mail_off(server: DnsServer, nursery: trio.Nursery) -> None:
    list_client(server)
    server.says("7.100.51.198.wl.test", "A", SERVFAIL)
    desk, _ = _desk(server, nursery, *_zones(bl=3, wl=-3), checks=_DNSBL, settings=Screening())
    assert (await desk.one())[0] == "451 4.7.1"


# -- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "missing", "unconfirmed", "temporary"),
    [
        (Action.OFF, "PASS", "PASS", "PASS"),
        (Action.LOG, "PASS", "PASS", "PASS"),
        (Action.SCORE, "451 4.7.1", "PASS", "PASS"),
        (Action.REJECT, "550 5.7.1", "550 5.7.1", "451 4.7.1"),
    ],
)
async def test_the_client_s_name(
    server: DnsServer, nursery: trio.Nursery, action: Action, missing: str, unconfirmed: str, temporary: str
) -> None:
    """With a tempfail_score of 2: a missing name weighs 2, one that doesn't lead back 1."""
    settings = Screening(reverse_dns=action, tempfail_score=2)
    assert (await _desk(server, nursery, checks=_NAME, settings=settings)[0].one())[0] == missing
    server.says(POINTER, "PTR", has("bank.example."))
    server.says("bank.example", "A", has("192.0.2.1"))
    assert (await _desk(server, nursery, checks=_NAME, settings=settings)[0].one())[0] == unconfirmed
    server.says(POINTER, "PTR", SERVFAIL)
    assert (await _desk(server, nursery, checks=_NAME, settings=settings)[0].one())[0] == temporary
    name_client(server)
    assert await _desk(server, nursery, checks=_NAME, settings=settings)[0].one() == _PASSES


@pytest.mark.parametrize(
    ("helo", "score"),
    [
        ("peer.example", 0),
        (f"[{CLIENT}]", 0),
        ("[192.0.2.1]", 2),
        ("nowhere.example", 1),
        ("pc", 1),
        ("=?(x)?=", 2),
        ("x@peer.example", 2),
        ("Mail.Example.ORG.", 3),
    ],
)
@pytest.mark.parametrize("action", list(Action))
async def test_the_name_in_helo(
    server: DnsServer, nursery: trio.Nursery, helo: str, score: int, action: Action
) -> None:
    server.says("peer.example", "A", has("192.0.2.1"))
    checks = _HELO if action is not Action.OFF else _NOTHING
    desk, told = _desk(server, nursery, checks=checks, settings=Screening(helo=action))
    desk.helo = helo
    code, _ = await desk.one()
    refused_from = {Action.REJECT: 1, Action.SCORE: 3}.get(action, 9)
    assert code == ("550 5.7.1" if score >= refused_from else "PASS")
    if action is Action.SCORE and score:
        assert desk.found[0][1] == score
    if action is Action.LOG and score:
        assert [each[0] for each in desk.found] == ["pass"]
    assert any(check == "helo" for check, _ in told.checked) is (action is not Action.OFF)


async def test_a_name_that_changes_is_judged_anew(server: DnsServer, nursery: trio.Nursery) -> None:
    """Whoever is refused for one name may say another, and whoever has passed with a good one mustn't keep that."""
    server.says("peer.example", "A", has("192.0.2.1"))
    desk, _ = _desk(server, nursery, checks=_HELO, settings=Screening(helo=Action.REJECT))
    codes = []
    for helo in ("peer.example", "nowhere.example", "pc", "peer.example", "mail.example.org"):
        desk.helo = helo
        codes.append((await desk.one())[0])
    assert codes == ["PASS", "550 5.7.1", "550 5.7.1", "PASS", "550 5.7.1"]


async def test_what_is_against_the_client_is_summed_up_over_the_checks(
    server: DnsServer, nursery: trio.Nursery
) -> None:
    list_client(server)
    checks = Checks(dnsbl=True, reverse_dns=True, helo=True)
    settings = Screening(reject_score=5)
    desk, _ = _desk(server, nursery, *_zones(bl=2), checks=checks, settings=settings)
    desk.helo = "pc"
    assert await desk.one() == (
        "550 5.7.1",
        "Mail is refused: listed by bl.test (127.0.0.2); address has no name; name in HELO has no dot",
    )
    desk, _ = _desk(server, nursery, *_zones(bl=2), checks=checks, settings=Screening(reject_score=6))
    desk.helo = "pc"
    assert await desk.one() == _PASSES
    assert desk.found[0][:2] == ("pass", 5)


# -- SPF ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "action", "expected"),
    [
        ("-all", Action.REJECT, "550 5.7.1"),
        ("-all", Action.SCORE, "550 5.7.1"),
        ("-all", Action.LOG, "PASS"),
        ("~all", Action.REJECT, "PASS"),
        ("~all", Action.SCORE, "PASS"),
        ("?all", Action.REJECT, "PASS"),
        ("+all", Action.REJECT, "PASS"),
        (f"ip4:{CLIENT} -all", Action.REJECT, "PASS"),
        ("nonsense:x", Action.REJECT, "PASS"),
        ("include:broken.example -all", Action.REJECT, "451 4.7.1"),
        ("include:broken.example -all", Action.SCORE, "PASS"),
        ("include:broken.example -all", Action.LOG, "PASS"),
    ],
)
async def test_what_spf_says(
    server: DnsServer, nursery: trio.Nursery, record: str, action: Action, expected: str
) -> None:
    server.says("sender.example", "TXT", has(f'"v=spf1 {record}"'))
    server.says("broken.example", "TXT", SERVFAIL)
    desk, told = _desk(server, nursery, checks=_SPF, settings=Screening(spf=action))
    assert (await desk.one())[0] == expected
    noted = not record.startswith(("?", "+", "ip4"))
    assert bool(desk.found) is noted
    assert sum(count for (check, _), count in told.checked.items() if check == "spf") == 1


async def test_the_domain_s_own_words_are_passed_on_as_such(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says("sender.example", "TXT", has('"v=spf1 -all exp=why.sender.example"'))
    server.says("why.sender.example", "TXT", has('"%{i} is not ours"'))
    desk, _ = _desk(server, nursery, checks=_SPF, settings=Screening())
    _, text = await desk.one()
    assert text == (
        "Mail is refused: SPF fail for sender.example (-all); sender.example explains: 198.51.100.7 is not ours"
    )


async def test_a_bounce_is_judged_by_the_name_in_helo(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says("peer.example", "TXT", has('"v=spf1 -all"'))
    desk, _ = _desk(server, nursery, checks=_SPF, settings=Screening())
    assert await desk.one("") == ("550 5.7.1", "Mail is refused: SPF fail for HELO peer.example (-all)")
    desk.helo = "other.example"
    assert await desk.one("") == _PASSES


async def test_a_name_in_helo_that_its_domain_denies_condemns_by_itself(
    server: DnsServer, nursery: trio.Nursery
) -> None:
    server.says("peer.example", "TXT", has('"v=spf1 -all"'))
    server.says("sender.example", "TXT", has('"v=spf1 +all"'))
    desk, _ = _desk(server, nursery, checks=_SPF, settings=Screening())
    assert (await desk.one())[0] == "550 5.7.1"


async def test_each_sender_has_its_own_verdict(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says("sender.example", "TXT", has('"v=spf1 -all"'))
    desk, told = _desk(server, nursery, checks=_SPF, settings=Screening())
    codes = [(await desk.one(each))[0] for each in ("a@sender.example", "a@other.example", "b@sender.example")]
    assert codes == ["550 5.7.1", "PASS", "550 5.7.1"]
    assert (told.checked["sender", "reject"], told.checked["sender", "pass"]) == (2, 1)


async def test_a_domain_in_unicode_is_asked_for_as_the_dns_has_it(server: DnsServer, nursery: trio.Nursery) -> None:
    """Else every such domain could be forged (RFC 8616 4)."""
    server.says("xn--bcher-kva.example", "TXT", has('"v=spf1 -all"'))
    desk, _ = _desk(server, nursery, checks=_SPF, settings=Screening())
    assert await desk.one("boss@Bücher.example") == (
        "550 5.7.1",
        "Mail is refused: SPF fail for xn--bcher-kva.example (-all)",
    )


@pytest.mark.parametrize("sender", ["a..b@bad.example", "a.@bad.example", '"a b"@bad.example', "x@bad.example."])
async def test_a_sender_of_any_form_is_asked_about(server: DnsServer, nursery: trio.Nursery, sender: str) -> None:
    """Carriers have given out local parts with dots anywhere: they aren't refused for it, nor let in for it."""
    server.says("bad.example", "TXT", has('"v=spf1 -all"'))
    desk, _ = _desk(server, nursery, checks=_SPF, settings=Screening())
    assert (await desk.one(sender))[0] == "550 5.7.1"


async def test_a_transaction_that_is_given_up_stops_asking(nursery: trio.Nursery) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    with trio.fail_after(5):
        async with trio.open_nursery() as asking:
            desk, told = _desk(server, asking, checks=_SPF, settings=Screening(), timeout=50.0)
            for sender in ("a@sender.example", "a@other.example"):
                await desk.mail(sender)
                await wait_all_tasks_blocked()
                assert asking.child_tasks
                desk.policy.over()
                desk.policy.over()
    assert not told.checked


# -- the DNS in trouble ---------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [SERVFAIL, SILENT, Reply(garbage=b"\0\0")])
@pytest.mark.parametrize(
    ("action", "expected"), [(Action.SCORE, "PASS"), (Action.LOG, "PASS"), (Action.REJECT, "451 4.7.1")]
)
async def test_a_dns_that_is_down_never_rejects_for_good(
    nursery: trio.Nursery, trouble: Reply, action: Action, expected: str
) -> None:
    server = await DnsServer(everything=trouble).serve(nursery)
    settings = Screening(reverse_dns=action, helo=action, spf=action, reject_score=1, tempfail_score=1)
    desk, _ = _desk(server, nursery, checks=_ALL, settings=settings, timeout=0.3)
    assert (await desk.one())[0] == expected
    assert (await desk.one(""))[0] == expected


# -- who is heard in any case ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipient", ["postmaster", "PostMaster@example.org", "abuse@EXAMPLE.org", '"abuse"@example.org']
)
async def test_somebody_hears_complaints(server: DnsServer, nursery: trio.Nursery, recipient: str) -> None:
    list_client(server)
    desk, told = _desk(server, nursery, checks=_ALL, settings=Screening())
    assert await desk.one(recipient=recipient) == _PASSES
    assert not desk.found
    assert not told.checked["sender", "reject"]


@pytest.mark.parametrize(
    "recipient", ["postmaster@other.example", "abuse", "abuse.x@example.org", "postmaster+x@example.org"]
)
async def test_nobody_else_does(server: DnsServer, nursery: trio.Nursery, recipient: str) -> None:
    list_client(server)
    desk, _ = _desk(server, nursery, checks=_ALL, settings=Screening())
    assert (await desk.one(recipient=recipient))[0][:1] == "5"


async def test_who_is_not_screened_is_asked_nothing(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes
) -> None:
    list_client(server)
    making, told = mx_screener(server, nursery, checks=_ALL, settings=Screening())
    desk = _Desk(making, None, _links(server, nursery, suffixes))
    assert await desk.one() == _PASSES
    assert await desk.body(b"\r\nhttp://www.bad-site.com/\r\n") == _PASSES
    assert (await desk.one(recipient="eve@elsewhere.example"))[0] == "550 5.7.1"
    assert desk.refused == [("eve@sender.example", "eve@elsewhere.example", "not_ours")]
    assert not (server.asked or told.checked)


# -- senders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", ["boss", '"boss@example.org"', "a@-.example", "a@\u2603.example"])
async def test_a_sender_that_could_be_anybody_s(server: DnsServer, nursery: trio.Nursery, sender: str) -> None:
    desk, _ = _desk(server, nursery, checks=_SPF, settings=Screening())
    said = await desk.mail(sender)
    assert said is not None
    assert (said.code, said.enhanced) == (501, "5.1.7")
    assert not server.asked


# -- links ----------------------------------------------------------------------------------------------

LINK = b"Subject: x\r\n\r\nsee http://www.bad-site.com/\r\n"


def _links(server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes) -> Links:
    server.says(f"bad-site.com.{ZONE}", "A", has("127.0.0.8"))
    links = Links((ZONE,), server.resolver(0.3), Told(), nursery, 0.3)
    links.suffixes = suffixes
    return links


@pytest.mark.parametrize(
    ("action", "reject_score", "named", "expected"),
    [
        (Action.REJECT, 9, True, "550 5.7.1"),
        (Action.SCORE, 3, True, "550 5.7.1"),
        (Action.SCORE, 4, True, "PASS"),
        (Action.SCORE, 5, False, "550 5.7.1"),  # 3, and 2 for an address without a name
        (Action.SCORE, 6, False, "PASS"),
        (Action.LOG, 1, True, "PASS"),
    ],
)
async def test_links_weigh_together_with_the_client(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes, action: Action, reject_score: int, named: bool,
    expected: str,
) -> None:  # fmt: skip
    if named:
        name_client(server)
    links = _links(server, nursery, suffixes)
    checks = Checks(dnsbl=False, reverse_dns=True, helo=False, surbl=True)
    settings = Screening(surbl=action, reject_score=reject_score)
    desk, told = _desk(server, nursery, checks=checks, settings=settings, links=links)
    assert await desk.mail() is None
    assert await desk.rcpt() == _PASSES
    code, text = await desk.body(LINK)
    assert code == expected
    if expected != "PASS":
        assert "link to bad-site.com, listed by multi.example (127.0.0.8)" in text
    assert sum(count for (check, _), count in told.checked.items() if check == "message") == 1


async def test_a_list_that_does_not_answer_lets_the_message_pass(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes
) -> None:
    links = _links(server, nursery, suffixes)
    server.says(f"bad-site.com.{ZONE}", "A", SILENT)
    desk, _ = _desk(server, nursery, checks=Checks(False, False, False, surbl=True), settings=Screening(), links=links)
    await desk.mail()
    await desk.rcpt()
    assert await desk.body(LINK) == _PASSES


async def test_a_recipient_who_was_refused_gets_no_message_looked_at(
    server: DnsServer, nursery: trio.Nursery, suffixes: Suffixes
) -> None:
    """A listed server that was refused turns to the postmaster at once, with the link that it was refused for."""
    list_client(server)
    links = _links(server, nursery, suffixes)
    desk, _ = _desk(server, nursery, checks=_ALL, settings=Screening(), links=links)
    await desk.mail()
    assert (await desk.rcpt())[0] == "550 5.7.1"
    assert await desk.rcpt("postmaster@example.org") == _PASSES
    assert await desk.body(LINK) == _PASSES
    desk.policy.over()
    assert not server.questions(f"bad-site.com.{ZONE}")


# -- what is said ---------------------------------------------------------------------------------------


async def test_a_refusal_is_a_reply_that_any_client_can_read(server: DnsServer, nursery: trio.Nursery) -> None:
    """Lines of at most 512 octets (RFC 5321 4.5.3.1.5), in ASCII, whatever strangers have in their zones."""
    label = "a" * 60
    domain = f"{label}.{label}.{label}.example"
    server.says(domain, "TXT", has(f'"v=spf1 ?exists:{label}.{label}.example ?include:{label}.test -all exp=%{{d}}"'))
    server.says(POINTER, "PTR", has(f"{label}.{label}.bank.example."))
    server.says(f"{label}.{label}.bank.example", "A", has("192.0.2.1"))
    zones = {f"bl{number}": 1 for number in range(20)}
    for name in zones:
        list_client(server, f"{name}.test")
    checks = Checks(dnsbl=True, reverse_dns=True, helo=True, spf=True)
    desk, _ = _desk(server, nursery, *_zones(**zones), checks=checks, settings=Screening())
    desk.helo = "\u00fc?" * 100
    await desk.mail(f"a@{domain}")
    said = await desk.policy.recipient(Path("bob@example.org"))
    assert isinstance(said, SmtpReply)
    wire = said.encode()
    assert wire.isascii()
    assert all(len(line) <= 510 and line.startswith(b"550") for line in wire.split(b"\r\n")[:-1])


# -- what a message gets at its head --------------------------------------------------------------------


async def _head(desk: _Desk) -> bytes:
    assert await desk.policy.message() is None
    passage = desk.policy.passage()
    passage.cancel()
    return (await passage.feed(b"\r\n")).replace(b"\r\n\t", b" ").split(b"\r\n")[0]


async def test_results_of_all_that_was_checked(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says("sender.example", "TXT", has('"v=spf1 ~all"'))
    server.says("peer.example", "TXT", SERVFAIL)
    settings = Screening(spf=Action.LOG, reject_score=9)
    desk, _ = _desk(server, nursery, checks=_ALL, settings=settings)
    await desk.mail()
    assert await desk.rcpt() == _PASSES
    assert await _head(desk) == (
        b"Authentication-Results: mail.example.org; spf=softfail smtp.mailfrom=eve@sender.example; "
        b'spf=temperror reason="DNS: servfail" smtp.helo=peer.example; '
        b"iprev=permerror policy.iprev=198.51.100.7"
    )


async def test_results_of_one_sender_are_not_shown_for_the_next(server: DnsServer, nursery: trio.Nursery) -> None:
    server.says("sender.example", "TXT", has(f'"v=spf1 ip4:{CLIENT} -all"'))
    desk, _ = _desk(server, nursery, checks=_SPF, settings=Screening())
    assert await desk.one() == _PASSES
    await desk.mail("boss@other.example")
    assert await desk.rcpt("postmaster@example.org") == _PASSES
    assert b"spf=pass" not in await _head(desk)


async def test_the_head_waits_for_a_name_no_longer_than_the_time_out(nursery: trio.Nursery) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    desk, _ = _desk(server, nursery, checks=_NAME, settings=Screening(), timeout=0.2)
    await desk.mail()
    assert await desk.rcpt("postmaster@example.org") == _PASSES
    with trio.fail_after(2):
        assert b"iprev=temperror" in await _head(desk)
