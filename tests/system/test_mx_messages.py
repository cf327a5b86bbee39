"""Messages from other servers, by a real gateway, to a real Postfix: every octet of them, or none."""

from __future__ import annotations

import smtplib
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.accounts import User
from tests.system.certificates import Certificate
from tests.system.clients import large_body
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.inbound import (
    BALANCED,
    FOREIGN,
    SENDER,
    SIZE,
    Backend,
    Site,
    another_server,
    behind_ours,
    inbound_postfix,
    inbound_site,
    said_to,
    sent,
    unfolded,
)
from tests.system.peers import HOST, greets, missing, program, run, wait_until
from tests.system.postfix import DOMAIN
from tests.system.wire import Wire

NAMED = "203.0.113.25"
# A rule for headers; and a third door, by STARTTLS, that logs each command.
RULES = {
    "smtpd_peername_lookup = no": """smtpd_peername_lookup = no
header_checks = regexp:{{/^X-Unwanted:/ REJECT shunned header}}""",
    "smtpd\n  -o smtpd_tls_wrappermode=yes": "smtpd -v",
}


@pytest.fixture(scope="module")
def backend(root: Path, mail: Path, all_users: list[User], backend_certificate: Certificate) -> Iterator[Backend]:
    with inbound_postfix(root / "postfix-mx-messages", mail, all_users, backend_certificate, RULES) as server:
        yield server


@pytest.fixture(scope="module")
def site(root: Path, gateway_certificate: Certificate, backend: Backend) -> Iterator[Site]:
    pools = [
        Pool("trusting", backend.port, rest='health_interval = "1s"'),
        Pool("told", backend.told, rest='client_address = "xclient"'),
        Pool("logging", backend.logging, 'tls = "starttls", verify = false'),
    ]
    listeners = [
        Listener("mx", "mx", "starttls", "trusting"),
        Listener("mx-told", "mx", "starttls", "told", BALANCED),
        Listener("mx-tls", "mx", "starttls", "trusting", "require_tls = true"),
        Listener("mx-logged", "mx", "starttls", "logging"),
    ]
    directory = root / "mx-messages"
    with inbound_site(
        directory, gateway_certificate, backend, listeners, pools, {NAMED: "mail.example.net"}
    ) as running:
        yield running


# -- what clients do --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listener", "options", "protocol"),
    [
        ("mx", (), "ESMTP"),
        ("mx", ("--protocol", "SMTP"), "SMTP"),
        ("mx", ("--tls",), "ESMTPS"),
        ("mx", ("--tls-optional-strict", "--pipeline"), "ESMTPS"),
        ("mx", ("--pipeline",), "ESMTP"),
        ("mx-tls", ("--tls",), "ESMTPS"),
    ],
)
def test_swaks_delivers(site: Site, user: User, listener: str, options: tuple[str, ...], protocol: str) -> None:
    """Each way that servers talk; Received says which it was, as RFC 3848 has it."""
    status, output = swaks(site, listener, user, *options)
    assert status == 0, output
    (raw,) = site.postfix.wait_for(user, 1)
    assert f" by gate.example.test with {protocol} id " in unfolded(raw, "Received")[1]


def test_swaks_in_clear_is_refused_where_tls_is_required(site: Site, user: User) -> None:
    status, output = swaks(site, "mx-tls", user)
    assert status == 23, output  # swaks: MAIL was refused
    assert "<** 530 5.7.0 STARTTLS first" in output


def swaks(site: Site, listener: str, user: User, *options: str) -> tuple[int, str]:
    """Its exit status and transcript."""
    if any(each.startswith("--tls") for each in options):
        if "not available" in run(program("swaks"), "--support").stdout.partition("Basic TLS")[0][-20:]:
            missing("swaks needs Perl's Net::SSLeay for TLS")
        options += ("--tls-verify", "--tls-ca-path", str(site.gate.ca))
    place = ("--server", "localhost", "--port", str(site.gate.ports[listener]), "--helo", "mx.example.net")
    done = run(program("swaks"), *place, "--from", SENDER, "--to", user.name, *options)
    return done.returncode, done.stdout + done.stderr


def test_smtp_source_sends_hundreds(site: Site, fresh_users: Iterator[User]) -> None:
    """Many sessions at once with several messages each: none is lost, and none is there twice."""
    user = next(fresh_users)
    place = f"{HOST}:{site.gate.ports['mx']}"
    sessions_and_mail = ("-s", "8", "-m", "240", "-l", "3000", "-C", "30", "-d")
    done = run(program("smtp-source"), *sessions_and_mail, "-f", SENDER, "-t", user.name, place, seconds=60)
    assert done.returncode == 0, done.stderr
    stored = site.postfix.wait_for(user, 240)
    ids = Counter(unfolded(raw, "Message-ID")[0] for raw in stored)
    assert len(ids) == 240
    wait_until(lambda: site.gate.metric("tlsgate_sessions", listener="mx") == 0, "no session of this listener is left")


