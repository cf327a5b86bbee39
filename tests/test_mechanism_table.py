"""Every cell of the documentation's tables of mechanisms, for each protocol, through a gate that goes by a config.

``gate`` checks for each of them, when it ends, that every count is back at nothing and that no secret was told.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme

from tests.auth_configs import ALONE, ANN, AUTH_HTTP, BOB, LISTS, WAYS, Setup, config_text, loaded, natural, write_files
from tests.gate import HOSTNAME, authority
from tests.judged import AuthServer, judged
from tests.legacy_server import SECRET
from tests.login_backend import Login
from tests.mechanism_cells import able, each_cell, each_login, each_mechanism, right, verdict
from tests.mechanism_logins import GRANTED, IN_CLEAR, NOT_OFFERED, REFUSED, begins, client_of, logs_in, offered
from tests.mechanism_table import (
    BY_LOGIN,
    BY_SOURCE,
    COMMAND,
    LOGINS,
    MECHANISMS,
    UNJUDGED,
    Cell,
    Shown,
    documented,
    read_cell,
)
from tests.sasl_client import Sasl
from tests.test_session import PROTOCOLS
from tlsgate.config import AuthSource, ConfigError, Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

OTHER = "cay@example.org"


# -- the tables ------------------------------------------------------------------------------------------


def test_the_table_of_sources_is_the_documented_one() -> None:
    """Else what follows proves a table that nobody reads."""
    found = documented("source", "EXTERNAL")
    read = {label.strip("`"): tuple(map(read_cell, row.values())) for label, row in found.items()}
    assert read == {str(source): cells for source, cells in BY_SOURCE.items()}
    columns = tuple(found["`backend`"])
    for shown, text in zip(Shown, columns, strict=True):
        for mechanism in set(shown.value) - {COMMAND, "SCRAM-SHA-256-PLUS"}:
            assert mechanism in text
    assert "-PLUS" in columns[1] and "`LOGIN`" in columns[0] and "`USER`" in columns[0]


def test_the_table_of_logins_is_the_documented_one() -> None:
    found = documented("what was shown", "stored")
    for row in found.values():
        assert [next(each for each in LOGINS if f'"{each}"' in text) for text in row] == list(LOGINS)
    read = {label: tuple(map(read_cell, row.values())) for label, row in found.items()}
    assert read.pop("SCRAM's proof, a token") == BY_LOGIN[Shown.PROOF] == BY_LOGIN[Shown.TOKEN]
    assert read.pop(UNJUDGED) == BY_LOGIN[UNJUDGED]
    assert read.pop("a password that a source has found right") == BY_LOGIN[Shown.PASSWORD]
    assert read.pop("a certificate") == BY_LOGIN[Shown.CERTIFICATE]
    assert not read


# -- source, mechanism, protocol -------------------------------------------------------------------------


@each_cell(Cell.YES, Cell.HASH, Cell.CLIENT_CA)
async def test_yes(setup: Setup, mechanism: str, protocol: Protocol, tmp_path: Path) -> None:
    """It is offered, lets in who is right, and refuses who is wrong in the protocol's own form."""
    certificate = mechanism == "EXTERNAL"
    mechanisms = [*able(setup), *(["EXTERNAL"] if certificate else [])]
    async with judged(tmp_path, setup, protocol, natural(setup), mechanisms, client_ca=certificate) as it:
        # Whose certificate it is, somebody must know; where nobody is asked, she must not act as somebody else.
        unknown = certificate and set(setup.sources) & {AuthSource.USERS_FILE, AuthSource.AUTH_HTTP}
        guesser = await client_of(it.gate, mechanism, OTHER if unknown else ANN)
        said = await logs_in(guesser, protocol, mechanism, ANN, "" if unknown else "wrong")
        assert said.startswith(REFUSED[protocol]), said
        assert it.backend.shown == [] or AuthSource.BACKEND in setup.sources
        ann = await client_of(it.gate, mechanism, ANN)
        assert mechanism in await offered(ann.client, protocol)
        # None but Ann's own hash, where it is a hash of SCRAM's kind.
        good = verdict(setup, mechanism) is not Cell.HASH or setup.hashed
        said = await logs_in(ann, protocol, mechanism, ANN, right(setup, mechanism))
        assert said.startswith((GRANTED[protocol],) if good else REFUSED[protocol]), said
        if good:
            assert it.backend.shown[-1] == WAYS[natural(setup)].right
        if verdict(setup, mechanism) is Cell.HASH:
            bob = await client_of(it.gate, mechanism, "")
            assert (await logs_in(bob, protocol, mechanism, BOB, SECRET)).startswith(REFUSED[protocol])
            assert (await logs_in(bob, protocol, "PLAIN", BOB, SECRET)).startswith(GRANTED[protocol])


