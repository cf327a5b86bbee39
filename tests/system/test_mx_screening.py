"""Other servers as the DNS knows them: whose mail a real gateway turns away, and what the rest of it has at its head.

A balancer brings the clients: those of loopback are nobody's business in the DNS.
"""

from __future__ import annotations

import base64
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dns_server import SERVFAIL, SILENT, DnsServer, has
from tests.system.accounts import User
from tests.system.certificates import Certificate
from tests.system.gateway import Event, Listener, Pool, gateway
from tests.system.inbound import (
    BALANCED,
    POSTMASTER,
    Site,
    another_server,
    behind_ours,
    inbound_postfix,
    said_to,
    unfolded,
)
from tests.system.peers import HOST, program, run
from tests.system.postfix import DOMAIN
from tests.system.test_dnsbl import reversed_in, served
from tests.system.wire import Wire

GOOD, GOOD_NAME = "198.51.100.10", "mail.good.net"
LISTED, LISTED_NAME = "198.51.100.11", "mail.listed.net"
NAMELESS = "198.51.100.12"
LISTED_SITE = "listed-shop.com"
SENDER = "ann@good.net"
_TIMEOUT = 1.0
SETTINGS = """drain = "2s"
[dns]
nameservers = ["{dns}"]
timeout = "{timeout:g}s"
[[dnsbl]]
zone = "bl.test"
[screening]
surbl_zones = ["uri.test"]
pregreet_delay = "100ms"
[relay]
domains = ["{domain}"]"""
NO_RECORD = 'spf=none reason="no SPF record"'
COMPLAIN = "if this is wrong, write to the postmaster of the recipient's domain, whose mail is not screened"


def screened(site: Site, check: str, result: str) -> float:
    return site.gate.metric("tlsgate_screening_total", check=check, result=result)


def turned_away(site: Site, sender: str) -> Event:
    """The event that tells of this sender's mail; its session has asked nothing of Postfix."""
    told = site.gate.event("screened", lambda event: event.get("from") == sender)
    ended = site.gate.event("session", lambda event: event["session"] == told["session"])
    assert ended["backend"] is None
    assert f"from=<{sender}>" not in site.postfix.log()
    return told


@pytest.fixture(scope="module")
def site(
    root: Path, mail: Path, all_users: list[User], backend_certificate: Certificate, gateway_certificate: Certificate
) -> Iterator[Site]:
    dns = DnsServer()
    for address, name in ((GOOD, GOOD_NAME), (LISTED, LISTED_NAME)):
        dns.says(reversed_in("in-addr.arpa", address), "PTR", has(f"{name}."))
        dns.says(name, "A", has(address))
    dns.says("good.net", "TXT", has(f'"v=spf1 ip4:{GOOD} -all"'))
    for address in ("127.0.0.2", LISTED):
        dns.says(reversed_in("bl.test", address), "A", has("127.0.0.4"))
    for listed in ("test", LISTED_SITE):
        dns.says(f"{listed}.uri.test", "A", has("127.0.0.64"))
    with (
        served(dns),
        inbound_postfix(root / "postfix-mx-screened", mail, all_users, backend_certificate) as server,
    ):
        settings = SETTINGS.format(dns=f"{HOST}:{dns.port}", timeout=_TIMEOUT, domain=DOMAIN)
        listeners = [Listener("mx", "mx", "starttls", "trusting", BALANCED)]
        pools = [Pool("trusting", server.port, rest='health_interval = "1h"')]
        with gateway(root / "mx-screened", gateway_certificate, listeners, pools, server=settings) as running:
            yield Site(running, server, dns)


def sent(user: User, subject: str, body: str = "Hello.", head: str = "") -> bytes:
    return (
        f"{head}From: {SENDER}\r\nTo: {user.name}\r\nSubject: {subject}\r\n"
        f"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{subject}@good.net>\r\n\r\n{body}\r\n"
    ).encode()


def swaks(site: Site, client: str, helo: str, sender: str, user: User, *options: str) -> tuple[int, str]:
    """Its exit status and transcript, for mail from another address than ours."""
    proxied = ("--proxy-family", "TCP4", "--proxy-source", client, "--proxy-source-port", "4711")
    towards = ("--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25")
    place = ("--server", HOST, "--port", str(site.gate.ports["mx"]), "--helo", helo)
    done = run(program("swaks"), *place, *proxied, *towards, "--from", sender, "--to", user.name, *options)
    return done.returncode, done.stdout + done.stderr


