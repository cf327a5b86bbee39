"""What a name server sends: dnspython reads it, of what we leave it."""

from __future__ import annotations

import dns.exception
import dns.message

from tlsgate.dns.servers import _MOST_RECORDS, _parse, _text

_KINDS = ("A", "AAAA", "PTR", "MX", "SRV", "TXT")


def fuzz(data: bytes) -> None:
    try:
        message = _parse(data)
    except (dns.exception.DNSException, ValueError):
        return
    count = sum(len(each) for each in message.answer)
    assert count <= _MOST_RECORDS
    if not isinstance(message, dns.message.QueryMessage) or not message.question:
        return
    try:
        answer = message.resolve_chaining().answer
    except dns.exception.DNSException:
        return
    for record in answer or ():
        try:
            text = _text(record)
        except TypeError:  # of a kind that nobody asks for
            continue
        assert "\n" not in text or record.rdtype.name == "TXT"
