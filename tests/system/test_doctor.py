"""tlsgate doctor before real servers: whom it calls an open relay, whom it doesn't, and what its users see."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.certificates import BACKEND_NAME, Certificate
from tests.system.peers import HOST, free_port, run
from tests.system.postfix import DOMAIN, Postfix, postfix

_OURS = {"mynetworks = 192.0.2.1/32": "mynetworks = 127.0.0.0/8"}


def _changes(restrictions: str, more: dict[str, str], line: str = "") -> dict[str, str]:
    """A Postfix without logins, with these restrictions for relaying, whose mail for elsewhere would be thrown away.

    At the port ``login_only`` it wants a PROXY header.
    """
    return {
        "smtpd_relay_restrictions = permit_sasl_authenticated, reject": f"smtpd_relay_restrictions = {restrictions}",
        "smtpd_recipient_restrictions = permit_sasl_authenticated, reject": line,
        "smtpd_sasl_auth_enable = yes": "smtpd_sasl_auth_enable = no",
        "-o smtpd_sasl_mechanism_filter=login": "-o smtpd_upstream_proxy_protocol=haproxy",
        "default_transport = error:nothing leaves this host": "default_transport = discard:",
        **more,
    }


_XCLIENT = f"smtpd_authorized_xclient_hosts = {HOST}"
_SERVERS = {
    "relaying": _changes("permit_mynetworks, reject_unauth_destination", _OURS),
    "closed": _changes("permit_mynetworks, defer_unauth_destination", {}),  # Postfix's default
    "told": _changes("permit_mynetworks, reject_unauth_destination", _OURS, _XCLIENT),
    # Its mynetworks hold the address that we are examined with as a stranger.
    "told-and-open": _changes("permit_mynetworks, reject_unauth_destination", {}, _XCLIENT),
}
# Forms that Postfix rewrites or takes as they are; it refuses the others by itself.
_EACH = ("plain", "quoted local part", "source route", "two @, foreign last", "percent without a domain", "bang path")


Found = dict[str, str]


@dataclass(frozen=True, slots=True)
class Site:
    """Postfixes by name, and how to examine them."""

    servers: dict[str, Postfix]
    directory: Path
    certificate: Certificate
    backend_certificate: Certificate

    def examine(self, port: int, pool: str = "", protocol: str = "mx", backend: str = "") -> tuple[int, list[Found]]:
        """Exit code and what is found about the backend at ``port``. ``pool``, ``backend``: more TOML of them."""
        ran = run(*self.command(port, pool, protocol, backend), "--json")
        assert ran.stderr == ""
        found: list[Found] = json.loads(ran.stdout)
        return ran.returncode, [each for each in found if each["about"] == f"pool smtp, backend {HOST}:{port}"]

    def command(self, port: int, pool: str = "", protocol: str = "mx", backend: str = "") -> list[str]:
        config = self.directory / "tlsgate.toml"
        config.write_text(f"""
