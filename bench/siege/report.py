"""What was found, in Markdown."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.peers.machine import machine
from bench.siege.run import Findings, Row
from bench.siege.site import SHARES, Size

_TEXT = """# Load and faults

`bench/load_and_faults.py` keeps {sessions:,} sessions logged in ({shares}) and breaks
one thing after the other. Each session asks for a sign of life every {beat:.0f} s, and must have it within 8 s. Of all,
5 % are slow readers of a fetched message (4 KiB every {beat:.0f} s), and 2 % log out and in again every {beat:.0f} s.
All the while {stalled:,} connections stall before or within the handshake, and {flood} connections a second of two
networks say nothing. The last run of the script has written this file.

{where}

{table}

- lost: sessions that were logged in and ended, or had no answer in time; in brackets, those that the fault itself takes
  away (its backend's, its worker's), which log in again. All others are held against the gateway.
- failed: logins that were put off or cut. A login that is called wrong is held against the gateway, always.
- p99, longest: of the NOOPs' round trips, on cores that clients and backends share.

| | memory, MiB | descriptors |
| --- | ---: | ---: |
| before | {base} | {base_descriptors:,} |
| {sessions:,} sessions, logged in within {took:.0f} s | {full} | {full_descriptors:,} |
| when all are gone | {end} | {end_descriptors:,} |

Messages: {stored:,} stored, {twice} of them for the second time; {messages}.
Valkey was found to be away {state_downs}. {counts}

{verdict}
"""


_ZERO = "When all are gone, sessions, backend connections and the networks' connections count zero."


def report(findings: Findings, size: Size, seconds: float, descriptors: int) -> str:
    """All of it, for a file. ``descriptors``: what a process may open."""
    broken = [*findings.broken, *(f"{row.name}: {each}" for row in findings.rows for each in row.broken)]
    lost = any("nowhere" in each for each in findings.broken)
    counted = any("counted" in each or "let in" in each for each in findings.broken)
    workers = "one process" if size.workers == 1 else f"{size.workers} workers"
    where = (
        f"{datetime.now(UTC):%Y-%m-%d}, {seconds / 60:.0f} minutes; {machine()[0]}; {machine()[1]}. Gateway: {workers}"
    )
    if size.workers > 1:
        where += f" (a process may open {descriptors:,} descriptors here, and a session takes two)"
    names = {"imap": "IMAP", "pop3": "POP3", "submission": "submission"}
    return _TEXT.format(
        sessions=size.sessions,
        shares=", ".join(f"{share} % {names[name]}" for name, share in SHARES.items()),
        stalled=size.stalled,
        flood=size.flood,
        beat=size.beat,
        where=where + ".",
        table=_table(findings.rows),
        base=_mib(findings.base.memory),
        base_descriptors=findings.base.descriptors,
        full=_mib(findings.full.memory),
        full_descriptors=findings.full.descriptors,
        end=_mib(findings.end.memory),
        end_descriptors=findings.end.descriptors,
        took=findings.log_in_seconds,
        stored=findings.stored,
        twice=findings.twice,
        state_downs=f"{len(findings.state_downs)} times ({'; '.join(findings.state_downs)})",
        messages="some that were taken are missing" if lost else "none that was taken is missing",
        counts="Not all counts are zero when all are gone." if counted else _ZERO,
        verdict="\n".join(f"- **{each}**" for each in broken) or "All of it held.",
    )


def _table(rows: list[Row]) -> str:
    lines = [
        "| fault | held | lost | logins | failed | messages | p99, ms | longest, ms | memory, MiB | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        held = "**no**" if row.broken else "-" if row.seen.startswith("not done") else "yes"
        lost = f"{row.lost:,} ({row.owed:,})"
        cells = [row.name, held, lost, f"{row.logins:,}", f"{row.failed:,}", f"{row.taken:,}"]
        cells += [f"{row.p99_ms:.0f}", f"{row.longest_ms:.0f}", _mib(row.highest.memory), row.seen]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mib(kib: int) -> str:
    return f"{kib / 1024:,.0f}"
