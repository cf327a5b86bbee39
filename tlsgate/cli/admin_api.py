"""A running gateway's admin API, as commands ask it."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from tlsgate.config import Address, ConfigError, HostPort, UnixPath, load
from tlsgate.ops.token import Token, TokenFault, read_token

DONE, NOT_DONE, BAD_CONFIG = 0, 1, 2
_DEFAULT = HostPort("127.0.0.1", 9090)
_VARIABLE = "TLSGATE_TOKEN_FILE"
_TIMEOUT = 15.0
_LARGEST = 64 * 1024**2
STRANGE = "what answers there is no tlsgate, or another version of it"
_T = TypeVar("_T")


class NotDone(Exception):
    """The gateway isn't reached, or says no. The text says why."""


class _Refused(msgspec.Struct):
    error: str


class Answer(Struct, frozen=True):
    """``status``: 2xx, or one that was asked for."""

    status: int
    body: bytes

    def read(self, as_type: type[_T]) -> _T:
        """The body's JSON. Raises NotDone."""
        try:
            return msgspec.json.decode(self.body, type=as_type)
        except ValueError:
            raise NotDone(STRANGE) from None

    @property
    def error(self) -> str:
        """Why the gateway says no. Raises ValueError."""
        return msgspec.json.decode(self.body, type=_Refused).error


class AdminApi(Struct, frozen=True):
    """``token_file``: read when a token turns out to be needed."""

    address: Address
    token_file: Path | None

    def ask(
        self, method: str, path: str, body: bytes | None = None, expected: int = 200, within: float = _TIMEOUT
    ) -> Answer:
        """The answer to one request, whose status is 2xx or ``expected``. ``within``: seconds. Raises NotDone."""
        answer = self._send(method, path, body, None, within)
        if answer.status == 401 and self.token_file is not None:
            answer = self._send(method, path, body, self._token(self.token_file), within)
        if answer.status // 100 != 2 and answer.status != expected:
            raise NotDone(printable(self._refusal(answer)))
        return answer

    def read(self, path: str, as_type: type[_T]) -> _T:
        """What is at ``path``. Raises NotDone."""
        return self.ask("GET", path).read(as_type)

    def _refusal(self, answer: Answer) -> str:
        try:
            why = answer.error
        except ValueError:
            return f"{self.address} answers with status {answer.status}: is that tlsgate?"
        if answer.status == 401 and self.token_file is None:
            return f"{why}: name its file with --token-file, --config or {_VARIABLE}"
        return f"{self.address} refuses: {why}"

    def _send(self, method: str, path: str, body: bytes | None, token: Token | None, within: float) -> Answer:
        headers = {} if body is None else {"content-type": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token.secret}"
        connection = _connection(self.address, within)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.read(_LARGEST))
            if response.length:
                raise http.client.IncompleteRead(answer.body, response.length)
        except OSError as error:
            raise NotDone(f"can't reach {self.address}: {error.strerror or error}") from None
        except http.client.HTTPException as error:
            raise NotDone(f"{self.address} doesn't speak HTTP ({type(error).__name__}): is that tlsgate?") from None
        finally:
            connection.close()
        return answer

    def _token(self, path: Path) -> Token:
        try:
            return read_token(path)
        except TokenFault as fault:
            raise NotDone(f"{path}: {fault}") from None


def answered(command: Callable[[AdminApi, argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run a command that asks a gateway; gives the exit code."""
    try:
        command(_chosen(arguments), arguments)
    except ConfigError as fault:
        print(fault, file=sys.stderr)
        return BAD_CONFIG
    except NotDone as fault:
        print(fault, file=sys.stderr)
        return NOT_DONE
    return DONE


def printable(text: str) -> str:
    """Text from elsewhere, safe for a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def as_json(value: object) -> str:
    """JSON that is safe for a terminal: ASCII, whatever a client has called itself."""
    return json.dumps(msgspec.to_builtins(value))


def _chosen(arguments: argparse.Namespace) -> AdminApi:
    configured = None if arguments.config is None else load(arguments.config.absolute()).admin
    address: Address = arguments.admin or (configured.address if configured else _DEFAULT)
    named = os.environ.get(_VARIABLE)
    token_file: Path | None = arguments.token_file or (configured.token_file if configured else None)
    return AdminApi(address, token_file or (Path(named) if named else None))


def _connection(address: Address, within: float) -> http.client.HTTPConnection:
    if isinstance(address, UnixPath):
        return _UnixConnection(address.path, within)
    return http.client.HTTPConnection(address.host, address.port, timeout=within)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, within: float) -> None:
        super().__init__("localhost", timeout=within)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
