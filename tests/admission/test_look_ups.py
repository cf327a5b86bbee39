"""Who asks what, and the life of what they ask with: a list is tested before it may turn anybody away."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from msgspec.structs import asdict
from trio.testing import wait_all_tasks_blocked

from tests.admission.look_ups import LookUpRecords, look_ups
from tests.config.files import completed, written
from tests.dns_server import DnsServer, has
from tlsgate.admission.look_ups import Checks, LookUps, look_ups_for
from tlsgate.config import Config, load

_SUBMISSION = """
[[listeners]]
name = "submission"
protocol = "submission"
address = "[::]:587"
tls = "starttls"
pool = "smtp"
[pools.smtp]
backends = [{ address = "a:1" }]
"""
_IMAP = """
[[listeners]]
name = "imap"
protocol = "imap"
address = "[::]:143"
tls = "starttls"
pool = "imap"
"""
_MX = _SUBMISSION.replace("submission", "mx").replace(":587", ":25") + '[relay]\ndomains = ["example.org"]\n'
_USERS = '[[dnsbl]]\nzone = "bl.test"\nprotocols = ["submission"]\n'
_NO_NAMES = '[screening]\nreverse_dns = "off"\nhelo = "off"\n'


def settings(directory: Path, text: str) -> Config:
    return load(written(directory, completed(text)))


@pytest.mark.parametrize(
    ("text", "dnsbl", "reverse_dns", "helo"),
    [
        (_SUBMISSION, False, True, True),
        (_SUBMISSION + _NO_NAMES, False, False, False),
        (_SUBMISSION + _USERS, True, True, True),
        (_SUBMISSION + '[[dnsbl]]\nzone = "bl.test"\n', False, True, True),  # for mx
        (_SUBMISSION + 'client_address = "xclient"\n' + _NO_NAMES, False, True, False),
        (_SUBMISSION + 'client_address = "proxy-v2"\n' + _NO_NAMES, False, False, False),
        (_IMAP + _USERS, False, False, False),
        (_IMAP + '[screening]\nreverse_dns = "reject"\n', False, False, False),
    ],
)
def test_who_is_checked_by_what(tmp_path: Path, text: str, dnsbl: bool, reverse_dns: bool, helo: bool) -> None:
    """IMAP and POP3 logins mustn't pay for what decides nothing there."""
    config = settings(tmp_path, text)
    checks = Checks.of(config.listeners[0], config)
    assert checks == Checks(dnsbl, reverse_dns, helo)
    assert bool(checks) is (dnsbl or reverse_dns or helo)


_FROM_SERVERS = {"reverse_dns", "helo", "spf", "surbl"}


@pytest.mark.parametrize(
    ("text", "checked"),
    [
        (_MX, _FROM_SERVERS),
        (_MX + '[[dnsbl]]\nzone = "bl.test"\n', {"dnsbl"} | _FROM_SERVERS),
        (_MX + _USERS, _FROM_SERVERS),
        (_MX + "[screening]\nsurbl_zones = []\n", _FROM_SERVERS - {"surbl"}),
        (_MX + '[screening]\nsurbl = "off"\n', _FROM_SERVERS - {"surbl"}),
        (_MX + '[screening]\nspf = "off"\n', _FROM_SERVERS - {"spf"}),
        (_MX + _NO_NAMES, {"spf", "surbl"}),
        (_MX + _NO_NAMES + 'spf = "off"\nsurbl_zones = []\n', set()),
        (_MX + _NO_NAMES + 'spf = "log"\nsurbl = "off"\n', {"spf"}),
        (_MX + _NO_NAMES + 'spf = "off"\nsurbl = "off"\npregreet_delay = "6s"\n', {"pregreet"}),
        (_SUBMISSION + _NO_NAMES + 'pregreet_delay = "6s"\n', set()),
        (_MX.replace("[relay]", 'client_address = "xclient"\n[relay]') + _NO_NAMES, {"reverse_dns", "spf", "surbl"}),
    ],
)
def test_servers_and_their_mail_are_checked_by_what_is_not_off(tmp_path: Path, text: str, checked: set[str]) -> None:
    config = settings(tmp_path, text)
    checks = Checks.of(config.listeners[0], config)
    assert {name for name, asked in asdict(checks).items() if asked} == checked
    assert bool(checks) is bool(checked)


async def test_only_lists_that_somebody_asks_are_kept_tested(tmp_path: Path, nursery: trio.Nursery) -> None:
    """A test each hour of a list that nobody asks is traffic that its operator may charge for."""

    def zones(*texts: str) -> set[str]:
        lists = _USERS + '[[dnsbl]]\nzone = "mx.test"\n'
        config = settings(tmp_path, "".join(texts) + lists)
        asked = look_ups_for(config, config.listeners, None, LookUpRecords(), nursery)
        return {each.zone for each in asked.zones} if asked is not None else set()

    assert zones(_SUBMISSION) == {"bl.test"}
    assert zones(_MX) == {"mx.test"}
    assert zones(_MX, _SUBMISSION.replace("pools.smtp", "pools.other").replace('"smtp"', '"other"')) == {
        "bl.test",
        "mx.test",
    }
    assert zones(_IMAP) == set()


async def test_they_stay_while_they_ask_the_same(tmp_path: Path, nursery: trio.Nursery) -> None:
    """A reload that changes something else must neither forget what is known nor ask it all again."""
    told = LookUpRecords()

    def made(text: str, kept: LookUps | None = None) -> LookUps | None:
        config = settings(tmp_path, text)
        return look_ups_for(config, config.listeners, kept, told, nursery)

    assert made(_IMAP) is None
    first = made(_SUBMISSION + _USERS)
    assert made(_SUBMISSION + _USERS + '[[dnsbl]]\nzone = "mx.test"\n[limits]\nconnections = 7\n', first) is first
    assert made(_SUBMISSION, first) is not first
    assert made(_SUBMISSION + _USERS + '[dns]\ntimeout = "1s"\n', first) is not first
    assert made(_IMAP, first) is None


async def test_lists_are_tested_first_and_kept_tested(nursery: trio.Nursery) -> None:
    server = await DnsServer().serve(nursery)
    server.everything = has("127.0.0.2")
    asked, told = look_ups(server, nursery)
    async with trio.open_nursery() as watching:
        watching.start_soon(asked.watch)
        await asked.tested()
        assert told.events == ["bl.test off"]
        await wait_all_tasks_blocked()
        assert watching.child_tasks
        asked.stop()


async def test_without_lists_nobody_waits_and_nothing_runs(nursery: trio.Nursery) -> None:
    server = await DnsServer().serve(nursery)
    asked = LookUps(server.settings(5.0), (), LookUpRecords(), nursery)
    await asked.watch()
    with trio.fail_after(1):
        await asked.tested()
    assert not server.asked
