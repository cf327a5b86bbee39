"""The rules for mail from other servers: for whom we take it, from whom, and with what links."""

from __future__ import annotations

import math
from collections.abc import Callable

from tlsgate.admission.screened import Screened, Screener
from tlsgate.admission.screening import Decision, Finding, Outcome, decide
from tlsgate.config import Action
from tlsgate.dialogue.smtp_events import Mail
from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_syntax import Path
from tlsgate.mail.addresses import AddressSyntaxError, parse_address
from tlsgate.mail.authentication_results import Result
from tlsgate.mail.inbound_trace import InboundTrace
from tlsgate.mail.passage import Passage
from tlsgate.mail.relay_rules import NotTaken, RelayDomains, judge
from tlsgate.mail.spf.sender import SenderCheck, SpfVerdict
from tlsgate.mail.stamp import Stamp
from tlsgate.mail.surbl import surbl_findings
from tlsgate.mail.surbl.links import Links
from tlsgate.mail.surbl.message_links import MessageLinks

# RFC 5321 4.5.1, RFC 2142 5: who is refused wrongly must have somebody to say it to.
_UNSCREENED = ("postmaster", "abuse")
_COMPLAIN = "if this is wrong, write to the postmaster of the recipient's domain, whose mail is not screened"
_LONGEST_REASON = 300
_BAD_SENDER = reply("501 5.1.7", "Bad sender address syntax")
_NO_DOMAIN = reply("501 5.1.7", "Sender address needs a domain")  # a backend would add its own


class InboundPolicy:
    """The Policy of one session on an mx listener.

    ``screened``: its client, None for one who is known well enough; ``screener``: whose it is. ``links``: None where
    nobody asks about them. ``stamp``: makes one of what is known of the client by now.
    """

    __slots__ = (
        "_decision",
        "_domains",
        "_links",
        "_look_at_links",
        "_screened",
        "_screener",
        "_sender",
        "_spf",
        "_stamp",
        "_trace",
        "_verdict",
    )  # fmt: skip

    def __init__(
        self,
        domains: RelayDomains,
        screener: Screener | None,
        screened: Screened | None,
        links: Links | None,
        stamp: Callable[[], Stamp],
        trace: InboundTrace,
    ) -> None:
        self._domains = domains
        self._screener = screener if screened is not None else None
        self._screened = screened
        self._links = links if screened is not None else None
        self._stamp = stamp
        self._trace = trace
        self._sender = ""
        self._spf: SenderCheck | None = None
        self._verdict: SpfVerdict | None = None
        self._decision: Decision | None = None
        self._look_at_links = False

    async def sender(self, mail: Mail) -> SmtpReply | None:
        """As of a Policy. What is found of the sender is told to the first recipient."""
        self._sender = sender = mail.sender.mailbox
        self._decision = self._verdict = None
        self._look_at_links = False
        if sender:
            local, _, domain = sender.rpartition("@")
            if not local:
                return _NO_DOMAIN
            try:
                # RFC 8616 4: SPF is asked for by A-labels. The local part may be one that only its carrier allows.
                sender = f"{local}@{parse_address(f'x@{domain}').domain}"
            except AddressSyntaxError:
                return _BAD_SENDER
        if self._screened is not None and self._screener is not None:
            stamp = self._stamp()
            self._screened.greeted(stamp.client.helo)
            if self._screener.checks.spf:
                client, look_ups = self._screened.client, self._screener.look_ups
                self._spf = SenderCheck(look_ups, client, stamp.client.helo, sender, stamp.hostname)
        return None

    async def recipient(self, path: Path) -> SmtpReply | Path:
        """As of a Policy."""
        judged = judge(path, self._domains)
        if isinstance(judged, NotTaken):
            self._trace.recipient_refused(self._sender, path.mailbox, judged.reason)
            return judged.reply
        if judged.recipient.mailbox.partition("@")[0].lower() in _UNSCREENED:
            return judged.recipient
        if (refusal := await self._against_sender()) is not None:
            return refusal
        self._look_at_links = True
        return judged.recipient

    async def message(self) -> SmtpReply | None:
        """As of a Policy. The client's name goes into our fields; for unscreened mail nobody has waited for it yet."""
        if self._screened is not None:
            await self._screened.name(math.inf)
        return None

    def passage(self) -> Passage:
        """As of a Policy."""
        stamp = self._stamp()
        links = MessageLinks(self._links) if self._links is not None and self._look_at_links else None
        return Passage(stamp.fields(self._results()), stamp.hostname, links)

    async def whole(self, passage: Passage) -> SmtpReply | None:
        """As of a Policy. Links weigh together with what was found before."""
        if self._screener is None or not self._look_at_links or (listing := await passage.listing()) is None:
            return None
        settings = self._screener.settings
        found = surbl_findings(listing, settings.surbl)
        if passage.links_beyond:
            self._screener.look_ups.trace.screened("surbl", "beyond")
            found.append(Finding("surbl", "not all of it could be looked at for links", Action.LOG))
        if not found:
            return None
        decision = decide([*await self._findings(), *found], settings)
        self._screener.look_ups.trace.screened("message", decision.outcome)
        self._tell(decision)
        return _reply(decision)

    def over(self) -> None:
        """As of a Policy."""
        if self._spf is not None:
            self._spf.cancel()
            self._spf = None

    async def _against_sender(self) -> SmtpReply | None:
        """The refusal of the sender's mail, by what was found of it and of its client; told once a transaction."""
        if self._screener is None:
            return None
        if self._decision is None:
            self._decision = decide(await self._findings(), self._screener.settings)
            self._screener.look_ups.trace.screened("sender", self._decision.outcome)
            self._tell(self._decision)
        return _reply(self._decision)

    async def _findings(self) -> list[Finding]:
        if self._screened is None or self._screener is None:
            return []
        found = await self._screened.findings(math.inf)
        if self._spf is not None:
            self._verdict = await self._spf.result(math.inf)
        if self._verdict is not None:
            found = [*found, *self._verdict.findings(self._screener.settings.spf)]
        return found

    def _results(self) -> list[Result]:
        """What Authentication-Results says."""
        found = [] if self._verdict is None else list(self._verdict.results)
        if self._screened is not None and (iprev := self._screened.iprev) is not None:
            found.append(Result("iprev", iprev, properties=(("policy.iprev", str(self._screened.client)),)))
        return found

    def _tell(self, decision: Decision) -> None:
        if decision.reasons:
            self._trace.screened(decision.outcome, decision.score, "; ".join(decision.reasons), self._sender)


def _reply(decision: Decision) -> SmtpReply | None:
    """What a client is told who is turned away: by which rules or lists, and where to complain."""
    if decision.outcome is Outcome.PASS:
        return None
    code, said = ("550 5.7.1", "refused") if decision.outcome is Outcome.REJECT else ("451 4.7.1", "put off")
    reasons = "; ".join(decision.reasons)[:_LONGEST_REASON]
    first = reply(code, f"Mail is {said}: {reasons}")
    return SmtpReply(first.code, (*first.lines, reply(code, _COMPLAIN).lines[0]))