def test_chunks_behind_a_pipelined_envelope_arrive_as_they_were(site: Site, user: User) -> None:
    """BDAT's octets are counted, not stuffed (RFC 3030): what ends a message in DATA is its text here."""
    text = sent(user, "chunks", b".\r\n..\r\n.x\r\n\r\n.\r\nMAIL FROM:<x@example.net>\r\n" + large_body(200_000))
    first, rest = text[:1000], text[1000:]
    with Wire(site.gate.ports["mx"]) as client:
        client.until(b"220 ")
        client.send(b"EHLO mx.example.net\r\n")
        assert b"250-CHUNKING" in client.until(b"250 ")
        envelope = f"MAIL FROM:<{SENDER}> BODY=8BITMIME\r\nRCPT TO:<{user.name}>\r\n".encode()
        chunks = b"BDAT %d\r\n%b" % (len(first), first) + b"BDAT %d LAST\r\n%b" % (len(rest), rest)
        client.send(envelope + chunks + b"QUIT\r\n")
        said = [client.line()[:4] for _ in range(5)]
        assert said == [b"250 ", b"250 ", b"250 ", b"250 ", b"221 "]
        assert client.ended()
    (raw,) = site.postfix.wait_for(user, 1)
    assert behind_ours(raw) == text


def test_dots_and_8_bit_octets_in_data_arrive_as_they_were(site: Site, user: User) -> None:
    text = sent(user, "dots", b".\r\n..\r\n...\r\n.hidden\r\n\r\n.\r\n\xe4\xf6\xfc\r\n\r\n\r\n")
    with another_server(site.gate, "mx") as server:
        assert server.sendmail(SENDER, [user.name], text, ["BODY=8BITMIME"]) == {}
    (raw,) = site.postfix.wait_for(user, 1)
    assert behind_ours(raw) == text


def test_parameters_arrive_at_postfix(site: Site, user: User) -> None:
    """What a client asks for and Postfix isn't told would be promised by us and done by nobody (RFC 6152, RFC 3461)."""
    mail = ["BODY=8BITMIME", "RET=HDRS", "ENVID=e+2B27"]
    with another_server(site.gate, "mx-logged") as server:
        assert {"8bitmime", "dsn", "smtputf8"} <= server.esmtp_features.keys()
        server.sendmail(SENDER, [user.name], sent(user, "parameters"), mail, ["NOTIFY=SUCCESS,DELAY"])
    site.postfix.wait_for(user, 1)
    assert set(mail) <= set(site.postfix.logged(f"]: MAIL FROM:<{SENDER}>").split())
    assert site.postfix.logged(f"]: RCPT TO:<{user.name}>").endswith(" NOTIFY=SUCCESS,DELAY")


def test_a_notice_of_delivery_comes_from_postfix(site: Site, fresh_users: Iterator[User]) -> None:
    """It writes one for NOTIFY=SUCCESS alone, with the sender's words for the message and for the recipient."""
    sender, recipient = next(fresh_users), next(fresh_users)
    with another_server(site.gate, "mx") as server:
        words = ["NOTIFY=SUCCESS", f"ORCPT=rfc822;first+40{DOMAIN}"]
        server.sendmail(sender.name, [recipient.name], sent(recipient, "notify"), ["ENVID=e27"], words)
    site.postfix.wait_for(recipient, 1)
    (notice,) = site.postfix.wait_for(sender, 1)
    for line in ("Original-Envelope-Id: e27", f"Original-Recipient: rfc822;first@{DOMAIN}", "Action: delivered"):
        assert f"\n{line}\n".encode() in notice


def test_smtputf8_arrives_at_postfix(site: Site, user: User) -> None:
    """Without the parameter it would refuse the sender's address."""
    sender = "jörg@example.net"
    with another_server(site.gate, "mx") as server:
        server.command_encoding = "utf-8"
        text = sent(user, "grüß").replace(SENDER.encode(), sender.encode())
        server.sendmail(sender, [user.name], text, ["SMTPUTF8", "BODY=8BITMIME"])
    (raw,) = site.postfix.wait_for(user, 1)
    assert f"Return-Path: <{sender}>".encode() in raw
    assert " with UTF8SMTP" in unfolded(raw, "Received")[0]
    assert behind_ours(raw) == text


