"""Who is asked by gateways, over HTTP on loopback: an issuer of tokens, and a server of nginx's auth_http protocol."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from bench.mail.store import HOST

ISSUER, AUDIENCE, USER = "https://id.example.org/", "mail", "ann@example.org"
_KEYS = {
    "ES256": ECKey.generate_key("P-256", {"kid": "ES256"}),
    "RS256": RSAKey.generate_key(2048, {"kid": "RS256"}),
}


def token(algorithm: str) -> str:
    """A JWT that is good for an hour."""
    return jwt.encode({"alg": algorithm, "kid": algorithm, "typ": "at+jwt"}, _claims(), _KEYS[algorithm])


def _claims() -> dict[str, object]:
    now = int(time.time())
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "email": USER, "iat": now, "exp": now + 3600, "scope": "mail"}


@dataclass(slots=True)
class Asked:
    """``questions``: how many there were, but for those for keys."""

    port: int
    questions: int = 0


@contextmanager
def asked() -> Iterator[Asked]:
    """Knows every opaque token, and every password; at any port."""
    keys = json.dumps(KeySet(list(_KEYS.values())).as_dict(private=False)).encode()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/keys":
                self._answer(keys)
            else:
                told.questions += 1
                self._answer(b"", "Auth-Status: OK")

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            told.questions += 1
            self._answer(json.dumps(_claims() | {"active": form["token"][0].startswith("opaque")}).encode())

        def _answer(self, body: bytes, *headers: str) -> None:
            head = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
            self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Answers) as server:
        server.daemon_threads = True
        told = Asked(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
