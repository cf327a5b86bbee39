"""The compose file and the legacy servers behind it: their own tools take them, and they fit together."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from tests.deploy.tools import DEPLOY, check, documents, succeeds
from tests.system.peers import missing, program
from tlsgate.config import Config, HostPort, Protocol, load

HERE = DEPLOY / "compose"
LEGACY = HERE / "legacy"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """As docker-compose understands it."""
    (found,) = documents(succeeds(program("docker-compose"), "-f", HERE / "compose.yaml", "config"))
    return found


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    directory = tmp_path_factory.mktemp("compose")
    text = (HERE / "tlsgate.toml").read_text()
    return load(check(text, directory, "tls/fullchain.pem", "tls/privkey.pem"))


def test_every_listener_is_published_at_its_well_known_port(compose: dict[str, Any], settings: Config) -> None:
    ports = map(_port, compose["services"]["tlsgate"]["ports"])
    published = {int(port["target"]): int(port["published"]) for port in ports}
    listening = {each.address.port: each for each in settings.listeners if isinstance(each.address, HostPort)}
    assert published.keys() == listening.keys()
    assert all(target == well_known + 1000 for target, well_known in published.items())


def _port(port: object) -> dict[str, Any]:
    """Older docker-composes keep the short form."""
    if isinstance(port, dict):
        return port
    published, target = str(port).removesuffix("/tcp").split(":")
    return {"published": published, "target": target}


def test_nobody_reaches_the_legacy_servers_but_tlsgate(compose: dict[str, Any]) -> None:
    for name in ("dovecot", "postfix"):
        service = compose["services"][name]
        assert "ports" not in service
        assert set(service["networks"]) == {"back"}
    assert compose["networks"]["back"]["internal"] is True


def test_backends_are_services_that_listen(compose: dict[str, Any], settings: Config) -> None:
    backends = {each.address for pool in settings.pools.values() for each in pool.backends}
    assert backends == {HostPort("dovecot", 143), HostPort("dovecot", 110), HostPort("postfix", 25)}
    assert {"dovecot", "postfix"} <= compose["services"].keys()


def test_legacy_servers_believe_tlsgate_and_nobody_else(compose: dict[str, Any]) -> None:
    """Else they count all users as one client, or take anybody's word for who they are."""
    address = compose["services"]["tlsgate"]["networks"]["back"]["ipv4_address"]
    trusted = re.findall(
        r"^(?:login_trusted_networks|smtpd_authorized_xclient_hosts) = (.*)$",
        (LEGACY / "dovecot.conf").read_text() + (LEGACY / "main.cf").read_text(),
        re.MULTILINE,
    )
    assert trusted == [address, address]


def test_it_is_given_the_time_to_drain(compose: dict[str, Any], settings: Config) -> None:
    found = re.fullmatch(r"(\d+)m(\d+)s", compose["services"]["tlsgate"]["stop_grace_period"])
    assert found
    assert int(found[1]) * 60 + int(found[2]) > settings.server.drain


def test_it_may_do_nothing_special(compose: dict[str, Any]) -> None:
    service = compose["services"]["tlsgate"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service


def test_mail_from_other_servers_is_taken_for_the_domain_that_postfix_has(settings: Config) -> None:
    assert Protocol.MX in {each.protocol for each in settings.listeners}
    said = succeeds(program("postconf"), "-c", LEGACY, "-h", "virtual_mailbox_domains")
    assert settings.relay.domains == (said.strip(),)


def test_postfix_knows_its_settings() -> None:
    """A name that it doesn't know is a warning, and has no effect."""
    for options in ((), ("-M",), ("-n",)):
        command = [program("postconf"), "-c", str(LEGACY), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_dovecot_knows_its_settings() -> None:
    version = succeeds(program("dovecot"), "--version")
    if not version.startswith("2.3."):
        missing(f"the settings are those of Dovecot 2.3, and this is {version.split()[0]}")
    assert "protocols = imap pop3 lmtp" in succeeds(program("doveconf"), "-n", "-c", LEGACY / "dovecot.conf")
