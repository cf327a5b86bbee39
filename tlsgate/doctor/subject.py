"""A backend as it is examined: with what its pool and the listeners before it make of it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from msgspec import Struct

from tlsgate import config
from tlsgate.backends.backend import Backend
from tlsgate.backends.entry import Entry
from tlsgate.backends.resolve import Names
from tlsgate.config import Config, Protocol, reached
from tlsgate.dialogue.backend import BackendDialogue, Purpose
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.pop3_backend import Pop3Backend
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.doctor.finding import Finding, Severity

_DIALOGUES: dict[Protocol, Callable[..., BackendDialogue]] = {
    Protocol.IMAP: ImapBackend,
    Protocol.POP3: Pop3Backend,
    Protocol.SUBMISSION: SmtpBackend,
    Protocol.MX: SmtpBackend,
}


class Untold:
    """A backend's trace that nobody reads."""

    def up(self, up: bool) -> None: ...
    def connected(self) -> None: ...
    def answered(self, seconds: float) -> None: ...
    def disconnected(self) -> None: ...
    def failed(self, reason: str) -> None: ...


class Subject(Struct, frozen=True):
    """``pool``: the settings of the backend's; ``protocols``: of the listeners that use it; ``hostname``: ours."""

    backend: Backend
    pool: config.Pool
    protocols: frozenset[Protocol]
    hostname: str

    @property
    def about(self) -> str:
        """What findings call it."""
        return f"pool {self.backend.pool}, backend {self.backend.address}"

    @property
    def smtp(self) -> bool:
        """Whether it takes mail."""
        return not self.protocols.isdisjoint((Protocol.SUBMISSION, Protocol.MX))

    def dialogue(self, purpose: Purpose, starttls: bool, known: tuple[str, ...]) -> BackendDialogue:
        """Our side of a connection to it."""
        spoken = _DIALOGUES[min(self.protocols)]
        return spoken(purpose, starttls=starttls, hostname=self.hostname, known=known)


async def subjects(
    settings: Config, contexts: Mapping[str, Sequence[ssl.SSLContext | None]], names: Names
) -> AsyncIterator[Subject | Finding]:
    """Every backend that a listener can lead to, and names that lead to none.

    ``contexts``: by pool, for its backends in their order. ``names``: who knows the servers that a name stands for.
    """
    uses, hostname = reached(settings), settings.server.hostname
    for name, pool in settings.pools.items():
        for each, context in zip(pool.backends, contexts[name], strict=True):
            if name not in uses:
                continue
            entry = Entry(each, name, pool, Untold(), context, names)
            if entry.many is not None:
                await entry.look_up(hostname)
            if entry.unknown:
                about, why = f"pool {name}, backend {each.address}", "no client is sent to any server of it"
                yield Finding(about, Severity.PROBLEM, entry.unknown, why, "mend its records, or the address here")
            for backend in entry.backends:
                yield Subject(backend, pool, uses[name], hostname)