@each_cell(Cell.NO, Cell.CLIENT_CA)
async def test_no(setup: Setup, mechanism: str, protocol: Protocol, tmp_path: Path) -> None:
    """To ask for it is a fault of the config; it isn't offered; and who tries it all the same hears that at once.

    EXTERNAL isn't there without ``tls.client_ca``, and with source "backend" not with it either.
    """
    client_ca = mechanism == "EXTERNAL" and verdict(setup, mechanism) is Cell.NO
    write_files(tmp_path, setup)
    asked = "PLAIN" if mechanism == COMMAND else mechanism
    names = [each for each in (*able(setup), asked) if each != COMMAND]
    text = config_text(setup, protocol, natural(setup), names, client_ca=client_ca)
    with pytest.raises(ConfigError, match=rf'{asked}"? (can be judged by nobody here|shows no password that these)'):
        loaded(tmp_path, text)
    async with judged(tmp_path, setup, protocol, natural(setup), able(setup), client_ca=client_ca) as it:
        ann = await client_of(it.gate, mechanism, ANN)
        assert await offered(ann.client, protocol) == {
            each for each in able(setup) if (each, protocol) != (COMMAND, Protocol.SUBMISSION)
        }
        said = await begins(ann, protocol, mechanism, ANN, right(setup, mechanism))
        assert said == NOT_OFFERED[protocol]
        assert it.server.talks == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("second", "lines"), [(AuthSource.BACKEND, ""), (AuthSource.AUTH_HTTP, AUTH_HTTP)], ids=("backend", "auth-http")
)
async def test_in_a_list_the_first_source_that_knows_the_user_decides(
    second: AuthSource, lines: str, protocol: Protocol, tmp_path: Path
) -> None:
    """Ann isn't in the file. Bob is: what is wrong there must not be asked of the next one, as if it were another's."""
    setup = Setup("list", (AuthSource.USERS_FILE, second), f'users_file = "others"\n{lines}')
    auth_server = AuthServer()
    async with judged(tmp_path, setup, protocol, "same", ["PLAIN"], auth_server=auth_server) as it:
        for user, secret, granted in ((BOB, "wrong", False), (ANN, "wrong", False), (ANN, SECRET, True)):
            client = await client_of(it.gate, "PLAIN", "")
            said = await logs_in(client, protocol, "PLAIN", user, secret)
            assert said.startswith((GRANTED[protocol],) if granted else REFUSED[protocol]), said
        wrong = [Login(ANN, "wrong")] if second is AuthSource.BACKEND else []
        assert it.backend.shown == [*wrong, Login(ANN, SECRET)]
        assert auth_server.users == ([] if second is AuthSource.BACKEND else [ANN, ANN])


# -- and login of the pool -------------------------------------------------------------------------------


@each_login(works=True)
async def test_login(setup: Setup, mechanism: str, protocol: Protocol, way: str, tmp_path: Path) -> None:
    """The backend is shown what opens it, and nothing else: above all not what the client has shown us."""
    client_ca = mechanism == "EXTERNAL"
    async with judged(tmp_path, setup, protocol, way, [mechanism], client_ca=client_ca) as it:
        ann = await client_of(it.gate, mechanism, ANN)
        said = await logs_in(ann, protocol, mechanism, ANN, right(setup, mechanism))
        assert said.startswith(GRANTED[protocol]), said
        opens = WAYS[way].right
        assert it.backend.shown == ([] if opens is None else [opens])
        assert [each["LOGIN"] for each in it.backend.told] == ([ANN] if way == "none-xclient" else [])
        (heard,) = [bytes(each.heard) for each in it.server.talks]
        assert way == "same" or setup.secret.encode() not in heard
        told = [values[:2] for session in it.gate.trace.sessions for values in session.of("logged_in")]
        assert [user for _, user in told] == [ANN]


