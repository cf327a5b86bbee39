"""The clients: so many sessions that are logged in, one process, one epoll set. Who is thrown out logs in again.

    python -m bench.siege.crowd '{"sessions": 100, "ports": {"imap": 1993, ...}, ...}'     # fields of Plan

Every BEAT seconds each session asks for a sign of life (NOOP; in submission now and then it sends a message with a
number), and has lost its gateway if none comes within eight. A line on standard input is answered with a line of JSON:
``status``; ``look``, the same in between; ``quit``, all go, and the numbers of the messages that were taken are told.
"""

from __future__ import annotations

import json
import random
import select
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict

from bench.mail.source import unverified
from bench.siege.dialogues import FETCH, Protocol, backend_in, is_for_now, login, logout, message, noop, reset
from bench.siege.life import Plan, Status
from bench.siege.member import Lost, Member, Refused, Where, new_member

_AT_ONCE = 64  # that log in
_PATIENCE = 45.0  # seconds for a login: behind a dead DNS, behind those that stall
_ANSWER = 8.0  # for anything else
_PAUSE = 1.0  # before another attempt
_SIP = 4096  # octets that a slow reader takes at each beat
_INSIDE = (Where.IN, Where.BUSY, Where.LEAVING)
_SILENCE = "no answer"
_AWAY = 5.0  # seconds after which a session is missed


