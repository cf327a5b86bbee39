"""What a config's [auth] comes to: who judges, by which mechanisms, and what a changed file clears."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests import gate
from tests.auth.attempts import attempt
from tests.auth.oauth.issuer import ISSUER
from tests.http.server import serving as http_serving
from tests.test_prepared import SHA, written
from tests.test_prepared import config as config  # the fixture
from tlsgate.auth.app_passwords_edit import new_line
from tlsgate.auth.followed import POLL
from tlsgate.auth.judgement import Right, Unavailable
from tlsgate.auth.users_file import CHECKING
from tlsgate.authority import make_authority
from tlsgate.config import LogFormat, LogLevel, load
from tlsgate.dialogue.access_token import BearerToken, TokenAdvice
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused
from tlsgate.dialogue.proofs import Proven
from tlsgate.ops.log import EventLog
from tlsgate.prepared import Prepared, prepare

ANN = Credentials("ann", b"secret")
WRONG = Refused(Refusal.AUTHENTICATION_FAILED)
USERS = 'source = "users-file"\nusers_file = "users"\n'
AUTH_HTTP = 'source = "auth-http"\nauth_http = "http://127.0.0.1:1/auth"\n'
BOTH = USERS.replace('"users-file"', '["users-file", "auth-http"]') + 'auth_http = "http://127.0.0.1:1/auth"\n'
OAUTH = 'source = "oauth"\n[auth.oauth]\nissuer = "https://id.example.org/"\naudience = "mail"\n'
JWKS = 'jwks_url = "https://id.example.org/jwks"\n'
ALL = 'mechanisms = ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]\n'


@pytest.fixture
def log() -> Iterator[EventLog]:
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    yield log
    log.close()


def prepared(config: Path, auth: str, login: str = "none", *, certificates: bool = False) -> Prepared:
    users = config.parent / "users"
    users.write_text(f"ann:{SHA}\n")
    users.chmod(0o640)
    written(config, auth, login)
    if certificates:
        gate.authority().cert_pem.write_to_path(config.parent / "ca.pem")
        config.write_text(config.read_text().replace("[tls]\n", '[tls]\nclient_ca = "ca.pem"\n'))
    return prepare(load(config))


# -- which mechanisms are offered ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "login", "certificates", "offered"),
    [
        ('source = "backend"\n', "same", False, ["PLAIN", "LOGIN"]),
        (USERS, "none", False, ["PLAIN", "LOGIN"]),
        (USERS + ALL, "none", False, ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]),
        (USERS + 'mechanisms = ["scram-sha-256", "plain"]\n', "none", False, ["SCRAM-SHA-256", "PLAIN"]),
        (USERS + 'mechanisms = ["PLAIN", "EXTERNAL"]\n', "none", True, ["PLAIN", "EXTERNAL"]),
        ('mechanisms = ["EXTERNAL", "XOAUTH2"]\n' + OAUTH + JWKS, "none", True, ["EXTERNAL", "XOAUTH2"]),
        (AUTH_HTTP, "same", False, ["PLAIN", "LOGIN"]),
        ('mechanisms = ["XOAUTH2", "OAUTHBEARER"]\n' + OAUTH + JWKS, "none", False, ["XOAUTH2", "OAUTHBEARER"]),
        (OAUTH + JWKS, "none", False, []),  # the default ones, which nobody can judge
    ],
)
async def test_what_somebody_can_judge_is_offered(
    config: Path, log: EventLog, auth: str, login: str, certificates: bool, offered: list[str]
) -> None:
    """A mechanism that no source can judge makes clients send what is refused each time, and be banned for it."""
    made = make_authority(prepared(config, auth, login, certificates=certificates), log)
    assert list(made.mechanisms) == offered
    assert made.asks_certificates is certificates
    assert (made.scram is not None) is ("users-file" in auth)


# -- who judges ------------------------------------------------------------------------------------------


async def test_a_certificate_is_asked_about_where_somebody_knows_the_users(config: Path, log: EventLog) -> None:
    """Our CA's word alone must not let in whom the users file has locked, or doesn't have."""
    bob = attempt(Proven("bob"), "EXTERNAL")
    mechanisms = 'mechanisms = ["EXTERNAL"]\n'
    alone = make_authority(prepared(config, mechanisms + OAUTH + JWKS, certificates=True), log)
    assert await alone.judge(bob) == Right("bob")
    users = make_authority(prepared(config, USERS + mechanisms, certificates=True), log)
    assert await users.judge(bob) == WRONG
    assert await users.judge(attempt(Proven("ann"), "EXTERNAL")) == Right("ann")
    asked = make_authority(prepared(config, AUTH_HTTP + mechanisms, certificates=True), log)
    assert isinstance(await asked.judge(bob), Unavailable)
    both = make_authority(prepared(config, BOTH + mechanisms, certificates=True), log)
    assert isinstance(await both.judge(bob), Unavailable)  # by the server: the file doesn't have him
    assert await both.judge(attempt(Proven("ann"), "EXTERNAL")) == Right("ann")


async def test_the_auth_server_gets_the_header_of_ours(config: Path, log: EventLog) -> None:
    """It is how the server knows that we ask, and not anybody."""
    header = config.parent / "header"
    header.write_text("X-Key: hunter2\n")
    header.chmod(0o600)
    async with http_serving([_closing(b"", b"Auth-Status: OK")]) as server:
        text = f'source = "auth-http"\nauth_http = "{server.url()}"\nauth_http_header_file = "header"\n'
        made = make_authority(prepared(config, text, "same"), log)
        assert isinstance(await made.judge(attempt(ANN)), Right)
        assert b"X-Key: hunter2\r\n" in server.requests[0][1]


async def test_tokens_are_judged_by_what_the_config_says_of_them(config: Path, log: EventLog) -> None:
    secret = config.parent / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    claims = {"active": True, "iss": ISSUER, "aud": "mail", "exp": 9_999_999_999, "scope": "imap"}
    expected = [
        (claims | {"email": "ann@a.test", "where": "other"}, Right("ann@a.test", pool="other")),
        (claims | {"email": "ann"}, Right("ann@a.test")),  # the default domain's
        (claims | {"email": "ann", "aud": "another"}, Refusal.AUTHENTICATION_FAILED),
        (claims | {"email": "bob@a.test"}, Refusal.AUTHENTICATION_FAILED),
        (claims | {"email": "ann", "scope": "web"}, Refusal.AUTHORIZATION_FAILED),
    ]
    async with http_serving(*([_closing(json.dumps(said).encode())] for said, _ in expected)) as server:
        text = f"""default_domain = "a.test"
