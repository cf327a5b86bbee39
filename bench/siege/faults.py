"""What is done to the gateway and to those around it, and what of the losses is owed to that.

A fault is a generator: it breaks something, yields the seconds that this lasts, mends it, and gives an Outcome.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.siege.gate import BEACON, total
from bench.siege.site import Crowd, Site, descriptors

_TRIES, _A_MOMENT = 30, 0.3  # seconds
_SHIFT = 7200  # seconds that the clock jumps


@dataclass(slots=True)
class Outcome:
    """``owed``: how many sessions may be lost by the fault; ``whose``: how the crowd calls them, "" for any.

    ``logins_fail``: while it lasts, for now. ``seen``: for people. ``broken``: what should have held.
    """

    owed: int = 0
    whose: str = ""
    logins_fail: bool = False
    seen: str = ""
    broken: list[str] = field(default_factory=list)

    def expect(self, holds: bool, what: str) -> None:
        """Note what doesn't hold."""
        if not holds:
            self.broken.append(what)


Going = Generator[float, None, Outcome]
Fault = Callable[[Site, Crowd], Going]


def _until(holds: Callable[[], bool]) -> Generator[float, None, None]:
    """Time for what must come, though not at once."""
    for _ in range(_TRIES):
        if holds():
            break
        yield _A_MOMENT


def nothing(site: Site, crowd: Crowd) -> Going:
    yield site.size.during + site.size.after
    return Outcome()


def backend_killed(site: Site, crowd: Crowd) -> Going:
    """One of two; its sessions can't live on."""
    first = str(site.gate.ports.backends[0]["imap"])
    outcome = Outcome(crowd.look().by_backend.get(first, 0), first + " ", logins_fail=True)
    site.backends[0].kill()
    yield site.size.during
    site.backends[0].start()
    yield site.size.after

    def is_back() -> bool:
        return total(site.gate.metrics(), "tlsgate_backend_up", f":{first}") > 0

    yield from _until(is_back)
    outcome.expect(is_back(), "the backend that is back isn't used")
    outcome.seen = f"{outcome.owed} sessions at the backend"
    return outcome


def dns_dead(site: Site, crowd: Crowd) -> Going:
    """It says nothing, which is worse than nobody there."""
    asked = site.gate.logged
    site.dns.send_signal(signal.SIGSTOP)
    yield site.size.during
    site.dns.send_signal(signal.SIGCONT)
    yield site.size.after
    downs = len(list(site.gate.events("dns_down", asked)))
    return Outcome(seen=f"told as down {downs} times")


def state_dead(site: Site, crowd: Crowd) -> Going:
    """Valkey is killed, and comes back without a key."""
    before, outcome = site.gate.logged, Outcome()
    site.redis.kill()
    yield site.size.during
    outcome.expect(total(site.gate.metrics(), "tlsgate_state_up") == 0, "the state isn't known to be away")
    site.redis.start()
    yield site.size.after
    yield from _until(lambda: total(site.gate.metrics(), "tlsgate_state_up") == 1)
    for name in ("state_down", "state_up"):
        outcome.expect(len(list(site.gate.events(name, before))) == 1, f"{name} isn't told once")
    return outcome


def state_hangs(site: Site, crowd: Crowd) -> Going:
    """Valkey takes all that it is sent, and answers nothing."""
    outcome = Outcome()
    assert site.redis.process is not None
    site.redis.process.send_signal(signal.SIGSTOP)
    yield site.size.during
    outcome.expect(total(site.gate.metrics(), "tlsgate_state_up") == 0, "the state isn't known to hang")
    site.redis.process.send_signal(signal.SIGCONT)
    yield site.size.after
    yield from _until(lambda: total(site.gate.metrics(), "tlsgate_state_up") == 1)
    outcome.expect(total(site.gate.metrics(), "tlsgate_state_up") == 1, "the state isn't used again")
    return outcome


def disk_full(site: Site, crowd: Crowd) -> Going:
    """Of the state directory: a ban is in force all the same, and written once there is room."""
    gate, outcome = site.gate, Outcome()
    if not gate.has_disk:
        return Outcome(seen="not done: no file system may be mounted here")
    before = gate.logged
    gate.fill_disk()
    status, _ = gate.ask("POST", "/api/bans", {"network": BEACON, "seconds": 3600, "reason": "siege"})
    outcome.expect(status == 201, f"no ban while the disk is full: {status}")
    yield site.size.during
    yield from _until(lambda: any(gate.events("ban_file_fault", before)))
    outcome.expect(len(list(gate.events("ban_file_fault", before))) == 1, "the full disk isn't told once")
    outcome.expect(BEACON in gate.ask("GET", "/api/bans")[1], "the ban isn't in force")
    gate.free_disk()
    yield site.size.after

    def is_kept() -> bool:
        return any(BEACON.partition("/")[0].encode() in path.read_bytes() for path in gate.state_seen.iterdir())

    yield from _until(is_kept)
    outcome.expect(is_kept(), "the ban isn't in a file, though there is room again")
    gate.ask("DELETE", f"/api/bans/{BEACON}")
    return outcome


