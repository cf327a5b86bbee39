"""What a plan makes of auth.source, and what it logs of a users file that changes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import trio
import trio.testing

from tests.auth.attempts import attempt
from tests.test_prepared import MASTER, SHA, USERS_FILE, with_aliases, written
from tests.test_prepared import config as config  # the fixture
from tlsgate.admission.look_ups import Checks, LookUps
from tlsgate.admission.network import parse_client
from tlsgate.auth.judgement import Judge, Right, Undecided
from tlsgate.backends.pool import Pool
from tlsgate.config import Dns, LogFormat, LogLevel, load
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused
from tlsgate.dialogue.smtp_syntax import Path as SmtpPath
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.ops.screening_trace import ScreeningTrace
from tlsgate.plan import make_plan
from tlsgate.prepared import prepare
from tlsgate.relay import Pump
from tlsgate.service import Service

ANN, BOB = Credentials("ann", b"secret"), Credentials("bob", b"secret")
BACKEND = 'source = "backend"'
WRONG = Refused(Refusal.AUTHENTICATION_FAILED)


def service_of(path: Path, log: EventLog) -> Service:
    ((service, _),) = make_plan(prepare(load(path)), {}, Pump(), log, Metrics(log)).listeners.values()
    return service


def judge_of(path: Path, log: EventLog) -> Judge:
    return service_of(path, log).judge


def write_users(config: Path, text: str) -> Path:
    users = config.parent / "users"
    users.write_text(text)
    users.chmod(0o640)
    return users


def with_two_listeners(config: Path) -> Path:
    text = written(config, BACKEND).read_text()
    listener = text[text.index("[[listeners]]") : text.index("[pools")]
    config.write_text(
        text.replace(listener, listener + listener.replace('"a"\nprotocol', '"b"\nprotocol').replace(":0", ":1"))
    )
    return config


async def test_sources_are_asked_in_their_order(config: Path) -> None:
    write_users(config, f"ann:{SHA}\n")
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    for source, of_ann, of_bob in (
        ('source = "backend"', Undecided(ANN), Undecided(BOB)),
        (USERS_FILE, Right("ann"), WRONG),
        ('source = ["users-file", "backend"]\nusers_file = "users"', Right("ann"), Undecided(BOB)),
    ):
        judge = judge_of(written(config, source), log)
        assert (await judge(attempt(ANN)), await judge(attempt(BOB))) == (of_ann, of_bob)
    log.close()


async def test_a_weak_hash_is_told_of_once_whatever_listener_its_user_comes_by(config: Path) -> None:
    """A phone has IMAP and submission: two lines for each user would be read by nobody."""
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    plan = make_plan(prepare(load(with_two_listeners(config))), {}, Pump(), log, Metrics(log))
    (_, first), (_, second) = plan.listeners.values()
    assert (first.first_weak("ann"), second.first_weak("ann"), second.first_weak("bob")) == (True, False, True)
    log.close()


async def test_a_reread_is_logged_and_shows_nothing_of_a_line(config: Path, mock_clock: trio.testing.MockClock) -> None:
    users = write_users(config, f"ann:{SHA}\n")
    output = io.BytesIO()
    log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
    judge = judge_of(written(config, USERS_FILE), log)
    write_users(config, f"bob:{SHA}\ncay:hunter2\n")
    mock_clock.jump(10)
    assert await judge(attempt(BOB)) == Right("bob")
    write_users(config, "")
    mock_clock.jump(10)
    assert await judge(attempt(BOB)) == Right("bob")
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


def test_whose_senders_must_match(config: Path) -> None:
    """Without a file of aliases a user is itself, and nobody else."""
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    own, alias = SmtpPath("ann@a.test"), SmtpPath("sales@a.test")
    assert service_of(written(config, BACKEND), log).senders is None
    config.write_text(written(config, BACKEND).read_text() + "[relay]\nsender_must_match = true\n")
    alone = service_of(config, log).senders
    assert alone is not None
    assert alone.may_send("ann@a.test", own)
    assert not alone.may_send("ann@a.test", alias)
    read = service_of(with_aliases(config, "ann@a.test: sales@a.test\n"), log).senders
    assert read is not None
    assert read.may_send("ann@a.test", alias)
    log.close()


def test_who_must_send_a_proxy_header(config: Path) -> None:
    text = written(config, BACKEND).read_text()
    config.write_text(text.replace("[[listeners]]\n", '[[listeners]]\nproxy_protocol_from = ["192.0.2.0/24"]\n'))
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    service = service_of(config, log)
    log.close()
    assert service.proxies.find(parse_client("::ffff:192.0.2.7")) is not None
    assert service.proxies.find(parse_client("198.51.100.1")) is None


def test_a_backend_that_does_not_take_the_client_is_logged_once(config: Path) -> None:
    output = io.BytesIO()
    log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
    service = service_of(written(config, BACKEND), log)
    backend = service.pool.backends[0]
    for version in (6, 6, 0):
        backend.client_told(version, "takes no XCLIENT")
    log.close()
    told = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [{key: event[key] for key in event if key != "ts"} for event in told] == [
        {
            "level": "warning",
            "event": "client_not_told",
            "pool": service.pool.name,
            "backend": backend.address,
            "clients": clients,
            "reason": "takes no XCLIENT",
        }
        for clients in ("IPv6", "unix")
    ]


async def test_only_a_listener_that_checks_its_clients_has_a_screener(config: Path, nursery: trio.Nursery) -> None:
    """An IMAP login must pay nothing for what is asked for submission."""
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    metrics = Metrics(log)
    for protocol, checks in (("submission", Checks(dnsbl=False, reverse_dns=True, helo=True)), ("imap", None)):
        prepared = prepare(load(written(config, 'source = "backend"', protocol=protocol)))
        asked = LookUps(Dns(), (), ScreeningTrace(metrics.screening.here, log), nursery)
        ((service, _),) = make_plan(prepared, {}, Pump(), log, metrics, asked).listeners.values()
        assert (service.screener and service.screener.checks) == checks
    log.close()


def with_routes(config: Path) -> None:
    text = written(config, BACKEND, protocol="pop3").read_text()
    pools = "".join(f'[pools.{name}]\nbackends = [{{ address = "127.0.0.1:1" }}]\n' for name in ("b", "c", "unused"))
    config.write_text(f"""{text}{pools}
