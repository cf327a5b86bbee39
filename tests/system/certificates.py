"""Certificates for the gateway and for backends, from a CA made for the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

GATEWAY_NAME = "localhost"
BACKEND_NAME = "legacy.backend.test"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files: the CA to trust, the server's chain, its private key."""

    ca: Path
    chain: Path
    key: Path


def issue(directory: Path, *names: str) -> Certificate:
    """A certificate for ``names`` by a CA of its own, written to ``directory``."""
    directory.mkdir()
    directory.chmod(0o755)
    ca = trustme.CA()
    issued = ca.issue_cert(*names)
    files = Certificate(directory / "ca.pem", directory / "chain.pem", directory / "key.pem")
    ca.cert_pem.write_to_path(files.ca)
    issued.private_key_pem.write_to_path(files.key)
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(files.chain, append=number > 0)
    return files
