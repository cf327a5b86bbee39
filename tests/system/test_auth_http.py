"""auth_http: a real nginx and our source ask the same server, and get the same from its answers."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio
import trustme
from cryptography import x509

from tests.system.certificates import Certificate
from tests.system.nginx import Nginx, nginx
from tests.system.peers import HOST
from tlsgate.auth.attempt import Proxied, Secured
from tlsgate.auth.auth_http import AuthHttp
from tlsgate.auth.auth_http_answer import Allowed, Denied, Unavailable
from tlsgate.auth.auth_http_request import Envelope, External, Question
from tlsgate.auth.certificate_facts import certificate_facts
from tlsgate.config import HostPort, Protocol, Url
from tlsgate.dialogue.client import Endpoint
from tlsgate.dialogue.credentials import Credentials
from tlsgate.http.client import Client

REFUSAL = {"Auth-Status": "Invalid login", "Auth-Wait": "1"}
LOCAL = IPv4Address(HOST)
ANN = Question(Protocol.SUBMISSION, Credentials("ann", b"secret"), LOCAL)
AUTH_PLAIN = b"AUTH PLAIN " + base64.b64encode(b"\0ann\0secret")


@dataclass
class Recorder:
    """An authentication server: what it says, and the line and headers of each request."""

    port: int
    says: list[dict[str, str]] = field(default_factory=lambda: [REFUSAL])
    asked: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)

    def take(self) -> tuple[str, list[tuple[str, str]]]:
        """The one request since the last look."""
        (one,) = self.asked
        self.asked.clear()
        return one

    @contextmanager
    def saying(self, *says: dict[str, str]) -> Iterator[None]:
        """Another answer, or several, one after another and then the last."""
        self.says = [*says]
        try:
            yield
        finally:
            self.says = [REFUSAL]
            self.asked.clear()


@contextmanager
def recorder(port: int = 0) -> Iterator[Recorder]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            record.asked.append((self.requestline, self.headers.items()))
            says = record.says.pop(0) if len(record.says) > 1 else record.says[0]
            self.send_response(200)
            for name, value in {**says, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, port), Handler) as server:
        record = Recorder(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield record
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Both:
    """nginx, the server it asks, and the CA of clients' certificates."""

    nginx: Nginx
    record: Recorder
    ca: trustme.CA

    def ask(self, question: Question) -> Allowed | Denied | Unavailable:
        """By our source."""

        async def asking() -> Allowed | Denied | Unavailable:
            client = Client()
            try:
                return await AuthHttp(client, Url(f"http://{HOST}:{self.record.port}/auth?a=b")).ask(question)
            finally:
                client.close()

        return trio.run(asking)

    def same(self, question: Question) -> None:
        """That nginx has just asked as we do."""
        line, headers = self.record.take()
        assert self.ask(question) == Denied("Invalid login", "", 1)
        our_line, our_headers = self.record.take()
        assert headers.pop(0) == ("Host", HOST)
        assert our_headers.pop(0) == ("Host", f"{HOST}:{self.record.port}")
        assert our_headers == headers
        assert (line, our_line) == ("GET /auth?a=b HTTP/1.0", "GET /auth?a=b HTTP/1.1")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    directory: Path = tmp_path_factory.mktemp("auth-http")
    ca = trustme.CA()
    issued = ca.issue_cert(HOST)
    certificate = Certificate(directory / "ca.pem", directory / "chain.pem", directory / "key.pem")
    ca.cert_pem.write_to_path(certificate.ca)
    issued.cert_chain_pems[0].write_to_path(certificate.chain)
    issued.private_key_pem.write_to_path(certificate.key)
    with recorder() as record, nginx(directory / "nginx", certificate, f"{HOST}:{record.port}/auth?a=b") as running:
        yield Both(running, record, ca)


class Mail:
    """A client: a line out, a line back. ``certificate``: what it shows."""

    def __init__(self, both: Both, port: int, *, proxied: bytes = b"", certificate: trustme.LeafCert | None = None):
        self._socket = socket.create_connection((HOST, port), timeout=10)
        self.tls: Secured | None = None
        if port != both.nginx.smtp_without_login:
            self._socket.sendall(proxied)
            context = ssl.create_default_context()
            both.ca.configure_trust(context)
            if certificate is not None:
                certificate.configure_cert(context)
            wrapped = context.wrap_socket(self._socket, server_hostname=HOST)
            cipher = wrapped.cipher()
            self.tls = Secured(str(wrapped.version()), cipher[0] if cipher else "")
            self._socket = wrapped
        self._file = self._socket.makefile("rb")
        self.greeting = self._file.readline()

    def says(self, line: bytes) -> bytes:
        """The server's one line."""
        self._socket.sendall(line + b"\r\n")
        return self._file.readline()

    def __enter__(self) -> Mail:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()


def asks(tls: Secured | None, certificate: trustme.LeafCert | None = None) -> Secured:
    """The TLS of a listener that asks for certificates."""
    assert tls is not None
    shown = certificate and x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
    return Secured(tls.version, tls.cipher, asks=True, certificate=certificate_facts(shown) if shown else None)


