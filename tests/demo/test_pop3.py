import poplib

import pytest
import trio

from tests.demo.conftest import Connect, in_thread
from tlsgate.demo import DemoBackend
from tlsgate.demo.samples import SAMPLES


@pytest.mark.parametrize(
    "lines",
    [
        [b"USER demo", b"PASS sec ret"],
        [b"AUTH PLAIN AGRlbW8Ac2VjIHJldA=="],
        [b"AUTH PLAIN", b"AGRlbW8Ac2VjIHJldA=="],
        [b"AUTH LOGIN", b"ZGVtbw==", b"c2VjIHJldA=="],
    ],
)
async def test_every_way_to_log_in(connect: Connect, backend: DemoBackend, lines: list[bytes]) -> None:
    talk = await connect(backend.pop3_port)
    for line in lines:
        reply = (await talk.ask(line, b"+"))[-1]
    assert reply.startswith(b"+OK")
    assert (await talk.ask(b"STAT", b"+OK"))[-1] == b"+OK 3 %d" % sum(map(len, SAMPLES))


async def test_wrong_password_is_told_apart_and_may_be_repeated(connect: Connect, backend: DemoBackend) -> None:
    talk = await connect(backend.pop3_port)
    for _ in range(3):
        await talk.ask(b"USER demo", b"+OK")
        assert (await talk.ask(b"PASS wrong", b"-ERR"))[0].startswith(b"-ERR [AUTH] ")
    assert (await talk.ask(b"AUTH PLAIN AGRlbW8Ad3Jvbmc=", b"-ERR"))[0].startswith(b"-ERR [AUTH] ")
    await talk.ask(b"USER demo", b"+OK")
    await talk.ask(b"PASS sec ret", b"+OK")


@pytest.mark.parametrize("command", [b"STAT", b"PASS x", b"APOP a b", b"STLS", b"AUTH X", b"AUTH PLAIN *", b""])
async def test_what_is_not_for_now_is_refused(connect: Connect, backend: DemoBackend, command: bytes) -> None:
    talk = await connect(backend.pop3_port)
    await talk.send(command + b"\r\n")
    reply = await talk.line()
    assert reply.startswith(b"-ERR")
    assert not reply.startswith(b"-ERR [AUTH]")
    assert b"." in await talk.ask(b"CAPA", b".")


async def test_poplib(backend: DemoBackend) -> None:
    dotted = b"Subject: dots\r\n\r\n.\r\n..two\r\nmiddle\nbare\r\nlast"
    backend.mailbox.append(dotted)

    def client() -> None:
        pop = poplib.POP3("127.0.0.1", backend.pop3_port, timeout=20)
        assert {"USER", "TOP", "UIDL", "SASL"} <= pop.capa().keys()
        pop.user("demo")
        pop.pass_("sec ret")
        assert pop.list()[1] == [b"%d %d" % (n, len(raw)) for n, raw in enumerate([*SAMPLES, dotted], 1)]
        assert b"\r\n".join(pop.retr(2)[1]) + b"\r\n" == SAMPLES[1]
        assert pop.retr(4)[1] == [b"Subject: dots", b"", b".", b"..two", b"middle", b"bare", b"last"]
        assert pop.top(4, 2)[1] == [b"Subject: dots", b"", b".", b"..two"]
        assert pop.top(4, 0)[1] == [b"Subject: dots", b""]
        assert pop.uidl(1).split()[2] == pop.uidl()[1][0].split()[1]
        assert len({line.split()[1] for line in pop.uidl()[1]}) == 4
        with pytest.raises(poplib.error_proto, match="no such message"):
            pop.retr(5)
        pop.dele(1)
        pop.rset()
        pop.dele(3)
        assert pop.stat()[0] == 3
        assert set(backend.mailbox.messages) == {1, 2, 3, 4}
        pop.quit()
        assert set(backend.mailbox.messages) == {1, 2, 4}

    await in_thread(client)


async def test_a_session_that_breaks_off_deletes_nothing(connect: Connect, backend: DemoBackend) -> None:
    talk = await connect(backend.pop3_port)
    for command in (b"USER demo", b"PASS sec ret", b"DELE 1"):
        await talk.ask(command, b"+OK")
    talk.close()
    await (await connect(backend.pop3_port)).ask(b"CAPA", b".")
    assert set(backend.mailbox.messages) == {1, 2, 3}


async def test_a_big_message_comes_out_whole(connect: Connect, backend: DemoBackend) -> None:
    raw = b"Subject: big\r\n\r\n" + (b"." + b"0123456789" * 7 + b"\r\n") * 430_000
    backend.mailbox.append(raw)
    talk = await connect(backend.pop3_port)
    for command in (b"USER demo", b"PASS sec ret", b"RETR 4"):
        await talk.ask(command, b"+OK")
    with trio.fail_after(20):
        assert await talk.read_data() == raw


async def test_a_line_too_long_ends_the_session(connect: Connect, backend: DemoBackend) -> None:
    talk = await connect(backend.pop3_port)
    await talk.send(b"a" * 70000 + b"\r\n")
    assert await talk.line() == b"-ERR line too long"
