"""One message's sender, asked about from MAIL on, awaited where the answer is needed."""

from __future__ import annotations

import trio
from msgspec import Struct

from tlsgate.admission.beside import Beside
from tlsgate.admission.look_ups import LookUps
from tlsgate.admission.reversed_name import ClientIP
from tlsgate.admission.screening import Finding
from tlsgate.config import Action
from tlsgate.mail import authentication_results as fields
from tlsgate.mail.spf.check import check_helo, check_mail_from, mail_from_identity
from tlsgate.mail.spf.findings import spf_findings
from tlsgate.mail.spf.result import Identity, Result, SpfResult

_UNKNOWN = SpfResult(Result.TEMPERROR, problem="the DNS takes too long")


class Checked(Struct, frozen=True):
    """One identity's result. ``name``: the mailbox, or the name in HELO, that was checked."""

    identity: Identity
    name: str
    result: SpfResult


class SpfVerdict(Struct, frozen=True):
    """What was found; with a null reverse-path of HELO only, else of both."""

    checked: tuple[Checked, ...]

    def findings(self, action: Action) -> list[Finding]:
        """What is against the sender.

        A HELO name that its domain denies condemns by itself (RFC 7208 2.3); else MAIL FROM's result counts.
        """
        first, *others = self.checked
        counted = [first, *(each for each in others if each.result.result is Result.FAIL)]
        return [
            finding
            for each in counted
            for finding in spf_findings(each.result, each.identity, each.name.rpartition("@")[2], action)
        ]

    @property
    def results(self) -> list[fields.Result]:
        """What Authentication-Results says (RFC 8601 2.7.2)."""
        return [
            fields.Result("spf", each.result.result, each.result.problem, ((f"smtp.{each.identity}", each.name),))
            for each in self.checked
        ]


class SenderCheck:
    """Asks in ``look_ups.nursery``, which may outlive the message: whoever began it must ``cancel`` it."""

    def __init__(self, look_ups: LookUps, client: ClientIP, helo: str, mail_from: str, receiver: str) -> None:
        self._look_ups = look_ups
        self._client, self._helo, self._mail_from, self._receiver = client, helo, mail_from, receiver
        self._found: dict[Identity, SpfResult] = {}
        self._check = Beside(look_ups.nursery, self._ask, None)

    async def result(self, before: float) -> SpfVerdict:
        """What was found, by ``before`` at the latest: what isn't known then is "temperror".

        No check takes longer than 20 seconds from its begin.
        """
        with trio.move_on_at(before):
            await self._check.result()
        return SpfVerdict(
            tuple(Checked(identity, name, self._found.get(identity, _UNKNOWN)) for identity, name in self._identities)
        )

    def cancel(self) -> None:
        """Nobody needs it any more."""
        self._check.cancel()

    @property
    def _identities(self) -> list[tuple[Identity, str]]:
        helo = (Identity.HELO, self._helo)
        if not self._mail_from:
            return [helo]
        return [(Identity.MAIL_FROM, mail_from_identity(self._mail_from, self._helo)), helo]

    async def _ask(self) -> None:
        async def ask(identity: Identity) -> None:
            self._found[identity] = await self._safely(identity)

        identities = [identity for identity, _ in self._identities]
        async with trio.open_nursery() as nursery:
            for identity in identities:
                nursery.start_soon(ask, identity)
        self._look_ups.trace.screened("spf", self._found[identities[0]].result)

    async def _safely(self, identity: Identity) -> SpfResult:
        """What a stranger has in the DNS must never end more than its own check."""
        resolver, receiver = self._look_ups.resolver, self._receiver
        try:
            if identity is Identity.HELO:
                return await check_helo(self._client, self._helo, resolver, receiver=receiver)
            return await check_mail_from(self._client, self._mail_from, self._helo, resolver, receiver=receiver)
        except Exception as fault:  # noqa: BLE001 - the log has it
            while isinstance(fault, ExceptionGroup):
                fault = fault.exceptions[0]
            self._look_ups.trace.screening_fault("spf", type(fault).__name__)
            return SpfResult(Result.NONE, problem="not checked")
