"""Is a backend there, is its TLS as configured, and what does it offer?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import trio

from tlsgate.admission.dnsbl import is_private
from tlsgate.admission.reversed_name import ClientIP
from tlsgate.backends.faults import BackendFault, Reason
from tlsgate.backends.login import ask
from tlsgate.backends.resolve import numeric, resolve
from tlsgate.config import BackendTls, HostPort
from tlsgate.dialogue.backend import Probe
from tlsgate.doctor.finding import Finding, Severity
from tlsgate.doctor.subject import Subject

_TIMEOUT = 60.0  # seconds
_RESOLVE_TIMEOUT = 10.0
_MOST_SHOWN = 40
_DO = {
    Reason.CONNECT: "start it, or mend pools.{pool}.backends and what is between it and us",
    Reason.TIMEOUT: "see what it waits for; if it is only slow, raise pools.{pool}.connect_timeout",
    Reason.TLS: "mend its certificate; name its CA in the backend's ca, the certificate's name in server_name",
    Reason.PROTOCOL: "see whether the port speaks this protocol, and tls is as the server has it",
    Reason.CLOSED: "see its log; it may refuse our address, or want tls set otherwise",
    Reason.CAPACITY: "free this host's descriptors or ports",
}


async def reach(subject: Subject, addresses: Sequence[ClientIP]) -> tuple[bool, list[Finding]]:
    """Whether it answers as it should; and what was found. ``addresses``: where it is, as far as known."""
    backend, found = subject.backend, list(_exposed(subject, addresses))
    fault = BackendFault(Reason.TIMEOUT, f"no end within {_TIMEOUT:.0f} seconds")
    with trio.move_on_after(_TIMEOUT):
        try:
            session = await ask(backend, Probe(), subject.dialogue, subject.pool.connect_timeout)
        except BackendFault as why:
            fault = why
        else:
            session.close()
            return True, [*found, *_offered(subject, session.outcome.capabilities)]
    what, why_bad = f"can't be used: {fault}", "clients are refused as long as no other backend of the pool serves them"
    do = _DO[fault.reason].format(pool=backend.pool)
    return False, [*found, Finding(subject.about, Severity.PROBLEM, what, why_bad, do)]


async def addresses_of(subject: Subject) -> tuple[ClientIP, ...]:
    """Where a backend is; () for a unix socket, and where that isn't found out in time."""
    address = subject.backend.settings.address
    if not isinstance(address, HostPort):
        return ()
    if numeric(address) is not None:
        return (ip_address(address.host),)
    with trio.move_on_after(_RESOLVE_TIMEOUT):
        try:
            return tuple(ip_address(host) for _, (host, _) in await resolve(address))
        except OSError:
            pass  # the connection fails too, and says why
    return ()


def _exposed(subject: Subject, addresses: Sequence[ClientIP]) -> Iterator[Finding]:
    settings = subject.backend.settings
    public = next((each for each in addresses if not is_private(each)), None)
    if public is None:
        return
    if settings.tls is BackendTls.NONE:
        yield Finding(
            subject.about,
            Severity.PROBLEM,
            f"is spoken to in clear, at the public address {public}",
            "passwords and mail can be read on the way there",
            'set the backend\'s tls = "starttls" or "implicit", or reach it by a private network',
        )
    elif not settings.verify:
        yield Finding(
            subject.about,
            Severity.WARNING,
            f"its certificate isn't checked, at the public address {public}",
            "whoever is on the way there can pass for it and read passwords",
            "set the backend's verify = true, with its CA in ca if that isn't a public one",
        )


def _offered(subject: Subject, capabilities: Sequence[str]) -> Iterator[Finding]:
    shown = ", ".join(sorted(capabilities)[:_MOST_SHOWN]) or "nothing beyond the least"
    yield Finding(subject.about, Severity.NOTE, f"answers; it offers {shown}")
    words = {each.split(" ")[0].upper() for each in capabilities}
    if subject.backend.settings.tls is BackendTls.NONE and words & {"STARTTLS", "STLS"}:
        what = "could do TLS, and is spoken to in clear"
        do = 'set the backend\'s tls = "starttls"'
        yield Finding(subject.about, Severity.NOTE, what, "whoever is between it and us reads passwords", do)
