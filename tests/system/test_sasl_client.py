"""Real clients against our exchanges over real TLS: GNU SASL for SCRAM that binds and EXTERNAL, curl for tokens."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trustme
from OpenSSL import SSL

from tests.system.peers import HOST, program
from tlsgate.auth.certificate_user import certificate_user
from tlsgate.dialogue.access_token import BearerToken, TokenAdvice, TokenError
from tlsgate.dialogue.bearer import OAuthBearer, XOAuth2
from tlsgate.dialogue.challenge import Challenge, decode, encode
from tlsgate.dialogue.external import External
from tlsgate.dialogue.proofs import Proven, Rejected, SecretWanted
from tlsgate.dialogue.scram import Scram
from tlsgate.dialogue.scram_secret import ScramSecret, read_secret
from tlsgate.tls.stream import PlainStream, Stream, StreamLost, TlsStream

PASSWORD = "pencil,=§"
TOKEN = "good.token"
CURL_LOGIN_DENIED = 67
ALICE = "alice@example.org"
TLS12 = ("--priority", "NORMAL:-VERS-TLS1.3")

MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL")
TOKEN_MECHANISMS: dict[str, type[OAuthBearer | XOAuth2]] = {"OAUTHBEARER": OAuthBearer, "XOAUTH2": XOAuth2}


@dataclass(frozen=True)
class Pki:
    """``ca``, ``client``: files for the client. ``context``: the server's."""

    ca: Path
    client: Path
    context: SSL.Context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    directory = tmp_path_factory.mktemp("sasl")
    authority = trustme.CA()
    paths = directory / "ca.pem", directory / "server.pem", directory / "client.pem"
    authority.cert_pem.write_to_path(paths[0])
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(paths[1])
    authority.issue_cert(ALICE).private_key_and_cert_chain_pem.write_to_path(paths[2])
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(paths[1]))
    context.use_privatekey_file(str(paths[1]))
    context.load_verify_locations(str(paths[0]))
    context.set_verify(SSL.VERIFY_PEER, lambda *arguments: bool(arguments[-1]))
    context.set_session_id(b"test")
    return Pki(paths[0], paths[2], context)


@pytest.fixture(scope="module")
def secret() -> ScramSecret:
    """What gsasl makes of the password itself."""
    made = subprocess.run(
        [program("gsasl"), "--mkpasswd", "-m", "SCRAM-SHA-256", "-p", PASSWORD, "--iteration-count", "4096"],
        capture_output=True,
        text=True,
        check=True,
    )
    return read_secret(made.stdout.strip())


class Server:
    """IMAP as far as the clients need it, for one connection. ``outcome``: what the exchange came to.

    ``offered``: curl takes OAUTHBEARER before XOAUTH2, whatever it is told. ``mechanism``: what it has taken.
    ``dummy``: what the client has answered to being told why it failed.
    """

    def __init__(
        self,
        pki: Pki,
        secret: ScramSecret | None = None,
        *,
        another_channel: bool = False,
        offered: tuple[str, ...] = MECHANISMS,
    ) -> None:
        self._pki = pki
        self._offered = offered
        self._secret = secret
        self._another_channel = another_channel
        self._received = b""
        self.outcome: Proven | Rejected | BearerToken | None = None
        self.dummy: bytes | None = None
        self.mechanism = ""

    async def serve(self, connected: socket.socket) -> None:
        stream: Stream = PlainStream(connected)
        await stream.send(b"* OK ready\r\n")
        try:
            while True:
                tag, command, *arguments = (await self._line(stream)).split()
                match command.upper():
                    case b"STARTTLS":
                        await stream.send(tag + b" OK\r\n")
                        stream = TlsStream(connected, self._pki.context)
                        await stream.handshake()
                    case b"CAPABILITY":
                        names = b"" if isinstance(stream, TlsStream) else b" STARTTLS"
                        names += "".join(f" AUTH={each}" for each in self._offered).encode()
                        await stream.send(b"* CAPABILITY IMAP4rev1" + names + b"\r\n" + tag + b" OK\r\n")
                    case b"AUTHENTICATE":
                        assert isinstance(stream, TlsStream)
                        await self._authenticate(stream, arguments[0].decode())
                        await stream.send(tag + (b" OK\r\n" if self.dummy is None else b" NO\r\n"))
                    case b"LOGOUT":
                        await stream.send(b"* BYE\r\n" + tag + b" OK\r\n")
                    case _:
                        await stream.send(tag + b" OK\r\n")
        except (EOFError, StreamLost):
            stream.close()

    async def _authenticate(self, stream: TlsStream, mechanism: str) -> None:
        self.mechanism = mechanism
        exchange = self._exchange(stream.connection, mechanism)
        step = exchange.start(None)
        while True:
            match step:
                case SecretWanted():
                    assert isinstance(exchange, Scram)
                    assert self._secret is not None
                    step = exchange.give(self._secret)
                case Challenge(data):
                    await stream.send(b"+ " + encode(data) + b"\r\n")
                    step = exchange.respond(decode(await self._line(stream)))
                case Rejected(challenge):
                    self.outcome = step
                    return await self._tell(stream, challenge)
                case BearerToken(token) if token != TOKEN:
                    assert isinstance(exchange, OAuthBearer | XOAuth2)
                    return await self._tell(stream, exchange.refused(TokenError.INVALID_TOKEN))
                case BearerToken() | Proven():
                    self.outcome = step
                    return None

    async def _tell(self, stream: Stream, why: Challenge) -> None:
        await stream.send(b"+ " + encode(why.data) + b"\r\n")
        self.dummy = await self._line(stream)

    def _exchange(self, connection: SSL.Connection, mechanism: str) -> Scram | External | OAuthBearer | XOAuth2:
        if mechanism in TOKEN_MECHANISMS:
            return TOKEN_MECHANISMS[mechanism](TokenAdvice("mail"))
        if mechanism == "EXTERNAL":
            certificate = connection.get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            user = certificate_user(certificate)
            assert user is not None
            return External(user)
        exporter = connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        return Scram(plus=mechanism.endswith("-PLUS"), exporter=bytes(32) if self._another_channel else exporter)

    async def _line(self, stream: Stream) -> bytes:
        while b"\r\n" not in self._received:
            if not (data := await stream.receive()):
                raise EOFError
            self._received += data
        line, _, self._received = self._received.partition(b"\r\n")
        return line