[[routes]]
match = "*@b.test"
pool = "b"
[[routes]]
match = "*@c.test"
protocol = "imap"
pool = "c"
[[routes]]
match = "*@a.test"
pool = "a"
""")


async def test_pools_that_only_routes_lead_to_are_served_and_asked_for_their_health(config: Path) -> None:
    """One that nobody probes is tried first when it is down, and its capabilities are never known."""
    with_routes(config)
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    plan = make_plan(prepare(load(config)), {}, Pump(), log, Metrics(log))
    log.close()
    ((service, _),) = plan.listeners.values()
    users = {"x@a.test": "a", "x@b.test": "b", "x@c.test": "a", "x": "a"}
    assert {user: (await service.place(user))[0].name for user in users} == users
    assert [pool.name for pool, _ in plan.spoken_to] == ["a", "b"]


def test_a_routes_backend_that_wants_the_clients_name_gets_it(config: Path) -> None:
    """XCLIENT tells it, so it must be asked for before it is known who the user is."""
    text = written(config, BACKEND, protocol="pop3").read_text()
    for match, reverse_dns in (("protocol = 'imap'", False), ("", True)):
        config.write_text(f"""{text}
[pools.b]
backends = [{{ address = "127.0.0.1:1" }}]
client_address = "{"xclient" if reverse_dns else "none"}"
[[routes]]
match = "*"
{match}
pool = "b"
""")
        settings = load(config)
        assert Checks.of(settings.listeners[0], settings).reverse_dns is reverse_dns


async def test_a_masters_new_password_comes_with_a_reload(config: Path) -> None:
    """The pool's settings are the same, so the pool is; its password must not be."""
    write_users(config, f"ann:{SHA}\n")
    written(config, USERS_FILE, MASTER)
    secret = config.parent / "master.secret"
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    metrics = Metrics(log)
    pools: Mapping[str, Pool] = {}
    for password in ("first", "second"):
        secret.write_text(f"{password}\n")
        plan = make_plan(prepare(load(config)), pools, Pump(), log, metrics)
        ((service, _),) = plan.listeners.values()
        assert service.masters[service.pool.name].secret == password.encode()
        assert not pools or plan.pools["a"] is pools["a"]
        pools = plan.pools
    log.close()
