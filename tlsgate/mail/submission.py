"""The rules for mail of a user who is logged in: from its own addresses, and no more than its quotas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tlsgate.config import Limits
from tlsgate.dialogue.smtp_events import Mail
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.dialogue.smtp_syntax import Path
from tlsgate.mail.aliases import NOT_YOURS
from tlsgate.mail.passage import Passage
from tlsgate.mail.quotas import TOO_MANY_MESSAGES, TOO_MANY_RECIPIENTS, Quotas
from tlsgate.mail.stamp import Stamp
from tlsgate.state.store import Store

_NEWS_EVERY = 60.0


class Senders(Protocol):
    """Whose addresses are whose."""

    def may_send(self, user: str, sender: Path) -> bool:
        """Whether ``user`` may send from ``sender``."""


class SubmissionTrace(Protocol):
    """What is told of refusals. ``news``: none of the same kind was told for this user within a minute."""

    def quota_refused(self, quota: str, news: bool) -> None: ...
    def sender_refused(self, sender: str, news: bool) -> None: ...


class SubmissionPolicy:
    """The Policy of one session. ``senders``: None where everybody may send from any address. ``stamp``: makes one."""

    __slots__ = ("_quotas", "_senders", "_stamp", "_store", "_trace", "_user")

    def __init__(
        self,
        user: str,
        store: Store,
        limits: Limits,
        senders: Senders | None,
        trace: SubmissionTrace,
        stamp: Callable[[], Stamp],
    ) -> None:
        self._user = user
        self._store = store
        self._quotas = Quotas(store, limits.messages_per_user, limits.recipients_per_user)
        self._senders = senders
        self._trace = trace
        self._stamp = stamp

    async def sender(self, mail: Mail) -> SmtpReply | None:
        """As of a Policy."""
        if self._senders is None or self._senders.may_send(self._user, mail.sender):
            return None
        self._trace.sender_refused(mail.sender.mailbox, await self._is_news("sender"))
        return NOT_YOURS

    async def recipient(self, path: Path) -> SmtpReply | Path:
        """As of a Policy. It counts whatever the backend says of it: who guesses addresses spends its quota."""
        if await self._quotas.recipients(self._user):
            return path
        self._trace.quota_refused("recipients", await self._is_news("recipients"))
        return TOO_MANY_RECIPIENTS

    async def message(self) -> SmtpReply | None:
        """As of a Policy."""
        if await self._quotas.message(self._user):
            return None
        self._trace.quota_refused("messages", await self._is_news("messages"))
        return TOO_MANY_MESSAGES

    def passage(self) -> Passage:
        """As of a Policy."""
        stamp = self._stamp()
        return Passage(stamp.fields(), stamp.hostname, None)

    async def whole(self, passage: Passage) -> SmtpReply | None:
        """As of a Policy."""
        del passage
        return None

    def over(self) -> None:
        """As of a Policy."""

    async def _is_news(self, rule: str) -> bool:
        """Asked where the quotas are, so that it holds over all sessions. No news from a store that is away."""
        return await self._store.spend(f"told {rule} {self._user.casefold()}", 1, _NEWS_EVERY)
