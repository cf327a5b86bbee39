"""Where sessions end up: by routes, and by a master's login for the user."""

from __future__ import annotations

import base64

import pytest
import trio

from tests.auth.attempts import RightHere
from tests.gate import Client, gate, pool_of, records
from tests.legacy_server import SECRET, USER, LegacyServer, Script, Smtp, Talk, imap, pop3
from tlsgate.auth.master import Master
from tlsgate.config import ClientAddress, LoginMode, Protocol, TlsMode

RIGHT_HERE = RightHere(SECRET)
pytestmark = pytest.mark.timeout(60)
PROTOCOLS = [Protocol.IMAP, Protocol.POP3, Protocol.SUBMISSION]
SCRIPTS: dict[Protocol, Script] = {Protocol.IMAP: imap, Protocol.POP3: pop3, Protocol.SUBMISSION: Smtp()}
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
MASTER_SECRET = "the master's, 9 words"
MASTER = Master("root", "*", MASTER_SECRET.encode())


async def serving(nursery: trio.Nursery, *scripts: Script) -> LegacyServer:
    server: LegacyServer = await nursery.start(LegacyServer(*scripts).serve)
    return server


def heard(server: LegacyServer) -> bytes:
    return b"".join(bytes(talk.heard) for talk in server.talks)


# -- routes ----------------------------------------------------------------------------------------------


@each_protocol
@pytest.mark.parametrize("match", [USER, USER.upper(), "a*", "???"])
async def test_a_user_is_led_to_the_pool_of_the_route(nursery: trio.Nursery, protocol: Protocol, match: str) -> None:
    own, other = await serving(nursery, SCRIPTS[protocol]), await serving(nursery, SCRIPTS[protocol])
    routes = {"bob": pool_of(own.address, name="bobs"), match: pool_of(other.address, name="other")}
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(own.address), routes=routes) as running:
        client = await running.logged_in()
        assert (len(own.talks), len(other.talks)) == (0, 1)
        client.close()
        await running.quiet()
        assert running.trace.sessions[0].of("logged_in")[0][2] == str(other.address)


@each_protocol
async def test_whom_no_route_fits_stays_with_the_listeners_pool(nursery: trio.Nursery, protocol: Protocol) -> None:
    own, other = await serving(nursery, SCRIPTS[protocol]), await serving(nursery, SCRIPTS[protocol])
    routes = {"?": pool_of(other.address, name="other")}
    async with gate(protocol, TlsMode.IMPLICIT, pool_of(own.address), routes=routes) as running:
        await running.logged_in()
        assert (len(own.talks), len(other.talks)) == (1, 0)


async def test_a_routes_pool_that_is_down_is_not_replaced(nursery: trio.Nursery) -> None:
    """The listener's pool has another user of that name, or none: a password that it refuses would look wrong."""
    own, other = await serving(nursery, imap), await serving(nursery, imap)
    full = pool_of(other.address, name="other", connections=0)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(own.address), routes={"*": full}) as running:
        client = await running.secure()
        assert (await client.log_in()).startswith(client.speech.unavailable)
        assert not own.talks and not other.talks


async def test_the_routes_pool_says_how_to_log_in_there(nursery: trio.Nursery) -> None:
    """Its login, and how it learns who the client is, are its own; the listener's pool has neither."""
    own, other = (
        await serving(nursery, Smtp()),
        await serving(nursery, Smtp({b"XCLIENT": b"220 legacy\r\n"}, keywords=(b"XCLIENT ADDR LOGIN",))),
    )
    trusting = pool_of(other.address, login=LoginMode.NONE, client_address=ClientAddress.XCLIENT, name="other")
    async with gate(
        Protocol.SUBMISSION, TlsMode.IMPLICIT, pool_of(own.address), judge=RIGHT_HERE, routes={"*": trusting}
    ) as running:
        await running.logged_in()
        assert b"XCLIENT ADDR=127.0.0.1 LOGIN=ann\r\n" in heard(other)
        assert b"AUTH" not in heard(other)


async def test_the_next_message_goes_to_the_same_pool(nursery: trio.Nursery) -> None:
    """When a backend has closed between two messages, the way back must not lead to the listener's pool."""
    own, other = await serving(nursery, Smtp()), await serving(nursery, Smtp())
    routes = {"*": pool_of(other.address, name="other")}
    async with gate(Protocol.SUBMISSION, TlsMode.IMPLICIT, pool_of(own.address), routes=routes) as running:
        client = await running.logged_in()
        for number in range(2):
            if number:
                other.talks[0].reset()
                await other.talks[0].cut.wait()
            await _message(client)
        assert (len(own.talks), len(other.talks), len(other.messages)) == (0, 2, 2)


async def _message(client: Client) -> None:
    assert (await client.ask(b"MAIL FROM:<ann@example.org>")).startswith(b"250 ")
    assert (await client.ask(b"RCPT TO:<bob@example.org>")).startswith(b"250 ")
    assert (await client.ask(b"DATA")).startswith(b"354 ")
    assert (await client.ask(b"From: ann\r\n\r\nHello.\r\n.")).startswith(b"250 ")


