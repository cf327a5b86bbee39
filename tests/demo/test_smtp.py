import smtplib
from email.message import EmailMessage

import pytest
import trio

from tests.demo.conftest import Connect, Talk, in_thread
from tlsgate.demo import DemoBackend

LOGIN = b"AUTH PLAIN AGRlbW8Ac2VjIHJldA=="


async def ready(connect: Connect, backend: DemoBackend, *commands: bytes) -> Talk:
    talk = await connect(backend.smtp_port)
    await talk.ask(b"EHLO client.example", b"250 ")
    for command in commands:
        await talk.ask(command, b"2")
    return talk


async def test_ehlo_offers_what_a_submission_server_has(connect: Connect, backend: DemoBackend) -> None:
    talk = await connect(backend.smtp_port)
    offered = {line[4:] for line in await talk.ask(b"EHLO client.example", b"250 ")}
    assert offered >= {
        b"PIPELINING",
        b"SIZE 67108864",
        b"8BITMIME",
        b"ENHANCEDSTATUSCODES",
        b"DSN",
        b"SMTPUTF8",
        b"AUTH PLAIN LOGIN",
    }
    assert b"STARTTLS" not in offered


@pytest.mark.parametrize(
    ("commands", "reply"),
    [
        ([LOGIN], b"235 2.7.0"),
        ([b"AUTH PLAIN", b"AGRlbW8Ac2VjIHJldA=="], b"235 2.7.0"),
        ([b"AUTH LOGIN", b"ZGVtbw==", b"c2VjIHJldA=="], b"235 2.7.0"),
        ([b"AUTH LOGIN ZGVtbw==", b"c2VjIHJldA=="], b"235 2.7.0"),
        ([b"AUTH PLAIN AGRlbW8Ad3Jvbmc="], b"535 5.7.8"),
        ([b"AUTH PLAIN", b"*"], b"501 5.5.2"),
        ([b"AUTH PLAIN !"], b"501 5.5.2"),
        ([b"AUTH CRAM-MD5"], b"504 5.5.4"),
        ([LOGIN, LOGIN], b"503 5.5.1"),
        ([b"MAIL FROM:<a@example.org>"], b"530 5.7.0"),
        ([LOGIN, b"MAIL FROM:a@example.org"], b"501 5.1.7"),
        ([LOGIN, b"MAIL FROM:<> SIZE=67108865"], b"552 5.3.4"),
        ([LOGIN, b"MAIL FROM:<> X=1"], b"555 5.5.4"),
        ([LOGIN, b"MAIL FROM:<> SIZE=5 BODY=8BITMIME SMTPUTF8 RET=HDRS"], b"250 2.1.0"),
        ([LOGIN, b"MAIL FROM:<>", b"MAIL FROM:<>"], b"503 5.5.1"),
        ([LOGIN, b"RCPT TO:<a@example.org>"], b"503 5.5.1"),
        ([LOGIN, b"MAIL FROM:<>", b"RCPT TO:<>"], b"501 5.1.3"),
        ([LOGIN, b"MAIL FROM:<>", b"RCPT TO:<a@example.org> NOTIFY=NEVER"], b"250 2.1.5"),
        ([LOGIN, b"MAIL FROM:<>", b"DATA"], b"503 5.5.1"),
        ([LOGIN, b"MAIL FROM:<>", b"RSET", b"RCPT TO:<a@example.org>"], b"503 5.5.1"),
        ([b"VRFY demo"], b"252 2.5.0"),
        ([b"NOOP"], b"250 2.0.0"),
        ([b"STARTTLS"], b"500 5.5.2"),
        ([b"QUIT"], b"221 2.0.0"),
    ],
)
async def test_replies(connect: Connect, backend: DemoBackend, commands: list[bytes], reply: bytes) -> None:
    talk = await ready(connect, backend)
    for command in commands:
        await talk.send(command + b"\r\n")
        line = await talk.line()
    assert line.startswith(reply + b" ")


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b".\r\n", b""),
        (b"Subject: x\r\n\r\n..\r\n...two\r\n.\r\n", b"Subject: x\r\n\r\n.\r\n..two\r\n"),
        (b"a\n.\nb\r.\rc\r\n.\r\n", b"a\n.\nb\r.\rc\r\n"),
    ],
)
async def test_end_of_data_is_crlf_dot_crlf_only(
    connect: Connect, backend: DemoBackend, data: bytes, kept: bytes
) -> None:
    talk = await ready(connect, backend, LOGIN)
    await talk.send(b"MAIL FROM:<me@example.org>\r\nRCPT TO:<you@example.net>\r\nDATA\r\n" + data + b"QUIT\r\n")
    replies = await talk.lines(b"221")
    assert [line[:3] for line in replies] == [b"250", b"250", b"354", b"250", b"221"]
    raw = backend.mailbox.messages[4].raw
    assert raw.startswith(b"Return-Path: <me@example.org>\r\nReceived: from client.example by ")
    assert b" for <you@example.net>;" in raw
    assert raw.split(b"+0000\r\n", 1)[1] == kept