# -- mail that passes -------------------------------------------------------------------------------


def test_what_was_found_is_at_the_head_of_the_message(site: Site, user: User) -> None:
    """The backend's filters go by it: a field that a stranger forged in our name must not be among them."""
    others = "Authentication-Results: elsewhere.example; dkim=pass\r\n"
    forged = "Authentication-Results: gate.example.test; spf=pass smtp.mailfrom=boss@bank.example\r\n"
    folded = "authentication-results:\r\n\tGATE.example.test;\r\n dkim=pass\r\n"
    with another_server(site.gate, "mx", GOOD, GOOD_NAME) as server:
        text = sent(user, "found", head=forged + others + folded)
        assert server.sendmail(SENDER, [user.name], text) == {}
    (raw,) = site.postfix.wait_for(user, 1)
    assert unfolded(raw, "Authentication-Results") == [
        f"gate.example.test; spf=pass smtp.mailfrom={SENDER}; {NO_RECORD} smtp.helo={GOOD_NAME};"
        f" iprev=pass policy.iprev={GOOD}",
        "elsewhere.example; dkim=pass",
    ]
    assert unfolded(raw, "Received")[1].startswith(f"from {GOOD_NAME} ({GOOD_NAME} [{GOOD}]) by gate.example.test")
    assert behind_ours(raw) == sent(user, "found", head=others)
    ended = site.gate.event("session", lambda event: event["client"] == GOOD)
    assert (ended["client_name"], ended["result"], "screening" in ended) == (GOOD_NAME, "ok", False)


@pytest.mark.parametrize(
    ("record", "result"), [("v=spf1 ~all", "softfail"), ("v=spf1 ?all", "neutral"), ("v=spf1 all:x -all", "permerror")]
)
def test_what_spf_only_doubts_is_delivered_with_its_result(site: Site, user: User, record: str, result: str) -> None:
    """RFC 7208 8.4: "fail" alone is a reason to refuse."""
    domain, before = f"{result}.net", screened(site, "spf", result)
    site.dns.says(domain, "TXT", has(f'"{record}"'))
    status, output = swaks(site, GOOD, GOOD_NAME, f"ann@{domain}", user)
    assert status == 0, output
    (raw,) = site.postfix.wait_for(user, 1)
    assert f"spf={result} " in unfolded(raw, "Authentication-Results")[0]
    assert f" smtp.mailfrom=ann@{domain};" in unfolded(raw, "Authentication-Results")[0]
    assert screened(site, "spf", result) == before + 1


def test_a_client_without_a_name_is_not_refused_for_that_alone(site: Site, user: User) -> None:
    with another_server(site.gate, "mx", NAMELESS, GOOD_NAME) as server:
        assert server.sendmail("", [user.name], sent(user, "nameless")) == {}
    (raw,) = site.postfix.wait_for(user, 1)
    found = f"gate.example.test; {NO_RECORD} smtp.helo={GOOD_NAME}; iprev=permerror policy.iprev={NAMELESS}"
    assert unfolded(raw, "Authentication-Results") == [found]
    ended = site.gate.event("session", lambda event: event["client"] == NAMELESS)
    assert ended["screening"] == "reverse_dns missing"


# -- mail that doesn't ------------------------------------------------------------------------------


