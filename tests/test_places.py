"""Where a user's mail is, and under which name, when the user map and a token's claim both have something to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gate import DEFAULTS, HOSTNAME, pool_of, server_contexts
from tlsgate import config
from tlsgate.auth import user_map
from tlsgate.auth.followed import Followed
from tlsgate.auth.routing import Routes, Routing
from tlsgate.config import HostPort, Protocol, Route, TlsMode
from tlsgate.relay import Pump
from tlsgate.service import Service

POOLS = ("own", "old", "new")


def service(directory: Path, *lines: str, route: str = "") -> Service:
    """Of the pool "own", and two others that the map and a claim can lead to. ``route``: everybody's pool."""
    path = directory / "map"
    path.write_text("".join(f"{each}\n" for each in lines))

    def load(path: Path) -> user_map.UserMap:
        return user_map.load(path, {each: dict.fromkeys(POOLS) for each in config.WITH_USERS})

    own, *others = (pool_of(HostPort("127.0.0.1", 1), name=each) for each in POOLS)
    routes = Routes((Route(match="*", pool=route),) if route else ())
    return Service(
        Protocol.IMAP,
        TlsMode.IMPLICIT,
        server_contexts(),
        own,
        Pump(),
        DEFAULTS,
        HOSTNAME,
        ("OAUTHBEARER",),
        routing=Routing(routes, Followed(path, load(path), load, lambda _: None)),
        routed={each.name: each for each in others},
    )


@pytest.mark.parametrize(
    ("line", "claim", "pool", "name"),
    [
        ("ann imap=old as=info", "", "old", "info"),
        ("ann imap=old as=info", "old", "old", "info"),
        # "info" may be somebody else in another pool, whose mail ann would read there.
        ("ann imap=old as=info", "new", "new", ""),
        ("ann imap=old as=info", "own", "own", ""),
        ("ann imap=own as=info", "", "own", "info"),
        ("ann imap=own as=info", "own", "own", "info"),
        ("ann imap=own as=info", "new", "new", ""),
        # A pool that isn't behind this listener is none.
        ("ann imap=old as=info", "elsewhere", "old", "info"),
        ("ann as=info", "", "own", "info"),
        ("bob imap=old as=info", "", "own", ""),
        ("bob imap=old as=info", "new", "new", ""),
    ],
)
async def test_the_maps_name_is_the_one_in_the_maps_pool(
    tmp_path: Path, line: str, claim: str, pool: str, name: str
) -> None:
    found, named = await service(tmp_path, line).place("ann", claim)
    assert (found.name, named) == (pool, name)


@pytest.mark.parametrize(("claim", "pool", "name"), [("", "old", "info"), ("new", "new", "")])
async def test_a_name_alone_is_the_one_in_the_routes_pool(tmp_path: Path, claim: str, pool: str, name: str) -> None:
    found, named = await service(tmp_path, "ann as=info", route="old").place("ann", claim)
    assert (found.name, named) == (pool, name)
