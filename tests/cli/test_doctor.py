"""tlsgate doctor: exit codes, and how it says what it has found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.certificates import Certificate
from tests.system.gateway import Pool
from tests.system.peers import free_port
from tlsgate.cli import main
from tlsgate.cli.doctor import report
from tlsgate.doctor.finding import Finding, Severity

CONFIG = """
[server]
hostname = "{hostname}"
[tls]
certificate = "{certificate.chain}"
private_key = "{certificate.key}"
[dns]
nameservers = ["127.0.0.1:{closed}"]
timeout = "500ms"
[[listeners]]
name = "imaps"
protocol = "imap"
address = "127.0.0.1:993"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [{{ address = "127.0.0.1:{port}" }}]
"""


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """The certificate, whose root this host knows."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca))
    return certificate


def doctor(directory: Path, certificate: Certificate, port: int, *more: str, hostname: str = "[127.0.0.1]") -> int:
    config = directory / "c.toml"
    config.write_text(CONFIG.format(certificate=certificate, port=port, closed=free_port(), hostname=hostname))
    return main(["doctor", "--config", str(config), *more])


def test_nothing_to_do(
    tmp_path: Path, trusted: Certificate, pools: list[Pool], capsys: pytest.CaptureFixture[str]
) -> None:
    """Cron jobs go by the exit code: notes alone aren't worth a mail."""
    assert doctor(tmp_path, trusted, pools[0].port) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"pool imap, backend 127.0.0.1:{pools[0].port}"
    assert lines[1].startswith("  note     answers; it offers ")
    assert lines[-1] == "nothing to do"


def test_findings_as_json(
    tmp_path: Path, trusted: Certificate, pools: list[Pool], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the config; what isn't known of the domain because the DNS is away is a finding too."""
    assert doctor(tmp_path, trusted, free_port(), "--json", "--domain", "example.org", hostname="localhost") == 1
    found = json.loads(capsys.readouterr().out)
    assert all(set(each) == {"about", "severity", "what", "why", "do"} for each in found)
    assert [each["about"].split()[0] for each in found] == ["pool", "domain", "domain", "host"]
    assert [each["severity"] for each in found] == ["problem", "warning", "warning", "warning"]


def test_a_bad_config(tmp_path: Path, certificate: Certificate, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
    other = Certificate(certificate.ca, certificate.chain, tmp_path / "gone.key")
    assert doctor(tmp_path, other, 1) == 2
    said = capsys.readouterr()
    assert "gone.key" in said.err
    assert said.out == ""


@pytest.mark.parametrize("domain", ["", "example.org.", "bücher.example", "-x", "192.0.2.1"])
def test_a_bad_domain(tmp_path: Path, domain: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is asked of the DNS about what can't be in it."""
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--config", str(tmp_path / "c.toml"), f"--domain={domain}"])
    assert left.value.code == 2
    assert "use a domain in ASCII" in capsys.readouterr().err


def test_for_people() -> None:
    """Grouped, wrapped, and fit for a terminal, whatever a server says of itself."""
    found = [
        Finding("pool smtp, backend a", Severity.PROBLEM, "says " + "word " * 20 + "\x1b[2J", "harm", "mend it"),
        Finding("pool smtp, backend a", Severity.NOTE, "is there"),
        Finding("domain b", Severity.WARNING, "has none", "why not"),
    ]
    assert list(report(found, 60)) == [
        "pool smtp, backend a",
        "  PROBLEM  says word word word word word word word word word",
        "           word word word word word word word word word word",
        "           word ?[2J",
        "    why    harm",
        "    do     mend it",
        "  note     is there",
        "",
        "domain b",
        "  warning  has none",
        "    why    why not",
        "",
        "1 problem, 1 warning",
    ]
