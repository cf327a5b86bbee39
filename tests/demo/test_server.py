from functools import partial

import pytest
import trio

from tests.demo.conftest import USERS, Connect
from tlsgate.demo import DemoBackend, serve


async def test_sent_mail_is_read_back_by_imap_and_pop3(connect: Connect, backend: DemoBackend) -> None:
    smtp = await connect(backend.smtp_port)
    await smtp.ask(b"EHLO client.example", b"250 ")
    await smtp.ask(b"AUTH PLAIN AGRlbW8Ac2VjIHJldA==", b"235")
    await smtp.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nSubject: here\r\n\r\nhello\r\n.\r\n")
    await smtp.lines(b"250 2.0.0")

    imap = await connect(backend.imap_port)
    await imap.ask(b'a LOGIN demo "sec ret"')
    await imap.ask(b"b SELECT INBOX")
    assert (await imap.ask(b"c UID FETCH 4 BODY.PEEK[TEXT]"))[:3] == [
        b"* 4 FETCH (UID 4 BODY[TEXT] {7}",
        b"hello",
        b")",
    ]

    pop3 = await connect(backend.pop3_port)
    await pop3.ask(b"USER demo", b"+OK")
    await pop3.ask(b"PASS sec ret", b"+OK")
    assert (await pop3.ask(b"RETR 4", b"."))[-4:] == [b"Subject: here", b"", b"hello", b"."]


@pytest.mark.parametrize(
    ("port", "busy"), [("imap_port", b"* BYE "), ("pop3_port", b"-ERR [SYS/TEMP] "), ("smtp_port", b"421 ")]
)
async def test_connections_over_the_cap_are_told_so(
    connect: Connect, backend: DemoBackend, port: str, busy: bytes
) -> None:
    held = [await connect(backend.imap_port) for _ in range(200)]
    refused = await connect(getattr(backend, port), greeted=False)
    assert (await refused.line()).startswith(busy)
    await held[0].ask(b"a LOGOUT")
    held[0].close()
    again = await connect(backend.imap_port)
    assert (await again.ask(b"a NOOP"))[-1].startswith(b"a OK")


@pytest.mark.parametrize(
    "sent", [b"a LOG", b"a LOGIN {100+}\r\nx", b'a LOGIN demo "sec ret"\r\nb SELECT INBOX\r\nc IDLE\r\n']
)
async def test_a_client_that_vanishes_disturbs_nobody(connect: Connect, backend: DemoBackend, sent: bytes) -> None:
    talk = await connect(backend.imap_port)
    await talk.send(sent)
    if b"IDLE" in sent:
        await talk.lines(b"+ ")
    talk.close()
    backend.mailbox.append(b"A: b\r\n\r\nc")
    assert (await (await connect(backend.imap_port)).ask(b"a NOOP"))[-1].startswith(b"a OK")


async def test_it_comes_back_on_the_ports_it_had(connect: Connect) -> None:
    ports: dict[str, int] = {}
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            backend: DemoBackend = await nursery.start(
                partial(
                    serve,
                    USERS,
                    imap_port=ports.get("imap", 0),
                    pop3_port=ports.get("pop3", 0),
                    smtp_port=ports.get("smtp", 0),
                )
            )
            found = {"imap": backend.imap_port, "pop3": backend.pop3_port, "smtp": backend.smtp_port}
            assert found == (ports or found)
            ports = found
            for port in ports.values():
                (await connect(port)).close()
            nursery.cancel_scope.cancel()
