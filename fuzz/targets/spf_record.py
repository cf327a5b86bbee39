"""SPF records and macros, evaluated with a resolver that gives the same record for every name."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import trio

from fuzz.choices import Choices
from tlsgate.dns import Answer, Failed, Failure, Found, Kind, Missing
from tlsgate.mail.spf.check import check_mail_from
from tlsgate.mail.spf.faults import PermError
from tlsgate.mail.spf.macro import Values, expand, macro_string
from tlsgate.mail.spf.record import parse, select
from tlsgate.mail.spf.result import SpfResult

_CLIENTS: tuple[IPv4Address | IPv6Address, ...] = (IPv4Address("192.0.2.3"), IPv6Address("2001:db8::cb01"))
_MOST_QUESTIONS = 200  # ten terms, each with ten names at most, and the client's own names


class _Resolver:
    """``texts``: what every name has for TXT records. ``others``: octets that choose what else there is."""

    def __init__(self, texts: tuple[str, ...], others: bytes) -> None:
        self._texts, self._others = texts, others
        self.asked = 0

    async def ask(self, name: str, kind: Kind) -> Answer:
        assert name.isascii()
        self.asked += 1
        if kind is Kind.TXT:
            return Found(self._texts) if self._texts else Missing()
        match self._others[self.asked % len(self._others)] % 4, kind:
            case 0, _:
                return Missing()
            case 1, _:
                return Failed(Failure.TIMEOUT)
            case _, Kind.A:
                return Found(("192.0.2.9",))
            case _, Kind.AAAA:
                return Found(("2001:db8::9",))
            case _, Kind.MX:
                return Found(("10 a.example", "0 ."))
            case _:
                return Found(("a.example", "b\\032.example"))


def fuzz(data: bytes) -> None:
    choices = Choices(data)
    client, others = choices.one(_CLIENTS), choices.some(4)
    texts = tuple(each.decode("latin-1") for each in choices.rest.split(b"\n"))
    try:
        if (found := select(texts)) is not None:
            record = parse(found)
            assert len(record.directives) <= len(found)
    except PermError as error:
        assert str(error).isprintable()
    _expand(texts[0], client)
    resolver = _Resolver(texts, others)
    result = trio.run(_check, client, texts[-1], resolver)
    assert resolver.asked <= _MOST_QUESTIONS
    assert len(result.problem) <= 200
    assert len(result.explanation) <= 400
    assert all(each.isascii() and (not each or each.isprintable()) for each in (result.problem, result.explanation))


async def _check(client: IPv4Address | IPv6Address, local: str, resolver: _Resolver) -> SpfResult:
    return await check_mail_from(client, f"{local}@a.example", "helo.example", resolver, receiver="mail.example.org")


def _expand(text: str, client: IPv4Address | IPv6Address) -> None:
    values = Values(client=client, sender=f"{text}@a.example", domain="a.example", helo=text, receiver="r", name=text)
    try:
        expanded = expand(macro_string(text), values)
    except PermError:
        return
    assert len(expanded) <= 3 * 4096
