"""A domain's record held against a client (RFC 7208 4.6 to 6)."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from msgspec import Struct

from tlsgate.admission.reversed_name import ClientIP
from tlsgate.mail.spf.faults import PermError, TempError
from tlsgate.mail.spf.lookups import Asks, LookUps, covers, target_name
from tlsgate.mail.spf.macro import MacroString, Values, expand, letters, macro_string
from tlsgate.mail.spf.record import All, Exists, Hosts, Include, Ip, Mechanism, Ptr, Record, parse, select
from tlsgate.mail.spf.result import Result

_MOST_TERMS = 10
_LONGEST_EXPLANATION = 400


class Matched(Struct, frozen=True):
    """What decided. ``mechanism``: its text; ``domain``: whose ``record`` it stands in, maybe that of a redirect=."""

    result: Result
    mechanism: str
    record: Record
    domain: str


class Evaluation:
    """One check, with its limits. ``client``: as ``plain`` gives it; ``sender``: with a local-part."""

    def __init__(self, client: ClientIP, sender: str, helo: str, receiver: str, resolver: Asks) -> None:
        self._client = client
        self._sender = sender
        self._helo = helo
        self._receiver = receiver
        self._look_ups = LookUps(client, resolver)
        self._terms = 0

    async def host(self, domain: str) -> Matched | None:
        """check_host() (RFC 7208 4); None when there is no record. Raises PermError and TempError.

        It calls itself for "include": ten times at most, for each is a term that counts.
        """
        record = await self._record(domain)
        if record is None:
            return None
        while True:
            for directive in record.directives:
                if await self._matches(directive.mechanism, domain):
                    return Matched(directive.result, directive.text, record, domain)
            if record.redirect is None:
                return Matched(Result.NEUTRAL, "default", record, domain)
            self._count_term()
            domain = await self._target(record.redirect, domain)
            record = await self._record(domain)
            if record is None:
                raise PermError("redirect= leads to a domain without a record")

    async def explain(self, matched: Matched) -> str:
        """What exp= says of a fail (RFC 7208 6.2), printable ASCII; "" when it says nothing or isn't right."""
        if matched.record.explanation is None:
            return ""
        try:
            texts = await self._look_ups.texts(await self._target(matched.record.explanation, matched.domain))
            if len(texts) != 1:
                return ""
            text = await self._expand(macro_string(texts[0]), matched.domain)
        except (PermError, TempError):
            return ""
        # What macros stand for may hold anything.
        return "".join(each if " " <= each <= "~" else "?" for each in text[:_LONGEST_EXPLANATION])

    async def _record(self, domain: str) -> Record | None:
        await trio.lowlevel.checkpoint()  # answers may be at hand, and parsing takes a while
        text = select(await self._look_ups.texts(domain))
        return None if text is None else parse(text)

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        match mechanism:
            case All():
                return True
            case Ip(address, prefix):
                return covers(address, prefix, self._client)
        self._count_term()
        match mechanism:
            case Include(spec):
                return await self._included(await self._target(spec, domain))
            case Hosts(kind, spec, ip4_prefix, ip6_prefix):
                prefix = ip4_prefix if self._client.version == 4 else ip6_prefix
                return await self._look_ups.has_client(await self._target(spec, domain), kind, prefix)
            case Ptr(spec):
                target = (await self._target(spec, domain)).lower()
                return any(_is_within(each, target) for each in await self._look_ups.validated())
            case Exists(spec):
                return await self._look_ups.exists(await self._target(spec, domain))

    async def _included(self, domain: str) -> bool:
        matched = await self.host(domain)
        if matched is None:
            raise PermError("include: names a domain without a record")
        return matched.result is Result.PASS

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > _MOST_TERMS:
            raise PermError(f"more than {_MOST_TERMS} terms that ask the DNS")

    async def _target(self, spec: MacroString | None, domain: str) -> str:
        return domain if spec is None else target_name(await self._expand(spec, domain))

    async def _expand(self, parts: MacroString, domain: str) -> str:
        name = "unknown"
        if "p" in letters(parts):
            name = _best(await self._look_ups.validated(), domain.lower())
        values = Values(
            client=self._client,
            sender=self._sender,
            domain=domain,
            helo=self._helo,
            receiver=self._receiver,
            name=name,
        )
        return expand(parts, values)


def _is_within(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _best(names: Sequence[str], domain: str) -> str:
    """RFC 7208 7.3: the domain itself if it is there, else a name within it, else any."""
    if domain in names:
        return domain
    return next((each for each in names if _is_within(each, domain)), names[0] if names else "unknown")