def capacity_reached(site: Site, crowd: Crowd) -> Going:
    """More connections than [limits] connections: the next ones are refused, and nobody else notices."""
    before, outcome = total(site.gate.metrics(), *_OVER), Outcome(logins_fail=True)
    site.nuisance.ask(f"fill {site.size.most - site.size.sessions + 100}")
    yield site.size.during
    refused = total(site.gate.metrics(), *_OVER) - before
    outcome.expect(refused > 0, "nobody was refused")
    site.nuisance.ask("empty")
    yield site.size.after
    outcome.seen = f"{refused:.0f} refused"
    return outcome


_OVER = ("tlsgate_connections_total", 'result="over_capacity"')


def no_descriptors(site: Site, crowd: Crowd) -> Going:
    """Those who serve may open no more; who is in has what it needs."""
    outcome = Outcome(logins_fail=True)
    with _few_descriptors(site.workers):
        site.nuisance.ask(f"fill {20 + site.size.sessions // 50}")
        yield site.size.during
    site.nuisance.ask("empty")
    yield site.size.after
    return outcome


@contextmanager
def _few_descriptors(pids: list[int]) -> Iterator[None]:
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid), hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def worker_killed(site: Site, crowd: Crowd) -> Going:
    """SIGKILL for one: its sessions are lost, counted, and no others."""
    if site.size.workers == 1:
        return Outcome(seen="not done: one process serves all")
    before, workers = site.gate.logged, site.workers
    os.kill(workers[-1], signal.SIGKILL)
    yield site.size.during + site.size.after
    yield from _until(lambda: workers[-1] not in site.workers and len(site.workers) == len(workers))
    ended = list(site.gate.events("worker_ended", before))
    outcome = Outcome(sum(event["sessions"] for event in ended), logins_fail=True)
    outcome.expect([event["pid"] for event in ended] == [workers[-1]], "its end isn't told once")
    outcome.expect(len(site.workers) == len(workers), "no other came in its place")
    outcome.seen = f"{outcome.owed} connections were the worker's"
    return outcome


def clock_jumps(site: Site, crowd: Crowd) -> Going:
    """Two hours ahead, and back."""
    outcome = Outcome()
    site.gate.set_clock(_SHIFT)
    yield site.size.during
    site.gate.ask("POST", "/api/bans", {"network": BEACON, "seconds": 60, "reason": "siege"})
    since = json.loads(site.gate.ask("GET", "/api/bans")[1])[0]["since"]
    outcome.expect(abs(since - time.time() - _SHIFT) < 60, "the gateway's clock didn't jump")
    site.gate.set_clock(0)
    yield site.size.after
    site.gate.ask("DELETE", f"/api/bans/{BEACON}")
    return outcome


def reloaded(site: Site, crowd: Crowd) -> Going:
    """A config that is taken, then one that isn't."""
    gate, outcome, before = site.gate, Outcome(), site.gate.logged
    assert gate.server.process is not None
    gate.write_config("[bans]\nfailures = 20\n")
    gate.server.process.send_signal(signal.SIGHUP)
    yield site.size.during
    yield from _until(lambda: any(gate.events("config_reloaded", before)))
    outcome.expect(len(list(gate.events("config_reloaded", before))) == 1, "the new config isn't in force")
    gate.write_config("[bans]\nfailure = 20\n")
    gate.server.process.send_signal(signal.SIGHUP)
    yield site.size.after
    yield from _until(lambda: any(gate.events("config_rejected", before)))
    outcome.expect(len(list(gate.events("config_rejected", before))) == 1, "the faulty config isn't rejected")
    return outcome


FAULTS: dict[str, Fault] = {
    "none": nothing,
    "a backend is killed, and started again": backend_killed,
    "the DNS is silent, and speaks again": dns_dead,
    "Valkey is killed, and comes back empty": state_dead,
    "Valkey hangs, and goes on": state_hangs,
    "the state directory's disk is full": disk_full,
    "`limits.connections` is reached": capacity_reached,
    "no descriptor is left": no_descriptors,
    "a worker is killed": worker_killed,
    "the clock jumps by two hours, and back": clock_jumps,
    "SIGHUP, with a good and a bad config": reloaded,
}