async def test_lines_are_as_long_as_every_pool_can_bear(nursery: trio.Nursery) -> None:
    """Where the mail goes is known after the rules for it were made."""
    server = await serving(nursery, Smtp())
    patient = pool_of(server.address, long_lines=True)
    for other, code in (({}, b"250 "), ({"*": pool_of(server.address, name="other")}, b"5")):
        async with gate(Protocol.SUBMISSION, TlsMode.IMPLICIT, patient, routes=other) as running:
            client = await running.logged_in()
            await client.ask(b"MAIL FROM:<ann@example.org>")
            await client.ask(b"RCPT TO:<bob@example.org>")
            await client.ask(b"DATA")
            assert (await client.ask(b"From: ann\r\n\r\n" + b"x" * 2000 + b"\r\n.")).startswith(code)


# -- the master ------------------------------------------------------------------------------------------


def _login(heard: bytes) -> tuple[str, str]:
    """Whom a legacy server was shown, and with which secret."""
    for line in heard.split(b"\r\n"):
        words = line.split(b" ")
        if words[:2] == [b"AUTH", b"PLAIN"]:
            _, user, secret = base64.b64decode(words[2]).split(b"\0")
            return user.decode(), secret.decode()
        if words[1:2] == [b"LOGIN"]:
            _, user, _, secret, _ = line.split(b'"')
            return user.decode(), secret.decode()
    pieces = dict(line.split(b" ", 1) for line in heard.split(b"\r\n") if b" " in line)
    return pieces[b"USER"].decode(), pieces[b"PASS"].decode()


def _master_script(protocol: Protocol, answer: bytes) -> Script:
    """A server that answers a login so, whoever it is."""

    async def script(talk: Talk) -> None:
        match protocol:
            case Protocol.IMAP:
                await talk.say(b"* OK ready\r\n")
                tag = (await talk.line()).split(b" ")[0]
                await talk.say(tag + b" " + answer)
            case Protocol.POP3:
                await talk.say(b"+OK ready\r\n")
                await talk.line()
                await talk.say(b"+OK\r\n")
                await talk.line()
                await talk.say(answer)
            case _:
                await Smtp({b"AUTH": answer})(talk)
        await talk.silence()

    return script


GRANTED = {Protocol.IMAP: b"OK in\r\n", Protocol.POP3: b"+OK in\r\n", Protocol.SUBMISSION: b"235 2.7.0 in\r\n"}
WRONG = {
    Protocol.IMAP: b"NO [AUTHENTICATIONFAILED] who?\r\n",
    Protocol.POP3: b"-ERR [AUTH] who?\r\n",
    Protocol.SUBMISSION: b"535 5.7.8 who?\r\n",
}


@each_protocol
async def test_the_backend_sees_the_master_and_never_the_users_secret(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    server = await serving(nursery, _master_script(protocol, GRANTED[protocol]))
    pool = pool_of(server.address, login=LoginMode.MASTER)
    async with gate(protocol, TlsMode.IMPLICIT, pool, judge=RIGHT_HERE, masters={"pool": MASTER}) as running:
        client = await running.secure()
        assert (await client.log_in("wrong")).startswith(client.speech.refused)
        assert not server.talks
        assert (await client.log_in()).startswith(client.speech.granted)
        client.close()
        await running.quiet()
        assert _login(heard(server)) == ("ann*root", MASTER_SECRET)
        assert running.trace.sessions[0].of("logged_in")[0][1] == USER
        assert MASTER_SECRET not in repr(running.trace.sessions[0].calls)


@each_protocol
async def test_a_password_that_only_the_backend_could_judge_opens_nothing(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    """It isn't shown one: everybody would get in by any password."""
    server = await serving(nursery, _master_script(protocol, GRANTED[protocol]))
    pool = pool_of(server.address, login=LoginMode.MASTER)
    async with gate(protocol, TlsMode.IMPLICIT, pool, masters={"pool": MASTER}) as running:
        client = await running.secure()
        assert (await client.log_in()).startswith(client.speech.unavailable)
        assert not server.talks


@each_protocol
async def test_a_master_that_the_backend_refuses_is_no_wrong_password(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    """After a change of the master's password all users would be banned, and their clients ask for another one."""
    server = await serving(nursery, _master_script(protocol, WRONG[protocol]))
    pool = pool_of(server.address, login=LoginMode.MASTER)
    async with gate(protocol, TlsMode.IMPLICIT, pool, judge=RIGHT_HERE, masters={"pool": MASTER}) as running:
        client = await running.secure()
        said = await client.log_in()
        assert said.startswith(client.speech.unavailable) and b"master" not in said and b"who?" not in said
        (session,) = running.trace.sessions
        assert session.of("auth_failed") == []
        ((_, user, why),) = session.of("login_unavailable")
        assert user == USER
        assert str(why).startswith(f"{server.address} refuses the master login: ") and str(why).endswith(" who?")
        assert records(pool).failures == []


async def test_a_name_that_holds_the_separator_is_refused_and_told(nursery: trio.Nursery) -> None:
    """cases.md B6: "ann*bob" is ann to a backend."""
    server = await serving(nursery, imap)
    pool = pool_of(server.address, login=LoginMode.MASTER)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, judge=RIGHT_HERE, masters={"pool": MASTER}) as running:
        client = await running.secure()
        said = await client.ask(f'a LOGIN "ann*bob" "{SECRET}"'.encode())
        assert said.startswith(b"a NO [CONTACTADMIN]") and b"separator" not in said
        assert not server.talks
        told = running.trace.sessions[0].of("login_unavailable")
        assert told == [("LOGIN", "ann*bob", "the user name holds the master separator")]
