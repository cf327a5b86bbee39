"""A backend as it is examined: with what its pool and the listeners before it make of it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tlsgate import config
from tlsgate.backends.pool import Backend
from tlsgate.config import Config, Protocol
from tlsgate.dialogue.backend import BackendDialogue, Purpose
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.pop3_backend import Pop3Backend
from tlsgate.dialogue.smtp_backend import SmtpBackend

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


@dataclass(frozen=True, slots=True)
class Subject:
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


def subjects(settings: Config, contexts: Mapping[str, Sequence[ssl.SSLContext | None]]) -> Iterator[Subject]:
    """Every backend that a listener can lead to. ``contexts``: by pool, for its backends in their order."""
    reached = _reached(settings)
    for name, pool in settings.pools.items():
        for each, context in zip(pool.backends, contexts[name], strict=True):
            if name in reached:
                backend = Backend(name, each, Untold(), context, pool.client_address)
                yield Subject(backend, pool, reached[name], settings.server.hostname)


def _reached(settings: Config) -> dict[str, frozenset[Protocol]]:
    """The protocols that each pool is used for."""
    reached: dict[str, frozenset[Protocol]] = {}
    for listener in settings.listeners:
        reached[listener.pool] = reached.get(listener.pool, frozenset()) | {listener.protocol}
    with_users = frozenset(each.protocol for each in settings.listeners) - {Protocol.MX}
    for route in settings.routes:
        protocols = with_users if route.protocol is None else frozenset({route.protocol})
        if protocols:
            reached[route.pool] = reached.get(route.pool, frozenset()) | protocols
    return reached
