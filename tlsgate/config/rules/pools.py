"""What must hold between a pool's keys, its backends and who uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from tlsgate.config.build import Unread
from tlsgate.config.enums import AuthSource, BackendTls, ClientAddress, LoginMode, Protocol
from tlsgate.config.fault import Finding, Findings, KeyPath
from tlsgate.config.schema import Backend, Config, Pool
from tlsgate.config.server_names import BackendAddress, MxName, SrvName

_SMTP = frozenset({Protocol.SUBMISSION, Protocol.MX})


def pool_rules(config: Config, pool: Pool, at: KeyPath, protocols: frozenset[Protocol]) -> Iterator[Findings]:
    """Those of one [pools.*] table. ``protocols``: of those who can end up there."""
    yield _one_language(at, protocols)
    yield _master_user(pool, at)
    yield _master_password(pool, at)
    yield _stored_secrets(pool, at)
    yield _no_login(pool, at, protocols)
    yield _nobody_checks(config, pool, at, protocols)
    yield _client_address(pool, at, protocols)
    backends: tuple[Backend, ...] = getattr(pool, "backends", ())
    yield _backend_addresses(backends, at)
    for index, backend in enumerate(backends):
        yield _unchecked_ca(backend, (*at, "backends", index))
        yield _unused_ca(backend, (*at, "backends", index))
        yield _unused_name(backend, (*at, "backends", index))
        yield _records_share(backend, (*at, "backends", index))
        yield _mail_exchangers(backend, (*at, "backends", index), protocols)


def _one_language(at: KeyPath, protocols: frozenset[Protocol]) -> Findings:
    if len(protocols) > 1 and not protocols <= _SMTP:
        problem = f"is used for {' and '.join(sorted(protocols))}, but a backend's port speaks one protocol"
        yield Finding(at, problem, "make a pool for each protocol, and give routes a protocol")


def _master_user(pool: Pool, at: KeyPath) -> Findings:
    if pool.login is LoginMode.MASTER and not pool.master_user:
        yield Finding((*at, "master_user"), 'is missing, and login is "master"', "name the backend's master user")


def _master_password(pool: Pool, at: KeyPath) -> Findings:
    if pool.login is LoginMode.MASTER and pool.master_password_file is None:
        advice = "name the file that holds the master user's password"
        yield Finding((*at, "master_password_file"), 'is missing, and login is "master"', advice)


def _stored_secrets(pool: Pool, at: KeyPath) -> Findings:
    if pool.login is LoginMode.STORED and pool.secrets_file is None:
        problem = 'is missing, and login is "stored"'
        yield Finding((*at, "secrets_file"), problem, "name the file that holds the users' secrets for these backends")


def _no_login(pool: Pool, at: KeyPath, protocols: frozenset[Protocol]) -> Findings:
    if pool.login is LoginMode.NONE and (stores := protocols & {Protocol.IMAP, Protocol.POP3}):
        problem = f'is "none", but {min(stores)} listeners use this pool: a mailbox is opened by a login only'
        yield Finding((*at, "login"), problem, 'use "same" or "master"')


def _nobody_checks(config: Config, pool: Pool, at: KeyPath, protocols: frozenset[Protocol]) -> Findings:
    """Source "backend" means that the backend judges the user's own secret: only login "same" shows it one."""
    if pool.login is not LoginMode.SAME and protocols - {Protocol.MX} and AuthSource.BACKEND in config.auth.source:
        problem = f'is "{pool.login}" while auth.source has "backend": nobody would check the password'
        yield Finding((*at, "login"), problem, 'use "same", or an auth.source that checks it here')


_SPOKEN_IN = {
    ClientAddress.XCLIENT: frozenset({Protocol.POP3, Protocol.SUBMISSION, Protocol.MX}),
    ClientAddress.IMAP_ID: frozenset({Protocol.IMAP}),
}


def _client_address(pool: Pool, at: KeyPath, protocols: frozenset[Protocol]) -> Findings:
    others = protocols - _SPOKEN_IN.get(pool.client_address, protocols)
    if others:
        problem = f'is "{pool.client_address}", which {min(others)} doesn\'t have'
        yield Finding(
            (*at, "client_address"), problem, 'use "none", "proxy-v1" or "proxy-v2", or a pool for each protocol'
        )


def _backend_addresses(backends: tuple[Backend, ...], at: KeyPath) -> Findings:
    first: dict[BackendAddress, int] = {}
    for index, backend in enumerate(backends):
        with suppress(Unread):
            if (taken := first.setdefault(backend.address, index)) != index:
                problem = f"{backend.address} is the address of backends[{taken}] too"
                yield Finding(
                    (*at, "backends", index, "address"), problem, "name it once; weight gives it a larger share"
                )


def _unchecked_ca(backend: Backend, at: KeyPath) -> Findings:
    if backend.ca is not None and not backend.verify:
        yield Finding((*at, "ca"), "is set, but verify = false checks no certificate", "remove one of the two")


def _unused_ca(backend: Backend, at: KeyPath) -> Findings:
    if backend.ca is not None and backend.tls is BackendTls.NONE:
        yield Finding((*at, "ca"), *_WITHOUT_TLS)


def _unused_name(backend: Backend, at: KeyPath) -> Findings:
    if backend.server_name and backend.tls is BackendTls.NONE:
        yield Finding((*at, "server_name"), *_WITHOUT_TLS)


def _records_share(backend: Backend, at: KeyPath) -> Findings:
    if isinstance(backend.address, SrvName | MxName) and backend.weight != 1:
        problem = f"is set, but the servers of {backend.address} share as their records say"
        yield Finding((*at, "weight"), problem, "remove it")


def _mail_exchangers(backend: Backend, at: KeyPath, protocols: frozenset[Protocol]) -> Findings:
    if isinstance(backend.address, MxName) and (stores := protocols - _SMTP):
        problem = f"names servers that take mail, but {min(stores)} listeners use this pool"
        yield Finding(
            (*at, "address"), problem, f'use "srv:_{min(stores)}._tcp.{backend.address.domain}" or an address'
        )


_WITHOUT_TLS = ('is set, but tls is "none"', 'use tls = "starttls" or "implicit", or remove it')
