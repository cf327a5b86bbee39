"""Whether certificates are good for clients today, and their keys kept. One that isn't is served all the same: silence
would be worse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from tlsgate.secret_file import CLOSE_IT
from tlsgate.tls.certificate import Certificate

_SOON = timedelta(days=14)


class Remark(Struct, frozen=True):
    """``event``: what the log calls it. ``about``: a certificate's file, or a config key. ``text``: for people."""

    event: str
    about: str
    text: str


def remarks(served: Sequence[Certificate], hostname: str, now: datetime) -> Iterator[Remark]:
    """What clients of ``hostname`` will find wrong ``now`` or soon (UTC)."""
    for certificate in served:
        about = str(certificate.path)
        left = certificate.expires - now
        if left <= timedelta():
            yield Remark("certificate_expired", about, "EXPIRED")
        elif certificate.begins > now:
            yield Remark("certificate_not_yet_valid", about, f"valid from {certificate.begins:%Y-%m-%d %H:%M} UTC only")
        elif left <= _SOON:
            yield Remark("certificate_expires", about, f"ends in {left.days} days")
        if certificate.open_key is not None:
            text = f"everybody on this host can read the key; {CLOSE_IT}"
            yield Remark("private_key_fault", str(certificate.open_key), text)
    if not any(certificate.is_for(hostname) for certificate in served):
        yield Remark(
            "certificate_name", "server.hostname", f"no certificate is for {hostname}; get one whose names have it"
        )
