"""A message's way from the client to the backend: our header fields before it, forged ones out of it.

Links are looked for in what the backend gets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tlsgate.mail.forged_results import ForgedResults

if TYPE_CHECKING:
    from tlsgate.mail.surbl import MessageLinks, SurblListing

# A header's first line, and an empty one, which says that there is no header (RFC 5322 2.2); with a stuffed dot.
_HEADER = re.compile(rb"\.?+[!-9;-~]++[ \t]*+:|\r\n")
_MAILBOX_LINE = re.compile(rb">*+From ")
# What may become either when there is more of it.
_UNDECIDED = re.compile(rb"\.?+(?:[!-9;-~]++[ \t]*+)?+|\r")
_LONGEST = 998  # RFC 5322 2.1.1


class Passage:
    """Takes what the client sent, dot-stuffed, with CR LF line ends only; gives what the backend gets.

    ``head``: our fields, at least one, none of whose lines begins with a dot. ``authserv_id``: whose results are
    forged. ``links``: None when nobody asks about them; else ``cancel`` must be called.
    """

    __slots__ = ("_begun", "_head", "_held", "_links", "_rest", "_results")

    def __init__(self, head: bytes, authserv_id: str, links: MessageLinks | None) -> None:
        self._head = head
        self._results = ForgedResults(authserv_id)
        self._links = links
        self._held = b""
        self._begun = False
        self._rest: bytes | None = None

    @property
    def too_large(self) -> bool:
        """The header is beyond all bounds: the message must not stand (HEADER_TOO_LARGE)."""
        return self._results.too_large

    async def feed(self, data: bytes) -> bytes:
        """Take octets of the message, give those for the backend (maybe none)."""
        passed = self._results.feed(data) if self._begun else self._begin(data, last=False)
        if self._links is not None:
            # What the client sent may be read otherwise, such as where a forged field that is gone ends the header.
            await self._links.feed(passed)
        return passed

    def finish(self) -> bytes:
        """What is still held, at the end of the message: to be sent before END_OF_DATA."""
        if self._rest is None:
            self._rest = (b"" if self._begun else self._begin(b"", last=True)) + self._results.finish()
        return self._rest

    async def listing(self) -> SurblListing | None:
        """The message is over: what the lists say of its links, after at most ``[dns] timeout``; None without links.

        Ask once.
        """
        if self._links is None:
            return None
        await self._links.feed(self.finish())
        return await self._links.listing()

    @property
    def links_beyond(self) -> bool:
        """Behind the listing: whether not all of the message was looked at for links."""
        return self._links is not None and self._links.beyond

    def cancel(self) -> None:
        """Nobody needs the listing any more."""
        if self._links is not None:
            self._links.cancel()

    def _begin(self, data: bytes, *, last: bool) -> bytes:
        self._held += data
        if not last and len(self._held) < _LONGEST and _UNDECIDED.fullmatch(self._held):
            return b""
        text, self._held, self._begun = self._held, b"", True
        return self._head + self._results.feed(_between(text) + text)


def _between(text: bytes) -> bytes:
    """What must stand between our fields and the message, that the end of our header is seen and ours end before it.

    As Postfix does with its own Received. Without the empty line a text that begins at once would be taken for a part
    of our header, or, where a blank begins it, of our last field. A line of a mailbox file before the header, which
    mail servers overlook, would end our header and make a text of the message's, so it is made a field.
    """
    if not text or _HEADER.match(text, 0, _LONGEST):
        return b""
    return b"X-Mailbox-Line: " if _MAILBOX_LINE.match(text, 0, _LONGEST) else b"\r\n"
