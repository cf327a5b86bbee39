"""What a user who is logged in may send: rules before the backend is asked, over all the user's sessions.

Without them one stolen password fills the world's mailboxes, from anybody's address.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from tests.admission.clock import Clock
from tests.auth.attempts import RightHere
from tests.gate import DEFAULTS, Gate, gate, pool_of
from tests.legacy_server import SECRET, USER, LegacyServer, Smtp
from tests.mail.test_transaction import BODY, MAIL, RCPT, message
from tests.redis_server import RedisServer
from tests.state.test_valkey import redis as redis  # the fixture
from tests.state.test_valkey import replicas
from tests.state.test_valkey import started as started  # the fixture
from tlsgate.admission.rules import AddressRules
from tlsgate.config import Limits, LoginMode, Protocol, Rate, TlsMode, WhenDown
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.smtp_events import Mail
from tlsgate.dialogue.smtp_syntax import Path
from tlsgate.mail.aliases import NOT_YOURS, Aliases, read_aliases
from tlsgate.mail.quotas import TOO_MANY_MESSAGES, TOO_MANY_RECIPIENTS
from tlsgate.mail.stamp import Stamp
from tlsgate.mail.submission import Senders, SubmissionPolicy
from tlsgate.state.memory import Memory

pytestmark = pytest.mark.timeout(60)

QUOTAS = Limits(messages_per_user=Rate(2, 3600.0), recipients_per_user=Rate(3, 3600.0))
NO_RULES = AddressRules()
STAMP = Stamp("gate.test", ClientFacts(None, None), None, logged_in=True)
BOB = Path("bob@b.test")


class Trace:
    """What was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []

    def quota_refused(self, quota: str, news: bool) -> None:
        self.told.append((quota, news))

    def sender_refused(self, sender: str, news: bool) -> None:
        self.told.append((sender, news))


# -- the rules -------------------------------------------------------------------------------------------


async def test_each_quota_has_its_own_reply_and_is_told_once_a_minute_and_user() -> None:
    """A line for each refusal would let one user fill the disk; no line for the next user would hide that one."""
    clock, trace = Clock(), Trace()
    store = Memory(clock)
    first, second, other = (
        SubmissionPolicy(user, store, QUOTAS, None, trace, lambda: STAMP) for user in ("ann", "ANN", "bob")
    )
    assert [await first.message() for _ in range(3)] == [None, None, TOO_MANY_MESSAGES]
    assert await second.message() == TOO_MANY_MESSAGES
    assert [await second.recipient(BOB) for _ in range(4)] == [BOB, BOB, BOB, TOO_MANY_RECIPIENTS]
    assert [await other.message() for _ in range(3)] == [None, None, TOO_MANY_MESSAGES]
    clock.now += 60
    assert await first.message() == TOO_MANY_MESSAGES
    assert trace.told == [
        ("messages", True),
        ("messages", False),
        ("recipients", True),
        ("messages", True),
        ("messages", True),
    ]


async def test_senders_are_asked_about_only_where_they_must_match() -> None:
    trace, store = Trace(), Memory(Clock())
    lax = SubmissionPolicy("ann@a.test", store, QUOTAS, None, trace, lambda: STAMP)
    strict = SubmissionPolicy(
        "ann@a.test", store, QUOTAS, read_aliases(b"ann@a.test: sales@a.test\n"), trace, lambda: STAMP
    )
    for mailbox in ("eve@a.test", "ann@a.test", "", "ann"):
        assert await lax.sender(Mail(Path(mailbox), ())) is None
    for mailbox in ("Ann@a.test", "sales@A.test", ""):
        assert await strict.sender(Mail(Path(mailbox), ())) is None
    for mailbox in ("eve@a.test", "ann"):
        assert await strict.sender(Mail(Path(mailbox), ())) == NOT_YOURS
    assert trace.told == [("eve@a.test", True), ("ann", False)]


# -- over replicas ---------------------------------------------------------------------------------------


async def test_quotas_hold_over_replicas(started: RedisServer) -> None:
    """A thief would else have them once at each gateway."""
    trace = Trace()
    async with replicas(started.server, 2) as stores:
        first, second = (SubmissionPolicy("ann", store, QUOTAS, None, trace, lambda: STAMP) for store in stores)
        assert [await each.message() for each in (first, second, first, second)] == [
            None,
            None,
            *[TOO_MANY_MESSAGES] * 2,
        ]
    assert trace.told == [("messages", True), ("messages", False)]


@pytest.mark.parametrize("when_down", list(WhenDown))
async def test_a_shared_state_that_is_away(redis: RedisServer, when_down: WhenDown) -> None:
    """By our own counts, or not now: never without a quota. Nobody is said to be over one that nobody has counted."""
    trace = Trace()
    async with replicas(redis.server, 1, when_down) as (store,):
        ann = SubmissionPolicy("ann", store, QUOTAS, None, trace, lambda: STAMP)
        said = [await ann.message() for _ in range(3)]
    if when_down is WhenDown.REFUSE:
        assert said == [TOO_MANY_MESSAGES] * 3
        assert trace.told == [("messages", False)] * 3
    else:
        assert said == [None, None, TOO_MANY_MESSAGES]
        assert trace.told == [("messages", True)]


# -- in sessions -----------------------------------------------------------------------------------------


@asynccontextmanager
async def submitting(
    nursery: trio.Nursery, *, bounds: Limits = DEFAULTS, senders: Senders | None = None, rules: AddressRules = NO_RULES
) -> AsyncIterator[tuple[Gate, LegacyServer]]:
    server: LegacyServer = await nursery.start(LegacyServer(Smtp()).serve)
    async with gate(
        Protocol.SUBMISSION, TlsMode.IMPLICIT, pool_of(server.address), bounds, rules=rules, senders=senders
    ) as running:
        yield running, server


