"""The numbers behind the charts of the status page."""

from __future__ import annotations

import io
import re

import trio
import trio.testing
from trio.testing import MockClock

from tests.ops.admin_address import serving
from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.history import STEP, History, Totals, totals
from tlsgate.ops.listener_metrics import Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics


def _metrics() -> Metrics:
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    log.close()
    return Metrics(log)


async def _nothing_elsewhere() -> None:
    pass


def test_totals_are_those_of_all_listeners() -> None:
    metrics = _metrics()
    for name in ("imaps", "pop3s"):
        counted = metrics.listener(name)
        counted.enter(Phase.RELAY)
        counted.handshake("TLSv1.3", "x", "ok", 0.1)
        counted.handshake("TLSv1.2", "x", "ok", 0.1)
        counted.handshake("none", "none", "failed", 0.1)
        counted.login("PLAIN", "ok", 0.1)
        counted.login("PLAIN", "failed", None)
        counted.login("PLAIN", "unavailable", None)
        counted.login("PLAIN", "cleartext", None)
        counted.cleartext_auth_refused()
    found = totals(metrics.registry)
    assert (found.sessions, found.handshakes, found.old_tls) == (2, 4, 2)
    assert (found.logins, found.failed, found.cleartext) == (2, 4, 2)


def test_a_point_holds_what_its_step_has_brought() -> None:
    history = History(_metrics().registry, _nothing_elsewhere)
    for now in (Totals(sessions=3, logins=5, failed=1), Totals(sessions=2, logins=5, failed=4, old_tls=1, cleartext=2)):
        history.take(now)
    first, second = history.view().points
    assert (first.sessions, first.logins, first.failed) == (3, 5, 1)
    assert (second.sessions, second.logins, second.failed, second.old_tls, second.cleartext) == (2, 0, 3, 1, 2)
    assert history.view().totals.logins == 5


def test_only_an_hour_is_kept() -> None:
    history = History(_metrics().registry, _nothing_elsewhere)
    for number in range(1000):
        history.take(Totals(sessions=number))
    view = history.view()
    assert (view.room - 1) * view.step == 3600
    assert len(view.points) == view.room
    assert view.points[-1].sessions == 999


def test_counts_that_a_lost_worker_takes_along_are_no_negative_logins() -> None:
    history = History(_metrics().registry, _nothing_elsewhere)
    for logins in (5, 3):
        history.take(Totals(logins=logins))
    assert [each.logins for each in history.view().points] == [5, 0]


async def test_a_point_is_taken_each_step_of_what_all_workers_have_counted(mock_clock: MockClock) -> None:
    """And what was counted before, by a gateway that serves no admin address yet, is nobody's peak."""
    metrics = _metrics()
    counted = metrics.listener("imaps")

    async def report() -> None:
        counted.login("PLAIN", "ok", 0.1)

    history = History(metrics.registry, report)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(history.keep)
        await _logins(history, 1)
        assert history.view().points == []
        for number in (1, 2):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(STEP)
            await _logins(history, number + 1)
        assert [each.logins for each in history.view().points] == [1, 1]
        nursery.cancel_scope.cancel()


async def test_a_fault_is_a_gap_and_the_admin_address_goes_on(mock_clock: MockClock) -> None:
    metrics, faults = _metrics(), 1
    counted = metrics.listener("imaps")

    async def report() -> None:
        nonlocal faults
        if faults:
            faults -= 1
            raise RuntimeError("can't start new thread")
        counted.login("PLAIN", "ok", 0.1)

    history = History(metrics.registry, report)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(history.keep)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(STEP)
        await _logins(history, 1)
        nursery.cancel_scope.cancel()


async def _logins(history: History, count: int) -> None:
    """Wait for so many; counting is done in a thread, which a clock of ours doesn't know of."""
    while history.view().totals.logins < count:
        await trio.lowlevel.checkpoint()


async def test_it_is_served() -> None:
    async with serving() as admin:
        answer = await admin.ask("GET", "/api/history")
        assert (answer.status, answer.json["points"]) == (200, [])
        assert answer.json["totals"]["cleartext"] == 0


async def test_the_pages_files_come_with_a_policy_and_nothing_from_elsewhere() -> None:
    async with serving() as admin:
        for path, kind in {
            "/": "html",
            "/page.css": "css",
            "/page.js": "javascript",
            "/chart.js": "javascript",
        }.items():
            answer = await admin.ask("GET", path)
            assert answer.status == 200
            assert answer.headers["content-type"] == f"text/{kind}; charset=utf-8"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert re.findall(rb"//[^\s/]", answer.body.replace(b"http://www.w3.org/2000/svg", b"")) == []
            assert (await admin.ask("GET", path, {"host": "evil.example"})).status == 421
