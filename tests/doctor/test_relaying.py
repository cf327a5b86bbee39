"""An open relay is found by every form it takes, and a closed one isn't called open."""

from __future__ import annotations

import pytest
import trio

from tests.doctor.smtp_server import SmtpServer
from tlsgate.config import ClientAddress, LoginMode, Protocol
from tlsgate.doctor.finding import Finding, Severity
from tlsgate.doctor.relay_forms import forms
from tlsgate.doctor.relay_judgement import relaying
from tlsgate.doctor.relaying import TIMEOUT

FORMS = forms("ours.test", "[127.0.0.1]")
DENIED = "550 5.7.1 no"


def closed(line: str, _: bool) -> str:
    return DENIED if line.startswith("RCPT") else ""


def for_strangers(line: str, stranger: bool) -> str:
    return DENIED if line.startswith("RCPT") and not stranger else ""


def for_us(line: str, stranger: bool) -> str:
    return DENIED if line.startswith("RCPT") and stranger else ""


async def examined(nursery: trio.Nursery, server: SmtpServer) -> list[Finding]:
    return await relaying(await server.subject(nursery), FORMS)


async def test_closed(nursery: trio.Nursery) -> None:
    """A false alarm would teach people not to read; a message would be spam of ours."""
    server = SmtpServer(closed)
    assert await examined(nursery, server) == []
    offered = [each for each in server.heard if each.startswith("RCPT")]
    assert sorted(offered) == sorted(f"RCPT TO:<{form.path}>" for form in FORMS * 2)
    assert len(FORMS) >= 20
    assert "DATA" not in server.heard


async def test_each_form_is_enough(nursery: trio.Nursery) -> None:
    """A form that is never tried or never told is the hole that spammers use."""
    for form in FORMS:

        def says(line: str, _: bool, form: str = form.path) -> str:
            return DENIED if line.startswith("RCPT") and line != f"RCPT TO:<{form}>" else ""

        (finding,) = await examined(nursery, SmtpServer(says))
        assert finding.what.endswith(f": {form.name}")
        assert finding.severity is (Severity.PROBLEM if form.outside else Severity.WARNING)


async def test_relays_for_foreign_senders_only(nursery: trio.Nursery) -> None:
    """A server that takes bounces only locally may relay all else."""
    sender = ""

    def says(line: str, _: bool) -> str:
        nonlocal sender
        if line.startswith("MAIL"):
            sender = line[11:-1]
        return DENIED if line.startswith("RCPT") and not sender else ""

    (finding,) = await examined(nursery, SmtpServer(says))
    assert finding.severity is Severity.PROBLEM


@pytest.mark.parametrize(
    ("protocol", "login", "severity"),
    [
        (Protocol.MX, LoginMode.SAME, Severity.PROBLEM),
        (Protocol.MX, LoginMode.NONE, Severity.PROBLEM),
        (Protocol.SUBMISSION, LoginMode.SAME, Severity.WARNING),
        (Protocol.SUBMISSION, LoginMode.NONE, Severity.NOTE),
    ],
)
async def test_who_comes_from_our_address(
    nursery: trio.Nursery, protocol: Protocol, login: LoginMode, severity: Severity
) -> None:
    """Strangers come by an mx listener only; a backend that must trust us is as it has to be."""
    subject = await SmtpServer(for_us).subject(nursery, protocol=protocol, login=login)
    (finding,) = await relaying(subject, FORMS)
    assert finding.severity is severity
    assert finding.what.startswith("relays for our address without a login: plain; ")


@pytest.mark.parametrize("told", [ClientAddress.XCLIENT, ClientAddress.PROXY_V1])
async def test_where_the_client_is_told_strangers_count(nursery: trio.Nursery, told: ClientAddress) -> None:
    """Asked as ourselves alone, a relay for strangers would look closed, and one for us open."""
    proxied = told is ClientAddress.PROXY_V1
    subject = await SmtpServer(for_strangers, xclient=not proxied, proxied=proxied).subject(nursery, told)
    (finding,) = await relaying(subject, FORMS)
    assert finding.severity is Severity.PROBLEM
    assert finding.what.startswith("relays for strangers without a login: plain; ")
    subject = await SmtpServer(for_us, xclient=not proxied, proxied=proxied).subject(nursery, told)
    (finding,) = await relaying(subject, FORMS)
    assert finding.severity is Severity.NOTE
    assert finding.what.startswith("relays for our address without a login: plain; ")


