"""What must hold between [auth], and what a client shows, and the pools that are to take it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tlsgate.config.advice import one_of
from tlsgate.config.enums import AuthSource, LoginMode, Mechanism, Protocol
from tlsgate.config.fault import Finding, Findings, KeyPath, shown
from tlsgate.config.mechanisms import SERVED_BY, WITHOUT_PASSWORD, served
from tlsgate.config.schema import Config, Pool


def auth_rules(config: Config, uses: Mapping[str, frozenset[Protocol]]) -> Iterator[Findings]:
    """Those of [auth]. ``uses``: the protocols of those who can end up in each pool."""
    pools: Mapping[str, Pool] = getattr(config, "pools", {})
    for source, key, advice in _NEEDED:
        yield _needed(config, source, key, advice)
    yield _app_passwords(config)
    yield _keys_or_asking(config)
    yield _asked_as(config)
    yield _mechanisms(config)
    for name, pool in pools.items():
        yield _nothing_to_show(config, pool, ("pools", name), uses.get(name, frozenset()))
        yield _unknown_there(config, pool, ("pools", name), uses.get(name, frozenset()))


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
