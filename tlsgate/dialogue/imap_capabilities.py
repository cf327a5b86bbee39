"""What IMAP's CAPABILITY shows before login (RFC 9051 7.2.2): what is ours, and what may be carried of a backend's."""

from __future__ import annotations

from functools import lru_cache

from tlsgate.dialogue.events import Offer

# What a backend offers but a client must not see before login: ours to say, or not possible through the gate.
_NOT_OFFERED = {
    "STARTTLS",
    "LOGINDISABLED",
    "SASL-IR",
    "LITERAL+",
    "LITERAL-",
    "ID",
    "UNAUTHENTICATE",
    "IMAP4REV1",
}
_NOT_OFFERED_KINDS = ("AUTH=", "LOGIN-REFERRALS", "COMPRESS=", "SASL-")


@lru_cache(64)
def capability_list(offer: Offer, clear: bool) -> bytes:
    """The words behind CAPABILITY. ``clear``: on a cleartext channel."""
    login = ["STARTTLS"] if clear else [f"AUTH={name}" for name in offer.mechanisms]
    if clear or not offer.passwords:
        login.append("LOGINDISABLED")
    carried = [name for name in offer.capabilities if carried_capability(name)]
    return " ".join(["IMAP4rev1", "SASL-IR", "LITERAL-", "ID", *login, *carried]).encode()


def carried_capability(name: str) -> bool:
    """Whether a backend's capability may be shown to a client of ours (cases.md B16)."""
    upper = name.upper()
    return upper not in _NOT_OFFERED and not upper.startswith(_NOT_OFFERED_KINDS)