def test_spf_fail_is_refused_and_postmaster_hears_of_it(site: Site, user: User) -> None:
    """With the domain's own words. Who is refused wrongly can still write to somebody."""
    site.dns.says("denied.net", "TXT", has('"v=spf1 -all exp=why.denied.net"'))
    site.dns.says("why.denied.net", "TXT", has('"%{i} is not ours"'))
    refused, failed = screened(site, "sender", "reject"), screened(site, "spf", "fail")
    status, output = swaks(site, GOOD, GOOD_NAME, "ann@denied.net", user)
    assert status == 24, output  # swaks: no recipient was taken
    why = f"SPF fail for denied.net (-all); denied.net explains: {GOOD} is not ours"
    assert f"<** 550-5.7.1 Mail is refused: {why}\n" in output
    assert f"<** 550 5.7.1 {COMPLAIN}\n" in output.replace("<**     ", "<** ")
    told = turned_away(site, "ann@denied.net")
    assert (told["level"], told["result"], told["client"]) == ("warning", "reject", GOOD)
    assert told["reason"] == why
    assert (screened(site, "sender", "reject"), screened(site, "spf", "fail")) == (refused + 1, failed + 1)
    with another_server(site.gate, "mx", GOOD, GOOD_NAME) as server:
        assert said_to(server, "ben@denied.net", user.name).startswith("550 5.7.1 ")
        assert said_to(server, "ben@denied.net", POSTMASTER.name) == "250 2.1.5 Ok"
        # Nobody has this mailbox, so the word is Postfix's own.
        assert said_to(server, "ben@denied.net", f"abuse@{DOMAIN}").startswith("550 5.1.1 ")
    assert site.postfix.arrived(user) == []


def test_spf_temperror_puts_mail_off(site: Site, user: User) -> None:
    """RFC 7208 8.6: it may pass tomorrow, so a 5xx would lose it."""
    site.dns.says("broken.net", "TXT", SERVFAIL)
    put_off = screened(site, "sender", "tempfail")
    status, output = swaks(site, GOOD, GOOD_NAME, "ann@broken.net", user)
    assert status == 24, output
    assert "<** 451-4.7.1 Mail is put off: SPF temperror for broken.net (" in output
    assert turned_away(site, "ann@broken.net")["result"] == "tempfail"
    assert screened(site, "sender", "tempfail") == put_off + 1


def test_a_listed_client_is_refused(site: Site, user: User) -> None:
    sender = "ann@listed.net"
    status, output = swaks(site, LISTED, LISTED_NAME, sender, user)
    assert status == 24, output
    assert "<** 550-5.7.1 Mail is refused: listed by bl.test (127.0.0.4)\n" in output
    told = turned_away(site, sender)
    assert (told["client"], told["score"]) == (LISTED, 3)
    ended = site.gate.event("session", lambda event: event["session"] == told["session"])
    assert (ended["client_name"], ended["screening"]) == (LISTED_NAME, "dnsbl bl.test=127.0.0.4")
    assert screened(site, "dnsbl", "listed") >= 1


def test_small_findings_add_up(site: Site, user: User) -> None:
    """A bot on somebody's line: no name, and a HELO that leads nowhere; neither alone is enough."""
    sender = "ann@bots.net"
    with another_server(site.gate, "mx", "198.51.100.13", "no.such.host.net") as server:
        said = said_to(server, sender, user.name)
    assert said == f"550 5.7.1 Mail is refused: address has no name; name in HELO doesn't exist 5.7.1 {COMPLAIN}"
    assert turned_away(site, sender)["score"] == 3


