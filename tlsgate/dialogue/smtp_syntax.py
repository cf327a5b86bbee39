"""SMTP's grammar (RFC 5321 4.1.2 and 4.1.3, RFC 6531 for UTF-8): values that print themselves for the wire."""

from __future__ import annotations

import re
from functools import cache

from msgspec import Struct

_EHLO_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,255}")
_UNSAFE = re.compile(r"[^\x20-\x7e]|[<>&\"\\]")
# Sets are written by what they leave out: one that runs up to U+10FFFF takes 10 ms to compile.
_ATEXT = r"[^\x00-\x20\x7f-\x9f\u2028\u2029\"(),.:;<>@\[\\\]]+"
_DOT_STRING = rf"{_ATEXT}(?:\.{_ATEXT})*"
_QUOTED = r'"(?:[^\x00-\x1f\x7f-\x9f\u2028\u2029"\\]|\\[\x20-\x7e])*"'
_LET_DIG = r"[^\x00-\x2f:-@\[-^`{-\x9f\u2028\u2029]"
_LABEL = rf"{_LET_DIG}(?:[^\x00-,./:-@\[-^`{{-\x9f\u2028\u2029]*{_LET_DIG})?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_LITERAL = r"\[[A-Za-z0-9:.-]{2,64}\]"
_AT_DOMAIN = rf"@(?:{_DOMAIN}|{_LITERAL})"


@cache  # compiled when the first is read: it takes a twentieth of the start
def _paths(dot_string: str) -> tuple[re.Pattern[str], ...]:
    local_part = rf"(?:{dot_string}|{_QUOTED})"
    # A path without brackets is not RFC 5321's, but old clients send it and most servers take it; quotes would make it
    # unclear where it ends.
    return (
        re.compile(rf"<(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?(?P<mailbox>{local_part}{_AT_DOMAIN})>"),
        re.compile(rf"<(?P<mailbox>{local_part})>"),
        re.compile(rf"(?P<mailbox>{dot_string}{_AT_DOMAIN})(?= |$)"),
    )


# Carriers have given out names with dots at the end and in a row: such senders exist, whatever RFC 5321 says.
_MANY_DOTS = rf"\.*{_ATEXT}(?:\.+{_ATEXT})*\.*"
# What another server would read as the way to somebody else: "a@b@c", outside quotes, behind a source route if any.
_NO_AT = r'(?:[^<>",@]|"(?:[^"\\]|\\.)*+")*+'
_TWO_ATS = re.compile(rf'<?(?:@[^<>":]*+:)?(?!@){_NO_AT}@{_NO_AT}@')
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f-\x9f]+))?")
LONGEST_PATH = 256  # RFC 5321 4.5.3.1.3

# ESMTP parameters of MAIL and RCPT, and the extension that each one comes with.
MAIL_PARAMETERS = {
    "SIZE": "SIZE",
    "BODY": "8BITMIME",
    "SMTPUTF8": "SMTPUTF8",
    "RET": "DSN",
    "ENVID": "DSN",
    "AUTH": "AUTH",
}
RCPT_PARAMETERS = {"NOTIFY": "DSN", "ORCPT": "DSN"}


