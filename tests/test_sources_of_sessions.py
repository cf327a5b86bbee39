"""Logins that sources of ours judge, as clients meet them: real sockets, TLS, a users file, issuers and auth servers.

``gate`` checks for each of them, when it ends, that every count is back at nothing and that no secret was told.
"""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL
from trio.testing import MockClock

from tests.auth.oauth.issuer import ISSUER, issuing
from tests.auth.odd_certificate import odd_certificate
from tests.auth.test_auth_http import answer
from tests.gate import Gate, authority, gate, having, limits, pool_of, records
from tests.http.server import HANGS
from tests.http.server import serving as http_serving
from tests.legacy_server import SECRET, USER
from tests.sasl_client import Sasl, bound, sasl
from tests.sources import (
    OWN,
    StoredFor,
    UsersHere,
    by_auth_http,
    by_token,
    good,
    http_client,
    let_in,
    line_of,
    secrets_of,
    stored_pool,
)
from tests.test_session import each_protocol, legacy
from tlsgate import config
from tlsgate.admission.rules import AddressRules
from tlsgate.auth import user_map
from tlsgate.auth.app_passwords_edit import new_line
from tlsgate.auth.chain import chain
from tlsgate.auth.followed import POLL, Followed
from tlsgate.auth.judgement import Right
from tlsgate.auth.master import Master
from tlsgate.auth.remembered import remembered
from tlsgate.auth.routing import Routes, Routing
from tlsgate.auth.success_cache import SuccessCache
from tlsgate.config import HostPort, LogFormat, LoginMode, LogLevel, Protocol, TlsMode
from tlsgate.dialogue.access_token import TokenAdvice
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.trace import ListenerTrace

pytestmark = pytest.mark.timeout(60)

NO_RULES = AddressRules()
DOMAIN = "example.org"
FULL = f"{USER}@{DOMAIN}"
SCRAM = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
TOKENS = ("OAUTHBEARER", "XOAUTH2")
# Of "secret", by MD5: easily guessed.
WEAK = "$1$saltsalt$9xy1btjgzLYfb7hivXtC//"


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits, also for what the kernel carries between us and two servers."""
    return MockClock(autojump_threshold=0.1)


def told(running: Gate, what: str) -> list[tuple[object, ...]]:
    """All that sessions have told of that."""
    return [values for session in running.trace.sessions for values in session.of(what)]


# -- SCRAM -----------------------------------------------------------------------------------------------


@each_protocol
async def test_a_proof_lets_in_and_a_wrong_one_does_not(
    nursery: trio.Nursery, tmp_path: Path, protocol: Protocol
) -> None:
    """The client checks our signature too, which only who has the stored secret can make."""
    server, users = await legacy(nursery, protocol), UsersHere(tmp_path, line_of(USER))
    async with gate(
        protocol,
        TlsMode.IMPLICIT,
        stored_pool(server.address),
        judge=users.judge,
        mechanisms=SCRAM,
        scram=users.source.scram_secret,
        stored=secrets_of(tmp_path, f"{USER}::{SECRET}"),
    ) as running:
        ann = await sasl(running)
        for user, password in ((USER, "wrong"), ("bob", OWN)):
            assert await ann.proof(user, password) == b"e=invalid-proof"
            assert (await ann.respond(b"")).startswith(ann.client.speech.refused)
        assert not server.talks
        assert (await ann.proof(USER, OWN)).startswith(b"v=")
        assert (await ann.respond(b"")).startswith(ann.client.speech.granted)
        ann.client.close()
        await running.quiet()
        assert told(running, "auth_failed") == [
            ("SCRAM-SHA-256", USER, "invalid-proof"),
            ("SCRAM-SHA-256", "bob", "invalid-proof"),
        ]
        assert [each[:3] for each in told(running, "logged_in")] == [("SCRAM-SHA-256", USER, str(server.address))]
        assert OWN not in repr([each.calls for each in running.trace.sessions])


@each_protocol
async def test_each_wrong_proof_counts_and_a_ban_comes_of_them(
    nursery: trio.Nursery, tmp_path: Path, protocol: Protocol, clock: MockClock
) -> None:
    """Also the same password's: no proof tells that it is the same one, so a guesser could say so of each."""
    users = UsersHere(tmp_path, line_of(USER))
    async with gate(
        protocol,
        TlsMode.IMPLICIT,
        pool_of(HostPort("127.0.0.1", 1)),
        judge=users.judge,
        mechanisms=SCRAM,
        scram=users.source.scram_secret,
        rules=NO_RULES,
        bans=config.Bans(failures=4),
    ) as running:
        times = []
        for _ in range(4):
            guesser = await sasl(running)
            await guesser.client.hello()
            began = trio.current_time()
            assert await guesser.proof(USER, "wrong") == b"e=invalid-proof"
            times.append(round(trio.current_time() - began))
            guesser.client.close()
        assert times == [0, 1, 2, 4]
        assert await (await running.connect()).ended()
        assert [each.network for each in running.rooms.told.banned_networks] == ["127.0.0.1/32"]


