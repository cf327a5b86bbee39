"""The DNS server that the gateway asks: one list, which lists nobody but its test entry.

python -m bench.siege.names PORT                     # says a line, and serves
"""

from __future__ import annotations

import sys

import trio

from tests.dns_server import DnsServer, has

ZONE = "list.example.test"


async def _serve(port: int) -> None:
    server = DnsServer({(f"2.0.0.127.{ZONE}", "A"): has("127.0.0.2")}, port=port)
    async with trio.open_nursery() as nursery:
        await server.serve(nursery)
        sys.stdout.write("serves\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(_serve, int(sys.argv[1]))
