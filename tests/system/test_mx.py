"""Mail from other servers, by a real gateway, to a real Postfix: who it is from, and who it is for."""

from __future__ import annotations

import re
import signal
import smtplib
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.accounts import User
from tests.system.certificates import Certificate
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.inbound import (
    BALANCED,
    FOREIGN,
    HUB,
    SENDER,
    Backend,
    Site,
    another_server,
    behind_ours,
    inbound_postfix,
    inbound_site,
    said_to,
    sent,
    unfolded,
)
from tests.system.peers import HOST, run, wait_until
from tests.system.postfix import DOMAIN
from tests.system.test_workers import workers

GREY = f"grey@{DOMAIN}"
NAMED, UNNAMED, SHUN = "203.0.113.25", "203.0.113.26", "203.0.113.66"
NAMES = {NAMED: "mail.example.net", "203.0.113.67": "spam.example.net"}
# What Postfix decides by: the client's address and its name, its HELO, the recipient.
RULES = {
    "smtpd_peername_lookup = no": f"""smtpd_peername_lookup = no
smtpd_client_restrictions = check_client_access inline:{{{{{SHUN}=REJECT shunned address}}}},
  check_reverse_client_hostname_access inline:{{{{spam.example.net=REJECT shunned name}}}}
smtpd_helo_required = yes
smtpd_helo_restrictions = check_helo_access inline:{{{{liar.example.net=REJECT shunned HELO}}}}
smtpd_sender_restrictions = check_recipient_access inline:{{{{{GREY}=450 4.2.0 Greylisted}}}}""",
}


@pytest.fixture(scope="module")
def backend(root: Path, mail: Path, all_users: list[User], backend_certificate: Certificate) -> Iterator[Backend]:
    with inbound_postfix(root / "postfix-mx", mail, all_users, backend_certificate, RULES) as server:
        yield server


@pytest.fixture(scope="module")
def site(root: Path, gateway_certificate: Certificate, backend: Backend) -> Iterator[Site]:
    pools = [Pool("trusting", backend.port), Pool("told", backend.told, rest='client_address = "xclient"')]
    listeners = [
        Listener("mx", "mx", "starttls", "trusting"),
        Listener("mx-told", "mx", "starttls", "told", BALANCED),
        Listener("mx-tls", "mx", "starttls", "trusting", "require_tls = true"),
    ]
    with inbound_site(root / "mx", gateway_certificate, backend, listeners, pools, NAMES) as running:
        yield running


# -- who the client is ------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "name"), [(NAMED, "mail.example.net"), (UNNAMED, "unknown")])
def test_postfix_is_told_the_client(site: Site, user: User, client: str, name: str) -> None:
    """If not, its log, its rules and its Received would have our address for every sender's."""
    with another_server(site.gate, "mx-told", client, "helo.example.net") as server:
        assert server.sendmail(SENDER, [user.name], sent(user, "told")) == {}
    (raw,) = site.postfix.wait_for(user, 1)
    theirs, ours = unfolded(raw, "Received")
    assert theirs.startswith(f"from helo.example.net ({name} [{client}])")
    assert f" by legacy.{DOMAIN} (Postfix) with ESMTP" in theirs
    assert ours.startswith(f"from helo.example.net ({name} [{client}]) by gate.example.test with ESMTPS id ")
    assert site.postfix.logged(f"client={name}[{client}]")
    ended = site.gate.event("session", lambda event: event["client"] == client)
    assert f" with ESMTPS id {ended['session']} tls " in ours
    assert (ended["result"], ended["backend"]) == ("ok", f"{HOST}:{site.postfix.told}")


@pytest.mark.parametrize(
    ("client", "helo", "why"),
    [
        (SHUN, "mx.example.net", "shunned address"),
        ("203.0.113.67", "mx.example.net", "shunned name"),
        (NAMED, "liar.example.net", "shunned HELO"),
    ],
)
def test_postfix_own_rules_meet_the_client(site: Site, user: User, client: str, helo: str, why: str) -> None:
    with another_server(site.gate, "mx-told", client, helo) as server:
        said = said_to(server, SENDER, user.name)
    assert said.startswith(("550 5.7.1", "554 5.7.1"))
    assert said.endswith(why)


def test_a_client_that_is_told_is_no_relay_of_its_network(site: Site) -> None:
    """Behind XCLIENT Postfix must not take us for its own host: it refuses what we would let through."""
    with another_server(site.gate, "mx-told", NAMED) as server:
        assert said_to(server, SENDER, f"a@{FOREIGN}").startswith("550 5.7.1 Relaying denied")