[server]
hostname = "[{HOST}]"
[tls]
certificate = "{self.certificate.chain}"
private_key = "{self.certificate.key}"
[[listeners]]
name = "mail"
protocol = "{protocol}"
address = "{HOST}:2525"
tls = "starttls"
pool = "smtp"
[pools.smtp]
backends = [{{ address = "{HOST}:{port}"{backend} }}]
{pool}
[relay]
domains = ["{DOMAIN}"]
""")
        return [sys.executable, "-m", "tlsgate", "doctor", "--config", str(config)]


@pytest.fixture(scope="module")
def site(root: Path, mail: Path, gateway_certificate: Certificate, backend_certificate: Certificate) -> Iterator[Site]:
    directory = root / "doctor"
    directory.mkdir()
    with ExitStack() as running, pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(gateway_certificate.ca))  # a root that the host knows
        servers = {
            name: running.enter_context(
                postfix(root / f"doctor-{name}", mail, ["box"], root / "no-logins", backend_certificate, changes)
            )
            for name, changes in _SERVERS.items()
        }
        yield Site(servers, directory, gateway_certificate, backend_certificate)


def _relays(found: list[Found]) -> list[tuple[str, str]]:
    """Severity and whom it relays for, of every finding that says so; each must name the forms."""
    said = [each for each in found if "relays" in each["what"]]
    for each in said:
        assert all(form in each["what"].split(": ")[1].split("; ") for form in _EACH)
    return [(each["severity"], each["what"].partition(" without")[0]) for each in said]


def test_a_relay_for_our_address_is_open_to_mx_clients(site: Site) -> None:
    """The commonest open relay behind a proxy: mynetworks holds the proxy."""
    server = site.servers["relaying"]
    code, found = site.examine(server.smtp)
    assert code == 1
    assert _relays(found) == [("problem", "relays for our address")]
    assert server.log is not None
    log = server.log.read_text()
    assert " rcpt=" in log  # a session's last line counts its commands
    assert " data=" not in log


def test_a_relay_for_our_address_behind_submission(site: Site) -> None:
    """Users have logged in before they come there; a backend that has to trust us is no fault."""
    port = site.servers["relaying"].smtp
    code, found = site.examine(port, protocol="submission")
    assert (code, _relays(found)) == (1, [("warning", "relays for our address")])
    users = site.directory / "users"
    users.write_text("")
    pool = f'login = "none"\n[auth]\nsource = "users-file"\nusers_file = "{users}"'
    code, found = site.examine(port, pool, "submission")
    assert (code, _relays(found)) == (0, [("note", "relays for our address")])


def test_a_closed_one_gives_nothing_to_do(site: Site) -> None:
    """Postfix denies relaying with a temporary code by default, which isn't "ask again later"."""
    code, found = site.examine(site.servers["closed"].smtp)
    (answers,) = found
    assert (code, answers["severity"]) == (0, "note")
    assert "PIPELINING" in answers["what"]


_TOLD = [("xclient", "smtp"), ("proxy-v1", "login_only"), ("proxy-v2", "login_only")]


@pytest.mark.parametrize(("how", "port"), _TOLD)
def test_who_is_told_the_client_relays_for_us_alone(site: Site, how: str, port: str) -> None:
    code, found = site.examine(getattr(site.servers["told"], port), f'client_address = "{how}"')
    assert (code, _relays(found)) == (0, [("note", "relays for our address")])


@pytest.mark.parametrize(("how", "port"), _TOLD)
def test_an_open_relay_is_found_as_a_stranger(site: Site, how: str, port: str) -> None:
    """From our own address it looks closed."""
    code, found = site.examine(getattr(site.servers["told-and-open"], port), f'client_address = "{how}"')
    assert (code, _relays(found)) == (1, [("problem", "relays for strangers")])


def test_xclient_that_is_not_taken_is_a_problem(site: Site) -> None:
    """Such a backend gets no mail from an mx listener."""
    code, found = site.examine(site.servers["closed"].smtp, 'client_address = "xclient"')
    assert (code, [each["severity"] for each in found]) == (1, ["note", "problem"])
    assert "smtpd_authorized_xclient_hosts" in found[1]["do"]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_tls_as_configured(site: Site, tls: str) -> None:
    server = site.servers["closed"]
    port = server.smtps if tls == "implicit" else server.starttls
    good = f', tls = "{tls}", ca = "{site.backend_certificate.ca}", server_name = "{BACKEND_NAME}"'
    assert site.examine(port, backend=good)[0] == 0
    for bad, why in (
        (good.replace(BACKEND_NAME, "other.test"), "mismatch"),
        (f', tls = "{tls}", server_name = "{BACKEND_NAME}"', "unable to get local issuer certificate"),
    ):
        code, (found,) = site.examine(port, backend=bad)
        assert (code, found["severity"]) == (1, "problem")
        assert why in found["what"]


def test_nobody_is_there(site: Site) -> None:
    code, (found,) = site.examine(free_port())
    assert (code, found["severity"]) == (1, "problem")
    assert "Connection refused" in found["what"]


def test_what_people_see(site: Site) -> None:
    ran = run(*site.command(site.servers["relaying"].smtp))
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    assert lines[0] == f"pool smtp, backend {HOST}:{site.servers['relaying'].smtp}"
    assert any(line.startswith("  PROBLEM  relays for our address without a login: plain;") for line in lines)
    assert any(line.startswith("    do     take our address out of what it trusts") for line in lines)
    assert lines[-1] == "1 problem, 0 warnings"
    assert max(map(len, lines)) <= 100