def heard(server: LegacyServer, word: bytes) -> int:
    return sum(talk.heard.count(word) for talk in server.talks)


def quotas(messages: int, recipients: int) -> Limits:
    return msgspec.structs.replace(
        DEFAULTS, messages_per_user=Rate(messages, 3600.0), recipients_per_user=Rate(recipients, 3600.0)
    )


async def test_messages_are_counted_over_a_users_sessions(nursery: trio.Nursery) -> None:
    async with submitting(nursery, bounds=quotas(2, 100)) as (running, server):
        first, second = await running.logged_in(), await running.logged_in()
        assert (await message(first)).startswith(b"250 ")
        assert (await message(second)).startswith(b"250 ")
        for client in (first, second):
            await client.ask(MAIL)
            await client.ask(RCPT)
            assert await client.ask(b"DATA") == b"451 4.7.1 You have sent too many messages, try again later"
            assert (await client.ask(b"RSET")).startswith(b"250 ")
            assert (await client.ask(b"QUIT")).startswith(b"221 ")
        await running.quiet()
        assert len(server.messages) == heard(server, b"DATA\r\n") == 2
        assert heard(server, b"RSET") == 2  # the refused messages' envelopes stand nowhere
        assert [session.of("quota_refused") for session in running.trace.sessions] == [
            [("messages", True)],
            [("messages", False)],
        ]


async def test_a_quota_holds_for_whom_admission_trusts(nursery: trio.Nursery) -> None:
    """A stolen account comes by webmail as well; ``gate`` trusts its clients by default."""
    server: LegacyServer = await nursery.start(LegacyServer(Smtp()).serve)
    async with gate(Protocol.SUBMISSION, TlsMode.IMPLICIT, pool_of(server.address), quotas(1, 100)) as running:
        client = await running.logged_in()
        assert (await message(client)).startswith(b"250 ")
        await client.ask(MAIL)
        await client.ask(RCPT)
        assert (await client.ask(b"DATA")).startswith(b"451 4.7.1 ")


async def test_recipients_over_the_quota_leave_those_before_in_force(nursery: trio.Nursery) -> None:
    """One that the backend refuses counts as well: to guess addresses must cost something."""
    async with submitting(nursery, bounds=quotas(100, 3)) as (running, server):
        client = await running.logged_in()
        await client.ask(MAIL)
        said = [await client.ask(b"RCPT TO:<" + name + b"@b.test>") for name in (b"bob", b"nobody", b"cay", b"dan")]
        assert [each[:9] for each in said] == [b"250 2.0.0", b"550 5.1.1", b"250 2.0.0", b"452 4.7.1"]
        assert (await client.ask(b"DATA")).startswith(b"354 ")
        assert (await client.ask(BODY + b".")).startswith(b"250 ")
        assert (await client.ask(MAIL)).startswith(b"250 ")
        assert (await client.ask(RCPT)).startswith(b"452 4.7.1 ")
        client.close()
        await running.quiet()
        assert heard(server, b"RCPT") == 3
        (session,) = running.trace.sessions
        assert [values[2] for values in session.of("message")] == [2]
        assert session.of("quota_refused") == [("recipients", True), ("recipients", False)]


async def test_a_forged_sender_is_never_shown_to_the_backend(nursery: trio.Nursery) -> None:
    aliases = read_aliases(f"{USER}: ann@example.org\n".encode())
    async with submitting(nursery, senders=aliases) as (running, server):
        client = await running.logged_in()
        refused = b"550 5.7.1 You may not send from this address"
        assert await client.ask(b"MAIL FROM:<boss@example.org>") == refused
        assert (await client.ask(RCPT)).startswith(b"503 ")
        assert (await message(client)).startswith(b"250 ")
        assert (await client.ask(b"MAIL FROM:<>")).startswith(b"250 ")
        client.close()
        await running.quiet()
        assert heard(server, b"boss") == 0
        assert running.trace.sessions[0].of("sender_refused") == [("boss@example.org", True)]


async def test_a_pipelined_message_of_a_forged_sender_goes_nowhere(nursery: trio.Nursery) -> None:
    """cases.md D19: neither mail nor commands may come of what follows the refusal."""
    async with submitting(nursery, senders=Aliases()) as (running, server):
        client = await running.logged_in()
        await client.send(b"MAIL FROM:<eve@example.org>\r\n" + RCPT + b"\r\nDATA\r\n" + MAIL + b"\r\n.\r\n")
        assert [(await client.reply())[:3] for _ in range(3)] == [b"550", b"503", b"503"]
        while line := await client.line():
            assert line.startswith(b"421 ")
        await running.quiet()
        assert heard(server, b"MAIL") == heard(server, b"RCPT") == len(server.messages) == 0


async def test_who_logs_in_at_the_gateway_alone_is_held_to_its_addresses_too(nursery: trio.Nursery) -> None:
    """Such a backend takes any sender from us: nobody else would look."""
    server: LegacyServer = await nursery.start(LegacyServer(Smtp()).serve)
    pool = pool_of(server.address, login=LoginMode.NONE)
    aliases = read_aliases(f"{USER}: @example.org\n".encode())
    async with gate(Protocol.SUBMISSION, TlsMode.IMPLICIT, pool, judge=RightHere(SECRET), senders=aliases) as running:
        client = await running.logged_in()
        assert (await client.ask(b"MAIL FROM:<eve@example.net>")).startswith(b"550 5.7.1 ")
        assert (await message(client)).startswith(b"250 ")
