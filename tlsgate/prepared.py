"""A config with all that it names loaded and checked, ready to be served: what a reload replaces as a whole."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tlsgate import config
from tlsgate.backends.contexts import load_client_contexts
from tlsgate.config import AuthSource, Config, LoginMode, Protocol
from tlsgate.tls.certificate import CertificateFault
from tlsgate.tls.contexts import ServerContexts
from tlsgate.tls.validity import Remark, remarks
from tlsgate.workers.process import CannotStart


@dataclass(frozen=True, slots=True)
class Prepared:
    """``backend_contexts``: by pool, for its backends in their order; None for one without TLS."""

    settings: Config
    contexts: ServerContexts
    backend_contexts: Mapping[str, Sequence[ssl.SSLContext | None]]

    @property
    def listeners(self) -> list[config.Listener]:
        """The listeners that are served."""
        return [each for each in self.settings.listeners if each.protocol is not Protocol.MX]

    def remarks(self) -> Iterator[Remark]:
        """What is wrong with the certificates, though they are served."""
        return remarks(self.contexts.certificates, self.settings.server.hostname, datetime.now(UTC))


def prepare(settings: Config) -> Prepared:
    """Load what a config names. Raises CertificateFault with all faults. Reads files: not for the trio loop."""
    protocols = sorted({each.protocol for each in settings.listeners})
    backend_contexts, faults = load_client_contexts(settings.pools)
    try:
        contexts = ServerContexts(settings.tls, protocols)
    except CertificateFault as fault:
        raise CertificateFault("\n".join((str(fault), *faults))) from None
    if faults:
        raise CertificateFault("\n".join(faults))
    return Prepared(settings, contexts, backend_contexts)


def refuse_unbuilt(settings: Config) -> None:
    """Other keys that aren't active yet may wait; who gets in must be as the config says. Raises CannotStart."""
    if settings.auth.source != (AuthSource.BACKEND,):
        raise CannotStart(f"auth.source: {', '.join(settings.auth.source)} is not active yet; only backend is")
    for name in {each.pool for each in settings.listeners if each.protocol is not Protocol.MX}:
        if (login := settings.pools[name].login) is not LoginMode.SAME:
            raise CannotStart(f"pools.{name}.login: {login} is not active yet; only same is")


def needs_restart(before: Config, after: Config) -> str:
    """What has changed in the config and takes effect at the next start only."""
    changed = {
        "admin": before.admin != after.admin,
        "log": before.log != after.log,
        "server.user": before.server.user != after.server.user,
    }
    return ", ".join(key for key, differs in changed.items() if differs)
