"""A siege from its beginning to its end: everybody in, one fault after the other, everybody gone; and what held."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.mail.store import HOST
from bench.siege.dialogues import recipient
from bench.siege.faults import FAULTS, Fault, Outcome
from bench.siege.life import Status
from bench.siege.site import PLACE, Crowd, Measure, Site

_PATIENCE = 90.0
_GIVEN_BACK = 15.0  # seconds within which memory is
_WARM = 40  # sessions that come and go first: what is loaded by the first ones isn't held against the others
# KiB for a connection, and for each process that serves: what slow readers may pin (64 MiB), and what it is itself.
_A_CONNECTION, _A_PROCESS = 100, 128 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """A fault and what came of it. ``logins``, ``failed``, ``lost``, ``taken``: within its time."""

    name: str
    seconds: float
    lost: int
    owed: int
    logins: int
    failed: int
    taken: int
    p99_ms: float
    longest_ms: float
    highest: Measure
    seen: str
    broken: list[str]


@dataclass(slots=True)
class Findings:
    """``base``: without sessions; ``full``: with all of them; ``end``: when they are gone. ``stored``, ``twice``:
    messages. ``state_downs``: why Valkey was found to be away, each time."""

    base: Measure
    full: Measure
    end: Measure
    log_in_seconds: float
    rows: list[Row] = field(default_factory=list)
    stored: int = 0
    twice: int = 0
    state_downs: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        return not (self.broken or any(row.broken for row in self.rows))


def besiege(site: Site, until: float, say: Callable[[str], None], faults: Mapping[str, Fault] = FAULTS) -> Findings:
    """All of it. ``until``: by the monotonic clock; faults that would go beyond are left out, and held against it."""
    size = site.size
    with site.crowd(_WARM) as few:
        few.wait_for_all(_PATIENCE)
        few.leave()
    if left := _emptied(site):
        raise RuntimeError(left)
    base, began = site.measure(), time.monotonic()
    with site.crowd(size.sessions) as crowd:
        status = crowd.wait_for_all(_PATIENCE + size.sessions / 100)
        took = time.monotonic() - began
        findings = Findings(base, site.measure(), base, took)
        say(f"{status.inside} sessions in {took:.0f} s; {status.failed or 'no login failed'}; {findings.full}")
        if status.away:
            findings.broken.append(f"{status.away} of {size.sessions} sessions aren't logged in")
        if status.failed:
            findings.broken.append(f"logins failed before any fault: {status.failed}")
        site.nuisance.ask(f"stall {size.stalled}")
        site.nuisance.ask(f"flood {size.flood}")
        for name, fault in faults.items():
            if time.monotonic() + size.during + size.after + 30 > until:
                findings.broken.append(f"no time was left for: {name}")
                continue
            findings.rows.append(row := _under(name, fault, site, crowd))
            say(f"{row}")
        _judge_nuisance(findings, site)
        last = crowd.leave()
    _judge_messages(findings, site, last)
    _judge_end(findings, site)
    return findings


def _under(name: str, fault: Fault, site: Site, crowd: Crowd) -> Row:
    before, began, site.highest = crowd.status(), time.monotonic(), None
    going, outcome = fault(site, crowd), Outcome()
    while True:
        try:
            site.wait(next(going))
        except StopIteration as done:
            outcome = done.value
            break
    seconds = time.monotonic() - began
    away, after = crowd.wait_for_all(_PATIENCE).away, crowd.status()
    lost, failed = _more(after.lost, before.lost), _more(after.failed, before.failed)
    owed = Counter({why: count for why, count in lost.items() if outcome.owed and why.startswith(outcome.whose)})
    outcome.expect(owed.total() <= outcome.owed, f"{owed.total()} sessions lost, where {outcome.owed} are owed to it")
    outcome.expect(lost == owed, f"sessions lost: {dict(lost - owed)}")
    wrong = {why: count for why, count in failed.items() if why.startswith("refused") or not outcome.logins_fail}
    outcome.expect(not wrong, f"logins failed: {wrong}")
    outcome.expect(not away, f"{away} sessions don't come back")
    counts = _more(after.counts, before.counts)
    highest = site.highest or site.measure()
    most = _A_PROCESS * (2 * site.size.workers + 1) + _A_CONNECTION * site.size.most
    outcome.expect(highest.memory <= most, f"{highest.memory} KiB")
    return Row(
        name, seconds, lost.total(), owed.total(), counts["logins"], failed.total(), counts["taken"],
        after.p99_ms, after.longest_ms, highest, outcome.seen, outcome.broken,
    )  # fmt: skip


def _more(after: Mapping[str, int], before: Mapping[str, int]) -> Counter[str]:
    return Counter(after) - Counter(before)


def _emptied(site: Site) -> str:
    """Wait until nobody is counted any more; "", or what still is."""
    until = time.monotonic() + _PATIENCE
    while (left := _counted(site)) and time.monotonic() < until:
        site.wait(0.2)
    return f"still counted: {len(left)} counts, such as {dict(list(left.items())[:5])}" if left else ""


def _counted(site: Site) -> dict[str, float]:
    """The gauges that aren't zero; places that are taken in Valkey, of the host, networks, users and backends."""
    metrics = site.gate.metrics() | site.places()
    names = ("tlsgate_sessions", "tlsgate_backend_connections", "tlsgate_bans")
    return {key: value for key, value in metrics.items() if key.partition("{")[0] in (*names, PLACE) and value}


