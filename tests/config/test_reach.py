"""Which pools a listener leads to: one that is forgotten is never probed, and its backends' clients have no names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import completed, written
from tlsgate.config import HostPort, Listener, Protocol, Route, TlsMode, load, mapped_pools, pools_behind

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
    listener = Listener(name="a", protocol=Protocol.MX, address=HostPort("::", 1), tls=TlsMode.STARTTLS, pool="own")
    assert pools_behind(listener, ROUTES, ("mapped",)) == ("own",)


MAPPED = """
[auth]
user_map = "map"
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "submission"
address = "[::]:465"
tls = "implicit"
pool = "smtp"
[[listeners]]
name = "c"
protocol = "mx"
address = "[::]:25"
tls = "starttls"
pool = "inbound"
[[routes]]
match = "a*"
protocol = "imap"
pool = "routed"
[pools.imap]
backends = [{ address = "10.0.0.1:143" }]
[pools.smtp]
backends = [{ address = "10.0.0.1:25" }]
[pools.inbound]
backends = [{ address = "10.0.0.2:25" }]
login = "none"
[pools.routed]
backends = [{ address = "10.0.0.3:143" }]
[pools.shard]
backends = [{ address = "10.0.0.4:143" }]
protocol = "imap"
[pools.spare]
backends = [{ address = "10.0.0.5:143" }]
"""


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        (Protocol.IMAP, {"imap", "routed", "shard"}),
        (Protocol.SUBMISSION, {"smtp"}),  # not the inbound pool, which lets everybody in
        (Protocol.POP3, set()),
        (Protocol.MX, set()),
    ],
)
def test_a_user_map_can_lead_to_every_pool_of_its_protocol(tmp_path: Path, protocol: Protocol, names: set[str]) -> None:
    """One that is missing here isn't probed; one too many is asked in another protocol's words."""
    config = load(written(tmp_path, completed(MAPPED)))
    found = mapped_pools(config, protocol)
    assert set(found) == names
    if protocol is Protocol.IMAP:
        assert pools_behind(config.listeners[0], config.routes, found) == ("imap", "routed", "shard")


def test_without_a_user_map_only_listeners_and_routes_lead_anywhere(tmp_path: Path) -> None:
    config = load(written(tmp_path, completed(MAPPED.replace("user_map", "# user_map"))))
    assert mapped_pools(config, Protocol.IMAP) == ()
