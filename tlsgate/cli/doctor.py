"""tlsgate doctor: look at a deployment from outside, say what is wrong, why it matters and what to do."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import msgspec
import trio

from tlsgate.cli.admin_api import printable
from tlsgate.config import ConfigError, load
from tlsgate.doctor.examine import examine
from tlsgate.doctor.finding import Finding, Severity
from tlsgate.prepared import prepare
from tlsgate.tls.certificate import CertificateFault

NOTHING_TO_DO, FINDINGS, BAD_CONFIG = 0, 1, 2
_WIDEST, _NARROWEST = 100, 40
_LABELS = {Severity.PROBLEM: "PROBLEM", Severity.WARNING: "warning", Severity.NOTE: "note"}
_COLUMN = 9


def execute(arguments: argparse.Namespace) -> int:
    """Examine what ``arguments.config`` makes; gives the exit code."""
    try:
        prepared = prepare(load(Path(arguments.config).absolute()))
    except (ConfigError, CertificateFault) as fault:
        print(fault, file=sys.stderr)
        return BAD_CONFIG
    found = trio.run(examine, prepared, arguments.domain)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        print("\n".join(report(found, shutil.get_terminal_size().columns)))
    return FINDINGS if any(each.severity is not Severity.NOTE for each in found) else NOTHING_TO_DO


def report(found: Sequence[Finding], width: int) -> Iterator[str]:
    """For people: by what was examined, and how much there is to do. ``width``: of the terminal, in columns."""
    width = max(min(width, _WIDEST), _NARROWEST)
    for about, findings in groupby(found, lambda each: each.about):
        yield from textwrap.wrap(printable(about), width)
        for each in findings:
            yield from _shown(each, width)
        yield ""
    yield _summary(found)


def _shown(finding: Finding, width: int) -> Iterator[str]:
    parts = ((_LABELS[finding.severity], finding.what), ("  why", finding.why), ("  do", finding.do))
    for label, text in parts:
        if text:
            first, others = f"  {label:<{_COLUMN}}", " " * (_COLUMN + 2)
            yield from textwrap.wrap(printable(text), width, initial_indent=first, subsequent_indent=others)


def _summary(found: Sequence[Finding]) -> str:
    problems, warnings = (
        sum(each.severity is severity for each in found) for severity in (Severity.PROBLEM, Severity.WARNING)
    )
    if not problems and not warnings:
        return "nothing to do"
    return f"{problems} problem{'s' * (problems != 1)}, {warnings} warning{'s' * (warnings != 1)}"