def test_who_speaks_before_the_greeting_is_refused(site: Site, user: User) -> None:
    """No server does (RFC 5321 4.3.1); what sprays mail blindly does."""
    sender = "ann@early.net"
    with Wire(site.gate.ports["mx"]) as client:
        early = f"PROXY TCP4 {GOOD} 192.0.2.1 4711 25\r\nEHLO {GOOD_NAME}\r\n"
        client.send(early.encode())
        client.until(b"220 ")
        client.until(b"250 ")
        client.send(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{user.name}>\r\n".encode())
        assert client.line()[:3] == b"250"
        assert client.line() == b"550-5.7.1 Mail is refused: spoke before the greeting"
    assert turned_away(site, sender)["score"] == 3
    assert screened(site, "pregreet", "early") == 1


def in_base64(text: str) -> str:
    return base64.encodebytes(text.encode()).decode().replace("\n", "\r\n").rstrip()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("", f"Buy at http://www.{LISTED_SITE}/now !"),
        (
            "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n",
            in_base64(f'<p>Your <a href="https://pay.{LISTED_SITE}/x?y">invoice</a></p>' * 20),
        ),
    ],
    ids=["text", "html-in-base64"],
)
def test_a_link_to_a_listed_site_is_refused_at_the_end(site: Site, user: User, head: str, body: str) -> None:
    """Postfix has most of the message by then: it must keep none of it, and the session goes on."""
    before, spammer = screened(site, "message", "reject"), user.name.replace(DOMAIN, "good.net")
    with another_server(site.gate, "mx", GOOD, GOOD_NAME) as server:
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            server.sendmail(spammer, [user.name], sent(user, "spam", body, head))
        said = f"5.7.1 Mail is refused: link to {LISTED_SITE}, listed by uri.test (127.0.0.64)\n5.7.1 {COMPLAIN}"
        assert (refusal.value.smtp_code, refusal.value.smtp_error) == (550, said.encode())
        assert server.sendmail(SENDER, [user.name], sent(user, "ham", "See http://harmless.com/")) == {}
    (raw,) = site.postfix.wait_for(user, 1)
    assert unfolded(raw, "Subject") == ["ham"]
    message = site.gate.event("message", lambda event: event["from"] == spammer)
    assert (message["result"], message["recipients"], message["reply"][:9]) == ("rejected", 1, "550 5.7.1")
    told = site.gate.event("screened", lambda event: event.get("from") == spammer)
    assert (told["session"], told["result"], told["score"]) == (message["session"], "reject", 0)
    assert screened(site, "message", "reject") == before + 1
    assert screened(site, "surbl", "listed") >= 1


def test_a_link_in_chunks_is_found_too(site: Site, user: User) -> None:
    """BDAT must be no way round (RFC 3030), though its octets come in pieces that the client chooses."""
    text = sent(user, "chunks", f"Buy at http://www.{LISTED_SITE}/now !")
    cut = text.index(LISTED_SITE.encode()) + 5
    with another_server(site.gate, "mx", GOOD, GOOD_NAME) as server:
        server.mail(SENDER)
        server.rcpt(user.name)
        for chunk, last in ((text[:cut], ""), (text[cut:], " LAST")):
            server.putcmd(f"BDAT {len(chunk)}{last}")
            server.send(chunk)
            code, said = server.getreply()
        assert (code, said[:5]) == (550, b"5.7.1")
        assert server.sendmail(SENDER, [user.name], sent(user, "ham")) == {}
    assert len(site.postfix.wait_for(user, 1)) == 1


def test_postmaster_gets_all_of_it(site: Site, user: User) -> None:
    """It may be the complaint: a listed client, a denied sender, a listed link. With others it is screened for all."""
    site.dns.says("complains.net", "TXT", has('"v=spf1 -all"'))
    sender, text = "ann@complains.net", sent(user, "complaint", f"You refuse http://{LISTED_SITE}/ !")
    with another_server(site.gate, "mx", LISTED, LISTED_NAME) as server:
        assert list(server.sendmail(sender, [POSTMASTER.name, user.name], sent(user, "alone"))) == [user.name]
        assert server.sendmail(sender, [POSTMASTER.name], text) == {}
    with another_server(site.gate, "mx", GOOD, GOOD_NAME) as server, pytest.raises(smtplib.SMTPDataError):
        server.sendmail(SENDER, [POSTMASTER.name, user.name], text)
    stored = site.postfix.wait_for(POSTMASTER, 2)
    assert [unfolded(raw, "Subject") for raw in stored] == [["alone"], ["complaint"]]
    assert site.postfix.arrived(user) == []


# -- the DNS itself ---------------------------------------------------------------------------------


def test_a_silent_dns_puts_mail_off_and_refuses_none(site: Site, user: User) -> None:
    """An outage of ours must cost no mail, and no session more than the time that the config grants."""
    with another_server(site.gate, "mx", "198.51.100.20", GOOD_NAME) as server:
        site.dns.everything = SILENT
        try:
            began = time.monotonic()
            said = said_to(server, "ann@silent.net", user.name)
            assert time.monotonic() - began < 5 * _TIMEOUT
        finally:
            site.dns.everything = None
    assert said.startswith("451 4.7.1 Mail is put off: ")
    with another_server(site.gate, "mx", GOOD, GOOD_NAME) as server:
        assert server.sendmail(SENDER, [user.name], sent(user, "again")) == {}
    site.postfix.wait_for(user, 1)
