"""One client of the crowd: its socket, its TLS, and where it is in what it says."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable
from enum import Enum, auto

from bench.mail.store import HOST
from bench.siege.dialogues import DOMAIN, Protocol, Step, is_reply
from bench.siege.life import Plan

_GONE = (OSError, ssl.SSLError)  # SSLError is an OSError; named, for it is what comes most


class Where(Enum):
    OUT = auto()
    CONNECTING = auto()
    HANDSHAKE = auto()
    LOGIN = auto()
    IN = auto()
    BUSY = auto()  # something was said in there, and the answer isn't here yet
    LEAVING = auto()


class Lost(Exception):
    """The connection is over."""


class Refused(Exception):
    """A reply that isn't the wanted one; its line is the argument."""


class Member:
    """``number``: tells it apart, and gives its user and its source address. ``slow``: reads little, and seldom."""

    __slots__ = (
        "_epoll", "_mask", "_out", "_received", "_socket", "_steps", "_tls", "backend", "began", "last", "message",
        "number", "out_since", "port", "protocol", "slow", "source", "stuck", "user", "where",
    )  # fmt: skip

    def __init__(self, number: int, protocol: Protocol, port: int, source: str, user: str, slow: bool) -> None:
        self.number, self.protocol, self.port, self.source, self.user = number, protocol, port, source, user
        self.slow = slow
        self.where = Where.OUT
        self.backend = 0
        self.last = b""
        self.began = self.out_since = 0.0
        self.stuck = 0
        self.message = 0
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLSocket | None = None
        self._steps: deque[Step] = deque()
        self._received = self._out = b""
        self._mask = 0

    @property
    def fd(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def connect(self, epoll: select.epoll, prologue: bytes) -> None:
        """``prologue``: in clear, before TLS. Raises OSError."""
        self._epoll = epoll
        connecting = socket.socket()
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connecting.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        if self.slow:
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self._socket, self.began = connecting, time.monotonic()
        self.where, self._out, self._received = Where.CONNECTING, prologue, b""
        connecting.bind((self.source, 0))
        try:
            connecting.connect((HOST, self.port))
        except BlockingIOError:
            pass
        self._mask = select.EPOLLOUT
        epoll.register(connecting, self._mask)

    def play(self, steps: Iterable[Step], where: Where) -> None:
        """Say the first of ``steps``; ``progress`` says when all are answered. Raises Lost."""
        self.where, self.began = where, time.monotonic()
        self._steps.clear()
        self._steps.extend(steps)
        self._say()

    def progress(self, context: ssl.SSLContext) -> bool:
        """Do what can be done now: whether the handshake, or all that was to be said, is done. Raises Lost, Refused."""
        match self.where:
            case Where.CONNECTING:
                self._connected(context)
                return False
            case Where.HANDSHAKE:
                return self._shaken()
            case _:
                self._flush()
                return self._read()

    def sip(self, size: int) -> int:
        """Read at most ``size`` octets; how many there were. Raises Lost."""
        assert self._tls is not None
        try:
            data = self._tls.recv(size)
        except ssl.SSLWantReadError:
            return 0
        except _GONE as error:
            raise Lost(type(error).__name__) from None
        if not data:
            raise Lost("closed")
        return len(data)

    def turn_away(self) -> None:
        """No event of this one is of interest any more, but it stays."""
        if self._socket is not None:
            self._epoll.unregister(self._socket)

    def ask(self, data: bytes) -> None:
        """Send without waiting for a reply. Raises Lost."""
        self._out = data
        self._flush()

    def close(self) -> None:
        """At once, without a word."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._tls = None
        self.where, self.out_since = Where.OUT, time.monotonic()
        self._steps.clear()

    def _connected(self, context: ssl.SSLContext) -> None:
        assert self._socket is not None
        if (error := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) != 0:
            raise Lost(f"connect: {error}")
        try:
            if self._out:
                self._socket.send(self._out)
            self._out = b""
            self._tls = context.wrap_socket(self._socket, do_handshake_on_connect=False, server_hostname="localhost")
        except _GONE as error:
            raise Lost(type(error).__name__) from None
        self._socket = self._tls
        self.where = Where.HANDSHAKE
        self._shaken()

    def _shaken(self) -> bool:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._want(select.EPOLLIN)
            return False
        except ssl.SSLWantWriteError:
            self._want(select.EPOLLOUT)
            return False
        except _GONE as error:
            raise Lost(type(error).__name__) from None
        self._want(select.EPOLLIN)
        return True

    def _say(self) -> None:
        self._out = self._steps[0].say
        self._flush()

    def _flush(self) -> None:
        if not self._out or self._tls is None:
            return
        try:
            self._out = self._out[self._tls.send(self._out) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except _GONE as error:
            raise Lost(type(error).__name__) from None
        self._want(select.EPOLLIN | select.EPOLLOUT if self._out else select.EPOLLIN)

    def _read(self) -> bool:
        assert self._tls is not None
        while True:
            try:
                data = self._tls.recv(16384)
            except ssl.SSLWantReadError:
                return False
            except _GONE as error:
                raise Lost(type(error).__name__) from None
            if not data:
                raise Lost("closed")
            self._received += data
            if self._lines():
                return True

    def _lines(self) -> bool:
        """Whether the last step is answered."""
        while (end := self._received.find(b"\r\n")) >= 0:
            line, self._received = self._received[:end], self._received[end + 2 :]
            self.last = line
            if not self._steps or not is_reply(self.protocol, line, self._steps[0].wanted):
                continue
            if not line.startswith(self._steps.popleft().wanted):
                raise Refused(line)
            if not self._steps:
                return True
            self._say()
        return False

    def _want(self, mask: int) -> None:
        if mask != self._mask and self._socket is not None:
            self._mask = mask
            self._epoll.modify(self._socket, mask)


def new_member(plan: Plan, number: int) -> Member:
    """The one with this number; protocols and sources are mixed."""
    dice, protocol = number * 37 % 100, Protocol.SUBMISSION
    for name, share in plan.shares.items():
        if dice < share:
            protocol = Protocol(name)
            break
        dice -= share
    slow = protocol is Protocol.IMAP and number * 61 % 100 < plan.slow * 100 // max(plan.shares["imap"], 1)
    source = f"127.0.1.{1 + number % plan.sources}"
    return Member(number, protocol, plan.ports[protocol], source, f"user{number}@{DOMAIN}", slow)
