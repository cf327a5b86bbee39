"""What https trusts: the CA file it is given, for the name it asks for, and nothing older than TLS 1.2."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio

from tests.gate import authority
from tests.http.server import OK, serving
from tlsgate.http.client import Client
from tlsgate.http.connect import client_context
from tlsgate.http.message import Unreachable


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(path)
    return path


async def ask(context: ssl.SSLContext, url: str) -> int:
    client = Client(context)
    try:
        answer = await client.request("GET", url, (), b"", largest=10, deadline=trio.current_time() + 10)
    finally:
        client.close()
    return answer.status


async def test_the_ca_file_and_the_name(ca: Path) -> None:
    async with serving([OK], name="localhost") as server:
        assert await ask(client_context(ca), server.url(host="localhost")) == 200
        with pytest.raises(Unreachable, match="certificate refused: IP address mismatch"):
            await ask(client_context(ca), server.url(host="127.0.0.1"))
        with pytest.raises(Unreachable, match="certificate refused"):
            await ask(client_context(), server.url(host="localhost"))  # the system's CAs don't know it
        assert len(server.requests) == 1


async def test_the_systems_cas(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    async with serving([OK], name="localhost") as server:
        assert await ask(client_context(), server.url(host="localhost")) == 200


def test_nothing_older_than_tls_1_2(ca: Path) -> None:
    assert client_context(ca).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_file_that_is_no_ca(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        client_context(tmp_path / "none.pem")
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        client_context(empty)


async def test_a_name_that_is_none() -> None:
    with pytest.raises(Unreachable, match=r"^http://nobody\.invalid:80: "):
        await ask(client_context(), "http://nobody.invalid/")