async def test_proofs_at_once_are_no_more_than_failures_are_left(tmp_path: Path, clock: MockClock) -> None:
    """A proof waits for its turn as a password does: else each connection could be one guess ahead of the ban."""
    users = UsersHere(tmp_path, line_of(USER))
    async with gate(
        Protocol.IMAP,
        TlsMode.IMPLICIT,
        pool_of(HostPort("127.0.0.1", 1)),
        judge=users.judge,
        mechanisms=SCRAM,
        scram=users.source.scram_secret,
        rules=NO_RULES,
        bans=config.Bans(failures=3),
    ) as running:
        guessers = [await sasl(running) for _ in range(10)]

        async def guess(guesser: Sasl) -> None:
            try:
                await guesser.proof(USER, "wrong")
            except AssertionError:  # banned meanwhile
                pass

        async with trio.open_nursery() as guessing:
            for each in guessers:
                guessing.start_soon(guess, each)
        reasons = [reason for _, _, reason in told(running, "auth_failed")]
        assert (reasons.count("invalid-proof"), reasons.count("banned")) == (3, 7)
        for each in guessers:
            each.client.close()
        await running.quiet()
        assert running.rooms.penalties._turns.under_way("127.0.0.1/32") == 0


@each_protocol
async def test_a_bound_proof_is_of_this_connection(nursery: trio.Nursery, tmp_path: Path, protocol: Protocol) -> None:
    """Who sits between client and us has two connections, and two exporters."""
    server, users = await legacy(nursery, protocol), UsersHere(tmp_path, line_of(USER))
    async with gate(
        protocol,
        TlsMode.IMPLICIT,
        stored_pool(server.address),
        judge=users.judge,
        mechanisms=SCRAM,
        scram=users.source.scram_secret,
        stored=secrets_of(tmp_path, f"{USER}::{SECRET}"),
    ) as running:
        ann, other = await bound(running), await bound(running)
        assert await ann.proof(USER, OWN, other.exporter) == b"e=channel-bindings-dont-match"
        assert (await ann.respond(b"")).startswith(ann.client.speech.refused)
        assert (await ann.scram(USER, OWN, ann.exporter)).startswith(ann.client.speech.granted)
        assert told(running, "auth_failed") == [("SCRAM-SHA-256-PLUS", USER, "channel-bindings-dont-match")]


async def test_there_is_nothing_to_bind_to_below_tls_1_3(tmp_path: Path) -> None:
    """RFC 9266 4: without extended master secrets, the exporter may be another connection's too."""
    users = UsersHere(tmp_path, line_of(USER))
    async with gate(
        Protocol.IMAP,
        TlsMode.IMPLICIT,
        pool_of(HostPort("127.0.0.1", 1)),
        judge=users.judge,
        mechanisms=SCRAM,
        scram=users.source.scram_secret,
    ) as running:
        for version, offered in ((SSL.TLS1_2_VERSION, False), (SSL.TLS1_3_VERSION, True)):
            ann = await bound(running, (version, version))
            await ann.client.send(b"a CAPABILITY\r\n")
            capabilities = (await ann.client.line()).split(b" ")
            assert b"AUTH=SCRAM-SHA-256" in capabilities
            assert (b"AUTH=SCRAM-SHA-256-PLUS" in capabilities) is offered
            assert await ann.client.line()


# -- tokens ----------------------------------------------------------------------------------------------

ASKS: dict[str, Callable[[Sasl, str, str], Awaitable[bytes]]] = {
    "OAUTHBEARER": Sasl.bearer,
    "XOAUTH2": Sasl.xoauth2,
}
each_token = pytest.mark.parametrize("mechanism", TOKENS)


@each_protocol
@each_token
async def test_a_token_lets_in_and_another_one_does_not(
    nursery: trio.Nursery, tmp_path: Path, protocol: Protocol, mechanism: str
) -> None:
    """The client is told where to get a new one, answers that, and is refused in the protocol's own words."""
    server = await legacy(nursery, protocol)
    async with issuing() as issuer, http_client() as client:
        issuer.answers |= {"good": good(), "bobs": good(email="bob")}
        async with gate(
            protocol,
            TlsMode.IMPLICIT,
            stored_pool(server.address),
            judge=chain([by_token(client, issuer)]),
            mechanisms=TOKENS,
            stored=secrets_of(tmp_path, f"{USER}::{SECRET}"),
            advice=TokenAdvice("mail", f"{ISSUER}x"),
        ) as running:
            ann = await sasl(running)
            for token in ("old", "bobs"):
                said = json.loads(ann.told(await ASKS[mechanism](ann, token, USER)))
                assert said["scope"] == "mail" and said["status"] in ("invalid_token", "401")
                assert (await ann.respond(b"\x01")).startswith(ann.client.speech.refused)
            assert not server.talks
            assert (await ASKS[mechanism](ann, "good", USER)).startswith(ann.client.speech.granted)
            failed = told(running, "auth_failed")
            assert [each[:2] for each in failed] == [(mechanism, USER)] * 2
            assert failed[1][2] == "the token is somebody else's"
            assert told(running, "logged_in")[0][:2] == (mechanism, USER)


