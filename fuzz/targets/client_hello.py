"""The server name in a ClientHello."""

from __future__ import annotations

from tlsgate.tls.hello import Hello, octets_wanted, server_name


def fuzz(data: bytes) -> None:
    for hello in (data, b"\x16\x03\x01" + len(data).to_bytes(4)[2:] + data):
        found = server_name(hello)
        if found is Hello.INCOMPLETE:
            assert octets_wanted(hello) > len(hello)
        else:
            assert server_name(hello + b"\0") == found  # what is behind it changes nothing
