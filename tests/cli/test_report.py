"""tlsgate report, against a gateway of two workers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import LISTENERS, PASSWORD, USER
from tests.cli.test_bans import run
from tests.system.certificates import Certificate
from tests.system.gateway import Gateway, Pool, gateway
from tests.system.peers import HOST, free_port, wait_until
from tests.system.wire import Wire

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate, pools: list[Pool]) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("report") / "gateway"
    with gateway(directory, certificate, LISTENERS, pools, server='drain = "2s"\nworkers = 2') as gate:
        yield gate


def log_in(gate: Gateway) -> None:
    with Wire(gate.ports["imap"]) as wire:
        wire.line()
        wire.send(b"s STARTTLS\r\n")
        assert wire.until(b"s ")[-1].startswith(b"s OK")
        wire.start_tls(gate.ca)
        wire.send(f'a LOGIN {USER} "{PASSWORD}"\r\n'.encode())
        assert wire.until(b"a ")[-1].startswith(b"a OK")


def test_old_clients_of_all_workers_are_listed(gate: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", str(gate.config))
    assert run(capsys, "report", *config) == (0, "nobody has come with an old client\n", "")
    for _ in range(4):
        log_in(gate)
    with Wire(gate.ports["imap"]) as wire:
        wire.send(b'a LOGIN "eve" "secret in clear"\r\n')
        assert wire.until(b"a ")[-1].startswith(b"a NO")

    def found() -> dict[tuple[str, str], int]:
        code, out, err = run(capsys, "report", "--json", *config)
        assert (code, err) == (0, "")
        assert "secret in clear" not in out
        return {(each["habit"], each["user"]): each["count"] for each in json.loads(out)}

    wanted = {("starttls", USER): 4, ("cleartext", "eve"): 1}
    wait_until(lambda: found() == wanted, "all that was done is noted")
    code, out, err = run(capsys, "report", *config)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert [USER, "-", "-", "4", "-"] in [row[:5] for row in rows]
    assert ["eve", "-", "-", "-", "1"] in [row[:5] for row in rows]
    assert [row[-2:] for row in rows if row and row[0] == USER] == [[HOST, "imap"]]
    assert "the password may have been read" in out


def test_a_gateway_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "report", "--admin", f"{HOST}:{free_port()}")
    assert (code, out) == (1, "")
    assert "can't reach" in err