@each_protocol
@each_token
async def test_an_issuer_that_does_not_answer_makes_no_token_bad(protocol: Protocol, mechanism: str) -> None:
    """The client would throw its token away and ask its user to log in again."""
    async with issuing() as issuer, http_client() as client:
        issuer.status = 503
        async with gate(
            protocol,
            TlsMode.IMPLICIT,
            stored_pool(HostPort("127.0.0.1", 1)),
            judge=chain([by_token(client, issuer)]),
            mechanisms=TOKENS,
            rules=NO_RULES,
            bans=config.Bans(failures=1),
        ) as running:
            ann = await sasl(running)
            assert (await ASKS[mechanism](ann, "good", USER)).startswith(ann.client.speech.unavailable)
            assert told(running, "auth_failed") == [] and running.rooms.told.banned_networks == []
            ((_, user, why),) = told(running, "login_unavailable")
            assert (user, str(why).startswith("oauth: ")) == (USER, True)


async def test_bad_tokens_count_each_once(clock: MockClock) -> None:
    async with (
        issuing() as issuer,
        http_client() as client,
        gate(
            Protocol.IMAP,
            TlsMode.IMPLICIT,
            stored_pool(HostPort("127.0.0.1", 1)),
            judge=chain([by_token(client, issuer)]),
            mechanisms=TOKENS,
            rules=NO_RULES,
            bans=config.Bans(failures=3),
        ) as running,
    ):
        for token, banned in (("a", 0), ("a", 0), ("b", 0), ("c", 1)):
            ann = await sasl(running)
            ann.told(await ann.bearer(token))
            ann.client.close()
            assert len(running.rooms.told.banned_networks) == banned


@each_protocol
async def test_an_expired_token_is_asked_for_anew_and_counts_for_nothing(protocol: Protocol) -> None:
    """Each client shows one once a day. What it is told must make it get another, not ask for a password."""
    async with issuing() as issuer, http_client() as client:
        issuer.answers["old"] = good(exp=1)
        async with gate(
            protocol,
            TlsMode.IMPLICIT,
            stored_pool(HostPort("127.0.0.1", 1)),
            judge=chain([by_token(client, issuer)]),
            mechanisms=TOKENS,
            rules=NO_RULES,
            bans=config.Bans(failures=1),
        ) as running:
            ann = await sasl(running)
            assert json.loads(ann.told(await ann.bearer("old", USER)))["status"] == "invalid_token"
            assert (await ann.respond(b"\x01")).startswith((b"a NO [EXPIRED] ", b"-ERR [AUTH] ", b"535 5.7.8 "))
            assert told(running, "auth_failed") == [("OAUTHBEARER", USER, "expired")]
            assert running.rooms.told.banned_networks == []


async def test_a_claim_names_the_pool(nursery: trio.Nursery) -> None:
    """One that is no pool of this listener's is none: an issuer doesn't lead to where no config does."""
    own, other = await legacy(nursery, Protocol.IMAP), await legacy(nursery, Protocol.IMAP)
    async with issuing() as issuer, http_client() as client:
        issuer.answers |= {"there": good(where="other"), "nowhere": good(where="submission")}
        stored = {"other": StoredFor(SECRET), "pool": StoredFor("another, not the backend's")}
        async with gate(
            Protocol.IMAP,
            TlsMode.IMPLICIT,
            stored_pool(own.address),
            judge=chain([by_token(client, issuer, "where")]),
            mechanisms=TOKENS,
            stored=stored,  # type: ignore[arg-type]
            routes={"nobody": pool_of(other.address, login=LoginMode.STORED, name="other")},
        ) as running:
            ann = await sasl(running)
            assert (await ann.bearer("nowhere", USER)).startswith(ann.client.speech.unavailable)
            assert (len(own.talks), len(other.talks)) == (1, 0)
            assert (await ann.bearer("there", USER)).startswith(ann.client.speech.granted)
            assert (len(own.talks), len(other.talks)) == (1, 1)


# -- certificates ----------------------------------------------------------------------------------------


