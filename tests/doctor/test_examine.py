"""Which backends are examined, for what, and that one that hangs holds nothing else up."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from tests.config.files import completed, written
from tests.dns_server import DnsServer, has
from tests.doctor.smtp_server import SmtpServer
from tlsgate.config import load
from tlsgate.doctor.examine import examine
from tlsgate.doctor.finding import Finding
from tlsgate.prepared import Prepared, prepare

_LISTENER = """
[[listeners]]
name = "{name}"
protocol = "{protocol}"
address = "127.0.0.1:{number}"
tls = "starttls"
pool = "{pool}"
"""
_POOL = """
[pools.{name}]
backends = [{backends}]
connect_timeout = "200ms"
"""


def prepared(directory: Path, text: str) -> Prepared:
    issued = trustme.CA().issue_cert("mail.example.org")
    issued.cert_chain_pems[0].write_to_path(str(directory / "fullchain.pem"))
    issued.private_key_pem.write_to_path(str(directory / "privkey.pem"))
    parts = '[server]\nhostname = "[127.0.0.1]"\n[relay]\ndomains = [".ours.test"]\n'
    return prepare(load(written(directory, completed(parts + text))))


def pool(name: str, *ports: int) -> str:
    return _POOL.format(name=name, backends=", ".join(f'{{ address = "127.0.0.1:{each}" }}' for each in ports))


def of(found: list[Finding], name: str) -> list[Finding]:
    return [each for each in found if each.about.startswith(f"pool {name},")]


async def port_of(nursery: trio.Nursery, server: SmtpServer) -> int:
    return int((await server.subject(nursery)).backend.address.rpartition(":")[2])


async def test_only_servers_of_mail_are_offered_recipients(nursery: trio.Nursery, tmp_path: Path) -> None:
    """Pools by a listener or by a route; with our own domain in the forms, and each backend of them."""
    servers = [SmtpServer(lambda _, __: "") for _ in range(4)]
    ports = [await port_of(nursery, each) for each in servers]
    text = _LISTENER.format(name="mx", protocol="mx", number=25, pool="mx")
    text += _LISTENER.format(name="submission", protocol="submission", number=587, pool="users")
    text += _LISTENER.format(name="imap", protocol="imap", number=143, pool="imap")
    text += (
        pool("mx", *ports[:2]) + pool("users", ports[2]) + pool("routed", ports[3]) + pool("imap", 1) + pool("idle", 2)
    )
    text += '[[routes]]\nmatch = "*"\nprotocol = "submission"\npool = "routed"\n'
    found = await examine(prepared(tmp_path, text), None)
    for server in servers:
        assert "RCPT TO:<user%relay-test.invalid@ours.test>" in server.heard
        assert "RCPT TO:<user%relay-test.invalid@[127.0.0.1]>" in server.heard
    assert [each.about for each in of(found, "mx")] == [
        f"pool mx, backend 127.0.0.1:{port}" for port in ports[:2] for _ in range(2)
    ]
    assert [each.severity for each in of(found, "users")] == ["note", "warning"]
    assert [each.severity for each in of(found, "routed")] == ["note", "warning"]
    assert [each.severity for each in of(found, "imap")] == ["problem"]
    assert of(found, "idle") == []


async def test_one_that_cannot_be_used_is_told_once(tmp_path: Path) -> None:
    """Not again for each question that it didn't answer."""
    text = _LISTENER.format(name="mx", protocol="mx", number=25, pool="mx") + pool("mx", 1)
    assert len(of(await examine(prepared(tmp_path, text), None), "mx")) == 1


async def test_many_that_hang(nursery: trio.Nursery, tmp_path: Path) -> None:
    """They are waited for side by side, some at a time: a site with dead backends is who needs an answer."""
    now = most = 0

    async def hang(_: trio.SocketStream) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        with pytest.raises(trio.BrokenResourceError):
            while await _.receive_some(1):
                pass
            raise trio.BrokenResourceError
        now -= 1

    ports = []
    for _ in range(20):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, hang, [listener]))
        ports.append(listener.socket.getsockname()[1])
    text = _LISTENER.format(name="mx", protocol="mx", number=25, pool="mx") + pool("mx", *ports)
    began = trio.current_time()
    found = of(await examine(prepared(tmp_path, text), None), "mx")
    assert trio.current_time() - began < 20 * 0.2
    assert [each.about.rpartition(":")[2] for each in found] == [str(each) for each in ports]
    assert 1 < most <= 9  # 8, and one whose end we may not have heard of


async def test_servers_that_the_dns_names(nursery: trio.Nursery, tmp_path: Path) -> None:
    """Each server of a name is a finding of its own; a name that leads nowhere is one too."""
    dns = await DnsServer().serve(nursery)
    port = await port_of(nursery, SmtpServer(lambda _, __: ""))
    dns.says("_mail._tcp.ours.test", "SRV", has(f"10 1 {port} localhost.", "20 1 1 localhost."))
    text = _LISTENER.format(name="mx", protocol="mx", number=25, pool="mx")
    text += '[pools.mx]\nbackends = [{ address = "srv:_mail._tcp.ours.test" }, { address = "srv:_x._tcp.ours.test" }]\n'
    text += f'[dns]\nnameservers = ["127.0.0.1:{dns.port}"]\n'
    found = of(await examine(prepared(tmp_path, text), None), "mx")
    assert [(each.about, each.what.partition(";")[0]) for each in (found[0], *found[2:])] == [
        (f"pool mx, backend localhost:{port}", "answers"),
        ("pool mx, backend localhost:1", "can't be used: connect: Connection refused"),
        ("pool mx, backend srv:_x._tcp.ours.test", "srv:_x._tcp.ours.test stands for no server"),
    ]