# -- what is refused --------------------------------------------------------------------------------


def test_a_message_that_is_too_large(site: Site, user: User) -> None:
    """Announced, it is refused at MAIL; else at its end, and Postfix keeps no part of it.

    The connection that was cut for that comes again for the next message, and is told who the client is again.
    """
    with another_server(site.gate, "mx-told", NAMED) as server:
        assert server.esmtp_features["size"] == str(SIZE)
        code, said = server.docmd(f"MAIL FROM:<{SENDER}> SIZE={SIZE + 1}")
        assert (code, said[:5]) == (552, b"5.3.4")
        server.rset()
        for command in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{user.name}>"):
            assert server.docmd(command)[0] == 250
        code, said = server.data(sent(user, "large", large_body(SIZE + 10_000)))
        assert (code, said[:5]) == (552, b"5.3.4")
        assert server.sendmail(SENDER, [user.name], sent(user, "small")) == {}
    (raw,) = site.postfix.wait_for(user, 1)
    assert unfolded(raw, "Subject") == ["small"]
    assert f"[{NAMED}]" in unfolded(raw, "Received")[0]
    assert site.gate.metric("tlsgate_messages_total", listener="mx-told", result="too_large") == 1


ENDS = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\r\r\n"]


def smuggled(site: Site, gate: Gateway, listener: str, user: User, end: bytes, number: int) -> tuple[list[str], str]:
    """The replies to a message with ``end`` and a second envelope in it, and that envelope's sender."""
    sender = f"smuggler{number}@example.net"
    inner = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{user.name}>\r\nDATA\r\n".encode() + sent(user, "smuggled")
    with another_server(gate, listener, tls=False) as server:
        server.mail(SENDER)
        server.rcpt(user.name)
        assert server.docmd("DATA")[0] == 354
        server.send(sent(user, "outer", b"Hello." + end) + inner + b".\r\n")
        replies = [f"{code} {said.decode()}" for code, said in (server.getreply(), server.docmd("NOOP"))]
    return replies, sender


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_two_messages_never_come_of_one(site: Site, user: User, end: bytes) -> None:
    """SMTP smuggling (CVE-2023-51764): a Postfix of this age takes some of these for the end of a message."""
    replies, sender = smuggled(site, site.gate, "mx", user, end, ENDS.index(end))
    assert replies[0].startswith("550 5.6.0 "), replies
    assert replies[1] == "250 2.0.0 Ok"
    with another_server(site.gate, "mx") as server:
        assert server.sendmail(SENDER, [user.name], sent(user, "last")) == {}
    (raw,) = site.postfix.wait_for(user, 1)
    assert unfolded(raw, "Subject") == ["last"]
    assert f"from=<{sender}>" not in site.postfix.log()


@pytest.fixture(scope="module")
def lenient(root: Path, gateway_certificate: Certificate, backend: Backend) -> Iterator[Gateway]:
    """One that makes line ends of what was meant as such, for a Postfix that takes any line."""
    server = f'drain = "2s"\n[relay]\ndomains = ["{DOMAIN}"]\nbare_newlines = "normalize"'
    listeners, pools = (
        [Listener("mx", "mx", "starttls", "long")],
        [Pool("long", backend.port, rest="long_lines = true")],
    )
    with gateway(root / "mx-lenient", gateway_certificate, listeners, pools, server=server) as running:
        yield running


@pytest.mark.parametrize("end", [each for each in ENDS if b"\0" not in each], ids=repr)
def test_normalized_it_is_one_message_too(site: Site, lenient: Gateway, user: User, end: bytes) -> None:
    """The second envelope is text of the first message, whose lines are what a reader takes them for."""
    replies, sender = smuggled(site, lenient, "mx", user, end, len(ENDS) + ENDS.index(end))
    assert replies[0].startswith("250 2.0.0 "), replies
    assert replies[1] == "250 2.0.0 Ok"
    (raw,) = site.postfix.wait_for(user, 1)
    assert f"\nMAIL FROM:<{sender}>\nRCPT TO:<{user.name}>\nDATA\nFrom: {SENDER}\n".encode() in raw
    assert b"\r" not in raw
    assert unfolded(raw, "Subject") == ["outer"]
    assert f"from=<{sender}>" not in site.postfix.log()