async def test_a_message_over_the_limit_is_refused_and_the_session_goes_on(
    connect: Connect, backend: DemoBackend
) -> None:
    talk = await ready(connect, backend, LOGIN, b"MAIL FROM:<>", b"RCPT TO:<a@example.org>")
    await talk.ask(b"DATA", b"354")
    chunk = (b"x" * 1022 + b"\r\n") * 1024
    with trio.fail_after(30):
        for _ in range(65):
            await talk.send(chunk)
        assert (await talk.ask(b".", b"5"))[0].startswith(b"552 5.3.4 ")
    assert (await talk.ask(b"NOOP", b"2"))[0].startswith(b"250 ")
    assert len(backend.mailbox.messages) == 3


async def test_too_many_recipients_are_put_off(connect: Connect, backend: DemoBackend) -> None:
    talk = await ready(connect, backend, LOGIN, b"MAIL FROM:<>")
    await talk.send(b"RCPT TO:<a@example.org>\r\n" * 1001)
    replies = [(await talk.line())[:9] for _ in range(1001)]
    assert replies == [b"250 2.1.5"] * 1000 + [b"452 4.5.3"]


async def test_smtplib(backend: DemoBackend) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "demo@example.org", "zoë@example.net", "Grüße"
    message.set_content("Hallo\n.\nEnde\n", cte="8bit")

    def client() -> None:
        with smtplib.SMTP("127.0.0.1", backend.smtp_port, timeout=20) as smtp:
            with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                smtp.login("demo", "wrong")
            assert refused.value.smtp_code == 535
            smtp.login("demo", "sec ret")
            assert smtp.send_message(message) == {}

    await in_thread(client)
    raw = backend.mailbox.messages[4].raw
    assert "Subject: Grüße\r\n".encode() in raw
    assert raw.endswith(b"\r\n\r\nHallo\r\n.\r\nEnde\r\n")


async def test_a_big_message_goes_in_whole(backend: DemoBackend) -> None:
    body = b"Subject: big\r\n\r\n" + (b"." + b"0123456789" * 7 + b"\r\n") * 430_000

    def client() -> None:
        with smtplib.SMTP("127.0.0.1", backend.smtp_port, timeout=20) as smtp:
            smtp.login("demo", "sec ret")
            smtp.sendmail("a@example.org", ["b@example.org"], body)

    with trio.fail_after(30):
        await in_thread(client)
    assert backend.mailbox.messages[4].raw.endswith(body)


async def test_a_line_too_long_ends_the_session(connect: Connect, backend: DemoBackend) -> None:
    talk = await connect(backend.smtp_port)
    await talk.send(b"a" * 70000 + b"\r\n")
    assert await talk.line() == b"421 5.5.6 line too long"
