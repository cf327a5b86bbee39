"""The check as a whole: what it is asked, how long it may take, what comes of it."""

from __future__ import annotations

import trio
from msgspec.structs import replace

from tlsgate.admission.host_name import is_host_name
from tlsgate.admission.reversed_name import ClientIP, plain
from tlsgate.mail.spf.evaluation import Evaluation
from tlsgate.mail.spf.faults import PermError, TempError
from tlsgate.mail.spf.lookups import Asks
from tlsgate.mail.spf.result import Result, SpfResult

_TIMEOUT = 20.0  # seconds: the least that RFC 7208 4.6.4 wants
_LONGEST_TEXT = 200
_POSTMASTER = "postmaster"


async def check_mail_from(client: ClientIP, mail_from: str, helo: str, resolver: Asks, *, receiver: str) -> SpfResult:
    """Check the MAIL FROM identity (RFC 7208 2.4). ``mail_from``: a mailbox; "" is the null reverse-path."""
    sender = mail_from_identity(mail_from, helo)
    return await check_host(client, sender.rpartition("@")[2], sender, helo, resolver, receiver=receiver)


async def check_helo(client: ClientIP, helo: str, resolver: Asks, *, receiver: str) -> SpfResult:
    """Check the HELO identity (RFC 7208 2.3)."""
    return await check_host(client, helo, mail_from_identity("", helo), helo, resolver, receiver=receiver)


def mail_from_identity(mail_from: str, helo: str) -> str:
    """The mailbox that is checked (RFC 7208 2.4 and 4.3)."""
    local_part, _, domain = (mail_from or helo).rpartition("@")
    return f"{local_part or _POSTMASTER}@{domain}"


async def check_host(
    client: ClientIP, domain: str, sender: str, helo: str, resolver: Asks, *, receiver: str
) -> SpfResult:
    """Whether the domain lets the client send (RFC 7208 4), within 20 seconds. ``receiver``: our host name."""
    domain = domain.removesuffix(".")
    if not (is_host_name(domain) and "." in domain):
        return SpfResult(Result.NONE, problem="not a domain name")
    evaluation = Evaluation(plain(client), mail_from_identity(sender, helo), helo, receiver, resolver)
    result = SpfResult(Result.TEMPERROR, problem="the DNS takes too long")
    with trio.move_on_after(_TIMEOUT):
        try:
            matched = await evaluation.host(domain)
        except PermError as error:
            return SpfResult(Result.PERMERROR, problem=str(error)[:_LONGEST_TEXT])
        except TempError as error:
            return SpfResult(Result.TEMPERROR, problem=str(error)[:_LONGEST_TEXT])
        if matched is None:
            return SpfResult(Result.NONE, problem="no SPF record")
        result = SpfResult(matched.result, matched.mechanism[:_LONGEST_TEXT])
        if matched.result is Result.FAIL:
            result = replace(result, explanation=await evaluation.explain(matched))
    return result
