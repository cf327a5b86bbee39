"""What a plan makes of auth.source, and what it logs of a users file that changes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import trio
import trio.testing

from tests.test_prepared import SHA, USERS_FILE, written
from tests.test_prepared import config as config  # the fixture
from tlsgate.auth.judgement import Finding, Judge
from tlsgate.config import LogFormat, LogLevel, load
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.plan import make_plan
from tlsgate.prepared import prepare
from tlsgate.relay import Pump

ANN, BOB = Credentials("ann", b"secret"), Credentials("bob", b"secret")
WRONG = Refused(Refusal.AUTHENTICATION_FAILED)


def judge_of(path: Path, log: EventLog) -> Judge:
    ((service, _),) = make_plan(prepare(load(path)), {}, Pump(), log, Metrics(log)).listeners.values()
    return service.judge


def write_users(config: Path, text: str) -> Path:
    users = config.parent / "users"
    users.write_text(text)
    users.chmod(0o640)
    return users


async def test_sources_are_asked_in_their_order(config: Path) -> None:
    write_users(config, f"ann:{SHA}\n")
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    for source, of_ann, of_bob in (
        ('source = "backend"', Finding.UNDECIDED, Finding.UNDECIDED),
        (USERS_FILE, Finding.RIGHT, WRONG),
        ('source = ["users-file", "backend"]\nusers_file = "users"', Finding.RIGHT, Finding.UNDECIDED),
    ):
        judge = judge_of(written(config, source), log)
        assert (await judge(ANN), await judge(BOB)) == (of_ann, of_bob)
    log.close()


async def test_a_reread_is_logged_and_shows_nothing_of_a_line(config: Path, mock_clock: trio.testing.MockClock) -> None:
    users = write_users(config, f"ann:{SHA}\n")
    output = io.BytesIO()
    log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
    judge = judge_of(written(config, USERS_FILE), log)
    write_users(config, f"bob:{SHA}\ncay:hunter2\n")
    mock_clock.jump(10)
    assert await judge(BOB) is Finding.RIGHT
    write_users(config, "")
    mock_clock.jump(10)
    assert await judge(BOB) is Finding.RIGHT
    log.close()
    told = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [{key: event[key] for key in event if key != "ts"} for event in told] == [
        {"level": "info", "event": "users_file", "path": str(users), "users": 1, "remarks": 1},
        {
            "level": "warning",
            "event": "users_file_fault",
            "about": f"{users}:2",
            "reason": "its hash is malformed",
        },
        {
            "level": "warning",
            "event": "users_file_fault",
            "about": str(users),
            "reason": "is empty; what was read before counts",
        },
    ]