def test_lines_that_are_too_long(site: Site, lenient: Gateway, user: User) -> None:
    """RFC 5321 4.5.3.1.6: what a server cuts, and some cut it into something else, only goes to who copes with it."""
    text = sent(user, "long", b"x" * 5000 + b"\r\n")
    with another_server(site.gate, "mx") as server, pytest.raises(smtplib.SMTPDataError) as refusal:
        server.sendmail(SENDER, [user.name], text)
    assert (refusal.value.smtp_code, refusal.value.smtp_error[:5]) == (550, b"5.6.0")
    with another_server(lenient, "mx") as server:
        assert server.sendmail(SENDER, [user.name], text) == {}
    (raw,) = site.postfix.wait_for(user, 1)
    assert behind_ours(raw) == text


@pytest.mark.parametrize(
    ("text", "body", "header"),
    [
        (b"Hello.\r\n", b"Hello.\n", b""),
        (b"\r\nHello.\r\n", b"Hello.\n", b""),
        (b" Hello.\r\nReceived: x\r\n", b" Hello.\nReceived: x\n", b""),
        (b"", b"", b""),
        (b"From ann  Thu Jan  1 00:00:00\r\nSubject: x\r\n\r\nHello.\r\n", b"Hello.\n", b"\nSubject: x\n"),
        (b"Subject: x\r\n y\r\nno header\r\n", b"no header\n", b"\nSubject: x\n y\n"),
    ],
)
def test_a_message_with_an_odd_header_stays_apart_from_ours(
    site: Site, user: User, text: bytes, body: bytes, header: bytes
) -> None:
    """What a stranger writes must neither end our fields early nor become a part of them."""
    with another_server(site.gate, "mx") as server:
        for command in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{user.name}>", "DATA"):
            assert server.docmd(command)[0] in (250, 354)
        server.send(text + b".\r\n")
        assert server.getreply()[0] == 250
    (raw,) = site.postfix.wait_for(user, 1)
    assert raw.partition(b"\n\n")[2] == body
    assert header in raw.partition(b"\n\n")[0] + b"\n"
    _, ours = unfolded(raw, "Received")
    assert " by gate.example.test with ESMTPS id " in ours
    assert "Hello" not in ours
    assert unfolded(raw, "Authentication-Results") == ["gate.example.test; none"]


def test_postfix_refusal_of_a_whole_message_is_carried(site: Site, user: User) -> None:
    text = sent(user, "unwanted").replace(b"Subject:", b"X-Unwanted: yes\r\nSubject:")
    with another_server(site.gate, "mx") as server:
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            server.sendmail(SENDER, [user.name], text)
        assert (refusal.value.smtp_code, refusal.value.smtp_error) == (550, b"5.7.1 shunned header")
        assert server.sendmail(SENDER, [user.name], sent(user, "wanted")) == {}
    assert len(site.postfix.wait_for(user, 1)) == 1
    told = site.gate.event("message", lambda event: event["reply"].endswith("shunned header"))
    assert (told["result"], told["from"], told["recipients"]) == ("rejected", SENDER, 1)


def test_a_stopped_postfix_puts_mail_off_until_it_is_back(site: Site, user: User) -> None:
    """A 5xx then would lose mail, and a 250 would lose it unseen. The session that waited goes on."""
    command = [program("postfix"), "-c", str(site.postfix.config)]
    with another_server(site.gate, "mx") as server:
        assert server.sendmail(SENDER, [user.name], sent(user, "before")) == {}
        assert (server.mail(SENDER)[0], server.rcpt(user.name)[0]) == (250, 250)
        postfix_does(command, "stop")
        wait_until(lambda: not greets(site.postfix.port), "Postfix has stopped")
        try:
            assert server.docmd("DATA")[0] == 451
            server.rset()
            assert said_to(server, SENDER, user.name).startswith("451 4.4.2 ")
            site.gate.event("backend_down", lambda event: event["pool"] == "trusting")
            with another_server(site.gate, "mx", tls=False) as another:
                assert said_to(another, SENDER, user.name).startswith("451 4.4.2 ")
                assert said_to(another, SENDER, f"a@{FOREIGN}").startswith("550 5.7.1 ")
        finally:
            postfix_does(command, "start")
        wait_until(lambda: greets(site.postfix.port), "Postfix is back")
        site.gate.event("backend_up", lambda event: event["pool"] == "trusting")
        assert server.sendmail(SENDER, [user.name], sent(user, "after")) == {}
    assert [unfolded(raw, "Subject") for raw in site.postfix.wait_for(user, 2)] == [["before"], ["after"]]
    site.gate.event("no_backend", lambda event: event["listener"] == "mx")


def postfix_does(command: list[str], verb: str) -> None:
    """Its master, once started, would keep a pipe of ours open."""
    quiet = subprocess.DEVNULL
    assert subprocess.run([*command, verb], stdin=quiet, stdout=quiet, stderr=quiet, timeout=30).returncode == 0
