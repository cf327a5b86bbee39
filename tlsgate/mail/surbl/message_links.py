"""One message's links: found while it streams, asked about at once, and what is known of them at its end."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tlsgate.mail.dot_stuffing import Unstuffer
from tlsgate.mail.surbl.links import Links
from tlsgate.mail.surbl.lists import tell_fault
from tlsgate.mail.surbl.look_ups import LinkLookUps, SurblListing
from tlsgate.mail.surbl.scanner import Scanner
from tlsgate.mail.surbl.site import Site

# Octets that are scanned before others have a turn, for 2 to 11 ms.
_SLICE = 8 * 1024


class MessageLinks:
    """Takes the message as SMTP carries it. Whoever makes one must ``cancel`` it."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._unstuffer = Unstuffer()
        self._scanner = Scanner(links.suffixes) if links.suffixes is not None else None
        self._look_ups = LinkLookUps(links.lists, links.nursery)
        self._scanned = 0  # since others had a turn
        self._beyond = self._scanner is None

    @property
    def beyond(self) -> bool:
        """Whether some links may have been missed: for the log and the counts. Final behind ``listing``."""
        return self._beyond

    async def feed(self, data: bytes) -> None:
        """Take octets with stuffed dots and CR LF line ends only, cut anywhere."""
        text = b"" if self._scanner is None else self._unstuffer.feed(data)
        for at in range(0, len(text), _SLICE):
            if self._scanner is None or self._scanner.done:
                return
            piece = text[at : at + _SLICE]
            # Reads and writes that needn't wait give nobody a turn either, so it is counted over all pieces.
            if self._scanned + len(piece) > _SLICE:
                await trio.lowlevel.checkpoint()
                self._scanned = 0
            self._scanned += len(piece)
            self._ask(self._scanner.feed, piece)

    async def listing(self) -> SurblListing:
        """The message is over: what is listed, after at most ``[dns] timeout``."""
        if self._scanner is not None:
            self._ask(self._scanner.finish)
        if self._scanner is None:
            return SurblListing()
        return await self._look_ups.listing(trio.current_time() + self._links.timeout)

    def cancel(self) -> None:
        """Nobody needs it any more."""
        self._look_ups.cancel()
        self._scanner = None

    def _ask(self, scan: Callable[..., tuple[Site, ...]], *piece: bytes) -> None:
        """Ask about the sites that ``scan`` finds. A fault of ours must not end the session: the message passes."""
        try:
            self._look_ups.ask(scan(*piece))
            self._beyond = self._scanner is not None and self._scanner.beyond
        except Exception as fault:  # noqa: BLE001 - the log has it
            tell_fault(self._links.trace, fault)
            self._beyond = True
            self.cancel()
