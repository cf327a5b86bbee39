"""The arguments of MAIL, RCPT and EHLO, and mail addresses."""

from __future__ import annotations

import re

from tlsgate.dialogue.smtp_syntax import (
    LONGEST_PATH,
    Parameters,
    Path,
    SmtpSyntaxError,
    command,
    ehlo_name,
    forward_path,
    reverse_path,
)
from tlsgate.mail.addresses import AddressSyntaxError, parse_address

_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def fuzz(data: bytes) -> None:
    argument = data.decode(errors="replace")
    for keyword, read, verb in (("FROM:", reverse_path, "MAIL FROM"), ("TO:", forward_path, "RCPT TO")):
        for each in (argument, f"{keyword}<{argument}>", f"{keyword}{argument}"):
            try:
                path, parameters = read(each)
            except SmtpSyntaxError as error:
                assert error.code.startswith("5")
            else:
                _check(path, parameters, command(verb, path, parameters), keyword)
    _address(argument)
    try:
        name = ehlo_name(argument)
    except SmtpSyntaxError:
        return
    assert name.isascii()
    assert name.isprintable()


def _check(path: Path, parameters: Parameters, line: bytes, keyword: str) -> None:
    """What was read is said to a backend in one line that reads the same."""
    assert len(path.mailbox.encode()) <= LONGEST_PATH - 2
    assert line.endswith(b"\r\n")
    text = line[:-2].decode()
    assert not _ENDS.search(text)
    read = reverse_path if keyword == "FROM:" else forward_path
    assert read(text.partition(" ")[2]) == (path, parameters)
    _address(path.mailbox)


def _address(mailbox: str) -> None:
    try:
        address = parse_address(mailbox)
    except AddressSyntaxError:
        return
    written = str(address)
    assert not _ENDS.search(written)
    assert parse_address(written) == address
    assert address.folded == parse_address(written).folded