@each_login(works=False)
def test_no_login(setup: Setup, mechanism: str, protocol: Protocol, way: str, tmp_path: Path) -> None:
    """Such a pool is a fault of the config, which says so by its name: no session finds out first."""
    write_files(tmp_path, setup)
    names = ["PLAIN" if mechanism == COMMAND else mechanism]
    text = config_text(setup, protocol, way, names, client_ca=mechanism == "EXTERNAL")
    with pytest.raises(ConfigError, match=r'pools\.pool\.login.*is "(same|master|stored|none)"'):
        loaded(tmp_path, text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_certificate_opens_no_backend_of_login_same_without_a_password_from_auth_http(
    protocol: Protocol, tmp_path: Path
) -> None:
    """There is nothing to show there. Its owner isn't to blame, and hears so."""
    setup = next(each for each in ALONE if each.name == "auth-http")
    none = AuthServer(gives="")
    async with judged(tmp_path, setup, protocol, "same", ["EXTERNAL"], client_ca=True, auth_server=none) as it:
        ann = await client_of(it.gate, "EXTERNAL", ANN)
        assert (await ann.begin("EXTERNAL", b"")).startswith(ann.client.speech.unavailable)
        assert it.backend.shown == []


class _Issued:
    """Certificates for Ann that are good for nothing here."""

    @staticmethod
    def expired() -> trustme.LeafCert:
        before = datetime.now(UTC) - timedelta(days=1)
        return authority().issue_cert(ANN, not_before=before - timedelta(days=9), not_after=before)

    @staticmethod
    def foreign() -> trustme.LeafCert:
        return trustme.CA().issue_cert(ANN)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("issue", [_Issued.expired, _Issued.foreign], ids=lambda issue: issue.__name__)
async def test_a_certificate_ends_the_handshake_that_is(
    issue: Callable[[], trustme.LeafCert], protocol: Protocol, tmp_path: Path
) -> None:
    """Also with no other source than the CA's word, and before a login is offered."""
    setup = next(each for each in ALONE if each.name == "oauth-jwt")
    context = ssl.create_default_context()
    authority().configure_trust(context)
    issue().configure_cert(context)
    async with judged(tmp_path, setup, protocol, "stored", ["EXTERNAL"], client_ca=True) as it:
        client = await it.gate.connect()
        client._stream = trio.SSLStream(client._stream, context, server_hostname=HOSTNAME, https_compatible=True)
        assert await client.ended()
        await it.gate.quiet()
        (session,) = it.gate.trace.sessions
        assert [name for name, _ in session.calls] == ["handshake_failed", "ended"]


# -- before TLS ------------------------------------------------------------------------------------------


@each_mechanism()
async def test_in_clear(mechanism: str, protocol: Protocol, tmp_path: Path) -> None:
    """Before TLS nothing is offered, and each mechanism is refused without a challenge; behind it, it is there."""
    setup = next(each for each in LISTS if each.name == "users-file+oauth")
    async with judged(tmp_path, setup, protocol, "stored", MECHANISMS, tls=TlsMode.STARTTLS, client_ca=True) as it:
        ann = Sasl(await it.gate.connect(), protocol)
        assert HOSTNAME.encode() in await ann.client.line()
        assert await offered(ann.client, protocol) == set()
        said = await begins(ann, protocol, mechanism, ANN, right(setup, mechanism))
        assert said == IN_CLEAR[protocol]
        assert it.server.talks == []
        behind = await it.gate.secure(owner=ANN)
        assert mechanism in await offered(behind, protocol)
