"""The spellings by which relays have been opened, as data: none may be taken for a recipient elsewhere."""

from __future__ import annotations

from msgspec import Struct

FOREIGN = "relay-test.invalid"  # RFC 6761 6.4: nobody's, for good
_HERE, _ELSEWHERE = "{literal}", "[192.0.2.25]"


class Form(Struct, frozen=True):
    """A path for RCPT TO without its brackets.

    ``outside``: its domain is not ours, so that whoever takes it relays. Else a server may take it for a local mailbox.
    """

    name: str
    path: str
    outside: bool


# {f} the foreign domain, {o} one of ours, {literal} the backend's address.
_OUTSIDE = {
    "plain": "user@{f}",
    "trailing dot": "user@{f}.",
    "upper case": "USER@{F}",
    "quoted local part": '"user"@{f}',
    "source route": "@{o}:user@{f}",
    "long source route": "@{o},@{f}:user@{f}",
    "two @, foreign last": "user@{o}@{f}",
    "our domain quoted": '"user@{o}"@{f}',
    "our domain by percent": "user%{o}@{f}",
    "our domain as a subdomain": "user@{o}.{f}",
    "another's literal": "user@" + _ELSEWHERE,
    "bang path at a foreign domain": "{o}!user@{f}",
}
_INSIDE = {
    "percent hack": "user%{f}@{o}",
    "two percents": "user%{f}%{o}@{o}",
    "percent without a domain": "user%{f}",
    "percent at our literal": "user%{f}@" + _HERE,
    "quoted percent": '"user%{f}"@{o}',
    "bang path": "{f}!user",
    "bang path at our domain": "{f}!user@{o}",
    "bang path at our literal": "{f}!user@" + _HERE,
    "UUCP and percent": "{o}!user%{f}@{o}",
    "two @, ours last": "user@{f}@{o}",
    "quoted @": '"user@{f}"@{o}',
    "quoted @ at our literal": '"user@{f}"@' + _HERE,
    "quoted whole": '"user@{f}"',
    "quoted percent alone": '"user%{f}"',
    "empty domain": '"user@{f}"@',
    "source route to ours": "@{f}:user%{f}@{o}",
}


def forms(ours: str, literal: str) -> tuple[Form, ...]:
    """Every form. ``ours``: a domain of ours; ``literal``: the backend's address as RFC 5321 4.1.3 has it."""
    values = {"f": FOREIGN, "F": FOREIGN.upper(), "o": ours, "literal": literal}
    return tuple(
        Form(name, path.format_map(values), outside)
        for table, outside in ((_OUTSIDE, True), (_INSIDE, False))
        for name, path in table.items()
    )
