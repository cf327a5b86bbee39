"""A kill loses no mail: what a client was told 250 for is stored, whole, and nothing is that it gave up before its end.

If this fails, a gateway without a queue says 250 too early, ends half messages, or keeps a part of one.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.mail.gate import Ports
from bench.mail.losses import Plan, Victim, judge, run
from bench.mail.source import Attempt, Fate
from bench.mail.store import record
from tests.system.peers import free_port

KILLS = 3


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("victim", Victim)
async def test_kills(victim: Victim, tls: bool, tmp_path: Path) -> None:
    """Clients try again until each message was taken, and give up a tenth before their end.

    Meanwhile the backend, the gateway or one of its workers is killed.
    """
    plan = Plan(victim, messages=300, kills=KILLS, seed=random.randrange(10**6), tls=tls)
    losses = await run(plan, Ports(gate=free_port(), admin=free_port(), backend=free_port()), tmp_path)
    told = f"{plan}: {losses}"
    assert losses.none, told
    assert losses.fates[Fate.ACCEPTED] == plan.messages, told
    assert losses.fates[Fate.GIVEN_UP], told
    disturbed = losses.fates.get(Fate.UNCERTAIN, 0) + losses.fates.get(Fate.BROKEN_OFF, 0)
    assert disturbed >= KILLS, f"no kill came in between: {told}"


TOLD, LOST, BROKEN, GIVEN_UP = (Attempt(number, 1000) for number in range(4))
FATES = {
    TOLD: Fate.ACCEPTED,
    LOST: Fate.UNCERTAIN,
    BROKEN: Fate.BROKEN_OFF,
    GIVEN_UP: Fate.GIVEN_UP,
}
RECEIVED = b"Received: from a by b;\r\n\t1 Jan 2026 00:00:00 +0000\r\n"


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        ([(TOLD, RECEIVED + TOLD.text())], ""),
        ([(TOLD, RECEIVED + TOLD.text()), (LOST, LOST.text())], ""),
        ([], "missing"),
        ([(LOST, LOST.text())], "missing"),
        ([(TOLD, TOLD.text()), (BROKEN, BROKEN.text())], "unasked"),
        ([(TOLD, TOLD.text()), (GIVEN_UP, GIVEN_UP.text())], "unasked"),
        ([(TOLD, TOLD.text()), (TOLD, TOLD.text())], "unasked"),
        ([(TOLD, TOLD.text()), (Attempt(9, 1000), Attempt(9, 1000).text())], "unasked torn"),
        ([(TOLD, TOLD.text()[:-1])], "torn"),
        ([(TOLD, TOLD.text()), (LOST, LOST.text()[:500])], "torn"),
        ([(TOLD, b"Received: from a\r\n\r\n" + TOLD.text())], "torn"),
        ([(TOLD, b"octets" + TOLD.text())], "torn"),
    ],
)
def test_losses_are_seen(stored: list[tuple[Attempt, bytes]], fault: str, tmp_path: Path) -> None:
    """Else the test above would pass whatever is lost."""
    (tmp_path / "of one process").write_bytes(b"".join(record(attempt.recipient, text) for attempt, text in stored))
    losses = judge(FATES, tmp_path)
    assert [name for name in ("missing", "unasked", "torn") if getattr(losses, name)] == fault.split()
    assert losses.none is not bool(fault)