async def test_xclient_that_is_not_taken(nursery: trio.Nursery) -> None:
    """An mx listener gives such a backend no mail, so its operator must hear of it; it is asked as for us still."""
    subject = await SmtpServer(closed).subject(nursery, ClientAddress.XCLIENT)
    (finding,) = await relaying(subject, FORMS)
    assert finding.severity is Severity.PROBLEM
    assert "who the client is" in finding.what
    subject = await SmtpServer(for_us).subject(nursery, ClientAddress.XCLIENT)
    found = await relaying(subject, FORMS)
    assert [each.severity for each in found] == [Severity.PROBLEM, Severity.WARNING]  # strangers aren't sent there


async def test_mail_that_is_refused_is_told(nursery: trio.Nursery) -> None:
    """Silence would say that recipients were refused; a server that wants a login is as it should be."""
    server = SmtpServer(lambda line, _: "530 5.7.0 Authentication required" if line.startswith("MAIL") else "")
    found = await examined(nursery, server)
    assert [each.severity for each in found] == [Severity.NOTE, Severity.NOTE]
    assert "takes no mail of <> from our address without a login: 530 5.7.0 Authentication" in found[0].what
    assert not any(each.startswith("RCPT") for each in server.heard)
    assert sum(each.startswith("MAIL") for each in server.heard) == 2  # a sender that is refused isn't tried again


async def test_mail_that_is_put_off_leaves_it_open(nursery: trio.Nursery) -> None:
    """Tomorrow it may be taken."""
    found = await examined(nursery, SmtpServer(lambda line, _: "451 4.3.0 later" if line.startswith("MAIL") else ""))
    assert {each.severity for each in found} == {Severity.WARNING}


async def test_recipients_that_are_put_off_are_no_refusal(nursery: trio.Nursery) -> None:
    """Greylisting: silence would call an open relay closed."""
    found = await examined(nursery, SmtpServer(lambda line, _: "450 4.2.0 Greylisted" if line[:4] == "RCPT" else ""))
    assert [each.severity for each in found] == [Severity.NOTE, Severity.NOTE]
    assert f"couldn't tell whether it relays mail of <> for our address: {len(FORMS)} recipients" in found[0].what
    assert "450 4.2.0 Greylisted" in found[0].what


async def test_postfix_denies_relaying_with_a_temporary_code(nursery: trio.Nursery) -> None:
    """Its default; a note on every Postfix would be noise."""
    denied = "454 4.7.1 <x>: Relay access denied"
    assert await examined(nursery, SmtpServer(lambda line, _: denied if line[:4] == "RCPT" else "")) == []


@pytest.mark.parametrize("end", ["END", "421 4.7.0 too many errors"])
async def test_a_hang_up_in_the_middle_is_told(nursery: trio.Nursery, end: str) -> None:
    """What was heard before counts, and an examination that came to nothing mustn't look like a closed relay."""
    recipients = 0

    def says(line: str, _: bool) -> str:
        nonlocal recipients
        recipients += line.startswith("RCPT")
        return end if recipients == 3 else ""

    found = await examined(nursery, SmtpServer(says))
    assert [each.severity for each in found] == [Severity.PROBLEM, Severity.WARNING]
    assert "couldn't be asked to the end" in found[1].what


async def test_a_hang_up_at_the_end_is_nothing(nursery: trio.Nursery) -> None:
    """Many servers don't wait for QUIT's answer to be read."""
    server = SmtpServer(lambda line, _: "END" if line in ("RSET", "QUIT") else closed(line, False))
    assert await examined(nursery, server) == []


async def test_nonsense_is_told(nursery: trio.Nursery) -> None:
    found = await examined(nursery, SmtpServer(lambda line, _: "hello" if line.startswith("RCPT") else ""))
    assert [each.severity for each in found] == [Severity.WARNING]
    assert "not an SMTP reply" in found[0].what


async def test_one_that_says_no_more(nursery: trio.Nursery, autojump_clock: object) -> None:
    """It must not keep the doctor for ever, nor look closed."""
    server = SmtpServer(lambda line, _: "SILENT" if line.startswith("RCPT") else "")
    (finding,) = await examined(nursery, server)
    assert trio.current_time() <= TIMEOUT + 1
    assert finding.severity is Severity.WARNING
    assert f"no end within {TIMEOUT:.0f} seconds" in finding.what
