"""What it means that an SMTP backend takes recipients elsewhere, by who comes to it as whom."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence

from tlsgate.config import ClientAddress, LoginMode, Protocol
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.doctor.finding import Finding, Severity
from tlsgate.doctor.relay_forms import Form
from tlsgate.doctor.relaying import SENDERS, STRANGER, Heard, asked
from tlsgate.doctor.subject import Subject

_TELLS = (ClientAddress.XCLIENT, ClientAddress.PROXY_V1, ClientAddress.PROXY_V2)


class Comes(enum.Enum):
    """Who comes to a backend; but for STRANGER, from our address, as far as it can see."""

    STRANGER = enum.auto()
    ANYBODY = enum.auto()  # an mx listener's clients
    USERS = enum.auto()  # who has logged in there
    VOUCHED = enum.auto()  # users who have logged in with us: it trusts us
    WE = enum.auto()  # clients come from their own addresses


async def relaying(subject: Subject, forms: Sequence[Form]) -> list[Finding]:
    """What it takes without a login: from our address and, where its pool tells who a client is, from a stranger."""
    found: list[Finding] = []
    comes = _as_us(subject)
    if subject.pool.client_address in _TELLS:
        heard = await asked(subject, forms, STRANGER)
        if heard.not_told:
            found.append(_not_told(subject, heard.not_told))
            comes = Comes.USERS  # nobody else is sent there
        else:
            found += _judged(subject, forms, heard, Comes.STRANGER)
            comes = Comes.WE
    return [*found, *_judged(subject, forms, await asked(subject, forms, None), comes)]


def _as_us(subject: Subject) -> Comes:
    if Protocol.MX in subject.protocols:
        return Comes.ANYBODY
    return Comes.VOUCHED if subject.pool.login is LoginMode.NONE else Comes.USERS


def _judged(subject: Subject, forms: Sequence[Form], heard: Heard, comes: Comes) -> Iterator[Finding]:
    taken = [each for each in forms if each in heard.taken]
    names = "; ".join(each.name for each in taken)
    whom = _whom(comes)
    if any(each.outside for each in taken):
        severity, why, do = _RELAYS[comes]
        what = f"relays for {whom} without a login: {names}"
        pool = subject.backend.pool
        yield Finding(subject.about, severity, what, why.format(pool=pool), do.format(pool=pool))
    elif taken:
        what = f"takes from {whom} recipients that may lead elsewhere: {names}"
        why = "a server that rewrites these forms relays them; one with a catch-all mailbox only keeps them"
        do = "see where such a message goes; let it refuse the forms if that is elsewhere"
        severity = Severity.NOTE if comes in (Comes.VOUCHED, Comes.WE) else Severity.WARNING
        yield Finding(subject.about, severity, what, why, do)
    yield from _unsure(subject.about, heard, whom)


def _unsure(about: str, heard: Heard, whom: str) -> Iterator[Finding]:
    for sender, said in heard.refused.items():
        what = f"takes no mail of <{sender}> from {whom} without a login: {_shown(said)}"
        if said.code >= 500:
            yield Finding(about, Severity.NOTE, what, "so no recipient was offered")
        else:
            severity = Severity.WARNING if len(heard.refused) == len(SENDERS) else Severity.NOTE
            yield Finding(about, severity, what, "it isn't known whether it relays", "mend that, or ask again later")
    for sender, replies in heard.put_off.items():
        what = f"couldn't tell whether it relays mail of <{sender}> for {whom}: "
        what += f"{len(replies)} recipients are put off with {_shown(replies[0])}"
        do = "if it puts off whom it doesn't know, ask again in a quarter of an hour"
        yield Finding(about, Severity.NOTE, what, "what is put off today may be taken tomorrow", do)
    if heard.unclear:
        what = f"couldn't be asked to the end whether it relays for {whom}: {heard.unclear}"
        yield Finding(about, Severity.WARNING, what, "it may be an open relay", "mend that, then ask again")


def _not_told(subject: Subject, why_not: str) -> Finding:
    what, _, do = why_not.partition("; ")
    why = "it would take strangers' mail for ours, so it gets none from mx listeners, nor where there is no login"
    return Finding(subject.about, Severity.PROBLEM, f"{what} (XCLIENT)", why, do)


def _whom(comes: Comes) -> str:
    return "strangers" if comes is Comes.STRANGER else "our address"


def _shown(said: SmtpReply) -> str:
    return f"{said.code} {said.lines[0][:100]}".strip()


_RELAYS = {
    Comes.STRANGER: (
        Severity.PROBLEM,
        "whoever reaches it through us can send spam by it",
        "let it relay after a login only (Postfix: permit_sasl_authenticated, reject_unauth_destination)",
    ),
    Comes.ANYBODY: (
        Severity.PROBLEM,
        "to it, every client of our mx listeners is us, so only our own check keeps them from sending spam by it",
        "take our address out of what it trusts (Postfix: mynetworks), or let it know the clients:"
        ' pools.{pool}.client_address = "xclient"',
    ),
    Comes.USERS: (
        Severity.WARNING,
        "its login keeps nobody out who is on this host, and an mx listener before it would let everybody in",
        "take our address out of what it trusts (Postfix: mynetworks): users log in there anyway",
    ),
    Comes.VOUCHED: (
        Severity.NOTE,
        'with pools.{pool}.login = "none" it must: our login is the only one, and what runs on this host needs none',
        "let nobody else use this host, and no mx listener this pool",
    ),
    Comes.WE: (
        Severity.NOTE,
        "clients come from their own addresses, so only what runs on this host can use that",
        "take our address out of what it trusts if nothing here sends mail by it",
    ),
}