async def run(server: Server, command: Callable[[int], list[str]]) -> int:
    """Serve one connection of a client; its exit status. ``command``: of a port."""
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)

        async def accept() -> None:
            await trio.lowlevel.wait_readable(listener)
            connected, _ = listener.accept()
            connected.setblocking(False)
            await server.serve(connected)

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept)
                done = await trio.run_process(
                    command(listener.getsockname()[1]), stdin=b"", capture_stdout=True, capture_stderr=True, check=False
                )
    return done.returncode


async def logged_in(server: Server, pki: Pki, mechanism: str, *options: str) -> bool:
    """Whether gsasl thinks so; with SCRAM it has checked our proof."""
    program_and_all = [
        program("gsasl"),
        "--imap",
        "--starttls",
        "--x509-ca-file",
        str(pki.ca),
        "-m",
        mechanism,
        *options,
    ]
    return await run(server, lambda port: [*program_and_all, "--connect", f"{HOST}:{port}"]) == 0


async def curl(server: Server, pki: Pki, token: str) -> int:
    command = [program("curl"), "--silent", "--max-time", "20", "--ssl-reqd", "--cacert", str(pki.ca)]
    command += ["--user", ALICE, "--oauth2-bearer", token]
    return await run(server, lambda port: [*command, f"imap://{HOST}:{port}/"])


async def test_it_binds_to_the_channel(pki: Pki, secret: ScramSecret) -> None:
    server = Server(pki, secret)
    assert await logged_in(server, pki, "SCRAM-SHA-256-PLUS", "-a", "us,er", "-p", PASSWORD)
    assert server.outcome == Proven("us,er")


async def test_it_does_not_bind_to_another_channel(pki: Pki, secret: ScramSecret) -> None:
    """A relay with a certificate that the client trusts has the right proof, of the wrong connection."""
    server = Server(pki, secret, another_channel=True)
    assert not await logged_in(server, pki, "SCRAM-SHA-256-PLUS", "-a", "user", "-p", PASSWORD)
    assert isinstance(server.outcome, Rejected)
    assert server.outcome.reason == "channel-bindings-dont-match"


async def test_it_binds_otherwise_below_tls_1_3(pki: Pki, secret: ScramSecret) -> None:
    """PLUS is of use on TLS 1.3 only: this client then takes tls-unique, which isn't served."""
    server = Server(pki, secret)
    assert not await logged_in(server, pki, "SCRAM-SHA-256-PLUS", "-a", "user", "-p", PASSWORD, *TLS12)
    assert isinstance(server.outcome, Rejected)
    assert server.outcome.reason == "unsupported-channel-binding-type"


async def test_without_binding(pki: Pki, secret: ScramSecret) -> None:
    server = Server(pki, secret)
    assert await logged_in(server, pki, "SCRAM-SHA-256", "--no-cb", "-a", "user", "-z", "boss", "-p", PASSWORD)
    assert server.outcome == Proven("user", "boss")


async def test_a_wrong_password(pki: Pki, secret: ScramSecret) -> None:
    server = Server(pki, secret)
    assert not await logged_in(server, pki, "SCRAM-SHA-256", "--no-cb", "-a", "user", "-p", "wrong")
    assert isinstance(server.outcome, Rejected)
    assert server.outcome.reason == "invalid-proof"


async def test_a_certificate_instead_of_a_password(pki: Pki) -> None:
    server = Server(pki)
    files = ("--x509-cert-file", str(pki.client), "--x509-key-file", str(pki.client))
    assert await logged_in(server, pki, "EXTERNAL", "-z", "", *files)
    assert server.outcome == Proven(ALICE)


@pytest.mark.parametrize("mechanism", TOKEN_MECHANISMS)
async def test_a_token_instead_of_a_password(pki: Pki, mechanism: str) -> None:
    server = Server(pki, offered=(mechanism,))
    assert await curl(server, pki, TOKEN) == 0
    assert (server.mechanism, server.outcome) == (mechanism, BearerToken(TOKEN, ALICE))


@pytest.mark.parametrize(("mechanism", "dummy"), [("OAUTHBEARER", encode(b"\x01")), ("XOAUTH2", None)])
async def test_a_client_understands_why_its_token_is_not_taken(pki: Pki, mechanism: str, dummy: bytes | None) -> None:
    """It must not be left waiting. curl answers as it should in the one mechanism, and hangs up in the other."""
    server = Server(pki, offered=(mechanism,))
    assert await curl(server, pki, "bad.token") == CURL_LOGIN_DENIED
    assert (server.mechanism, server.dummy) == (mechanism, dummy)