def test_a_client_that_says_ehlo_again_is_told_anew(site: Site, user: User) -> None:
    """Else Postfix's rules for HELO would be got round by a first good word."""
    with another_server(site.gate, "mx-told", NAMED, "honest.example.net") as server:
        assert server.sendmail(SENDER, [user.name], sent(user, "one")) == {}
        server.ehlo("liar.example.net")
        assert said_to(server, SENDER, user.name).endswith("shunned HELO")
        server.ehlo("other.example.net")
        assert server.sendmail(SENDER, [user.name], sent(user, "two")) == {}
    one, two = site.postfix.wait_for(user, 2)
    assert unfolded(one, "Received")[0].startswith("from honest.example.net ")
    assert unfolded(two, "Received")[0].startswith("from other.example.net ")


@pytest.mark.parametrize(
    "helo",
    [
        b"[203.0.113.25]",
        b"[IPv6:2001:db8::1]",
        b"203.0.113.25",
        b"localhost",
        b"under_score.example.net",
        b"-dash.example.net",
        b"dot.example.net.",
        "m\u00fcnchen.example.net".encode(),
        b"m\xfcnchen.example.net",
        b"(comment) by gate.example.test;",
        b"a=b+2B",
        b"<x@example.net>",
        b"x" * 230 + b".example.net",
        b"%s%n" * 60,
    ],
    ids=lambda helo: repr(helo[:20]),
)
def test_whatever_a_client_calls_itself_its_mail_arrives(site: Site, user: User, helo: bytes) -> None:
    """RFC 5321 4.1.4: no server may refuse mail for that alone; and no name may be more than a name behind us."""
    with another_server(site.gate, "mx-told", NAMED) as server:
        server.send(b"EHLO " + helo + b"\r\n")
        assert server.getreply()[0] == 250
        assert server.sendmail(SENDER, [user.name], sent(user, "helo")) == {}
    (raw,) = site.postfix.wait_for(user, 1)
    theirs, ours = unfolded(raw, "Received")
    assert f"[{NAMED}])" in theirs
    assert ours.isascii()
    assert re.sub(r"\([^()]*\)", "", ours).split()[2:5] == ["by", "gate.example.test", "with"]
    assert f"(mail.example.net [{NAMED}])" in ours
    assert max(map(len, raw.split(b"\n"))) < 998
    assert behind_ours(raw) == sent(user, "helo")


def test_a_client_that_postfix_cannot_take_is_put_off(site: Site, user: User) -> None:
    """This Postfix has IPv4 only. Not told of the client, it would take the mail for its own network's."""
    with another_server(site.gate, "mx-told", "2001:db8:1::25") as server:
        assert said_to(server, SENDER, user.name).startswith("451 4.4.2 ")
        assert said_to(server, SENDER, f"a@{FOREIGN}").startswith("550 5.7.1 ")
    told = site.gate.event("no_backend", lambda event: event["listener"] == "mx-told")
    assert "XCLIENT" in told["reason"]


# -- who it is for ----------------------------------------------------------------------------------

RELAY_FORMS = [
    f"victim@{FOREIGN}",
    f"victim@{FOREIGN}.",
    f"VICTIM@{FOREIGN.upper()}",
    "victim@[192.0.2.25]",
    f"victim@[{HOST}]",
    f"victim@sub.{DOMAIN}",
    f"victim@{DOMAIN}.{FOREIGN}",
    f"victim@not{DOMAIN}",
    f"victim%{FOREIGN}@{HUB}",
    f"victim%{FOREIGN}",
    f"victim%{FOREIGN}%{HUB}",
    f"victim%{FOREIGN}@[{HOST}]",
    f"{FOREIGN}!victim",
    f"{FOREIGN}!victim@{HUB}",
    f"{HUB}!{FOREIGN}!victim",
    f"{HUB}!victim@{FOREIGN}",
    f'"victim@{FOREIGN}"',
    f'"victim%{FOREIGN}"',
    f'"{FOREIGN}!victim"',
    f'"victim@{FOREIGN}"@{HUB}',
    f'"victim%{FOREIGN}"@{HUB}',
    f'"{FOREIGN}!victim"@{HUB}',
    f"victim@{FOREIGN}@{HUB}",
    f"@{HUB}:victim@{FOREIGN}",
    f"@{HUB},@{DOMAIN}:victim@{FOREIGN}",
    f"@{HUB}:victim%{FOREIGN}@{HUB}",
    f"@{HUB}:{FOREIGN}!victim",
    f"victim@{HUB}@{FOREIGN}",
    f'"victim"@{FOREIGN}',
]


@pytest.mark.parametrize("form", RELAY_FORMS)
def test_a_backend_that_trusts_us_is_no_open_relay_behind_us(site: Site, form: str) -> None:
    """Each of these is a way that relays were abused; Postfix takes them from a host of its network."""
    sender = f"form{RELAY_FORMS.index(form)}@example.net"
    with another_server(site.gate, "mx", helo=sender.replace("@", "."), tls=False) as server:
        said = said_to(server, sender, form)
    assert said[:9] in ("550 5.7.1", "501 5.1.3"), said
    assert f"from=<{sender}>" not in site.postfix.log()
    if said.startswith("550") and "more than one @" not in said:  # which is no address, and nobody's
        refused = site.gate.event("recipient_refused", lambda event: event["from"] == sender)
        ended = site.gate.event("session", lambda event: event["session"] == refused["session"])
        assert (refused["client"], ended["backend"]) == (HOST, None)


