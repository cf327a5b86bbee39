"""A gateway all of whose texts that strangers have a say in are markup."""

from __future__ import annotations

import time

from tests.ops.admin_address import Nowhere
from tlsgate.ops.client_report import Habit, Noted
from tlsgate.ops.gateway_view import CertificateView, GatewayView, ListenerView, ReloadView, WorkerView
from tlsgate.ops.pool_view import BackendView, PoolView
from tlsgate.ops.session_view import LiveSession, Page, Wanted

MARKUP = "<img src=x onerror=document.title=1>"
SCRIPT = "</td><script>document.title=1</script>"


class HostileGateway(Nowhere):
    """Serves, with sessions of hostile users, and a backend that is down with a hostile excuse.

    ``broken``: it can't say how things are. ``asked``, ``kicked``: what was asked for last, and who was ended.
    """

    def __init__(self) -> None:
        self.broken = False
        self.asked = Wanted()
        self.kicked: list[str] = []

    async def kick(self, wanted: Wanted) -> int:
        self.kicked.append(wanted.id)
        return 1

    async def state(self) -> GatewayView:
        if self.broken:
            raise NotImplementedError
        now = time.time()
        return GatewayView(
            version="1.0",
            openssl="OpenSSL 3.5.0",
            hostname="mail.example.org",
            started=now - 7200,
            uptime=7200.0,
            phase="serving",
            connections=12,
            most_connections=10_000,
            bans=1,
            listeners=[
                ListenerView(
                    "imaps", "imap", "implicit", "[::]:993", {"handshake": 1, "login": 2, "relay": 9, "mail": 0}
                )
            ],
            workers=[WorkerView(41, "serving", 6, False), WorkerView(42, "serving", 6, True)],
            certificates=[
                CertificateView("/etc/tlsgate/chain.pem", now + 5 * 86_400),
                CertificateView("/etc/tlsgate/old.pem", now - 86_400),
            ],
            limits={},
            reload=ReloadView(now - 60, False, f"pools.{MARKUP}: no such key", ""),
        )

    async def pools(self) -> list[PoolView]:
        up = BackendView("10.0.0.5:143", "none", 10, 1.0, True, 9, [MARKUP], None, None)
        down = BackendView("10.0.0.6:143", "starttls", 20, 1.0, False, 0, None, time.time() - 90, SCRIPT)
        return [PoolView("imap", "same", [up, down])]

    async def clients(self, most: int) -> list[Noted]:
        return [Noted(habit, MARKUP, 3, time.time() - 30, "192.0.2.7", "imaps") for habit in Habit][:most]

    async def sessions(self, wanted: Wanted) -> Page:
        self.asked = wanted
        users = (MARKUP, SCRIPT, "ann\u202etxt.exe", "ann", None)
        found = [
            LiveSession(
                f"1-{number}", "imaps", "192.0.2.7", 40_000 + number, "relay" if user else "login",
                time.time() - 300, user, "PLAIN", "10.0.0.5:143", "TLSv1.2" if number % 2 else "TLSv1.3",
                "TLS_AES_128_GCM_SHA256", 5_000 * number, 3_000_000 * number,
            )
            for number, user in enumerate(users)
        ]  # fmt: skip
        return Page(found, len(found), None)