def test_imap_and_the_octets_that_are_escaped(both: Both) -> None:
    with Mail(both, both.nginx.imaps) as client:
        for attempt in (1, 2):
            assert client.says(b'a LOGIN "us er%\xc3\xa9" "p%20 a:\x7f\t+\xff"') == b"a NO Invalid login\r\n"
            who = Credentials("us er%é", b"p%20 a:\x7f\t+\xff")
            both.same(Question(Protocol.IMAP, who, LOCAL, attempt=attempt, tls=asks(client.tls)))


def test_imap_with_a_certificate(both: Both) -> None:
    certificate = both.ca.issue_cert("ann@example.org", common_name="José, Ann")
    with Mail(both, both.nginx.imaps, certificate=certificate) as client:
        client.says(b"a LOGIN ann secret")
        tls = asks(client.tls, certificate)
        both.same(Question(Protocol.IMAP, Credentials("ann", b"secret"), LOCAL, tls=tls))
    # A new connection: nginx would send the password of the login before as this one's.
    with Mail(both, both.nginx.imaps, certificate=certificate) as client:
        client.says(b"a AUTHENTICATE EXTERNAL " + base64.b64encode(b"an n"))
        both.same(Question(Protocol.IMAP, External("an n"), LOCAL, tls=tls))


def test_pop3_behind_a_load_balancer(both: Both) -> None:
    header = b"PROXY TCP4 192.0.2.7 198.51.100.3 4711 995\r\n"
    with Mail(both, both.nginx.pop3s, proxied=header) as client:
        client.says(b"USER ann")
        assert client.says(b"PASS two words") == b"-ERR Invalid login\r\n"
        proxied = Proxied(Endpoint(IPv4Address("192.0.2.7"), 4711), Endpoint(IPv4Address("198.51.100.3"), 995))
        who = Credentials("ann", b"two words")
        both.same(Question(Protocol.POP3, who, LOCAL, proxied=proxied, tls=client.tls))


def test_submission(both: Both) -> None:
    with Mail(both, both.nginx.smtps) as client:
        client.says(b"HELO me.example")
        assert client.says(AUTH_PLAIN) == b"535 5.7.0 Invalid login\r\n"
        both.same(Question(Protocol.SUBMISSION, Credentials("ann", b"secret"), LOCAL, tls=client.tls))


def test_mail_without_a_login(both: Both) -> None:
    with Mail(both, both.nginx.smtp_without_login) as client:
        client.says(b"HELO me.example")
        client.says(b"MAIL FROM:<ann@example.org> SIZE=5 ")
        client.says(b"RCPT TO:<bob@example.net>")
        envelope = Envelope("me.example", "MAIL FROM:<ann@example.org> SIZE=5 ", "RCPT TO:<bob@example.net>")
        both.same(Question(Protocol.MX, envelope, LOCAL))


def test_where_and_as_whom_a_user_is_let_in(both: Both) -> None:
    """nginx goes to the server, and logs in as the user, that we read in the answer."""
    with socket.create_server((HOST, 0)) as backend:
        backend.settimeout(10)
        port = backend.getsockname()[1]
        login = {"Auth-User": "bob", "Auth-Pass": "other%20 x"}
        with both.record.saying({"Auth-Status": "OK", "Auth-Server": HOST, "Auth-Port": str(port), **login}):
            told = _log_in_by_nginx(both, backend)
            found = both.ask(Question(Protocol.POP3, Credentials("ann", b"secret"), LOCAL))
    assert told == [b"USER bob\r\n", b"PASS other%20 x\r\n"]
    assert found == Allowed(HostPort(HOST, port), "bob", b"other%20 x")


def _log_in_by_nginx(both: Both, backend: socket.socket) -> list[bytes]:
    """What nginx says at a POP3 server's."""
    told: list[bytes] = []

    def serve() -> None:
        connection, _ = backend.accept()
        with connection, connection.makefile("rb") as lines:
            connection.settimeout(10)
            connection.sendall(b"+OK\r\n")
            for _ in range(2):
                told.append(lines.readline())
                connection.sendall(b"+OK\r\n")

    serving = threading.Thread(target=serve)
    serving.start()
    with Mail(both, both.nginx.pop3s, proxied=b"PROXY TCP4 192.0.2.7 192.0.2.8 1 995\r\n") as client:
        client.says(b"USER ann")
        assert client.says(b"PASS secret") == b"+OK\r\n"
        serving.join()
    return told


def test_the_code_of_a_refusal(both: Both) -> None:
    with both.record.saying({"Auth-Status": "Later", "Auth-Error-Code": "451 4.3.0"}):
        with Mail(both, both.nginx.smtps) as client:
            client.says(b"HELO me.example")
            assert client.says(AUTH_PLAIN) == b"451 4.3.0 Later\r\n"
            assert client.says(b"NOOP") == b""  # without Auth-Wait that was the end
        assert both.ask(ANN) == Denied("Later", "451 4.3.0", 0)


def test_a_server_that_says_wait_is_asked_again(both: Both) -> None:
    wait = {"Auth-Status": "WAIT", "Auth-Wait": "1"}
    with both.record.saying(wait, REFUSAL), Mail(both, both.nginx.smtps) as client:
        client.says(b"HELO me.example")
        assert client.says(AUTH_PLAIN) == b"535 5.7.0 Invalid login\r\n"
        first, second = both.record.asked
        assert first == second
    with both.record.saying(wait, REFUSAL):
        assert both.ask(ANN) == Denied("Invalid login", "", 1)
        assert len(both.record.asked) == 2
