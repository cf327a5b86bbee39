"""tlsgate check: exit codes, and what it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.system.certificates import Certificate
from tlsgate.cli import main

GOOD = """
[server]
hostname = "mail.example.org"
[tls]
certificate = "{chain}"
private_key = "{key}"
[[listeners]]
name = "imaps"
protocol = "imap"
address = "127.0.0.1:993"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [
    {{ address = "192.0.2.1:143" }},
    {{ address = "192.0.2.2:993", tls = "implicit", verify = false, priority = 20 }},
]
"""


def check(path: Path, text: str) -> int:
    path.write_text(text)
    return main(["check", "--config", str(path)])


def test_a_good_config(tmp_path: Path, certificate: Certificate, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.format(chain=certificate.chain, key=certificate.key)
    assert check(tmp_path / "c.toml", text) == 0
    said = capsys.readouterr()
    assert "listener imaps: imap at 127.0.0.1:993, tls implicit, pool imap" in said.out
    assert "pool imap: 192.0.2.1:143, tls none" in said.out
    assert "192.0.2.2:993, tls implicit, certificate NOT verified, priority 20" in said.out
    assert f"certificate {certificate.chain}: localhost, 127.0.0.1; valid until" in said.out
    assert said.err == ""


def test_servers_that_the_dns_names(
    tmp_path: Path, certificate: Certificate, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose certificate they must show is no more to be guessed than where they are."""
    name = 'address = "srv:_imap._tcp.example.org", tls = "starttls"'
    text = GOOD.format(chain=certificate.chain, key=certificate.key).replace('address = "192.0.2.1:143"', name)
    assert check(tmp_path / "c.toml", text) == 0
    out = capsys.readouterr().out
    assert "pool imap: srv:_imap._tcp.example.org, tls starttls, certificate for example.org, priority 10, then" in out


def test_routes_are_told(tmp_path: Path, certificate: Certificate, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.format(chain=certificate.chain, key=certificate.key)
    text += '[[routes]]\nmatch = "*@a.test"\npool = "imap"\n'
    assert check(tmp_path / "c.toml", text) == 0
    assert 'route "*@a.test": pool imap' in capsys.readouterr().out


def test_every_fault_at_once(tmp_path: Path, certificate: Certificate, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.format(chain=certificate.chain, key=certificate.key)
    text = text.replace('pool = "imap"', 'pool = "imp"').replace('tls = "implicit"\npool', 'tls = "sometimes"\npool')
    assert check(tmp_path / "c.toml", text + "[limits]\nrecipients = 0\nbad_comands = 4\n") == 2
    said = capsys.readouterr()
    assert said.out == ""
    for key in ("listeners[0].tls", "listeners[0].pool", "limits.recipients", "limits.bad_comands"):
        assert key in said.err
    assert "bad_commands" in said.err  # what would be right
    assert all(line.startswith(str(tmp_path / "c.toml")) for line in said.err.splitlines())


def test_a_key_of_another_certificate(
    tmp_path: Path, certificate: Certificate, other_certificate: Certificate, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.format(chain=certificate.chain, key=other_certificate.key)
    assert check(tmp_path / "c.toml", text) == 2
    assert f"is not the key of {certificate.chain}" in capsys.readouterr().err


def test_bad_ca_files_of_backends_are_told_beside_bad_certificates(
    tmp_path: Path, certificate: Certificate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reload would find them, and a start."""
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    text = GOOD.format(chain=certificate.chain, key=tmp_path / "gone.key")
    text = text.replace("verify = false", f'ca = "{junk}"')
    assert check(tmp_path / "c.toml", text) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'gone.key'}: No such file")
    assert lines[1].startswith(f"pools.imap.backends[1].ca: {junk}: holds no PEM certificate; ")
    assert len(lines) == 2


def test_certificates_that_clients_will_refuse_are_good_and_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    issued = trustme.CA().issue_cert("elsewhere.example", not_before=past - timedelta(days=9), not_after=past)
    chain, key = tmp_path / "old.pem", tmp_path / "old.key"
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    assert check(tmp_path / "c.toml", GOOD.format(chain=chain, key=key)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{chain}: EXPIRED" in lines
    assert any(line.startswith("server.hostname: no certificate is for mail.example.org; ") for line in lines)


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err


def test_without_a_command_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2
    assert "usage: tlsgate" in capsys.readouterr().err
