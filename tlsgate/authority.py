"""Who judges logins, and by which mechanisms clients may come: what a prepared config's ``[auth]`` makes of both."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import trio
from msgspec import Struct

from tlsgate import config
from tlsgate.auth import backend as asking_backend
from tlsgate.auth import certificate, stored_secrets, user_map
from tlsgate.auth.chain import Source, chain
from tlsgate.auth.followed import Followed
from tlsgate.auth.judgement import Judge, Right
from tlsgate.auth.remembered import remembered
from tlsgate.auth.routing import Routes, Routing
from tlsgate.auth.stored_secrets import StoredSecrets
from tlsgate.auth.success_cache import SuccessCache
from tlsgate.auth.user_map import UserMap
from tlsgate.config import AuthSource, served
from tlsgate.dialogue.access_token import TokenAdvice
from tlsgate.followed_files import told_of_lines, users_source
from tlsgate.ops.log import EventLog
from tlsgate.prepared import Prepared

if TYPE_CHECKING:
    from tlsgate.auth.app_passwords_used import LastUses
    from tlsgate.auth.asking import Asking
    from tlsgate.dialogue.scram_secret import ScramSecret
    from tlsgate.http.client import Client


class Authority(Struct, frozen=True):
    """``mechanisms``: those that somebody can judge, as the config orders them. ``scram``: who has users' secrets.

    ``routing``: where users' mail is; ``stored``: their secrets at backends, by pool. ``last_uses``: of app passwords.
    ``http``: who asks servers, to be closed when others judge; None if none is asked.
    """

    judge: Judge
    mechanisms: tuple[str, ...]
    scram: Callable[[str], Awaitable[ScramSecret | None]] | None
    advice: TokenAdvice
    asks_certificates: bool
    routing: Routing
    stored: Mapping[str, Followed[StoredSecrets]]
    last_uses: LastUses | None
    http: Client | None


def make_authority(prepared: Prepared, log: EventLog) -> Authority:
    """Makes what doesn't talk yet; files have been read."""
    settings = prepared.settings
    auth, certificates = settings.auth, settings.tls.client_ca is not None
    cache = SuccessCache[Right](auth.success_cache, secrets.token_bytes(32), trio.current_time)
    made: dict[AuthSource, Source] = {AuthSource.BACKEND: asking_backend.judge}
    users = last_uses = http = None
    if prepared.users is not None:
        users, last_uses = users_source(prepared, prepared.users, log, cache.clear)
        made[AuthSource.USERS_FILE] = users
    if prepared.asking is not None:
        from tlsgate.http.client import Client  # as in prepared: only where there is one

        http = Client(prepared.asking.context)
        made |= _asking_sources(auth, prepared.asking, http)
    sources = [made[each] for each in auth.source]
    if certificates and not {AuthSource.USERS_FILE, AuthSource.AUTH_HTTP}.intersection(auth.source):
        sources.append(certificate.judge)
    judge = chain(sources)
    return Authority(
        remembered(judge, cache, None if users is None else users.follow) if auth.success_cache else judge,
        tuple(each for each in auth.mechanisms if served(each, auth.source, certificates=certificates)),
        None if users is None else users.scram_secret,
        _advice(auth.oauth),
        certificates,
        Routing(Routes(settings.routes), _user_map(prepared, log)),
        {name: _followed_secrets(content, log) for name, content in prepared.stored.items()},
        last_uses,
        http,
    )


def _user_map(prepared: Prepared, log: EventLog) -> Followed[UserMap] | None:
    if (content := prepared.user_map) is None:
        return None
    load = partial(user_map.load, fit=user_map.fit_pools(prepared.settings))
    return Followed(content.path, content, load, told_of_lines("user_map", content.path, log))


def _followed_secrets(content: StoredSecrets, log: EventLog) -> Followed[StoredSecrets]:
    told = told_of_lines("secrets_file", content.path, log)
    return Followed(content.path, content, stored_secrets.load, told)


def _asking_sources(auth: config.Auth, asking: Asking, client: Client) -> dict[AuthSource, Source]:
    made: dict[AuthSource, Source] = {}
    if AuthSource.AUTH_HTTP in auth.source and auth.auth_http is not None:
        from tlsgate.auth.auth_http import AuthHttp
        from tlsgate.auth.by_auth_http import ByAuthHttp

        made[AuthSource.AUTH_HTTP] = ByAuthHttp(AuthHttp(client, auth.auth_http, asking.headers))
    if AuthSource.OAUTH in auth.source:
        made[AuthSource.OAUTH] = _by_token(auth, client, asking)
    return made


def _by_token(auth: config.Auth, client: Client, asking: Asking) -> Source:
    from tlsgate.auth.oauth.check import TokenCheck
    from tlsgate.auth.oauth.claims import Expected
    from tlsgate.auth.oauth.introspection import Introspection
    from tlsgate.auth.oauth.over_http import OverHttp
    from tlsgate.auth.oauth.source import ByToken

    oauth, over = auth.oauth, OverHttp(client)
    kept = tuple(filter(None, (oauth.pool_claim,)))
    expected = Expected(oauth.issuer, oauth.audience, oauth.user_claim, oauth.scope, kept)
    by_keys = by_asking = None
    if oauth.jwks_url is not None:
        from tlsgate.auth.oauth.jwt import JwtCheck
        from tlsgate.auth.oauth.key_cache import KeyCache

        by_keys = JwtCheck(KeyCache(oauth.jwks_url, over.fetch), expected)
    if oauth.introspection_url is not None and asking.client is not None:
        by_asking = Introspection(oauth.introspection_url, asking.client, over.post, expected)
    return ByToken(TokenCheck(by_keys, by_asking), oauth.pool_claim, auth.default_domain)


def _advice(oauth: config.OAuth) -> TokenAdvice:
    where = f"{oauth.issuer.rstrip('/')}/.well-known/openid-configuration" if oauth.issuer else ""
    return TokenAdvice(oauth.scope, where)