@each_protocol
async def test_a_certificate_lets_its_owner_in_and_nobody_else(
    nursery: trio.Nursery, tmp_path: Path, protocol: Protocol
) -> None:
    server = await legacy(nursery, protocol)
    users = UsersHere(tmp_path, line_of(FULL), "bob@example.org:!")
    async with gate(
        protocol,
        TlsMode.IMPLICIT,
        stored_pool(server.address),
        judge=users.judge,
        mechanisms=("PLAIN", "EXTERNAL"),
        stored=secrets_of(tmp_path, f"{FULL}:{USER}:{SECRET}", f"bob@example.org:{USER}:{SECRET}"),
    ) as running:
        for owner in (f"bob@{DOMAIN}", f"cay@{DOMAIN}"):  # locked, unknown
            other = await sasl(running, owner=owner)
            assert (await other.begin("EXTERNAL", b"")).startswith(other.client.speech.refused)
        ann = await sasl(running, owner=FULL)
        assert (await ann.begin("EXTERNAL", b"bob@example.org")).startswith(ann.client.speech.refused[:4])
        assert not server.talks
        assert (await ann.begin("EXTERNAL", b"")).startswith(ann.client.speech.granted)
        assert told(running, "logged_in")[0][:2] == ("EXTERNAL", FULL)
        without = await sasl(running)
        said = await without.begin("EXTERNAL", FULL.encode())
        assert not said.startswith(without.client.speech.granted)
        assert told(running, "auth_failed")[-1] == ("other", None, "mechanism not supported")


