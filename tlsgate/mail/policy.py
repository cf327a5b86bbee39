"""What is asked of each mail transaction before the backend is: may it be?"""

from __future__ import annotations

from typing import Protocol

from tlsgate.dialogue.smtp_events import Mail
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.dialogue.smtp_syntax import Path
from tlsgate.mail.passage import Passage


class Policy(Protocol):
    """The rules for one session's mail. What isn't refused is the backend's to decide."""

    async def sender(self, mail: Mail) -> SmtpReply | None:
        """MAIL begins a transaction; a refusal, or None."""

    async def recipient(self, path: Path) -> SmtpReply | Path:
        """RCPT, to one more recipient; a refusal, or what to name the recipient to the backend."""

    async def message(self) -> SmtpReply | None:
        """DATA; a refusal, or None."""

    def passage(self) -> Passage:
        """The backend waits for the message: how it gets there. Who asks for one cancels it."""

    async def whole(self, passage: Passage) -> SmtpReply | None:
        """The message has come through, up to its end; a refusal, or None."""

    def over(self) -> None:
        """The transaction is over, however it ended."""
