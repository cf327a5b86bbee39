"""Who is killed must lose no mail: what was told 250 is stored, whole, and nothing that was given up before its end."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import trio

from bench.mail.gate import Ports, store, tlsgate, workers
from bench.mail.servers import Server
from bench.mail.source import Attempt, Fate, Source, unverified
from bench.mail.store import kept

ADDED = re.compile(rb"(?:(?:Received|Authentication-Results):.*\r\n(?:[ \t].*\r\n)*+)*")
"""The fields that are put before a message on its way."""
_NEVER_ENDED = (Fate.BROKEN_OFF, Fate.GIVEN_UP)
# What the store takes before and after it stores: kills fall there too.
_PAUSE = 0.005
# After a message is through, in seconds: no longer than a transaction takes, so that kills fall anywhere in one.
_LATER = 0.03


class Victim(StrEnum):
    BACKEND = "backend"
    GATE = "gate"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Plan:
    """``kills`` of ``victim`` while ``messages`` go through, at moments that ``seed`` gives. ``tls``: by STARTTLS."""

    victim: Victim
    messages: int
    kills: int
    seed: int
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Losses:
    """``fates``: of all attempts. ``twice``: stored messages beside the first of their number.

    What must be empty: ``missing``: told 250, and not stored; ``unasked``: stored, though it was never ended, or
    twice for one attempt; ``torn``: stored, and not what was sent.
    """

    fates: dict[Fate, int]
    stored: int
    twice: int
    missing: list[str]
    unasked: list[str]
    torn: list[str]

    @property
    def none(self) -> bool:
        return not (self.missing or self.unasked or self.torn)

    def __str__(self) -> str:
        counts = [f"{count} {fate.value}" for fate, count in self.fates.items()]
        bad = f"missing {self.missing}, unasked {self.unasked}, torn {self.torn}" if not self.none else "none lost"
        return f"attempts: {', '.join(counts)}; stored {self.stored}, of these {self.twice} duplicates; {bad}"


async def run(plan: Plan, ports: Ports, directory: Path) -> Losses:
    """Send, kill, and look at what is stored."""
    kept_in = directory / "store"
    backend = store(kept_in, ports, _PAUSE)
    gateway = tlsgate(directory / "gate", ports, workers=2 if plan.victim is Victim.WORKER else 1)
    source = Source(ports.gate, plan.messages, context=unverified() if plan.tls else None)
    try:
        backend.start()
        gateway.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_kill, plan, source, backend, gateway)
            await source.run()
    finally:
        gateway.stop()
        backend.stop()
    return judge(source.fates, kept_in)


async def _kill(plan: Plan, source: Source, backend: Server, gateway: Server) -> None:
    """Kills end before the messages do."""
    chance = random.Random(plan.seed)  # noqa: S311
    again: Callable[[], None]
    match plan.victim:
        case Victim.BACKEND:
            again = partial(_start_again, backend)
        case Victim.GATE:
            again = partial(_start_again, gateway)
        case Victim.WORKER:
            again = partial(_kill_worker, gateway, chance)
    for after in sorted(chance.sample(range(1, plan.messages * 9 // 10), plan.kills)):
        await source.reached(after)
        await trio.sleep(chance.uniform(0, _LATER))
        await trio.to_thread.run_sync(again)


def _start_again(server: Server) -> None:
    server.kill()
    server.start()


def _kill_worker(gateway: Server, chance: random.Random) -> None:
    """One of them; then wait for the one that comes for it."""
    before = workers(gateway)
    os.kill(killed := chance.choice(before), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while killed in (now := workers(gateway)) or len(now) < len(before):
        if time.monotonic() > deadline:
            raise RuntimeError("no worker came for the killed one")
        time.sleep(0.02)


def judge(fates: dict[Attempt, Fate], directory: Path) -> Losses:
    """What the clients know, against what is stored."""
    by_name = {attempt.recipient: attempt for attempt in fates}
    copies: Counter[str] = Counter()
    torn = []
    for each in kept(directory):
        copies[each.recipient] += 1
        attempt = by_name.get(each.recipient)
        sent = attempt.text() if attempt is not None else b""
        if not sent or not each.text.endswith(sent) or not ADDED.fullmatch(each.text[: -len(sent)]):
            torn.append(each.recipient)
    numbers = {by_name[name].number for name in copies if name in by_name}
    return Losses(
        dict(Counter(fates.values())),
        copies.total(),
        copies.total() - len(numbers),
        missing=[
            each.recipient for each, fate in fates.items() if fate is Fate.ACCEPTED and not copies[each.recipient]
        ],
        unasked=[
            name
            for name, count in copies.items()
            if count > 1 or name not in by_name or fates[by_name[name]] in _NEVER_ENDED
        ],
        torn=torn,
    )
