"""How much a user may send: messages and recipients, each within its own rate, over all sessions and replicas."""

from __future__ import annotations

from tlsgate.config import Rate
from tlsgate.dialogue.smtp_reply import reply
from tlsgate.state.store import Store

# 4xx: a client that waits gets its mail out. 452 behind RCPT leaves the recipients before it in force.
TOO_MANY_MESSAGES = reply("451 4.7.1", "You have sent too many messages, try again later")
TOO_MANY_RECIPIENTS = reply("452 4.7.1", "You have sent to too many recipients, try again later")


class Quotas:
    """``messages``, ``recipients``: ``[limits] messages_per_user`` and ``recipients_per_user``."""

    __slots__ = ("_messages", "_recipients", "_store")

    def __init__(self, store: Store, messages: Rate, recipients: Rate) -> None:
        self._store = store
        self._messages = messages
        self._recipients = recipients

    async def message(self, user: str) -> bool:
        """Whether the user may send one more message; if so it is counted."""
        return await self._spend("messages", user, self._messages, 1)

    async def recipients(self, user: str, number: int = 1) -> bool:
        """Whether the user may send to ``number`` more recipients; if so they are counted, else none of them is."""
        return await self._spend("recipients", user, self._recipients, number)

    async def _spend(self, of: str, user: str, rate: Rate, amount: int) -> bool:
        # Backends that take ANN for ann must not give her a rate for each spelling.
        return await self._store.spend(f"{of} {user.casefold()}", rate.count, rate.seconds, amount)
