"""One message's sender: whose names are checked, what weighs, how long anybody waits, and that no task is left."""

from __future__ import annotations

import math
from ipaddress import IPv4Address

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.admission.look_ups import look_ups
from tests.dns_server import SERVFAIL, SILENT, DnsServer, Reply, has
from tlsgate.admission.look_ups import LookUps
from tlsgate.admission.screening import Outcome, decide
from tlsgate.config import Action, Screening
from tlsgate.mail import authentication_results as fields
from tlsgate.mail.spf import Identity, Result, sender
from tlsgate.mail.spf.sender import SenderCheck, SpfVerdict

CLIENT = IPv4Address("198.51.100.7")
_NEVER = math.inf


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


def publishes(server: DnsServer, domain: str, record: str) -> None:
    """The domain's policy."""
    server.says(domain, "TXT", has(f'"v=spf1 {record}"'))


def begun(asked: LookUps, mail_from: str = "ann@a.test", helo: str = "h.test") -> SenderCheck:
    return SenderCheck(asked, CLIENT, helo, mail_from, "gate.test")


def words(verdict: SpfVerdict) -> dict[Identity, Result]:
    return {each.identity: each.result.result for each in verdict.checked}


def outcome(verdict: SpfVerdict, action: Action = Action.REJECT) -> tuple[Outcome, int]:
    decision = decide(verdict.findings(action), Screening())
    return decision.outcome, decision.score


# -- whose names are checked, and what weighs -------------------------------------------------------


async def test_both_names_are_checked_and_counted_once(server: DnsServer, nursery: trio.Nursery) -> None:
    publishes(server, "a.test", "ip4:198.51.100.7 -all")
    asked, told = look_ups(server, nursery)
    verdict = await begun(asked).result(_NEVER)
    assert words(verdict) == {Identity.MAIL_FROM: Result.PASS, Identity.HELO: Result.NONE}
    assert verdict.findings(Action.REJECT) == []
    assert told.checked == {("spf", "pass"): 1}


async def test_a_null_reverse_path_is_of_the_name_in_helo(server: DnsServer, nursery: trio.Nursery) -> None:
    """RFC 7208 2.4; all that is found of it counts then, for there is nothing else."""
    publishes(server, "h.test", "exists:%{l}.%{d} ~all")
    asked, told = look_ups(server, nursery)
    check = begun(asked, "")
    verdict = await check.result(_NEVER)
    assert words(verdict) == {Identity.HELO: Result.SOFTFAIL}
    assert outcome(verdict, Action.SCORE) == (Outcome.PASS, 1)
    assert server.questions("postmaster.h.test") == 1
    assert told.checked == {("spf", "softfail"): 1}


@pytest.mark.parametrize(
    ("of_sender", "of_helo", "rejecting", "scoring"),
    [
        ("+all", "+all", (Outcome.PASS, 0), (Outcome.PASS, 0)),
        ("-all", "+all", (Outcome.REJECT, 0), (Outcome.REJECT, 3)),
        ("~all", "~all", (Outcome.PASS, 0), (Outcome.PASS, 1)),
        ("+all", "~all", (Outcome.PASS, 0), (Outcome.PASS, 0)),
        ("+all", "wrong", (Outcome.PASS, 0), (Outcome.PASS, 0)),
        ("wrong", "+all", (Outcome.PASS, 0), (Outcome.PASS, 1)),
        # Whoever says that the host of this name sends no mail is believed (RFC 7208 2.3).
        ("+all", "-all", (Outcome.REJECT, 0), (Outcome.REJECT, 3)),
        # A broken zone of the name in HELO must not keep mail out that its sender lets through.
        ("+all", "a:away.test -all", (Outcome.PASS, 0), (Outcome.PASS, 0)),
        ("a:away.test -all", "+all", (Outcome.TEMPFAIL, 0), (Outcome.PASS, 0)),
        ("-all", "a:away.test -all", (Outcome.REJECT, 0), (Outcome.REJECT, 3)),
    ],
)
async def test_of_helo_only_a_fail_counts(
    server: DnsServer,
    nursery: trio.Nursery,
    of_sender: str,
    of_helo: str,
    rejecting: tuple[Outcome, int],
    scoring: tuple[Outcome, int],
) -> None:
    server.says("away.test", "A", SERVFAIL)
    publishes(server, "a.test", of_sender)
    publishes(server, "h.test", of_helo)
    asked, _ = look_ups(server, nursery)
    verdict = await begun(asked).result(_NEVER)
    assert outcome(verdict) == rejecting
    assert outcome(verdict, Action.SCORE) == scoring
    assert verdict.findings(Action.OFF) == []