def _judge_nuisance(findings: Findings, site: Site) -> None:
    told, size = site.nuisance.ask("status"), site.size
    for kind, longest in told["longest"].items():
        if longest > size.greeting + 5:
            findings.broken.append(f"{kind}: stayed for {longest:.0f} s, where {size.greeting} s are the most")
    if not told["counts"].get("flood refused"):
        findings.broken.append("no connection of a flood was refused")
    site.nuisance.ask("leave")


def _judge_messages(findings: Findings, site: Site, last: Status) -> None:
    stored = Counter(line for path in site.stored for line in path.read_text().splitlines())
    missing = [number for number in last.taken if not stored[recipient(number)]]
    findings.stored, findings.twice = stored.total(), stored.total() - len(stored)
    if missing:
        findings.broken.append(f"messages that were taken and are nowhere: {missing[:10]}, {len(missing)} in all")
    if not last.taken:
        findings.broken.append("no message was taken")


def _judge_end(findings: Findings, site: Site) -> None:
    """Nobody is there any more, and nothing of them is left."""
    if left := _emptied(site):
        findings.broken.append(left)
    for source in ("127.0.1.1", "127.0.6.1"):
        let_in = _let_in(site, source)
        if let_in != site.size.per_network:
            findings.broken.append(f"{let_in} connections of {source} are let in, of {site.size.per_network}")
    _emptied(site)
    base, full = findings.base, findings.full
    bound = base.memory + max((full.memory - base.memory) // 2, base.memory // 2)
    until = time.monotonic() + _GIVEN_BACK
    while (end := site.measure()).memory > bound and time.monotonic() < until:
        site.wait(1.0)
    findings.end = end
    findings.state_downs = [event["reason"] for event in site.gate.events("state_down")]
    if end.descriptors > base.descriptors:
        findings.broken.append(f"{end.descriptors} descriptors are left, of {base.descriptors} at the start")
    if end.memory > bound:
        findings.broken.append(f"{end.memory} KiB are left")
    if faults := list(site.gate.events("library")):
        findings.broken.append(f"a library has warned: {faults[0]}")
    ended = Counter(event["result"] for event in site.gate.events("session"))
    if ended["fault"]:
        findings.broken.append(f"{ended['fault']} sessions ended by a fault of the gateway's")
    if b"Traceback" in site.gate.server.log.read_bytes():
        findings.broken.append("a traceback in the log")


def _let_in(site: Site, source: str) -> int:
    """How many connections of one network there may be at once: all that it may have if it has none."""
    opened = []
    try:
        for _ in range(site.size.per_network + 5):
            opened.append(socket.create_connection((HOST, site.gate.ports.listeners["imap"]), 10, (source, 0)))
        time.sleep(0.5)
        return sum(_is_open(each) for each in opened)
    finally:
        for each in opened:
            each.close()


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
