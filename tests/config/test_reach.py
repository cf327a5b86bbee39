"""Which pools a listener leads to: one that is forgotten is never probed, and its backends' clients have no names."""

from __future__ import annotations

from tlsgate.config import HostPort, Listener, Protocol, Route, TlsMode, pools_behind

ROUTES = (
    Route(match="a*", protocol=Protocol.POP3, pool="pop"),
    Route(match="b*", pool="net"),
    Route(match="c*", protocol=Protocol.IMAP, pool="imap"),
    Route(match="d*", pool="own"),
    Route(match="e*", pool="net"),
)


def behind(protocol: Protocol) -> tuple[str, ...]:
    listener = Listener(name="a", protocol=protocol, address=HostPort("::", 1), tls=TlsMode.STARTTLS, pool="own")
    return pools_behind(listener, ROUTES)


def test_own_pool_first_then_those_of_routes() -> None:
    assert behind(Protocol.IMAP) == ("own", "net", "imap")
    assert behind(Protocol.POP3) == ("own", "pop", "net")
    assert behind(Protocol.SUBMISSION) == ("own", "net")


def test_an_mx_listener_knows_no_users() -> None:
    assert behind(Protocol.MX) == ("own",)
