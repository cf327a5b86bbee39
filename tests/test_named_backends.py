"""What an authentication server says of the backend: which one, and as whom the user is known there."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio

from tests.auth.test_auth_http import answer
from tests.gate import BackendRecords, gate, pool_of
from tests.http.server import serving as http_serving
from tests.legacy_server import SECRET, USER, Smtp
from tests.sasl_client import sasl
from tests.sources import by_auth_http, http_client, secrets_of, stored_pool
from tests.test_routing_of_sessions import (
    GRANTED,
    MASTER,
    MASTER_SECRET,
    _login,
    _master_script,
    each_protocol,
    heard,
    serving,
)
from tlsgate import config
from tlsgate.backends.pool import Pool
from tlsgate.config import BackendTls, ClientAddress, HostPort, LoginMode, Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

AS_OLD = answer("Auth-Status: OK", "Auth-User: ann.old")


@each_protocol
async def test_a_master_acts_as_whom_the_server_names(nursery: trio.Nursery, protocol: Protocol) -> None:
    """It would open the mailbox of the alias, or of whoever has that name at the backend. The log knows the client."""
    backend = await serving(nursery, _master_script(protocol, GRANTED[protocol]))
    pool = pool_of(backend.address, login=LoginMode.MASTER)
    async with (
        http_serving([AS_OLD]) as server,
        http_client() as client,
        gate(protocol, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server), masters={"pool": MASTER}) as running,
    ):
        ann = await sasl(running)
        assert (await ann.plain(USER, SECRET)).startswith(ann.client.speech.granted)
        ann.client.close()
        await running.quiet()
        assert _login(heard(backend)) == ("ann.old*root", MASTER_SECRET)
        assert running.trace.sessions[0].of("logged_in")[0][1] == USER


@each_protocol
async def test_a_stored_secret_is_shown_with_the_name_that_the_server_gives(
    nursery: trio.Nursery, tmp_path: Path, protocol: Protocol
) -> None:
    """Whose secret it is says the name here; a name that is stored with it comes before the server's."""
    for line, name in ((f"{USER}::theirs", "ann.old"), (f"{USER}:ann.stored:theirs", "ann.stored")):
        backend = await serving(nursery, _master_script(protocol, GRANTED[protocol]))
        async with (
            http_serving([AS_OLD]) as server,
            http_client() as client,
            gate(
                protocol,
                TlsMode.IMPLICIT,
                stored_pool(backend.address),
                judge=by_auth_http(client, server),
                stored=secrets_of(tmp_path, line),
            ) as running,
        ):
            ann = await sasl(running)
            assert (await ann.plain(USER, SECRET)).startswith(ann.client.speech.granted)
            assert _login(heard(backend)) == (name, "theirs")


async def test_without_a_login_the_backend_is_told_that_name(nursery: trio.Nursery) -> None:
    """XCLIENT's LOGIN is all that such a backend knows of the user."""
    backend = await serving(nursery, Smtp({b"XCLIENT": b"220 legacy\r\n"}, keywords=(b"XCLIENT ADDR LOGIN",)))
    pool = pool_of(backend.address, login=LoginMode.NONE, client_address=ClientAddress.XCLIENT)
    async with (
        http_serving([AS_OLD]) as server,
        http_client() as client,
        gate(Protocol.SUBMISSION, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server)) as running,
    ):
        ann = await sasl(running)
        assert (await ann.plain(USER, SECRET)).startswith(ann.client.speech.granted)
        assert b"XCLIENT ADDR=127.0.0.1 LOGIN=ann.old\r\n" in heard(backend)


async def test_the_servers_name_is_no_way_around_the_masters_separator(nursery: trio.Nursery) -> None:
    """cases.md B6: "old*ann" is old to a backend."""
    backend = await serving(nursery, _master_script(Protocol.IMAP, GRANTED[Protocol.IMAP]))
    pool = pool_of(backend.address, login=LoginMode.MASTER)
    async with (
        http_serving([answer("Auth-Status: OK", "Auth-User: old*ann")]) as server,
        http_client() as client,
        gate(
            Protocol.IMAP, TlsMode.IMPLICIT, pool, judge=by_auth_http(client, server), masters={"pool": MASTER}
        ) as running,
    ):
        ann = await sasl(running)
        assert not (await ann.plain(USER, SECRET)).startswith(ann.client.speech.granted)
        assert not backend.talks


def test_a_reload_reaches_backends_that_a_server_has_named() -> None:
    """They aren't in the config: a CA or client certificate that was taken out of it would be good there for ever."""
    settings = config.Pool(backends=(config.Backend(address=HostPort("192.0.2.1", 993), tls=BackendTls.IMPLICIT),))
    old, new = ssl.create_default_context(), ssl.create_default_context()
    pool = Pool("pool", settings, lambda *_: BackendRecords(), connections=5, contexts=(old,))
    (before,) = pool.at(HostPort("192.0.2.7", 993))
    assert before.tls_context is old
    pool.serve((new,), 5)
    (after,) = pool.at(HostPort("192.0.2.7", 993))
    # The same one: its open connections are counted.
    assert after is before
    assert after.tls_context is new
