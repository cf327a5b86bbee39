"""What EHLO tells a client that it may use (RFC 5321 4.1.1.1), of what we have and of what the backend has."""

from __future__ import annotations

from functools import lru_cache

from tlsgate.dialogue.events import Offer
from tlsgate.dialogue.smtp_reply import SmtpReply

# A backend's extensions that the mail transaction carries. We stand in for the others.
CARRIED = frozenset({"8BITMIME", "SMTPUTF8", "DSN"})
_OWN = ("PIPELINING", "ENHANCEDSTATUSCODES", "CHUNKING")


@lru_cache(64)
def offered(offer: Offer, channel: str, size: int) -> tuple[int, tuple[str, ...], frozenset[str]]:
    """The largest message taken, EHLO's keywords, and the extensions that these are of."""
    theirs = {word.split(" ")[0].upper(): word for word in offer.capabilities}
    backends = theirs.get("SIZE", "").partition(" ")[2]
    if backends.isdigit() and int(backends):
        size = min(size, int(backends))
    keywords = (*_OWN, f"SIZE {size}", *sorted(CARRIED & theirs.keys()), *filter(None, (channel,)))
    return size, keywords, frozenset({"AUTH", "SIZE", *(word.split(" ")[0].upper() for word in keywords)})


@lru_cache(64)
def ehlo_reply(hostname: str, keywords: tuple[str, ...]) -> bytes:
    return SmtpReply(250, (hostname, *keywords)).encode()