async def test_the_domain_s_explanation_reaches_the_reasons(server: DnsServer, nursery: trio.Nursery) -> None:
    publishes(server, "a.test", "-all exp=why.a.test")
    server.says("why.a.test", "TXT", has('"%{i} is none of ours"'))
    asked, _ = look_ups(server, nursery)
    (finding,) = (await begun(asked).result(_NEVER)).findings(Action.REJECT)
    assert finding.said == "SPF fail for a.test (-all); a.test explains: 198.51.100.7 is none of ours"


async def test_what_authentication_results_says(server: DnsServer, nursery: trio.Nursery) -> None:
    """RFC 8601 2.7.2: which name had which result."""
    publishes(server, "a.test", "ip4:198.51.100.7 -all")
    asked, _ = look_ups(server, nursery)
    verdict = await begun(asked, helo="[198.51.100.7]").result(_NEVER)
    assert verdict.results == [
        fields.Result("spf", "pass", "", (("smtp.mailfrom", "ann@a.test"),)),
        fields.Result("spf", "none", "not a domain name", (("smtp.helo", "[198.51.100.7]"),)),
    ]


# -- how long ---------------------------------------------------------------------------------------


async def test_what_is_not_known_in_time_puts_mail_off(server: DnsServer, nursery: trio.Nursery) -> None:
    """What is known counts all the same: one slow name server must not hide the other domain's fail."""
    publishes(server, "a.test", "-all")
    go = trio.Event()
    server.says("h.test", "TXT", Reply(held=go))
    asked, told = look_ups(server, nursery, timeout=50.0)
    check = begun(asked)
    with trio.fail_after(5):
        while words(verdict := await check.result(trio.current_time() + 0.01))[Identity.MAIL_FROM] is Result.TEMPERROR:
            pass
    assert words(verdict) == {Identity.MAIL_FROM: Result.FAIL, Identity.HELO: Result.TEMPERROR}
    assert outcome(verdict) == (Outcome.REJECT, 0)
    assert not told.checked
    go.set()
    assert words(await check.result(_NEVER)) == {Identity.MAIL_FROM: Result.FAIL, Identity.HELO: Result.NONE}
    assert told.checked == {("spf", "fail"): 1}


async def test_a_silent_dns_is_waited_for_20_seconds(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Ten exchanges with dead name servers would hold a session up for minutes (RFC 7208 4.6.4)."""
    server = await DnsServer(everything=SILENT).serve(nursery)
    asked, told = look_ups(server, nursery, timeout=60.0)
    began = trio.current_time()
    verdict = await begun(asked).result(_NEVER)
    assert trio.current_time() - began == pytest.approx(20)
    assert outcome(verdict) == (Outcome.TEMPFAIL, 0)
    assert told.checked == {("spf", "temperror"): 1}


async def test_a_message_that_is_given_up_leaves_no_task(nursery: trio.Nursery) -> None:
    server = await DnsServer(everything=SILENT).serve(nursery)
    with trio.fail_after(5):
        async with trio.open_nursery() as asking:
            asked, told = look_ups(server, asking, timeout=50.0)
            check = begun(asked)
            await wait_all_tasks_blocked()
            assert asking.child_tasks
            check.cancel()
    assert not told.checked
    assert outcome(await check.result(_NEVER)) == (Outcome.TEMPFAIL, 0)


async def test_a_fault_of_ours_is_told_and_turns_nobody_away(
    server: DnsServer, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers write the records: whatever we can't digest must not end the gateway, nor hide the other name."""
    publishes(server, "h.test", "-all")

    async def broken(*_: object, **__: object) -> None:
        async with trio.open_nursery():
            raise ValueError("a stranger's words")

    monkeypatch.setattr(sender, "check_mail_from", broken)
    asked, told = look_ups(server, nursery)
    verdict = await begun(asked).result(_NEVER)
    assert words(verdict) == {Identity.MAIL_FROM: Result.NONE, Identity.HELO: Result.FAIL}
    assert verdict.results[0].reason == "not checked"
    assert told.events == ["spf ValueError"]
    assert outcome(verdict) == (Outcome.REJECT, 0)