class SmtpSyntaxError(Exception):
    """A command doesn't follow the grammar; ``code`` is the reply's (RFC 5321 4.2, RFC 3463)."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Path(Struct, frozen=True):
    """A reverse-path or forward-path: ``mailbox`` as written, "" for the null path.

    "local@domain", or "local" alone: a backend may add its own domain (RFC 6409 6.1), or refuse it. A source route is
    dropped, as RFC 5321 C asks. Free of control characters and other line ends, and of angle brackets outside quotes.
    """

    mailbox: str

    def __str__(self) -> str:
        return f"<{self.mailbox}>"


Parameters = tuple[tuple[str, str | None], ...]


def ehlo_name(argument: str) -> str:
    """The client's name in EHLO or HELO, fit for logs, headers and pages. Raises SmtpSyntaxError.

    It proves nothing (RFC 5321 4.1.4), and desktops call themselves anything: whatever can be printed is taken. What is
    kept is printable ASCII without <, >, &, " and backslash, "?" in the place of all else.
    """
    if _EHLO_NAME.fullmatch(argument) is None:
        raise SmtpSyntaxError("501 5.5.4", "Name must be 1 to 255 printable characters")
    return _UNSAFE.sub("?", argument)


def reverse_path(argument: str) -> tuple[Path, Parameters]:
    """The argument of MAIL: "FROM:<path>" and its parameters. Raises SmtpSyntaxError.

    Between, before and behind the dots of its local part may be nothing.
    """
    return _path(argument, "FROM:", "501 5.1.7", _paths(_MANY_DOTS), null=True)


def forward_path(argument: str) -> tuple[Path, Parameters]:
    """The argument of RCPT: "TO:<path>" and its parameters. Raises SmtpSyntaxError.

    Its code is 550 5.7.1 where the path is none for a second "@": that is no slip, but a try to have mail relayed.
    """
    try:
        return _path(argument, "TO:", "501 5.1.3", _paths(_DOT_STRING), null=False)
    except SmtpSyntaxError as error:
        if error.code == "501 5.1.3" and _TWO_ATS.match(argument[3:].lstrip(" ")):
            raise SmtpSyntaxError("550 5.7.1", "Relaying denied: address has more than one @") from None
        raise


def _path(
    argument: str, keyword: str, code: str, paths: tuple[re.Pattern[str], ...], *, null: bool
) -> tuple[Path, Parameters]:
    if argument[: len(keyword)].upper() != keyword:
        raise SmtpSyntaxError("501 5.5.4", f"Syntax: {keyword}<address>")
    text = argument[len(keyword) :].lstrip(" ")
    if null and text.startswith("<>"):
        path, rest = Path(""), text[2:]
    elif (found := _first_match(paths, text)) and len(found["mailbox"].encode()) <= LONGEST_PATH - 2:
        path, rest = Path(found["mailbox"]), text[found.end() :]
    else:
        raise SmtpSyntaxError(code, "Bad address syntax")
    return path, _parameters(rest)


def _first_match(paths: tuple[re.Pattern[str], ...], text: str) -> re.Match[str] | None:
    return next((found for path in paths if (found := path.match(text))), None)


def _parameters(rest: str) -> Parameters:
    if not rest:
        return ()
    if not rest.startswith(" "):
        raise SmtpSyntaxError("501 5.5.4", "Bad parameter syntax")
    parameters: list[tuple[str, str | None]] = []
    for word in filter(None, rest.split(" ")):
        found = _PARAMETER.fullmatch(word)
        if found is None:
            raise SmtpSyntaxError("501 5.5.4", "Bad parameter syntax")
        parameters.append((found[1].upper(), found[2]))
    names = [name for name, _ in parameters]
    if len(set(names)) < len(names):
        raise SmtpSyntaxError("501 5.5.4", "Parameter given twice")
    return tuple(parameters)


def check_parameters(parameters: Parameters, known: dict[str, str], offered: frozenset[str]) -> None:
    """Hold parameters against the extensions that were offered. Raises SmtpSyntaxError (555, RFC 5321 4.1.1.11)."""
    for name, value in parameters:
        if known.get(name) not in offered:
            raise SmtpSyntaxError("555 5.5.4", "Parameter not recognized or not offered")
        if name == "SIZE" and not (value and value.isascii() and value.isdigit() and len(value) <= 20):
            raise SmtpSyntaxError("501 5.5.4", "Bad SIZE")
        if name == "BODY" and (value or "").upper() not in ("7BIT", "8BITMIME"):
            raise SmtpSyntaxError("501 5.5.4", "Bad BODY")
        if name == "SMTPUTF8" and value is not None:
            raise SmtpSyntaxError("501 5.5.4", "SMTPUTF8 takes no value")


def command(verb: str, path: Path, parameters: Parameters) -> bytes:
    """MAIL or RCPT for the wire, built from parsed values: the one encoder towards a backend."""
    words = [f"{verb}:{path}", *(name if value is None else f"{name}={value}" for name, value in parameters)]
    return " ".join(words).encode() + b"\r\n"
