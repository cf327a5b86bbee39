"""What a name server sends: dnspython reads it, of what we leave it, and we make servers and names of that."""

from __future__ import annotations

from ipaddress import ip_address

import dns.exception
import dns.message
import dns.rdataclass
import dns.rdatatype

from tlsgate.admission.host_name import is_host_name
from tlsgate.backends.records import _exchangers, _services
from tlsgate.dns.servers import _MOST_RECORDS, _parse, _text


def fuzz(data: bytes) -> None:
    try:
        message = _parse(data)
    except (dns.exception.DNSException, ValueError):
        return
    assert sum(len(each) for each in message.answer) <= _MOST_RECORDS
    if not isinstance(message, dns.message.QueryMessage) or len(message.question) != 1:
        return
    (question,) = message.question  # an answer to another question than ours is dropped before it comes so far
    if question.rdclass is not dns.rdataclass.IN or question.rdtype not in _ASKED:
        return
    try:
        found = message.resolve_chaining()
    except dns.exception.DNSException:
        return
    assert found.minimum_ttl >= 0
    if found.answer is None:
        return
    _read(found.answer.rdtype, [_text(each) for each in found.answer])


_ASKED = frozenset(dns.rdatatype.from_text(each) for each in ("A", "AAAA", "PTR", "MX", "SRV", "TXT"))


def _read(kind: dns.rdatatype.RdataType, records: list[str]) -> None:
    servers = []
    match kind:
        case dns.rdatatype.A | dns.rdatatype.AAAA:
            assert all(ip_address(each) for each in records)
        case dns.rdatatype.MX:
            servers = list(_exchangers(records, 25, "mail.example.org"))
        case dns.rdatatype.SRV:
            servers = list(_services(records))
        case dns.rdatatype.PTR:
            assert all(each.isprintable() for each in records if is_host_name(each))
    for server in servers:
        assert server.address.host.isascii()
        assert " " not in server.address.host
        assert 0 < server.address.port < 65536
        assert server.weight > 0
