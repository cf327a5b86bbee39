"""What must hold between keys of which each is good alone.

A rule reads a Config as if it were whole: a key with a fault of its own raises Unread there, which ends that rule only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from tlsgate.config.advice import closest, one_of
from tlsgate.config.build import Unread
from tlsgate.config.enums import AuthSource, BackendTls, ClientAddress, LoginMode, Mechanism, Protocol, TlsMode
from tlsgate.config.fault import Finding, KeyPath, dotted, shown
from tlsgate.config.mechanisms import SERVED_BY, WITHOUT_PASSWORD, served
from tlsgate.config.reach import reached
from tlsgate.config.schema import Backend, Config, Listener, Pool, Route, Sni
from tlsgate.config.server_names import BackendAddress, MxName, SrvName
from tlsgate.config.values import Address, HostPort, is_loopback

Findings = Iterator[Finding]


def broken_rules(config: Config) -> Findings:
    """What doesn't hold. ``config``, and any section of it, may be Damaged."""
    for rule in _rules(config):
        with suppress(Unread):
            yield from rule


def _rules(config: Config) -> Iterator[Findings]:
    listeners: tuple[Listener, ...] = getattr(config, "listeners", ())
    routes: tuple[Route, ...] = getattr(config, "routes", ())
    pools: Mapping[str, Pool] = getattr(config, "pools", {})
    yield _names(listeners)
    yield _addresses(config, listeners)
    for index, listener in enumerate(listeners):
        yield _mx_tls(listener, ("listeners", index))
        yield _require_tls(listener, ("listeners", index))
        yield _proxies(listener, ("listeners", index))
        yield _known_pool(config, listener, ("listeners", index))
    for index, route in enumerate(routes):
        yield _known_pool(config, route, ("routes", index))
    uses = reached(config)
    for name, pool in pools.items():
        yield from _pool_rules(config, pool, ("pools", name), uses.get(name, frozenset()))
    yield _server_names(getattr(getattr(config, "tls", None), "sni", ()))
    for source, key, advice in _NEEDED:
        yield _needed(config, source, key, advice)
    yield _app_passwords(config)
    yield _keys_or_asking(config)
    yield _asked_as(config)
    yield _mechanisms(config)
    for name, pool in pools.items():
        yield _nothing_to_show(config, pool, ("pools", name), uses.get(name, frozenset()))
        yield _unknown_there(config, pool, ("pools", name), uses.get(name, frozenset()))
    yield _token(config)


# -- listeners ------------------------------------------------------------------------------------------


def _names(listeners: tuple[Listener, ...]) -> Findings:
    first: dict[str, int] = {}
    for index, listener in enumerate(listeners):
        with suppress(Unread):
            if (taken := first.setdefault(listener.name, index)) != index:
                problem = f"{shown(listener.name)} is the name of listeners[{taken}] too"
                yield Finding(("listeners", index, "name"), problem, "give each listener a name of its own")


def _addresses(config: Config, listeners: tuple[Listener, ...]) -> Findings:
    """No two sockets on one address; a wildcard takes its port on every other."""
    taken: dict[object, dict[str, KeyPath]] = {}
    for key, address in _bound(config, listeners):
        place, host = (address.port, address.host) if isinstance(address, HostPort) else (address.path, "")
        if place == 0:  # the kernel chooses
            continue
        others = taken.setdefault(place, {})
        clash = next((key for other, key in others.items() if _overlap(host, other)), None)
        if clash is not None:
            yield Finding(key, f"{address} is taken by {dotted(clash)}", "give each an address of its own")
        others.setdefault(host, key)


def _bound(config: Config, listeners: tuple[Listener, ...]) -> Iterator[tuple[KeyPath, Address]]:
    for index, listener in enumerate(listeners):
        with suppress(Unread):
            yield ("listeners", index, "address"), listener.address
    with suppress(Unread):
        yield ("admin", "address"), config.admin.address


def _overlap(host: str, other: str) -> bool:
    if host == other or "::" in (host, other):  # "[::]" takes IPv4 as well
        return True
    return "0.0.0.0" in (host, other) and ":" not in host + other


def _mx_tls(listener: Listener, at: KeyPath) -> Findings:
    if listener.protocol is Protocol.MX and listener.tls is TlsMode.IMPLICIT:
        problem = "is implicit, but other mail servers begin in clear (RFC 3207)"
        yield Finding((*at, "tls"), problem, 'use "starttls"; require_tls = true refuses mail in clear')


def _require_tls(listener: Listener, at: KeyPath) -> Findings:
    if listener.require_tls and listener.protocol is not Protocol.MX:
        problem = f"is for mx listeners: {listener.protocol} always requires TLS"
        yield Finding((*at, "require_tls"), problem, "remove it")


def _proxies(listener: Listener, at: KeyPath) -> Findings:
    if listener.proxy_protocol_from and not isinstance(listener.address, HostPort):
        problem = f"is set, but who comes to {listener.address} has no address to be in a prefix"
        yield Finding((*at, "proxy_protocol_from"), problem, "remove it, or listen on host:port")