class Crowd:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._context = unverified()
        self._epoll = select.epoll()
        self._chance = random.Random(plan.sessions)  # noqa: S311
        self._members = [new_member(plan, number) for number in range(plan.sessions)]
        self._by_fd: dict[int, Member] = {}
        self._due = deque(self._members)
        self._logging_in = self._turns = 0
        self._numbers = 0
        self._began = time.monotonic()
        self._trips: list[float] = []
        self._taken: list[int] = []
        self.counts: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    # -- the loop -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Until standard input says so, or ends."""
        self._epoll.register(sys.stdin, select.EPOLLIN)
        while True:
            for fd, _ in self._epoll.poll(0.02, 512):
                if fd == sys.stdin.fileno():
                    line = sys.stdin.readline()
                    if line not in ("status\n", "look\n"):
                        break
                    self._say(self.status(anew=line == "status\n"))
                elif (member := self._by_fd.get(fd)) is not None:
                    self._drive(member)
            else:
                self._log_in_some()
                self._beat()
                continue
            break
        if line:
            self._leave()

    def _say(self, status: Status) -> None:
        sys.stdout.write(json.dumps(asdict(status)) + "\n")
        sys.stdout.flush()

    def _log_in_some(self) -> None:
        now = time.monotonic()
        while self._due and self._logging_in < _AT_ONCE and self._due[0].out_since + _PAUSE * 0.999 <= now:
            member = self._due.popleft()
            self._logging_in += 1
            try:
                member.connect(self._epoll, self._prologue(member))
            except OSError as error:
                self._over(member, f"connect: {error.strerror}")
            else:
                self._by_fd[member.fd] = member

    def _prologue(self, member: Member) -> bytes:
        """Submission comes by a balancer, from everywhere: DNS lists aren't asked about clients of loopback."""
        if member.protocol is not Protocol.SUBMISSION:
            return b""
        client = f"198.{self._chance.choice((18, 19))}.{self._chance.randrange(256)}.{self._chance.randrange(1, 255)}"
        return f"PROXY TCP4 {client} 127.0.0.1 40000 {member.port}\r\n".encode()

    def _beat(self) -> None:
        """Look at those whose turn has come."""
        plan = self._plan
        until = int((time.monotonic() - self._began) / plan.beat * plan.sessions)
        while self._turns < until:
            member = self._members[self._turns % plan.sessions]
            self._turns += 1
            try:
                self._turn(member)
            except Lost as lost:
                self._over(member, str(lost))

    def _turn(self, member: Member) -> None:
        match member.where:
            case Where.IN if member.slow:
                self.counts["sips"] += 1
                member.stuck = 0 if member.sip(_SIP) else member.stuck + 1
                if member.stuck > 2:
                    raise Lost("nothing comes")
            case Where.IN if self._chance.random() < self._plan.churn:
                member.play(logout(member.protocol), Where.LEAVING)
            case Where.IN if member.protocol is Protocol.SUBMISSION and self._chance.random() < self._plan.mail:
                self._numbers += 1
                member.message = self._numbers
                member.play(message(member.user, self._numbers), Where.BUSY)
            case Where.IN:
                member.play(noop(member.protocol), Where.BUSY)
            case Where.BUSY | Where.LEAVING if time.monotonic() > member.began + _ANSWER:
                raise Lost(_SILENCE)
            case Where.CONNECTING | Where.HANDSHAKE | Where.LOGIN if time.monotonic() > member.began + _PATIENCE:
                raise Lost(_SILENCE)

    def _drive(self, member: Member) -> None:
        try:
            if member.progress(self._context):
                self._done(member)
        except Lost as lost:
            self._over(member, str(lost))
        except Refused as refused:
            self._refused(member, refused.args[0])

    # -- what becomes of them -----------------------------------------------------------------------

    def _done(self, member: Member) -> None:
        match member.where:
            case Where.HANDSHAKE:
                began = member.began
                member.play(login(member.protocol, member.user), Where.LOGIN)
                member.began = began
                self._drive(member)
            case Where.LOGIN:
                member.backend = backend_in(member.last)
                member.where = Where.IN
                self._logging_in -= 1
                self.counts["logins"] += 1
                if member.slow:
                    member.ask(FETCH)
                    member.turn_away()
            case Where.BUSY:
                member.where = Where.IN
                self._answered(member)
            case _:
                self.counts["left"] += 1
                self._out(member)

    def _answered(self, member: Member) -> None:
        if member.message:
            self._taken.append(member.message)
            member.message = 0
            return
        self.counts["answers"] += 1
        self._trips.append(time.monotonic() - member.began)
        member.backend = backend_in(member.last) or member.backend

    def _refused(self, member: Member, reply: bytes) -> None:
        for_now = is_for_now(reply)
        if member.where is Where.BUSY and member.message and for_now:
            self.counts["put_off"] += 1  # the message; the session goes on, and begins its next transaction anew
            member.message = 0
            member.play(reset(), Where.BUSY)
            return
        self._over(member, f"{'for now' if for_now else 'refused'}: {reply.decode(errors='replace')[:100]}")

    def _over(self, member: Member, why: str) -> None:
        match member.where:
            case Where.LEAVING if why != _SILENCE:
                self.counts["left"] += 1
            case Where.IN | Where.BUSY | Where.LEAVING:
                place = "gateway" if member.protocol is Protocol.SUBMISSION else str(member.backend)
                self.lost[f"{place} {why}"] += 1
                if member.message:
                    self.counts["uncertain"] += 1
                    member.message = 0
            case _:
                self._logging_in -= 1
                self.failed[why] += 1
        self._out(member)

    def _out(self, member: Member) -> None:
        self._by_fd.pop(member.fd, None)
        member.close()
        self._due.append(member)

    def _inside(self) -> list[Member]:
        return [member for member in self._members if member.where in _INSIDE]

    def status(self, taken: Sequence[int] = (), *, anew: bool = True) -> Status:
        """What has been so far. ``anew``: round trips from now on are the next one's."""
        trips = sorted(self._trips)
        if anew:
            self._trips.clear()
        inside, missed = self._inside(), time.monotonic() - _AWAY
        return Status(
            len(inside),
            sum(_is_missed(member, missed) for member in self._members),
            dict(Counter(str(member.backend) for member in inside)),  # asdict can't copy a Counter
            dict(self.counts, taken=len(self._taken)),
            dict(self.lost),
            dict(self.failed),
            trips[len(trips) // 2] * 1e3 if trips else 0.0,
            trips[len(trips) * 99 // 100] * 1e3 if trips else 0.0,
            trips[-1] * 1e3 if trips else 0.0,
            list(taken),
        )

    def _leave(self) -> None:
        """Log out, all at once, and close."""
        for member in self._inside():
            try:
                member.ask(b"".join(step.say for step in logout(member.protocol)))
            except Lost:
                pass
        for member in self._members:
            member.close()
        self._say(self.status(self._taken))


def _is_missed(member: Member, since: float) -> bool:
    if member.where in _INSIDE:
        return member.where is not Where.IN and member.began < since
    return member.out_since < since


def main() -> None:
    plan = Plan(**json.loads(sys.argv[1]))
    Crowd(plan).run()


if __name__ == "__main__":
    main()
