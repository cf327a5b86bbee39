"""State, pools, drain and reload through the admin API of a whole gateway."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

from tests.gate import HOSTNAME
from tests.ops.live_gateway import PROTOCOLS, LiveGateway, live_gateway
from tlsgate import __version__
from tlsgate.config import Protocol

pytestmark = pytest.mark.timeout(60)
TOKEN = "a-token-of-24-characters"


def tokened(directory: Path) -> str:
    file = directory / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    return f'token_file = "{file}"'


async def test_the_state(tmp_path: Path) -> None:
    async with live_gateway(tmp_path, tokened(tmp_path)) as gate:
        await gate.log_in()
        await gate.log_in("submissions")
        await gate.connect("pop3s")
        await gate.listed(2, "?user=ann")
        answer = await gate.ask("GET", "/api/state")
        state = answer.json
        assert TOKEN.encode() not in answer.body
        assert (state["version"], state["hostname"], state["phase"]) == (__version__, HOSTNAME, "serving")
        assert time.time() - state["started"] == pytest.approx(state["uptime"], abs=1)
        assert (state["connections"], state["most_connections"], state["bans"]) == (3, 10_000, 0)
        assert (state["workers"], state["reload"]) == ([], None)
        assert state["limits"]["connections_per_user"] == 50
        assert state["limits"]["rate_per_network"] == {"count": 120, "seconds": 60}
        listeners = {each["name"]: each for each in state["listeners"]}
        assert {name: each["address"] for name, each in listeners.items()} == gate.addresses
        assert {name: each["protocol"] for name, each in listeners.items()} == PROTOCOLS
        assert [listeners[name]["sessions"] for name in PROTOCOLS] == [
            {"handshake": 0, "login": 0, "relay": 1, "mail": 0},
            {"handshake": 0, "login": 1, "relay": 0, "mail": 0},
            {"handshake": 0, "login": 0, "relay": 0, "mail": 1},
        ]
        (certificate,) = state["certificates"]
        assert certificate["path"] == str(tmp_path / "chain.pem")
        assert certificate["expires"] > time.time()


async def test_pools_say_which_backend_is_down_since_when_and_why(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        await gate.log_in()
        text = gate.config.read_text()
        gate.config.write_text(text.replace(f'"{gate.backends[Protocol.IMAP].address}" }}', '"127.0.0.1:1" }'))
        pools = {each["name"]: each for each in await gate.get("/api/pools")}
        assert list(pools) == ["imap", "pop3", "submission"]
        (up,) = pools["imap"]["backends"]
        assert (up["address"], up["up"], up["connections"]) == (str(gate.backends[Protocol.IMAP].address), True, 1)
        assert "IMAP4REV1" in [word.upper() for word in up["capabilities"]]
        assert (up["failed_at"], up["failure"]) == (None, None)
        assert (await gate.ask("POST", "/api/reload")).status == 200
        with trio.fail_after(10):
            down = up
            while down["up"]:
                await trio.sleep(0.01)
                down = (await gate.get("/api/pools"))[0]["backends"][0]
        assert down["address"] == "127.0.0.1:1"
        assert time.time() - down["failed_at"] < 20
        assert "refused" in down["failure"].lower()


# -- reload ----------------------------------------------------------------------------------------------


async def test_a_reload_is_in_force_when_it_is_answered(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        text = gate.config.read_text()
        gate.config.write_text(text.replace("[admission]", "[limits]\nconnections = 7\n[admission]"))
        answer = await gate.ask("POST", "/api/reload")
        assert (answer.status, answer.json["needs_restart"]) == (200, "")
        state = await gate.get("/api/state")
        assert state["most_connections"] == 7
        assert state["reload"]["ok"]
        assert gate.log.all("config_reloaded")


async def test_a_listener_that_is_gone_is_shown_as_long_as_it_has_sessions(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        client = await gate.log_in("pop3s")
        text = gate.config.read_text()
        begin = text.index('[[listeners]]\nname = "pop3s"')
        gate.config.write_text(text[:begin] + text[text.index("[pools.pop3]") :])
        assert (await gate.ask("POST", "/api/reload")).status == 200
        shown = {each["name"]: each for each in (await gate.get("/api/state"))["listeners"]}
        assert shown["pop3s"]["address"] is None
        assert shown["pop3s"]["sessions"]["relay"] == 1
        assert len(await gate.sessions("?listener=pop3s")) == 1
        client.close()
        await gate.listed(0)
        assert [each["name"] for each in (await gate.get("/api/state"))["listeners"]] == ["imaps", "submissions"]


async def test_what_only_a_restart_changes_is_told(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        gate.config.write_text(gate.config.read_text().replace("[admission]", "[log]\nlevel = 'debug'\n[admission]"))
        assert (await gate.ask("POST", "/api/reload")).json["needs_restart"] == "log"


async def test_a_config_with_faults_is_refused_in_all_its_words_and_nothing_changes(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as gate:
        text = gate.config.read_text()
        gate.config.write_text(text.replace("[admission]", "[limits]\nconnections = 0\ncolour = 1\n[admission]"))
        answer = await gate.ask("POST", "/api/reload")
        assert answer.status == 422
        assert "limits.connections" in answer.json["error"]
        assert "limits.colour" in answer.json["error"]
        state = await gate.get("/api/state")
        assert state["most_connections"] == 10_000
        assert state["reload"]["reason"] == answer.json["error"]
        await gate.log_in()


# -- drain -----------------------------------------------------------------------------------------------


async def test_a_drain_lets_sessions_end_and_then_the_gateway(tmp_path: Path) -> None:
    """Asked for twice, it must not end them: that is what a second SIGTERM does."""
    async with live_gateway(tmp_path) as gate:
        client = await gate.log_in()
        answer = await gate.ask("POST", "/api/drain")
        assert (answer.status, answer.json) == (202, {"begun": True})
        assert (await gate.ask("POST", "/api/drain")).json == {"begun": False}
        await _drains(gate)
        assert (await gate.get("/api/state"))["phase"] == "draining"
        assert (await gate.ask("GET", "/readyz")).status == 503
        assert (await gate.ask("POST", "/api/drain")).json == {"begun": False}
        with pytest.raises(OSError):
            await gate.connect()
        assert (await client.ask(b"n NOOP")).startswith(b"n OK")
        assert (await gate.ask("POST", "/api/reload")).status == 409
        assert not gate.log.all("config_reloaded")
    assert gate.log.all("stopped")


async def _drains(gate: LiveGateway) -> None:
    """Its listeners have stopped."""
    with trio.fail_after(5):
        while True:
            if (await gate.ask("GET", "/readyz")).status == 503:
                return
            await trio.sleep(0.01)


# -- who may ----------------------------------------------------------------------------------------------

CHANGES = [("POST", "/api/drain"), ("POST", "/api/reload"), ("DELETE", "/api/sessions?user=ann")]


async def test_changes_need_the_token(tmp_path: Path) -> None:
    async with live_gateway(tmp_path, tokened(tmp_path)) as gate:
        client = await gate.log_in()
        await gate.listed(1, "?user=ann")
        for method, path in CHANGES:
            assert (await gate.ask(method, path)).status == 401
            assert (await gate.ask(method, path, TOKEN[::-1])).status == 401
        assert (await client.ask(b"n NOOP")).startswith(b"n OK")
        assert not gate.log.all("draining") + gate.log.all("config_reloaded")
        for method, path in reversed(CHANGES):
            assert (await gate.ask(method, path, TOKEN)).status in (200, 202)


@pytest.mark.parametrize("path", ["/api/drain", "/api/reload"])
async def test_reading_changes_nothing(tmp_path: Path, path: str) -> None:
    """A browser follows any link."""
    async with live_gateway(tmp_path) as gate:
        for method in ("GET", "HEAD"):
            assert (await gate.ask(method, path)).status == 405
        assert (await gate.get("/api/state"))["phase"] == "serving"
        assert not gate.log.all("config_reloaded")
