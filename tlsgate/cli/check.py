"""tlsgate check: parse the config, load what it names, say what would be served."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tlsgate.config import ConfigError, MxName, Pool, SrvName, load
from tlsgate.prepared import Prepared, prepare
from tlsgate.tls.certificate import Certificate, CertificateFault

GOOD, BAD_CONFIG = 0, 2


def execute(arguments: argparse.Namespace) -> int:
    """Check ``arguments.config``; gives the exit code."""
    try:
        prepared = prepare(load(Path(arguments.config).absolute()))
    except (ConfigError, CertificateFault) as fault:
        print(fault, file=sys.stderr)
        return BAD_CONFIG
    print("\n".join(report(prepared)))
    return GOOD


def report(prepared: Prepared) -> Iterator[str]:
    """What would be served, a line each."""
    settings = prepared.settings
    yield f"{settings.server.hostname}: the config is good"
    for listener in settings.listeners:
        place = f"{listener.protocol} at {listener.address}, tls {listener.tls}"
        yield f"listener {listener.name}: {place}, pool {listener.pool}"
    for route in settings.routes:
        only = f" ({route.protocol})" if route.protocol else ""
        yield f'route "{route.match}"{only}: pool {route.pool}'
    for name, pool in settings.pools.items():
        yield from _pool(name, pool)
    for certificate in prepared.contexts.certificates:
        yield _certificate(certificate)
    for remark in (*prepared.remarks(), *prepared.list_remarks()):
        yield f"{remark.about}: {remark.text}"
    yield f"admin: {settings.admin.address}"


def _pool(name: str, pool: Pool) -> Iterator[str]:
    for backend in pool.backends:
        verified = "" if backend.verify or backend.tls == "none" else ", certificate NOT verified"
        share = f"priority {backend.priority}, weight {backend.weight}"
        if isinstance(backend.address, SrvName | MxName):
            share = f"priority {backend.priority}, then as the records say"
            if backend.tls != "none" and backend.verify:
                verified = f", certificate for {backend.server_name or backend.address.domain}"
        yield f"pool {name}: {backend.address}, tls {backend.tls}{verified}, {share}"


def _certificate(certificate: Certificate) -> str:
    names = ", ".join(certificate.names) or "no names"
    return f"certificate {certificate.path}: {names}; valid until {certificate.expires:%Y-%m-%d %H:%M} UTC"
