"""What the sources need that ask a server: "auth-http" and "oauth". Read and checked before it is served."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tlsgate.auth.oauth.client import Client, SecretFault, read_client
from tlsgate.config import Auth, AuthSource
from tlsgate.http.connect import client_context
from tlsgate.http.message import Headers
from tlsgate.secret_file import CLOSE_IT, UnusableSecret, read_secret_file

_LARGEST = 4096
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*([!-~](?:[ -~]{0,1000}[!-~])?)")


@dataclass(frozen=True, slots=True)
class Asking:
    """``context``: for https. ``headers``: that the auth_http server wants beside nginx's, such as a key of ours.

    ``client``: who we are to the issuer whom we ask about tokens. ``remarks``: what to tell of the files, by name.
    """

    context: ssl.SSLContext | None
    headers: Headers = field(default=(), repr=False)
    client: Client | None = None
    remarks: tuple[tuple[str, str], ...] = ()

    def __reduce__(self) -> tuple[type[Asking], tuple[None, Headers, None, tuple[tuple[str, str], ...]]]:
        """For a process that only admits connections: without what lets us in elsewhere."""
        return Asking, (None, (), None, self.remarks)


def load_asking(auth: Auth, faults: list[str]) -> Asking:
    """Reads files: not for the trio loop. What is wrong is appended to ``faults``."""
    remarks: list[tuple[str, str]] = []
    headers: Headers = ()
    client = None
    if AuthSource.AUTH_HTTP in auth.source and auth.auth_http_header_file is not None:
        headers = _headers(auth.auth_http_header_file, faults, remarks)
    oauth = auth.oauth
    if AuthSource.OAUTH in auth.source:
        if oauth.jwks_url is not None and find_spec("joserfc") is None:
            faults.append("auth.oauth.jwks_url: needs the extra tlsgate[oauth], which isn't installed")
        if oauth.introspection_url is not None and oauth.client_secret_file is not None:
            client = _client(oauth.client_id, oauth.client_secret_file, faults, remarks)
    return Asking(_context(auth, faults), headers, client, tuple(remarks))


def _context(auth: Auth, faults: list[str]) -> ssl.SSLContext | None:
    urls = (auth.auth_http, auth.oauth.jwks_url, auth.oauth.introspection_url)
    if not any(each is not None and each.startswith("https:") for each in urls):
        return None
    try:
        return client_context()
    except OSError as error:
        faults.append(f"auth: the system's CA certificates can't be read: {error.strerror or error}")
        return None


def _headers(path: Path, faults: list[str], remarks: list[tuple[str, str]]) -> Headers:
    """The lines of the file, "Name: value" each."""
    key = "auth.auth_http_header_file"
    try:
        file = read_secret_file(path, _LARGEST)
    except UnusableSecret as fault:
        faults.append(f"{key}: {path}: {fault}; name a readable file")
        return ()
    found: list[tuple[str, bytes]] = []
    for number, line in enumerate(file.data.splitlines(), start=1):
        if not line.strip():
            continue
        if (header := _HEADER.fullmatch(line.strip())) is None:
            faults.append(f'{key}: {path}:{number}: is no header; write "Name: value"')
            continue
        found.append((header[1].decode(), header[2]))
    if file.open_to_all:
        remarks.append((str(path), f"everybody on this host can read it; {CLOSE_IT}"))
    return tuple(found)


def _client(name: str, path: Path, faults: list[str], remarks: list[tuple[str, str]]) -> Client | None:
    try:
        client = read_client(name, path)
    except SecretFault as fault:
        faults.append(f"auth.oauth.client_secret_file: {path}: {fault}; name a readable file with the secret")
        return None
    if client.open_to_all:
        remarks.append((str(path), f"everybody on this host can read the secret; {CLOSE_IT}"))
    return client
