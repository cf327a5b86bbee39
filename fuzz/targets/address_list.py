"""Files of prefixes, and the texts that a config has for addresses, sizes and times."""

from __future__ import annotations

import re
from collections.abc import Callable

from tlsgate.admission.lists import parse_line
from tlsgate.config import values
from tlsgate.config.fault import Wrong

_READERS: tuple[Callable[[str], object], ...] = (
    values.parse_secure_url,
    values.parse_file,
    values.parse_duration,
    values.parse_size,
    values.parse_rate,
    values.parse_domain,
    values.parse_mail_domain,
    values.parse_server_name,
    values.parse_hostname,
    values.parse_host,
    values.parse_address,
    values.parse_nameserver,
    values.parse_network,
    values.parse_network_or_file,
    values.parse_answers,
)


def fuzz(data: bytes) -> None:
    for line in data.split(b"\n"):
        try:
            network, reason, _ = parse_line(line.strip())
        except ValueError as wrong:
            assert str(wrong).isprintable()
        else:
            assert network.length <= (32 if network.version == 4 else 128)
            assert not reason or reason.isprintable()
    text = data.decode(errors="replace")
    for read in _READERS:
        try:
            read(text)
        except Wrong as wrong:
            assert not re.search(r"[\r\n]", str(wrong))
