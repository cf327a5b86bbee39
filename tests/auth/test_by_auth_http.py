"""What an auth_http server's answer means for a login: whom it lets in, with which name and secret, and who waits."""

from __future__ import annotations

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from tests.auth.attempts import attempt
from tlsgate.auth.auth_http_answer import Allowed, Denied, Unavailable
from tlsgate.auth.auth_http_request import External, Question
from tlsgate.auth.by_auth_http import ByAuthHttp
from tlsgate.auth.judgement import Right
from tlsgate.auth.judgement import Unavailable as NotNow
from tlsgate.config import HostPort
from tlsgate.dialogue.access_token import BearerToken
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused
from tlsgate.dialogue.proofs import Proven

ANN = Credentials("ann", b"secret")
SERVER = HostPort("192.0.2.1", 143)


class Answering:
    """A server that says one thing, after so many seconds."""

    def __init__(self, answer: Allowed | Denied | Unavailable, seconds: float = 0.0) -> None:
        self.questions: list[Question] = []
        self._answer = answer
        self._seconds = seconds

    async def ask(self, question: Question) -> Allowed | Denied | Unavailable:
        self.questions.append(question)
        await trio.sleep(self._seconds)
        return self._answer


@pytest.mark.parametrize(
    ("allowed", "right"),
    [
        (Allowed(None, None, None), Right("ann")),
        (Allowed(SERVER, None, None), Right("ann", server=SERVER)),
        (Allowed(SERVER, "ann.old", None), Right("ann", "ann.old", server=SERVER)),
        (Allowed(None, None, b"theirs"), Right("ann", secret=b"theirs")),
        (Allowed(None, "ann.old", b"theirs"), Right("ann", "ann.old", b"theirs")),
    ],
)
async def test_who_is_let_in_stays_who_it_is(allowed: Allowed, right: Right) -> None:
    """Limits, quotas and the log know the client's own name; without another one the pool says what backends see."""
    assert await ByAuthHttp(Answering(allowed))(attempt(ANN)) == right


@pytest.mark.parametrize(
    ("allowed", "right"),
    [
        (Allowed(SERVER, None, None), Right("ann", server=SERVER)),
        # A name alone opens nothing, but where others' secrets do it says whose mailbox.
        (Allowed(SERVER, "ann.old", None), Right("ann", "ann.old", server=SERVER)),
        (Allowed(None, None, b"theirs"), Right("ann", secret=b"theirs")),
    ],
)
async def test_a_certificates_owner_has_no_secret_but_the_servers(allowed: Allowed, right: Right) -> None:
    server = Answering(allowed)
    assert await ByAuthHttp(server)(attempt(Proven("ann"), "EXTERNAL")) == right
    assert server.questions[0].who == External("ann")


@pytest.mark.parametrize(
    ("shown", "mechanism"),
    [(BearerToken("token"), "XOAUTH2"), (Proven("ann"), "SCRAM-SHA-256")],
    ids=str,
)
async def test_what_the_protocol_cannot_tell_of_is_for_others(shown: BearerToken | Proven, mechanism: str) -> None:
    """A proof of SCRAM was made with another source's secret: this server must not be asked as if it were EXTERNAL."""
    server = Answering(Allowed(None, None, None))
    assert await ByAuthHttp(server)(attempt(shown, mechanism)) is None
    assert server.questions == []


@pytest.mark.parametrize("shown", [replace(ANN, authzid="bob"), Proven("ann", "bob")])
async def test_nobody_acts_as_somebody_else(shown: Credentials | Proven) -> None:
    server = Answering(Allowed(None, None, None))
    found = await ByAuthHttp(server)(attempt(shown, "EXTERNAL"))
    assert found == Refused(Refusal.AUTHORIZATION_FAILED)
    assert server.questions == []


@pytest.mark.parametrize(
    ("denied", "refused"),
    [
        (Denied("Wrong", "", 0), Refused(Refusal.AUTHENTICATION_FAILED, "Wrong")),
        (Denied("Wrong", "535 5.7.8", 0), Refused(Refusal.AUTHENTICATION_FAILED, "Wrong", "535 5.7.8")),
        (Denied("Later", "454 4.3.0", 0), Refused(Refusal.UNAVAILABLE, "Later", "454 4.3.0")),
    ],
)
async def test_only_a_lasting_refusal_is_about_the_password(denied: Denied, refused: Refused) -> None:
    assert await ByAuthHttp(Answering(denied))(attempt(ANN)) == refused


async def test_a_server_in_trouble_is_not_a_no() -> None:
    assert await ByAuthHttp(Answering(Unavailable("status 503")))(attempt(ANN)) == NotNow("auth_http: status 503")


@pytest.mark.parametrize(("wait", "left", "seconds"), [(0, 60, 0), (7, 60, 7), (60, 20, 20)])
async def test_how_long_a_guesser_waits(autojump_clock: MockClock, wait: int, left: float, seconds: float) -> None:
    began = trio.current_time()
    tried = replace(attempt(ANN), deadline=began + left)
    assert isinstance(await ByAuthHttp(Answering(Denied("", "", wait)))(tried), Refused)
    assert trio.current_time() - began == pytest.approx(seconds)


async def test_no_answer_is_waited_for_beyond_the_clients_time(autojump_clock: MockClock) -> None:
    """Each client that is gone by then would hold its places all the same."""
    began = trio.current_time()
    tried = replace(attempt(ANN), deadline=began + 4)
    found = await ByAuthHttp(Answering(Allowed(None, None, None), 15))(tried)
    assert isinstance(found, NotNow)
    assert trio.current_time() - began == pytest.approx(4)