async def test_a_certificate_whose_names_cannot_be_read_is_told_of_and_ends_no_session(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Old CAs write Latin-1, and OpenSSL takes it. Without facts the auth server isn't told of a verified one."""
    own, (certificate, key) = await legacy(nursery, Protocol.IMAP), (tmp_path / "odd.pem", tmp_path / "odd.key")
    made = ec.generate_private_key(ec.SECP256R1())
    certificate.write_bytes(odd_certificate(authority(), FULL, made))
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    said = answer("Auth-Status: OK", f"Auth-User: {USER}", f"Auth-Pass: {SECRET}")
    async with (
        http_serving([said]) as server,
        http_client() as client,
        gate(
            Protocol.IMAP,
            TlsMode.IMPLICIT,
            pool_of(own.address),
            judge=by_auth_http(client, server),
            mechanisms=("PLAIN", "EXTERNAL"),
        ) as running,
    ):
        odd = await running.connect()
        await odd.start_tls(having(certificate, key))
        assert await odd.line()
        assert (await Sasl(odd, Protocol.IMAP).begin("EXTERNAL", b"")).startswith(odd.speech.granted)
        assert b"Auth-SSL-Verify: NONE\r\n" in server.requests[0][1]
        assert told(running, "certificate_unreadable") == [()]


# -- names -----------------------------------------------------------------------------------------------


@each_protocol
async def test_a_name_without_a_domain_is_the_full_one_on_every_way(
    nursery: trio.Nursery, tmp_path: Path, protocol: Protocol
) -> None:
    """Two names of one user have two counts of failures, and the log's reader looks for one of them."""
    server = await legacy(nursery, protocol)
    users = UsersHere(tmp_path, line_of(FULL))
    async with issuing() as issuer, http_client() as client:
        issuer.answers |= {"long": good(email=FULL), "short": good()}
        tokens = by_token(client, issuer, domain=DOMAIN)
        async with gate(
            protocol,
            TlsMode.IMPLICIT,
            stored_pool(server.address),
            limits(auth_attempts=20),
            judge=chain([users.source, tokens]),
            mechanisms=(*SCRAM, *TOKENS),
            scram=users.source.scram_secret,
            stored=secrets_of(tmp_path, f"{FULL}:{USER}:{SECRET}"),
            default_domain=DOMAIN,
        ) as running:
            for user in (USER, f"{USER}@EXAMPLE.org"):
                ann = await sasl(running)
                refused = ann.client.speech.refused
                assert (await ann.plain(user, "wrong")).startswith(refused)
                assert await ann.proof(user, "wrong") == b"e=invalid-proof"
                assert (await ann.respond(b"")).startswith(refused)
                ann.told(await ann.xoauth2("bad", user))
                assert (await ann.respond(b"")).startswith(refused)
                assert not (await ann.begin("CRAM-MD5", b"")).startswith(ann.client.speech.granted)
                ann.client.close()
                assert {each[1] for each in told(running, "auth_failed")} <= {FULL, None}
            logins: list[Callable[[Sasl], Awaitable[bytes]]] = [
                lambda each: each.plain(USER, OWN),
                lambda each: each.scram(USER, OWN),
                lambda each: each.bearer("long", USER),
                lambda each: each.bearer("short", USER),
                lambda each: each.bearer("short"),
                lambda each: each.xoauth2("short", FULL),
            ]
            for login in logins:
                ann = await sasl(running)
                assert (await login(ann)).startswith(ann.client.speech.granted)
                ann.client.close()
            await running.quiet()
            assert [each[1] for each in told(running, "logged_in")] == [FULL] * 6
            assert {each[0] for each in told(running, "recognized")} == {FULL}


async def test_delays_of_a_user_hold_for_both_names_in_each_mechanism(tmp_path: Path, clock: MockClock) -> None:
    """Else whoever guesses has as many guesses as there are ways to write the name."""
    users = UsersHere(tmp_path, line_of(FULL))
    async with gate(
        Protocol.IMAP,
        TlsMode.IMPLICIT,
        pool_of(HostPort("127.0.0.1", 1)),
        judge=users.judge,
        mechanisms=SCRAM,
        scram=users.source.scram_secret,
        default_domain=DOMAIN,
        rules=NO_RULES,
        bans=config.Bans(user_failures=2),
    ) as running:
        for number, user in enumerate((USER, FULL)):
            guesser = await sasl(running, source=f"127.0.0.{number + 2}")
            assert await guesser.proof(user, "wrong") == b"e=invalid-proof"
            guesser.client.close()
        for number, user in enumerate((USER, FULL)):
            guesser = await sasl(running, source=f"127.0.0.{number + 4}")
            await guesser.proof(user, "wrong")
            guesser.client.close()
        assert [each[1:] for each in told(running, "login_delayed")] == [(FULL, 1), (FULL, 2)]


@each_protocol
async def test_a_login_in_clear_is_told_of_by_the_full_name(protocol: Protocol) -> None:
    """That password is burned: its owner must be found."""
    pool = pool_of(HostPort("127.0.0.1", 1))
    async with gate(protocol, TlsMode.STARTTLS, pool, default_domain=DOMAIN) as running:
        client = await running.connect()
        await client.line()
        await client.hello()
        await Sasl(client, protocol).plain(USER, OWN)
        assert [user for _, user in told(running, "cleartext_auth_refused")] == [FULL]


@each_protocol
@pytest.mark.parametrize("user", [USER, FULL])
async def test_the_backend_sees_the_name_without_its_domain(
    nursery: trio.Nursery, protocol: Protocol, user: str
) -> None:
    server = await legacy(nursery, protocol)
    pool = pool_of(server.address, strip_domain=True)
    async with gate(protocol, TlsMode.IMPLICIT, pool, default_domain=DOMAIN) as running:
        ann = await sasl(running)
        assert (await ann.plain(user, SECRET)).startswith(ann.client.speech.granted)
        assert told(running, "logged_in")[0][1] == FULL
        other = await sasl(running)
        assert (await other.plain("ann@a@b", SECRET)).startswith(other.client.speech.refused)
        assert len(server.talks) == 1


# -- login = "stored" ------------------------------------------------------------------------------------


@each_protocol
async def test_who_has_no_stored_secret_is_sent_to_the_administrator(
    nursery: trio.Nursery, tmp_path: Path, protocol: Protocol
) -> None:
    """The password was right: it must not count, and no client may ask its user for another one."""
    server = await legacy(nursery, protocol)
    users = UsersHere(tmp_path, line_of(USER), line_of("bob"))
    async with gate(
        protocol,
        TlsMode.IMPLICIT,
        stored_pool(server.address),
        judge=users.judge,
        mechanisms=SCRAM,
        stored=secrets_of(tmp_path, f"{USER}::{SECRET}"),
        rules=NO_RULES,
        bans=config.Bans(failures=1),
    ) as running:
        bob, ann = await sasl(running), await sasl(running)
        said = await bob.plain("bob", OWN)
        words = {Protocol.IMAP: b"a NO [CONTACTADMIN]", Protocol.POP3: b"-ERR [SYS/PERM]", Protocol.SUBMISSION: b"454 "}
        assert said.startswith(words[protocol]) and b"secrets_file" not in said
        assert (await ann.plain(USER, OWN)).startswith(ann.client.speech.granted)
        assert told(running, "auth_failed") == [] and running.rooms.told.banned_networks == []
        assert told(running, "login_unavailable") == [
            ("PLAIN", "bob", "the pool's secrets_file has no secret for this user")
        ]


async def test_the_log_says_whose_token_it_was_that_led_nowhere(nursery: trio.Nursery, tmp_path: Path) -> None:
    """The client needn't say it, and the administrator must know who is sent to him."""
    server = await legacy(nursery, Protocol.IMAP)
    async with issuing() as issuer, http_client() as client:
        issuer.answers |= {"hers": good(), "bobs": good(email="bob")}
        async with gate(
            Protocol.IMAP,
            TlsMode.IMPLICIT,
            stored_pool(server.address),
            limits(connections_per_user=1),
            judge=chain([by_token(client, issuer)]),
            mechanisms=TOKENS,
            stored=secrets_of(tmp_path, f"{USER}::{SECRET}"),
        ) as running:
            ann = await sasl(running)
            assert (await ann.bearer("hers")).startswith(ann.client.speech.granted)
            for token, said in (("bobs", b"a NO [CONTACTADMIN]"), ("hers", b"a NO [LIMIT]")):
                assert (await (await sasl(running)).bearer(token)).startswith(said)
            assert [each[1] for each in told(running, "login_unavailable")] == ["bob", USER]


async def test_a_stored_secret_that_the_backend_refuses_is_no_wrong_password(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    server, users = await legacy(nursery, Protocol.IMAP), UsersHere(tmp_path, line_of(USER))
    async with gate(
        Protocol.IMAP,
        TlsMode.IMPLICIT,
        stored_pool(server.address),
        judge=users.judge,
        stored=secrets_of(tmp_path, f"{USER}::an old one"),
    ) as running:
        ann = await sasl(running)
        assert (await ann.plain(USER, OWN)).startswith(ann.client.speech.unavailable)
        assert told(running, "auth_failed") == []
        ((_, _, why),) = told(running, "login_unavailable")
        assert str(why).startswith(f"{server.address} refuses the stored login: ") and "an old one" not in str(why)


@each_protocol
async def test_a_name_that_is_unfit_for_the_backend_is_no_wrong_password(tmp_path: Path, protocol: Protocol) -> None:
    """Whoever has shown the right one would be banned by the way the administrator has named things."""
    users = UsersHere(tmp_path, line_of("ann@a@b"), line_of("ann*root"))
    words = {Protocol.IMAP: b"a NO [CONTACTADMIN]", Protocol.POP3: b"-ERR [SYS/PERM]", Protocol.SUBMISSION: b"454 "}
    nowhere = HostPort("127.0.0.1", 1)
    for user, pool in (
        ("ann@a@b", pool_of(nowhere, login=LoginMode.STORED, strip_domain=True)),
        ("ann*root", pool_of(nowhere, login=LoginMode.MASTER)),
    ):
        async with gate(
            protocol,
            TlsMode.IMPLICIT,
            pool,
            judge=users.judge,
            masters={"pool": Master("root", "*", b"the master's")},
            rules=NO_RULES,
            bans=config.Bans(failures=1),
        ) as running:
            ann = await sasl(running)
            assert (await ann.plain(user, OWN)).startswith(words[protocol])
            assert told(running, "auth_failed") == [] and running.rooms.told.banned_networks == []
            assert [each[1] for each in told(running, "login_unavailable")] == [user]


# -- auth-http -------------------------------------------------------------------------------------------


@each_protocol
async def test_the_auth_server_names_a_backend_that_no_pool_has(nursery: trio.Nursery, protocol: Protocol) -> None:
    own, named = await legacy(nursery, protocol), await legacy(nursery, protocol)
    async with http_serving([let_in(named.address)]) as server, http_client() as client:
        pool = pool_of(own.address)
        async with gate(protocol, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server)) as running:
            ann = await sasl(running)
            assert (await ann.plain(USER, SECRET)).startswith(ann.client.speech.granted)
            assert (len(own.talks), len(named.talks)) == (0, 1)
            ann.client.close()
            await running.quiet()
            assert told(running, "logged_in")[0][2] == str(named.address)


async def test_one_that_is_dead_is_not_replaced(nursery: trio.Nursery) -> None:
    """The pool's own backends don't have this user's mail, or would be shown a password that isn't theirs."""
    own = await legacy(nursery, Protocol.IMAP)
    dead = HostPort("127.0.0.1", 1)
    async with http_serving([let_in(dead)]) as server, http_client() as client:
        pool = pool_of(own.address)
        async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server)) as running:
            ann = await sasl(running)
            assert (await ann.plain(USER, SECRET)).startswith(ann.client.speech.unavailable)
            assert not own.talks and records(pool).states == []
            ((_, _, why),) = told(running, "login_unavailable")
            assert str(why).startswith(str(dead))


