"""What a scanner finds at every listener: nothing that Mozilla's profiles forbid, and no old attack that works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.certificates import GATEWAY_NAME
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import missing, run
from tests.system.public_certificate import issue_public

_SSLYZE = Path(__file__).parents[2] / "build" / "tools" / "sslyze" / "bin" / "sslyze"
_LISTENERS = [
    Listener("imaps", "imap", "implicit", "imap"),
    Listener("imap", "imap", "starttls", "imap"),
    Listener("pop3s", "pop3", "implicit", "pop3"),
    Listener("pop3", "pop3", "starttls", "pop3"),
    Listener("submissions", "submission", "implicit", "smtp"),
    Listener("submission", "submission", "starttls", "smtp"),
    Listener("mx", "mx", "starttls", "smtp"),
]
_STARTTLS = {"imap": "imap", "pop3": "pop3", "submission": "smtp", "mx": "smtp"}
_POOLS = [Pool("imap", 1), Pool("pop3", 1), Pool("smtp", 1)]  # never asked: whoever scans has no secret
_MINIMUM = {"intermediate": "", "modern": 'minimum_version = "1.3"'}


@pytest.fixture(scope="module", params=_MINIMUM)
def scanned(request: pytest.FixtureRequest, root: Path) -> Iterator[tuple[str, Gateway]]:
    """One of Mozilla's profiles, and a gateway that is to keep it: by default, or where only TLS 1.3 is wanted."""
    if not _SSLYZE.exists():
        missing("sslyze is not installed: make build/tools/sslyze/.made")
    profile: str = request.param
    certificate = issue_public(root / f"{profile}-certificate", GATEWAY_NAME)
    directory, minimum = root / f"{profile}-gateway", _MINIMUM[profile]
    with gateway(directory, certificate, _LISTENERS, _POOLS, server='drain = "0s"', tls=minimum) as running:
        yield profile, running


@pytest.mark.parametrize("listener", [each.name for each in _LISTENERS])
def test_a_scanner_finds_nothing(scanned: tuple[str, Gateway], listener: str, tmp_path: Path) -> None:
    """An auditor runs just this: weak versions, ciphers and groups, compression, renegotiation, early data, attacks."""
    profile, gate = scanned
    target, told = f"{GATEWAY_NAME}:{gate.ports[listener]}", tmp_path / "found.json"
    command = [str(_SSLYZE), "--mozilla_config", profile, "--certinfo_ca_file", str(gate.ca), "--json_out", str(told)]
    way = ["--starttls", _STARTTLS[listener]] if listener in _STARTTLS else []
    done = run(*command, "--early_data", "--resum", *way, target)
    assert f"{target}: OK - Compliant." in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    found = json.loads(told.read_text())["server_scan_results"][0]["scan_result"]
    assert _versions(found) == ({"tls_1_3"} if profile == "modern" else {"tls_1_2", "tls_1_3"})
    assert _result(found, "tls_1_3_early_data") == {"supports_early_data": False}
    assert not _result(found, "session_renegotiation")["is_vulnerable_to_client_renegotiation_dos"]
    assert not _result(found, "tls_compression")["supports_compression"]
    if profile == "intermediate":  # what it asks about is TLS 1.2's: state is the client's to keep, in tickets
        resumed = _result(found, "session_resumption")
        assert resumed["session_id_resumption_result"] == "NOT_SUPPORTED"
        assert resumed["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"


def _result(found: Any, command: str) -> Any:
    assert found[command]["status"] == "COMPLETED", found[command]
    return found[command]["result"]


def _versions(found: Any) -> set[str]:
    """Those that are served."""
    names = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")
    return {name for name in names if _result(found, f"{name}_cipher_suites")["is_tls_version_supported"]}
