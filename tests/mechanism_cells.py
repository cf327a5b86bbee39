"""The cells of the tables as cases of tests, each by its name: source, mechanism, protocol, and login of the pool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.auth_configs import ALONE, LISTS, WAYS, Setup, natural
from tests.judged import good_token
from tests.mechanism_table import COMMAND, MECHANISMS, Cell, Shown, by_login, by_sources, shown_by
from tests.test_session import PROTOCOLS
from tlsgate.config import Protocol

_NAMES = {Protocol.IMAP: "LOGIN-command", Protocol.POP3: "USER-PASS"}


def _name(mechanism: str, protocol: Protocol) -> str:
    return f"{_NAMES.get(protocol, '') if mechanism == COMMAND else mechanism}-{protocol}"


def each_cell(*verdicts: Cell) -> pytest.MarkDecorator:
    """Those of every source, alone and in lists, that say so."""
    cells = [
        pytest.param(setup, mechanism, protocol, id=f"{setup.name}-{_name(mechanism, protocol)}")
        for setup in (*ALONE, *LISTS)
        for mechanism in MECHANISMS
        for protocol in _spoken(mechanism)
        if verdict(setup, mechanism) in verdicts
    ]
    return pytest.mark.parametrize(("setup", "mechanism", "protocol"), cells)


def each_login(*, works: bool) -> pytest.MarkDecorator:
    """What a source alone has found right, with each login of the pool."""
    cells = [
        pytest.param(setup, mechanism, protocol, way, id=f"{setup.name}-{_name(mechanism, protocol)}-{way}")
        for setup in ALONE
        for mechanism in MECHANISMS
        if by_sources(setup.sources, mechanism) is not Cell.NO
        and (setup.hashed or shown_by(mechanism) is not Shown.PROOF)
        for protocol in _spoken(mechanism)
        for way in WAYS
        if _fits(setup, mechanism, protocol, way) is works
    ]
    return pytest.mark.parametrize(("setup", "mechanism", "protocol", "way"), cells)


def each_mechanism() -> pytest.MarkDecorator:
    cells = [
        pytest.param(mechanism, protocol, id=_name(mechanism, protocol))
        for mechanism in MECHANISMS
        for protocol in _spoken(mechanism)
    ]
    return pytest.mark.parametrize(("mechanism", "protocol"), cells)


def _spoken(mechanism: str) -> Iterator[Protocol]:
    for protocol in PROTOCOLS:
        if mechanism != COMMAND or protocol is not Protocol.SUBMISSION:
            yield protocol


def verdict(setup: Setup, mechanism: str) -> Cell:
    """That of the table; but what no pool of the setup could use is no more than what nobody judges."""
    if by_login(setup.sources, mechanism, WAYS[natural(setup)].login) is Cell.NO:
        return Cell.NO
    return by_sources(setup.sources, mechanism)


def able(setup: Setup) -> list[str]:
    """What it can judge without certificates."""
    return [each for each in MECHANISMS if verdict(setup, each) not in (Cell.NO, Cell.CLIENT_CA)]


def right(setup: Setup, mechanism: str) -> str:
    """What Ann shows."""
    match shown_by(mechanism):
        case Shown.TOKEN:
            return "opaque" if "introspection_url" in setup.lines else good_token()
        case Shown.CERTIFICATE:
            return ""
        case _:
            return setup.secret


def _fits(setup: Setup, mechanism: str, protocol: Protocol, way: str) -> bool:
    """A mailbox is opened by a login only, and no backend of our users knows their app passwords."""
    if WAYS[way].right is None and protocol is not Protocol.SUBMISSION:
        return False
    if setup.name == "app-passwords" and way == "same":
        return False
    return by_login(setup.sources, mechanism, WAYS[way].login) is not Cell.NO