@each_protocol
async def test_without_another_name_the_pool_says_how_its_backends_know_the_user(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    own = await legacy(nursery, protocol)
    async with http_serving([answer("Auth-Status: OK")]) as server, http_client() as client:
        pool = pool_of(own.address, strip_domain=True)
        async with gate(
            protocol, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server), default_domain=DOMAIN
        ) as running:
            ann = await sasl(running)
            assert (await ann.plain(USER, SECRET)).startswith(ann.client.speech.granted)
            assert f"Auth-User: {FULL}\r\n".encode() in server.requests[0][1]


@each_protocol
async def test_the_name_that_the_auth_server_gives_is_the_backends_as_it_is(
    nursery: trio.Nursery, protocol: Protocol
) -> None:
    """In the log, and for limits, the user stays who it is."""
    own = await legacy(nursery, protocol)
    async with http_serving([answer("Auth-Status: OK", f"Auth-User: {USER}")]) as server, http_client() as client:
        pool = pool_of(own.address)
        async with gate(protocol, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server)) as running:
            bob = await sasl(running)
            assert (await bob.plain("bob@example.net", SECRET)).startswith(bob.client.speech.granted)
            assert told(running, "logged_in")[0][1] == "bob@example.net"


@each_protocol
@pytest.mark.parametrize("mapped", [False, True])
async def test_a_password_of_the_auth_servers_goes_with_the_name_that_the_pool_or_the_map_says(
    nursery: trio.Nursery, tmp_path: Path, protocol: Protocol, mapped: bool
) -> None:
    """Auth-Pass without Auth-User: the backend doesn't know ann@example.org."""
    path = tmp_path / "map"
    path.write_text(f"carol@{DOMAIN} as={USER}\n")

    def load(path: Path) -> user_map.UserMap:
        return user_map.load(path, {each: {} for each in config.WITH_USERS})

    own = await legacy(nursery, protocol)
    pool = pool_of(own.address, strip_domain=not mapped)
    routing = Routing(Routes(), Followed(path, load(path), load, lambda _: None))
    async with (
        http_serving([answer("Auth-Status: OK", f"Auth-Pass: {SECRET}")]) as server,
        http_client() as client,
        gate(protocol, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server)) as running,
    ):
        if mapped:
            running.house.service = replace(running.house.service, routing=routing)
        someone = await sasl(running)
        user = f"{'carol' if mapped else USER}@{DOMAIN}"
        assert (await someone.plain(user, "another one")).startswith(someone.client.speech.granted)
        assert told(running, "logged_in")[0][1] == user


