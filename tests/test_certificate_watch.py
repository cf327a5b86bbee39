"""Certificates that are renewed on disk are served, told and measured; those that can't be used are told once."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography import x509
from trio.testing import MockClock

from tests.certificate_layouts import CHAIN, KEY, LAYOUTS, Certbot, Layout
from tests.test_gateway import Event, Log, Running, at, config, legacy, reading, running
from tlsgate import certificate_watch
from tlsgate.prepared import Prepared
from tlsgate.workers.spawner import SpawnFault

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def _polls_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_watch, "POLL", 0.02)


async def shown(gate: Running) -> x509.Certificate:
    """The certificate that a new client sees."""
    host, _, port = gate.address.rpartition(":")
    return parsed(await trio.to_thread.run_sync(ssl.get_server_certificate, (host, int(port))))


def parsed(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


async def after(gate: Running, event: str, change: Callable[[], object]) -> Event:
    """Make a change, and wait for an event."""
    told: list[Event] = []

    async def hear() -> None:
        told.append(await gate.log.next(event))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            await trio.testing.wait_all_tasks_blocked()
            change()
    return told[0]


@pytest.mark.usefixtures("_polls_fast")
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_renewed_pair_is_served_and_sessions_go_on(
    layout: Callable[[Path], Layout], nursery: trio.Nursery, tmp_path: Path
) -> None:
    files, pems = layout(tmp_path), list[str]()
    old = files.renew()
    async with running(config(tmp_path, at(await legacy(nursery)))) as gate:
        client, said = await gate.log_in()
        assert said.startswith(b"a OK")
        assert await shown(gate) == parsed(old)
        told = await after(gate, "certificates_reloaded", lambda: pems.append(files.renew()))
        assert await shown(gate) == parsed(pems[0])
        ends = min(
            each.not_valid_after_utc for each in x509.load_pem_x509_certificates((tmp_path / CHAIN).read_bytes())
        )
        assert told == {"level": "info", "certificates": 1, "first_expires": f"{ends:%Y-%m-%dT%H:%MZ}"}
        (metric,) = [line for line in gate.told("tlsgate_certificate_expiry") if not line.startswith("#")]
        assert datetime.fromtimestamp(float(metric.split()[-1]), UTC) == ends
        assert (await client.ask(b"b NOOP")).startswith(b"b OK")
        assert not gate.log.all("config_reloaded")


@pytest.mark.usefixtures("_polls_fast")
async def test_half_a_pair_leaves_the_old_one_in_force(nursery: trio.Nursery, tmp_path: Path) -> None:
    """certbot replaces one link after the other; who takes what is there in between serves nobody."""
    certbot = Certbot(tmp_path)
    certbot.renew()
    async with running(config(tmp_path, at(await legacy(nursery)))) as gate:
        old, new = await shown(gate), certbot.archive()
        told = await after(gate, "certificate_fault", lambda: certbot.link(CHAIN))
        assert told["level"] == "error"
        path = tmp_path / KEY
        assert str(told["reason"]).startswith(f"{path}: is not the key of {tmp_path / CHAIN}; ")
        assert await shown(gate) == old
        await after(gate, "certificates_reloaded", lambda: certbot.link(KEY))
        assert await shown(gate) == parsed(new)
        assert len(gate.log.all("certificate_fault")) == 1


# -- what is told ----------------------------------------------------------------------------------------


@dataclass
class Script:
    """Files that have changed at each poll, and what comes of it: "", a fault, None when the gateway drains."""

    prepared: Prepared
    outcomes: Iterator[str | None]
    silence: Iterator[bool] = field(default_factory=lambda: iter(()))
    unchanged: int = 0

    def changed(self) -> bool:
        if next(self.silence, False):
            raise SpawnFault("the spawner is silent")
        if self.unchanged:
            self.unchanged -= 1
            return False
        return True

    def renewed(self) -> Prepared:
        return self.prepared

    async def renew(self) -> str | None:
        return next(self.outcomes)

    async def watch(self) -> list[tuple[str, str]]:
        """The events until the gateway drains, with their reasons."""
        log = Log()
        with trio.fail_after(20):
            await certificate_watch.watch(self, self.renew, lambda: self.prepared.contexts.certificates, log)
        log.close()
        return [(name, str(fields.get("reason", "")).partition(";")[0]) for name, fields in log.told]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return reading(config(tmp_path, '{ address = "127.0.0.1:1" }'))


@pytest.mark.usefixtures("_polls_fast")
async def test_a_fault_is_told_once_until_it_is_another_or_over(prepared: Prepared) -> None:
    script = Script(prepared, iter(("one", "one", "two", "", "two", None)))
    assert await script.watch() == [
        ("certificate_fault", "one"),
        ("certificate_fault", "two"),
        ("certificates_reloaded", ""),
        ("certificate_fault", "two"),
    ]


@dataclass
class Disk:
    """Files that change all the time, on a disk that hangs while ``answers`` isn't set."""

    answers: threading.Event = field(default_factory=threading.Event)

    def changed(self) -> bool:
        self.answers.wait()
        return True

    def renewed(self) -> Prepared:
        raise NotImplementedError

    async def renew(self) -> str:
        return ""


async def test_a_disk_that_hangs_is_told_once_and_looked_at_when_it_answers(
    prepared: Prepared, nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    """A volume of a network whose server is away would end renewals, and nobody would hear of it."""
    log, disk = Log(), Disk()
    nursery.start_soon(certificate_watch.watch, disk, disk.renew, lambda: prepared.contexts.certificates, log)
    for hangs in (1, 2):
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(certificate_watch.POLL)
        await trio.testing.wait_all_tasks_blocked()
        told = [fields["reason"] for fields in log.all("certificate_fault")]
        assert told == ["a file system hangs; what was read before is served"] * hangs
        disk.answers.set()
        await log.next("certificates_reloaded")
        disk.answers.clear()
    disk.answers.set()
    log.close()


@pytest.mark.usefixtures("_polls_fast")
async def test_that_nobody_is_left_who_can_read_them_is_told_once(prepared: Prepared) -> None:
    """The watch must not end the gateway with the spawner, nor fill its log."""
    script = Script(prepared, iter((None,)), silence=iter([True] * 5))
    assert await script.watch() == [("certificate_fault", "the spawner is silent")]


@pytest.mark.usefixtures("_polls_fast")
async def test_silence_after_an_answer_is_told_again(prepared: Prepared) -> None:
    script = Script(prepared, iter((None,)), silence=iter((True, True, False, True, True)), unchanged=1)
    assert await script.watch() == [("certificate_fault", "the spawner is silent")] * 2


@pytest.mark.usefixtures("_polls_fast")
async def test_a_fault_of_the_files_is_told_once_though_they_rest(prepared: Prepared) -> None:
    """A pair that doesn't fit stays on disk for days: at most polls nothing has changed."""
    script = Script(prepared, iter(("one", "one", None)))
    changed = iter((True, False, False, True, True))
    script.changed = lambda: next(changed)  # type: ignore[method-assign]
    assert await script.watch() == [("certificate_fault", "one")]