mechanisms = ["XOAUTH2"]
{OAUTH}introspection_url = "{server.url()}"
client_id = "gate"
client_secret_file = "secret"
pool_claim = "where"
scope = "imap"
"""
        made = make_authority(prepared(config, text), log)
        for number, (_, verdict) in enumerate(expected):
            found = await made.judge(attempt(BearerToken(f"token{number}", "ann@a.test"), "XOAUTH2"))
            assert (found.reason if isinstance(found, Refused) else found) == verdict
        assert b"Basic Z2F0ZTpzM2NyZXQ=" in server.requests[0][1]
    assert made.advice == TokenAdvice("imap", "https://id.example.org/.well-known/openid-configuration")


def _closing(body: bytes, *headers: bytes) -> bytes:
    """An answer behind which the connection ends."""
    head = [b"HTTP/1.1 200 OK", b"Connection: close", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*head, b"", body])


# -- what is remembered ----------------------------------------------------------------------------------


async def test_what_was_right_is_not_asked_again_until_a_file_changes(
    config: Path, log: EventLog, mock_clock: MockClock
) -> None:
    """Whose password was taken away, or whose phone was lost, is out in seconds, whatever success_cache says."""
    apps = config.parent / "apps"
    phone = new_line("ann", "phone", "aaaa-bbbb", date(2026, 1, 31), frozenset(), ())
    apps.write_text(f"{phone}\n")
    text = USERS + 'app_passwords_file = "apps"\nsuccess_cache = "10m"\n'
    made = make_authority(prepared(config, text), log)
    own, lost = attempt(ANN), attempt(Credentials("ann", b"aaaa-bbbb"))
    for tried, right in ((own, Right("ann")), (lost, Right("ann", label="phone"))):
        assert await made.judge(tried) == right
    with trio.fail_after(5):
        held = [await _take() for _ in range(int(CHECKING.total_tokens))]
        assert await made.judge(own) == Right("ann")  # no place is free for a check
        for each in held:
            CHECKING.release_on_behalf_of(each)
    apps.write_text("# none any more\n")
    mock_clock.jump(POLL + 1)
    assert await made.judge(lost) == WRONG
    (config.parent / "users").write_text("ann:!\n# locked\n")
    mock_clock.jump(POLL + 1)
    assert await made.judge(own) == WRONG


async def _take() -> object:
    who = object()
    await CHECKING.acquire_on_behalf_of(who)
    return who