def _known_pool(config: Config, user: Listener | Route, at: KeyPath) -> Findings:
    if user.pool not in config.pools:
        meant = closest(user.pool, config.pools)
        advice = f"did you mean {shown(meant)}?" if meant else f"use {one_of(config.pools)}"
        yield Finding((*at, "pool"), f"there is no [pools.{user.pool}]", advice)


# -- pools ----------------------------------------------------------------------------------------------


def _pool_rules(config: Config, pool: Pool, at: KeyPath, protocols: frozenset[Protocol]) -> Iterator[Findings]:
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


_SMTP = frozenset({Protocol.SUBMISSION, Protocol.MX})


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


# -- the rest -------------------------------------------------------------------------------------------


def _server_names(sni: tuple[Sni, ...]) -> Findings:
    first: dict[str, KeyPath] = {}
    for index, each in enumerate(sni):
        with suppress(Unread):
            for place, name in enumerate(each.hostnames):
                key = ("tls", "sni", index, "hostnames", place)
                if (taken := first.setdefault(name.lower(), key)) != key:
                    yield Finding(key, f"{shown(name)} is {dotted(taken)} too", "give each name one certificate")


_NEEDED = (
    (AuthSource.USERS_FILE, ("users_file",), "name the users file"),
    (AuthSource.AUTH_HTTP, ("auth_http",), 'use a URL such as "http://127.0.0.1:8080/auth"'),
    (AuthSource.OAUTH, ("oauth", "issuer"), "use the issuer that tokens must be from"),
    (AuthSource.OAUTH, ("oauth", "audience"), "use the audience that tokens must be for"),
)


def _needed(config: Config, source: AuthSource, key: KeyPath, advice: str) -> Findings:
    """What an auth source can't work without."""
    value: object = config.auth
    for part in key:
        value = getattr(value, str(part))
    if source in config.auth.source and not value:
        yield Finding(("auth", *key), f'is missing, and auth.source has "{source}"', advice)


def _keys_or_asking(config: Config) -> Findings:
    oauth = config.auth.oauth
    if AuthSource.OAUTH in config.auth.source and oauth.jwks_url is None and oauth.introspection_url is None:
        problem = 'is missing, and auth.source has "oauth"'
        advice = "use the https URL of the issuer's keys, or introspection_url"
        yield Finding(("auth", "oauth", "jwks_url"), problem, advice)


def _asked_as(config: Config) -> Findings:
    oauth = config.auth.oauth
    if oauth.introspection_url is None:
        return
    problem = "is missing, and introspection_url is set"
    if not oauth.client_id:
        yield Finding(("auth", "oauth", "client_id"), problem, "use the name that the issuer knows us by")
    if oauth.client_secret_file is None:
        yield Finding(("auth", "oauth", "client_secret_file"), problem, "name the file that holds our secret there")


def _mechanisms(config: Config) -> Findings:
    """A mechanism that was asked for and that nobody can serve is a mistake; of the default ones it isn't offered."""
    auth, certificates = config.auth, config.tls.client_ca is not None
    if auth.mechanisms == (Mechanism.PLAIN, Mechanism.LOGIN):
        return
    for index, each in enumerate(auth.mechanisms):
        if not served(each, auth.source, certificates=certificates):
            wanted = "tls.client_ca" if each is Mechanism.EXTERNAL else f"auth.source {one_of(sorted(SERVED_BY[each]))}"
            yield Finding(
                ("auth", "mechanisms", index), f"{shown(each)} can be judged by nobody here", f"it needs {wanted}"
            )


def _nothing_to_show(config: Config, pool: Pool, at: KeyPath, protocols: frozenset[Protocol]) -> Findings:
    """A backend that wants the user's own password can't have it from a client that hasn't shown one."""
    if pool.login is not LoginMode.SAME or not protocols - {Protocol.MX}:
        return
    given = {Mechanism.EXTERNAL} if AuthSource.AUTH_HTTP in config.auth.source else set()  # by Auth-Pass
    for each in config.auth.mechanisms:
        if each in WITHOUT_PASSWORD - given:
            problem = f'is "same", but {each} shows no password that these backends could take'
            yield Finding((*at, "login"), problem, 'use "master", "stored" or "none"')
            return


def _app_passwords(config: Config) -> Findings:
    if config.auth.app_passwords_file is not None and AuthSource.USERS_FILE not in config.auth.source:
        problem = 'is set, but auth.source has no "users-file", whose users they are for'
        yield Finding(("auth", "app_passwords_file"), problem, 'use "users-file", or remove it')


def _unknown_there(config: Config, pool: Pool, at: KeyPath, protocols: frozenset[Protocol]) -> Findings:
    if pool.login is LoginMode.SAME and protocols - {Protocol.MX} and config.auth.app_passwords_file is not None:
        problem = 'is "same", but these backends know nothing of auth.app_passwords_file'
        yield Finding((*at, "login"), problem, 'use "master", "stored" or "none"')


def _token(config: Config) -> Findings:
    address = config.admin.address
    if isinstance(address, HostPort) and not is_loopback(address.host) and config.admin.token_file is None:
        problem = f"is missing, and {address} can be reached from other hosts"
        yield Finding(("admin", "token_file"), problem, "name a file with a token, or use a loopback or unix address")
