"""Backends' CA files: each fault names the key, the file, what is wrong and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from tlsgate.backends.contexts import load_client_contexts
from tlsgate.config import Backend, BackendTls, HostPort, Pool

RIGHT = "name a readable PEM file with the CA's certificate"


def backend(ca: Path | None = None, tls: BackendTls = BackendTls.STARTTLS) -> Backend:
    return Backend(address=HostPort("192.0.2.1", 143), tls=tls, ca=ca)


def test_contexts_stand_where_their_backends_stand(tmp_path: Path) -> None:
    """One place off, and a backend is checked against another's CA."""
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca)
    pools = {"imap": Pool(backends=(backend(tls=BackendTls.NONE), backend(ca))), "smtp": Pool(backends=(backend(),))}
    contexts, faults = load_client_contexts(pools)
    assert faults == []
    none, ours = contexts["imap"]
    assert none is None
    assert ours is not None
    assert len(ours.get_ca_certs()) == 1
    (system,) = contexts["smtp"]
    assert system is not None
    assert system.check_hostname


def test_every_fault_at_once(tmp_path: Path) -> None:
    junk, empty, gone = tmp_path / "junk.pem", tmp_path / "empty.pem", tmp_path / "gone.pem"
    junk.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    empty.touch()
    _, faults = load_client_contexts(
        {"imap": Pool(backends=(backend(), backend(gone), backend(junk))), "smtp": Pool(backends=(backend(empty),))}
    )
    assert faults == [
        f"pools.imap.backends[1].ca: {gone}: No such file or directory; {RIGHT}",
        f"pools.imap.backends[2].ca: {junk}: holds no PEM certificate; {RIGHT}",
        f"pools.smtp.backends[0].ca: {empty}: holds no PEM certificate; {RIGHT}",
    ]


@pytest.mark.parametrize("path", [Path("/"), Path("/proc/self/mem")], ids=["directory", "unreadable"])
def test_what_cannot_be_read(path: Path) -> None:
    _, (fault,) = load_client_contexts({"imap": Pool(backends=(backend(path),))})
    assert fault.startswith(f"pools.imap.backends[0].ca: {path}: ")
    assert fault.endswith(RIGHT)
    assert "None" not in fault
