"""Every question to the DNS is asked here, bounded in time and number, and its answer is kept.

A failure is never taken for an answer. Name servers that are silent don't cost every session its whole time-out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from tlsgate.config import Dns
from tlsgate.dns.answer import Answer, Failed, Failure, Kind, Missing, Question
from tlsgate.dns.cache import AnswerCache

if TYPE_CHECKING:
    from tlsgate.dns.servers import NameServers

_UNDER_WAY = 256
_LEAST_TTL = 1.0
_MOST_TTL = 3600.0
_REREAD = 60.0
_SUSPICIOUS = 5
_PAUSE = 5.0
# RFC 6303 4.3: every resolver answers it itself. No stranger's dead name server can make this one silent.
_PROBE = ("1.0.0.127.in-addr.arpa", Kind.PTR)


class ResolverTrace(Protocol):
    """What is told about the name servers as a whole."""

    def dns_down(self) -> None: ...

    def dns_up(self) -> None: ...


class _Flight:
    """A question under way. ``answer`` None when ``done`` is set: who asked has given up."""

    __slots__ = ("answer", "done")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.done = trio.Event()


class Resolver:
    """Asks the name servers of ``[dns]``. Whoever waits for an answer may be cancelled at any time."""

    def __init__(self, settings: Dns, trace: ResolverTrace) -> None:
        self._settings = settings
        self._trace = trace
        self._cache = AnswerCache()
        self._under_way: dict[Question, _Flight] = {}
        self._room = trio.CapacityLimiter(_UNDER_WAY)
        self._servers: NameServers | None = None
        self._read_again = 0.0
        self._reading = trio.Lock()
        self._silences = 0
        self._down = False
        self._probe_at = 0.0

    async def ask(self, name: str, kind: Kind) -> Answer:
        """What the DNS says of an absolute ``name``, with or without its last dot, within ``[dns] timeout``."""
        if not name.isascii():  # U-labels aren't in the DNS (RFC 5890 2.3.2.1)
            return Missing()
        question = name.removesuffix(".").lower(), kind
        deadline = trio.current_time() + self._settings.timeout
        while True:
            if (known := self._cache.get(question, trio.current_time())) is not None:
                return known
            flight = self._under_way.get(question)
            if flight is None:
                return await self._lead(question, deadline)
            await flight.done.wait()  # it began earlier, so it ends within our time too
            if flight.answer is not None:
                return flight.answer

    def good_for(self, name: str, kind: Kind) -> float:
        """How many seconds the last answer will be given again without asking: what is left of its TTL."""
        expiry = self._cache.expiry((name.removesuffix(".").lower(), kind))
        return 0.0 if expiry is None else max(expiry - trio.current_time(), 0.0)

    async def _lead(self, question: Question, deadline: float) -> Answer:
        """Ask, for everybody who wants to know."""
        flight = self._under_way[question] = _Flight()
        answer: Answer = Failed(Failure.TIMEOUT)
        ttl, asked = _LEAST_TTL, False
        try:
            with trio.move_on_at(deadline):
                async with self._room:
                    asked = True
                    answer, ttl = await self._exchange(question)
            if asked:
                self._judge(answer)
            if answer != Failed(Failure.DOWN):
                self._cache.put(question, answer, trio.current_time() + min(max(ttl, _LEAST_TTL), _MOST_TTL))
            flight.answer = answer
        finally:
            del self._under_way[question]
            flight.done.set()
        return answer

    async def _exchange(self, question: Question) -> tuple[Answer, float]:
        try:
            servers = await self._name_servers()
        except OSError:
            return Failed(Failure.UNREACHABLE), _LEAST_TTL
        if not await self._worth_asking(servers):
            return Failed(Failure.DOWN), 0.0
        return await servers.ask(*question)

    async def _name_servers(self) -> NameServers:
        """Those of the system are looked up again now and then: networks change. Raises OSError when none is known."""
        async with self._reading:
            if self._servers is None or (not self._settings.nameservers and trio.current_time() >= self._read_again):
                self._read_again = trio.current_time() + _REREAD
                try:
                    self._servers = await trio.to_thread.run_sync(_load, self._settings, abandon_on_cancel=True)
                except OSError:
                    if self._servers is None:
                        raise
            return self._servers

    # -- name servers that are silent ---------------------------------------------------------------

    def _judge(self, answer: Answer) -> None:
        match answer:
            case Failed(Failure.TIMEOUT):
                self._silences += 1
            case Failed(Failure.DOWN | Failure.UNREACHABLE):
                pass
            case _:
                self._heard()

    def _heard(self) -> None:
        self._silences = 0
        if self._down:
            self._down = False
            self._trace.dns_up()

    async def _worth_asking(self, servers: NameServers) -> bool:
        """After some time-outs in a row, one asker finds out whether the name servers answer anything.

        Time-outs alone say nothing: strangers choose the names of which some are asked, and may have them dead.
        """
        if self._silences < _SUSPICIOUS:
            return True
        if trio.current_time() < self._probe_at:
            return not self._down
        self._probe_at = trio.current_time() + _PAUSE
        said: Answer = Failed(Failure.TIMEOUT)
        with trio.move_on_after(self._settings.timeout / 2):
            said, _ = await servers.ask(*_PROBE)
        self._judge(said)
        if self._silences >= _SUSPICIOUS and not self._down:
            self._down = True
            self._trace.dns_down()
        return not self._down


def _load(settings: Dns) -> NameServers:
    """Runs in a thread: the import takes long. Raises OSError."""
    from tlsgate.dns.servers import NameServers

    return NameServers(settings.nameservers, settings.timeout)