async def test_attempts_of_a_connection_are_numbered(nursery: trio.Nursery) -> None:
    own = await legacy(nursery, Protocol.IMAP)
    no, yes = answer("Auth-Status: No"), answer("Auth-Status: OK")
    async with http_serving([no, no, yes, no]) as server, http_client() as client:
        pool = pool_of(own.address)
        async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server)) as running:
            ann, other = await sasl(running), await sasl(running)
            for _ in range(3):
                await ann.plain(USER, SECRET)
            await other.plain(USER, SECRET)
            numbers = [
                line.partition(b": ")[2]
                for _, request in server.requests
                for line in request.split(b"\r\n")
                if line.startswith(b"Auth-Login-Attempt: ")
            ]
            assert numbers == [b"1", b"2", b"3", b"1"]


@each_protocol
async def test_who_has_guessed_waits_as_the_auth_server_says(protocol: Protocol, clock: MockClock) -> None:
    async with http_serving([answer("Auth-Status: No", "Auth-Wait: 7")]) as server, http_client() as client:
        pool = pool_of(HostPort("127.0.0.1", 1))
        async with gate(protocol, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server)) as running:
            ann = await sasl(running)
            await ann.client.hello()
            began = trio.current_time()
            assert (await ann.plain(USER, "wrong")).startswith(ann.client.speech.refused)
            assert 7 <= trio.current_time() - began < 9


async def test_but_not_longer_than_it_has_time_to_log_in(clock: MockClock) -> None:
    """And the guess counts all the same."""
    async with (
        http_serving([answer("Auth-Status: No", "Auth-Wait: 50")]) as server,
        http_client() as client,
        gate(
            Protocol.IMAP,
            TlsMode.IMPLICIT,
            pool_of(HostPort("127.0.0.1", 1)),
            limits(login_timeout=10),
            judge=by_auth_http(client, server),
            rules=NO_RULES,
            bans=config.Bans(failures=1),
        ) as running,
    ):
        ann = await sasl(running)
        began = trio.current_time()
        said = await ann.plain(USER, "wrong")
        assert said.startswith((b"* BYE ", b"a NO ")), said
        await running.quiet()
        assert trio.current_time() - began < 12
        assert len(running.rooms.told.banned_networks) == 1


async def test_an_auth_server_that_hangs_holds_a_session_no_longer_than_it_has_to_log_in(clock: MockClock) -> None:
    async with (
        http_serving([HANGS]) as server,
        http_client() as client,
        gate(
            Protocol.IMAP,
            TlsMode.IMPLICIT,
            pool_of(HostPort("127.0.0.1", 1)),
            limits(login_timeout=6),
            judge=by_auth_http(client, server),
        ) as running,
    ):
        ann = await sasl(running)
        began = trio.current_time()
        await ann.plain(USER, SECRET)
        assert trio.current_time() - began < 8


async def test_the_auth_servers_words_reach_the_client_and_a_code_of_4_counts_for_nothing() -> None:
    said = answer("Auth-Status: Closed for today", "Auth-Error-Code: 454 4.3.0")
    async with (
        http_serving([said]) as server,
        http_client() as client,
        gate(
            Protocol.SUBMISSION,
            TlsMode.IMPLICIT,
            pool_of(HostPort("127.0.0.1", 1)),
            judge=by_auth_http(client, server),
            rules=NO_RULES,
            bans=config.Bans(failures=1),
        ) as running,
    ):
        ann = await sasl(running)
        assert (await ann.plain(USER, SECRET)) == b"454 4.3.0 Closed for today"
        assert running.rooms.told.banned_networks == []


# -- the success cache -----------------------------------------------------------------------------------


@each_protocol
async def test_the_second_login_asks_nobody(nursery: trio.Nursery, protocol: Protocol) -> None:
    own = await legacy(nursery, protocol)
    cache: SuccessCache[Right] = SuccessCache(60.0, b"k" * 32, trio.current_time)
    async with http_serving([answer("Auth-Status: OK")] * 9) as server, http_client() as client:
        judge = remembered(by_auth_http(client, server), cache, None)
        async with gate(protocol, TlsMode.IMPLICIT, pool_of(own.address), judge=judge) as running:
            for _ in range(2):
                ann = await sasl(running)
                assert (await ann.plain(USER, SECRET)).startswith(ann.client.speech.granted)
            assert (len(server.requests), len(own.talks)) == (1, 2)
            elsewhere = await sasl(running, source="127.0.0.2")
            assert (await elsewhere.plain(USER, SECRET)).startswith(elsewhere.client.speech.granted)
            assert len(server.requests) == 2