def test_that_backend_takes_them_from_its_network(backend: Backend) -> None:
    """Else the refusals above would show nothing of ours."""
    taken = []
    with smtplib.SMTP(HOST, backend.port, timeout=30) as client:
        client.ehlo("mx.example.net")
        taken = [form for form in RELAY_FORMS if said_to(client, SENDER, form).startswith("250 2.1.5")]
    assert len(taken) >= 20, set(RELAY_FORMS) - set(taken)


def test_each_recipient_is_judged_alone(site: Site, user: User) -> None:
    """One that Postfix doesn't know, one that it puts off, and one of others: the fourth gets the message."""
    others = [f"nobody@{DOMAIN}", GREY, f"a@{FOREIGN}"]
    with another_server(site.gate, "mx") as server:
        refused = server.sendmail(SENDER, [*others, user.name], sent(user, "partial"))
    words = [(refused[each][0], refused[each][1].split()[0]) for each in others]
    assert words == [(550, b"5.1.1"), (450, b"4.2.0"), (550, b"5.7.1")]
    assert b"User unknown" in refused[others[0]][1]
    assert b"Greylisted" in refused[GREY][1]
    site.postfix.wait_for(user, 1)
    told = site.gate.event("message", lambda event: event["from"] == SENDER and event["recipients"] == 1)
    assert told["result"] == "accepted"


def test_a_reload_brings_a_domain_to_new_sessions(site: Site) -> None:
    """Postfix takes mail for it, as it trusts us: so our word alone decides, and each session keeps its own."""
    before, added = site.gate.config.read_text(), f"new@{FOREIGN}"
    with another_server(site.gate, "mx") as older:
        assert said_to(older, SENDER, added).startswith("550 5.7.1")
        site.gate.config.write_text(before.replace(f'domains = ["{DOMAIN}"', f'domains = ["{FOREIGN}", "{DOMAIN}"'))
        site.gate.signal(signal.SIGHUP)
        site.gate.event("config_reloaded", lambda _: True)
        with another_server(site.gate, "mx") as newer:
            assert said_to(newer, SENDER, added).startswith("250 2.1.5")
        assert said_to(older, SENDER, added).startswith("550 5.7.1")
    site.gate.config.write_text(before)
    site.gate.signal(signal.SIGHUP)
    wait_until(lambda: len(site.gate.events("config_reloaded")) == 2, "the second reload")
    with another_server(site.gate, "mx") as server:
        assert said_to(server, SENDER, added).startswith("550 5.7.1")


# -- how it is served -------------------------------------------------------------------------------


def test_check_says_what_is_served(site: Site) -> None:
    """An mx listener that is only announced would be found out by the mail that doesn't come."""
    done = run(sys.executable, "-m", "tlsgate", "check", "--config", str(site.gate.config))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name, pool in (("mx", "trusting"), ("mx-told", "told"), ("mx-tls", "trusting")):
        assert f"listener {name}: mx at {HOST}:{site.gate.ports[name]}, tls starttls, pool {pool}" in lines
    assert f"pool told: {HOST}:{site.postfix.told}, tls none, priority 10, weight 1" in lines
    assert "not active" not in done.stdout


def serving(gate: Gateway) -> set[int]:
    """The workers that hold a connection of the listener."""
    ours = f":{gate.ports['mx']:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    sockets = {f"socket:[{words[9]}]" for words in lines if words[1].endswith(ours) and words[3] == "01"}
    found = set()
    for pid in workers(gate):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # what was closed meanwhile
                if str(each.readlink()) in sockets:
                    found.add(pid)
    return found


def test_two_workers_serve_one_listener(
    root: Path, gateway_certificate: Certificate, backend: Backend, user: User
) -> None:
    """Rules and mail are the same in both: sessions that live at once are spread over them."""
    server = f'drain = "2s"\nworkers = 2\n[relay]\ndomains = ["{DOMAIN}"]'
    listeners, pools = [Listener("mx", "mx", "starttls", "trusting")], [Pool("trusting", backend.port)]
    with gateway(root / "mx-workers", gateway_certificate, listeners, pools, server=server) as gate:
        with another_server(gate, "mx") as one, another_server(gate, "mx") as two:
            assert gate.metric("tlsgate_sessions", listener="mx") == 2
            assert serving(gate) == set(workers(gate))
            assert len(workers(gate)) == 2
            for number, client in enumerate((one, two)):
                assert said_to(client, SENDER, f"a@{FOREIGN}").startswith("550 5.7.1")
                assert client.sendmail(SENDER, [user.name], sent(user, f"by {number}")) == {}
        backend.wait_for(user, 2)
        wait_until(lambda: len(gate.events("session")) == 2, "both sessions are told")
        assert gate.metric("tlsgate_messages_total", listener="mx", result="accepted") == 2
