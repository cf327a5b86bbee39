"""Those who want nothing good: connections that stall before or within the handshake, and floods.

    python -m bench.siege.nuisance PORT

A line on standard input is answered with a line of JSON: ``stall N``, N connections stall; ``flood RATE``, so many a
second that say nothing, of two addresses; ``fill N``, N more at once that say nothing, from many addresses; ``empty``,
those go; ``leave``, all go; ``status``. They stay until the gateway ends them; the stalled ones then come again.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass

from bench.mail.store import HOST

# The head of a record of 512 octets with a ClientHello, which goes no further.
_HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 40
_PAUSE = 1.0
_AT_ONCE = 1.0  # seconds within which a refusal comes


@dataclass(slots=True)
class _Guest:
    socket: socket.socket
    kind: str
    number: int
    began: float
    ended: float = 0.0


class Nuisance:
    def __init__(self, port: int) -> None:
        self._port, self._rate = port, 0
        self._epoll = select.epoll()
        self._guests: dict[int, _Guest] = {}
        self._again: deque[_Guest] = deque()
        self._began, self._flooded = time.monotonic(), 0
        self.counts: Counter[str] = Counter()
        self.longest: dict[str, float] = {"silent": 0.0, "half a hello": 0.0}

    def run(self) -> None:
        """Until standard input says so, or ends."""
        self._epoll.register(sys.stdin, select.EPOLLIN)
        while True:
            for fd, mask in self._epoll.poll(0.02, 512):
                if fd != sys.stdin.fileno():
                    if fd in self._guests:
                        self._drive(self._guests[fd], mask)
                    continue
                match sys.stdin.readline().split():
                    case ["status"]:
                        pass
                    case ["stall", count]:
                        for number in range(int(count)):
                            self._open("silent" if number % 2 else "half a hello", number)
                    case ["flood", rate]:
                        self._rate, self._began, self._flooded = int(rate), time.monotonic(), 0
                    case ["fill", count]:
                        for number in range(int(count)):
                            self._open("fill", number)
                    case ["empty"]:
                        self._close("fill")
                    case ["leave"]:
                        self._rate = 0
                        self._again.clear()
                        self._close("")
                    case _:
                        return
                self._say()
            self._flood()

    def _close(self, kind: str) -> None:
        """All of that kind, or all."""
        for guest in [each for each in self._guests.values() if kind in ("", each.kind)]:
            del self._guests[guest.socket.fileno()]
            guest.socket.close()

    def _say(self) -> None:
        kinds = Counter(guest.kind for guest in self._guests.values())
        sys.stdout.write(json.dumps({"open": kinds, "counts": self.counts, "longest": self.longest}) + "\n")
        sys.stdout.flush()

    def _flood(self) -> None:
        """And those that come again."""
        while self._again and time.monotonic() > self._again[0].ended + _PAUSE:
            guest = self._again.popleft()
            self._open(guest.kind, guest.number)
        due = int((time.monotonic() - self._began) * self._rate) - self._flooded
        self._flooded += due
        for number in range(min(due, 200)):
            self._open("flood", number)

    def _open(self, kind: str, number: int) -> None:
        sources = {"flood": ("127.0.6", 2), "fill": ("127.0.7", 100)}
        prefix, many = sources.get(kind, ("127.0.5", 100))
        opening = socket.socket()
        opening.setblocking(False)
        opening.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        try:
            opening.bind((f"{prefix}.{1 + number % many}", 0))
            opening.connect((HOST, self._port))
        except BlockingIOError:
            pass
        except OSError:
            self.counts[f"{kind} not connected"] += 1
            opening.close()
            return
        self._guests[opening.fileno()] = _Guest(opening, kind, number, time.monotonic())
        self._epoll.register(opening, select.EPOLLOUT)
        self.counts[kind] += 1

    def _drive(self, guest: _Guest, mask: int) -> None:
        if mask & select.EPOLLOUT and not mask & (select.EPOLLHUP | select.EPOLLERR):
            self._epoll.modify(guest.socket, select.EPOLLIN)
            if guest.kind == "half a hello":
                try:
                    guest.socket.send(_HALF_A_HELLO)
                except OSError:
                    pass
            return
        try:
            if guest.socket.recv(1000):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        guest.ended = time.monotonic()
        lived = guest.ended - guest.began
        del self._guests[guest.socket.fileno()]
        guest.socket.close()
        self.counts[f"{guest.kind} {'refused' if lived < _AT_ONCE else 'ended'}"] += 1
        if guest.kind in self.longest:
            self.longest[guest.kind] = max(self.longest[guest.kind], lived)
            self._again.append(guest)


if __name__ == "__main__":
    Nuisance(int(sys.argv[1])).run()
