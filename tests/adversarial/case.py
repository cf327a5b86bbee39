"""A case: an attack in a few lines, and what must have come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest

from tests.legacy_server import SECRET, USER, Script
from tlsgate.config import Protocol, TlsMode

IMAP, POP3, SUBMISSION, MX = Protocol
# Where a case begins: greeted in clear, where the ClientHello is due, or greeted behind the handshake.
CLEAR, HELLO, TLS = "clear", "hello", "tls"
WRONG = "hunter2hunter2"
"""The password that cases send where they send a wrong one: it must be told nowhere."""

# What a backend hears of the usual login there; its tag is any.
IMAP_LOGIN = f'TAG LOGIN "{USER}" "{SECRET}"⏎'
POP3_LOGIN = f"USER {USER}⏎PASS {SECRET}⏎"
SMTP_LOGIN = f"EHLO mail.example.org⏎AUTH PLAIN «base64 ␀{USER}␀{SECRET}»⏎"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Case:
    """One attack. ``name``: begins with its row. ``begins``: CLEAR (with STARTTLS alone), HELLO or TLS.

    ``ended``: how the session's result and reason begin. ``heard``: all that backends got over the attacker's sessions,
    without our trace fields.
    ``messages``: those that stand there, without them too. ``told``: of logins, in order.
    ``bounds``: limits that differ from the defaults; ``settings``: of the gate; ``backend``: another than the usual;
    ``learned``: what is known of backends' capabilities.
    """

    name: str
    protocol: Protocol
    begins: str
    script: str
    ended: str = ""
    heard: str = ""
    messages: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    bounds: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    settings: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    backend: Script | None = None
    learned: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        return self.name.partition("_")[0]

    @property
    def modes(self) -> tuple[TlsMode, ...]:
        """An mx listener has STARTTLS only; whoever begins in clear, too."""
        return (TlsMode.STARTTLS,) if self.begins == CLEAR or self.protocol is MX else tuple(TlsMode)


def each(*cases: Case) -> pytest.MarkDecorator:
    """One test for each case and TLS mode, by names."""
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases of one name"
    params = [pytest.param(case, tls, id=f"{case.name}-{tls}") for case in cases for tls in case.modes]
    return pytest.mark.parametrize(("case", "tls"), params)
