"""What is asked of each mail transaction before the backend is: may it be?"""

from __future__ import annotations

from typing import Protocol

from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.dialogue.smtp_syntax import Path


class Policy(Protocol):
    """The rules for one session's mail. Each gives a command's refusal, or None: then the backend is asked."""

    async def sender(self, path: Path) -> SmtpReply | None:
        """MAIL, from ``path``."""

    async def recipient(self) -> SmtpReply | None:
        """RCPT, to one more recipient."""

    async def message(self) -> SmtpReply | None:
        """DATA."""