async def test_a_changed_users_file_is_known_to_the_cache(
    nursery: trio.Nursery, tmp_path: Path, mock_clock: MockClock
) -> None:
    """Who was locked must not get in for as long as the cache remembers."""
    own, users = await legacy(nursery, Protocol.IMAP), UsersHere(tmp_path, line_of(USER, SECRET), line_of("bob"))
    judge = remembered(users.judge, users.cache, users.source.follow)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool_of(own.address), judge=judge) as running:
        ann = await sasl(running)
        assert (await ann.plain(USER, SECRET)).startswith(ann.client.speech.granted)
        assert len(users.cache) == 1
        users.write(f"{USER}:!", line_of("bob"))
        mock_clock.jump(POLL + 1)
        again = await sasl(running)
        assert (await again.plain(USER, SECRET)).startswith(again.client.speech.refused)


# -- app passwords, weak hashes --------------------------------------------------------------------------

APP = "aaaa-bbbb-cccc-dddd-eeee"


def app_line(user: str, label: str, protocol: Protocol) -> str:
    return new_line(user, label, APP, date(2026, 1, 31), frozenset({protocol}), ())


@each_protocol
async def test_an_app_passwords_label_is_told_and_why_it_is_refused_elsewhere(
    nursery: trio.Nursery, tmp_path: Path, protocol: Protocol
) -> None:
    """Its owner finds in the log which one was used; a thief must not learn where it would be good."""
    other = Protocol.POP3 if protocol is Protocol.IMAP else Protocol.IMAP
    server = await legacy(nursery, protocol)
    users = UsersHere(
        tmp_path, line_of(USER), line_of("bob"), apps=(app_line(USER, "phone", protocol), app_line("bob", "pad", other))
    )
    async with gate(
        protocol,
        TlsMode.IMPLICIT,
        stored_pool(server.address),
        judge=users.judge,
        stored=secrets_of(tmp_path, f"{USER}::{SECRET}", f"bob:{USER}:{SECRET}"),
    ) as running:
        bob, ann = await sasl(running), await sasl(running)
        said = await bob.plain("bob", APP)
        wrong = await bob.plain("bob", "wrong")
        assert said == wrong and said.startswith(bob.client.speech.refused)
        assert [each[2] for each in told(running, "auth_failed")] == [
            f"app password 'pad' isn't for {protocol}",
            "authentication_failed",
        ]
        assert (await ann.plain(USER, APP)).startswith(ann.client.speech.granted)
        assert told(running, "recognized") == [(USER, "phone", "")]


async def test_an_app_password_that_the_backend_has_no_use_for_isnt_told_of(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    """The log would say of whoever logs in after it that it was used, and of a stranger that it wasn't refused."""
    server = await legacy(nursery, Protocol.IMAP)
    users = UsersHere(tmp_path, line_of("bob"), line_of(USER), apps=(app_line("bob", "pad", Protocol.IMAP),))
    stored = secrets_of(tmp_path, "bob::an old one", f"{USER}::{SECRET}")
    pool = stored_pool(server.address)
    async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, judge=users.judge, stored=stored) as running:
        ann = await sasl(running)
        assert (await ann.plain("bob", APP)).startswith(ann.client.speech.unavailable)
        assert told(running, "recognized") == []
        assert (await ann.plain(USER, OWN)).startswith(ann.client.speech.granted)
        assert [each[:2] for each in told(running, "recognized")] == [(USER, "")]


async def test_what_the_log_says_of_passwords(nursery: trio.Nursery, tmp_path: Path) -> None:
    """A weak hash once a user, or each login of a phone would be two lines; each session's own app password."""
    server = await legacy(nursery, Protocol.IMAP)
    users = UsersHere(tmp_path, f"{USER}:{{MD5-CRYPT}}{WEAK}", apps=(app_line(USER, "phone", Protocol.IMAP),))
    output = io.BytesIO()
    log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
    async with gate(
        Protocol.IMAP,
        TlsMode.IMPLICIT,
        stored_pool(server.address),
        judge=users.judge,
        stored=secrets_of(tmp_path, f"{USER}::{SECRET}"),
    ) as running:
        trace = ListenerTrace("gate", Phase.RELAY, Metrics(log).listener("gate"), log)
        running.house.trace = trace  # type: ignore[assignment]
        for password in ("secret", "secret", APP):
            ann = await sasl(running)
            assert (await ann.plain(USER, password)).startswith(ann.client.speech.granted)
            ann.client.close()
            await running.quiet()
    log.close()
    events = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [(each["user"], each["scheme"]) for each in events if each["event"] == "weak_hash"] == [(USER, "MD5-CRYPT")]
    sessions = [each.get("app_password") for each in events if each["event"] == "session"]
    assert sessions == [None, None, "phone"]
    assert APP not in output.getvalue().decode()
