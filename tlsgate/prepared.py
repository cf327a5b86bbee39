"""A config with all that it names loaded and checked, ready to be served: what a reload replaces as a whole."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tlsgate import config
from tlsgate.admission.lists import ListFault
from tlsgate.admission.look_ups import Checks
from tlsgate.admission.rules import AddressRules, load_rules
from tlsgate.auth import stored_secrets, user_map
from tlsgate.auth.followed import UnusableFile
from tlsgate.auth.line_table import Lines
from tlsgate.auth.master import Master, MasterFault, read_master
from tlsgate.auth.stored_secrets import StoredSecrets
from tlsgate.auth.user_map import UserMap
from tlsgate.backends.contexts import load_client_contexts
from tlsgate.config import AuthSource, Config, LoginMode, Protocol
from tlsgate.doctor.trust import unvouched
from tlsgate.mail.aliases_file import AliasesFile, UnusableAliases
from tlsgate.ops.token import Token, TokenFault, read_token
from tlsgate.secret_file import CLOSE_IT
from tlsgate.tls.certificate import CertificateFault
from tlsgate.tls.contexts import ServerContexts
from tlsgate.tls.files import Stamp, stamps
from tlsgate.tls.validity import Remark, remarks

if TYPE_CHECKING:
    from tlsgate.auth.app_passwords_file import AppContent
    from tlsgate.auth.asking import Asking
    from tlsgate.auth.users_file import Content

_NO_RULES = AddressRules()


@dataclass(frozen=True, slots=True)
class Prepared:
    """``backend_contexts``: by pool, for its backends in their order; None for one without TLS.

    ``users``: what the users file says; None without one, as of every other file. ``rules``: with their lists read.
    ``aliases``: None where senders needn't match. ``masters``, and ``stored`` secrets of users: by pool.
    ``asking``: how the servers of sources are asked; None if none is. ``files``: those of certificates, before they
    were read.
    """

    settings: Config
    contexts: ServerContexts
    backend_contexts: Mapping[str, Sequence[ssl.SSLContext | None]]
    users: Content | None = None
    rules: AddressRules = _NO_RULES
    admin_token: Token | None = None
    aliases: AliasesFile | None = None
    masters: Mapping[str, Master] = field(default_factory=dict)
    asking: Asking | None = None
    app_passwords: AppContent | None = None
    user_map: UserMap | None = None
    stored: Mapping[str, StoredSecrets] = field(default_factory=dict)
    files: Mapping[Path, Stamp] = field(default_factory=dict)

    @property
    def listeners(self) -> tuple[config.Listener, ...]:
        """The listeners that are served."""
        return self.settings.listeners

    def remarks(self) -> Iterator[Remark]:
        """What is wrong with what was loaded, though it is served; without the lists, whose own trace tells that."""
        yield from remarks(self.contexts.certificates, self.settings.server.hostname, datetime.now(UTC))
        auth = self.settings.auth
        if AuthSource.BACKEND in auth.source[:-1]:
            yield Remark("auth_source", "auth.source", "backend decides every login: what stands behind it isn't asked")
        if auth.users_file is not None and self.users is not None:
            yield from users_file_remarks(auth.users_file, self.users)
        if self.settings.relay.aliases_file is not None and not self.settings.relay.sender_must_match:
            yield Remark("aliases_file", "relay.aliases_file", "has no effect without relay.sender_must_match")
        for found in unvouched(self.settings):
            yield Remark("mx_unvouched", found.about, f"{found.what}; {found.why}; {found.do}")
        if not self.settings.relay.domains:
            for each in self.settings.listeners:
                if each.protocol is Protocol.MX:
                    yield Remark(
                        "relay_domains", "relay.domains", f"is empty: listener {each.name} takes no mail at all"
                    )
        if self.aliases is not None:
            yield from _aliases_remarks(self.aliases)
        if self.admin_token is not None and self.admin_token.open_to_all:
            about = str(self.settings.admin.token_file)
            yield Remark("token_file_fault", about, f"everybody on this host can read the token; {CLOSE_IT}")
        if auth.app_passwords_file is not None and self.app_passwords is not None:
            yield from app_passwords_remarks(auth.app_passwords_file, self.app_passwords)
        if self.user_map is not None:
            yield from line_remarks("user_map_fault", self.user_map)
        for secrets in self.stored.values():
            yield from line_remarks("secrets_file_fault", secrets)
        if self.asking is not None:
            yield from (Remark("secret_file_fault", about, text) for about, text in self.asking.remarks)
        for name, master in self.masters.items():
            if master.open_to_all:
                about = str(self.settings.pools[name].master_password_file)
                text = f"everybody on this host can read the password; {CLOSE_IT}"
                yield Remark("master_password_fault", about, text)

    def list_remarks(self) -> Iterator[Remark]:
        """What is wrong with the lists."""
        for file in self.rules.files:
            for each in file.listed.remarks:
                yield Remark("list_bad_line", f"{file.path}:{each.number}" if each.number else str(file), each.text)


def users_file_remarks(path: Path, content: Content) -> Iterator[Remark]:
    """What is wrong with a users file, by its lines."""
    for each in content.remarks():
        yield Remark("users_file_fault", f"{path}:{each.line}" if each.line else str(path), each.text)


def app_passwords_remarks(path: Path, content: AppContent) -> Iterator[Remark]:
    """What is wrong with a file of app passwords, by its lines."""
    for each in content.remarks():
        yield Remark("app_passwords_fault", f"{path}:{each.line}" if each.line else str(path), each.text)


def line_remarks(event: str, lines: Lines) -> Iterator[Remark]:
    """What is wrong with a file of users' lines."""
    for each in lines.remarks():
        yield Remark(event, f"{lines.path}:{each.line}" if each.line else str(lines.path), each.text)


def _aliases_remarks(file: AliasesFile) -> Iterator[Remark]:
    aliases = file.aliases
    for each in aliases.remarks:
        yield Remark("aliases_bad_line", f"{file.path}:{each.number}", each.text)
    if more := aliases.bad_lines - len(aliases.remarks):
        yield Remark("aliases_bad_line", str(file.path), f"{more} more lines are faulty")


def prepare(settings: Config) -> Prepared:
    """Load what a config names. Raises CertificateFault with all faults. Reads files: not for the trio loop."""
    protocols = sorted({each.protocol for each in settings.listeners})
    files = stamps(settings)
    backend_contexts, faults = load_client_contexts(settings.pools)
    users, apps = _load_users(settings.auth, faults), _load_app_passwords(settings.auth, faults)
    rules = _load_rules(settings.admission, faults)
    _check_state(settings.state, faults)
    _check_links(settings, faults)
    token = _load_token(settings.admin, faults)
    aliases = _load_aliases(settings.relay, faults)
    masters = _load_masters(settings.pools, faults)
    asking = _load_asking(settings.auth, faults)
    places, stored = _load_user_map(settings, faults), _load_stored(settings.pools, faults)
    try:
        contexts = ServerContexts(settings.tls, protocols)
    except CertificateFault as fault:
        raise CertificateFault("\n".join((str(fault), *faults))) from None
    if faults:
        raise CertificateFault("\n".join(faults))
    return Prepared(
        settings, contexts, backend_contexts, users, rules, token, aliases, masters, asking, apps, places, stored, files
    )


def _check_state(state: config.State, faults: list[str]) -> None:
    if state.url is None:
        return
    from tlsgate.state.server import parse_server  # few have one

    if find_spec("coredis") is None:
        faults.append("state.url: needs the extra tlsgate[valkey], which isn't installed")
    try:
        parse_server(state.url)
    except ValueError as fault:
        faults.append(f"state.url: {fault}")


def _check_links(settings: Config, faults: list[str]) -> None:
    if not any(Checks.of(each, settings).surbl for each in settings.listeners):
        return
    from tlsgate.mail.surbl.suffixes import missing_extra  # only mx listeners need it

    if missing := missing_extra():
        faults.append(f'{missing}; install it, or use screening.surbl = "off"')


def _load_rules(admission: config.Admission, faults: list[str]) -> AddressRules:
    try:
        return load_rules(admission)
    except ListFault as fault:
        faults.append(str(fault))
        return _NO_RULES


def _load_token(admin: config.Admin, faults: list[str]) -> Token | None:
    try:
        return None if admin.token_file is None else read_token(admin.token_file)
    except TokenFault as fault:
        faults.append(f"admin.token_file: {admin.token_file}: {fault}; name a readable file with a token")
        return None


def _load_aliases(relay: config.Relay, faults: list[str]) -> AliasesFile | None:
    if relay.aliases_file is None or not relay.sender_must_match:
        return None
    try:
        return AliasesFile(relay.aliases_file)
    except UnusableAliases as fault:
        faults.append(f"relay.aliases_file: {relay.aliases_file}: {fault}; name a readable file of aliases")
        return None


def _load_masters(pools: Mapping[str, config.Pool], faults: list[str]) -> dict[str, Master]:
    masters = {}
    for name, pool in pools.items():
        if pool.login is not LoginMode.MASTER:
            continue
        try:
            masters[name] = read_master(pool)
        except MasterFault as fault:
            key, path = f"pools.{name}.master_password_file", pool.master_password_file
            faults.append(f"{key}: {path}: {fault}; name a readable file with the password, which is one line")
    return masters


def _load_users(auth: config.Auth, faults: list[str]) -> Content | None:
    """What the users file says, None if no source needs one; a fault is appended to ``faults``."""
    if AuthSource.USERS_FILE not in auth.source or auth.users_file is None:
        return None
    from tlsgate.auth.users_file import UnusableFile, load  # dear to import, and few have one

    try:
        return load(auth.users_file)
    except UnusableFile as fault:
        faults.append(f"auth.users_file: {auth.users_file}: {fault}; name a readable passwd-file")
        return None


def _load_app_passwords(auth: config.Auth, faults: list[str]) -> AppContent | None:
    if AuthSource.USERS_FILE not in auth.source or auth.app_passwords_file is None:
        return None
    from tlsgate.auth import app_passwords_file  # as the users file

    try:
        return app_passwords_file.load_app_passwords(auth.app_passwords_file)
    except UnusableFile as fault:
        faults.append(f"auth.app_passwords_file: {auth.app_passwords_file}: {fault}; name a readable file")
        return None


def _load_user_map(settings: Config, faults: list[str]) -> UserMap | None:
    path = settings.auth.user_map
    if path is None:
        return None
    try:
        return user_map.load(path, user_map.fit_pools(settings))
    except UnusableFile as fault:
        faults.append(f"auth.user_map: {path}: {fault}; name a readable user map")
        return None


def _load_stored(pools: Mapping[str, config.Pool], faults: list[str]) -> dict[str, StoredSecrets]:
    stored = {}
    for name, pool in pools.items():
        if pool.login is not LoginMode.STORED or pool.secrets_file is None:
            continue
        try:
            stored[name] = stored_secrets.load(pool.secrets_file)
        except UnusableFile as fault:
            faults.append(f"pools.{name}.secrets_file: {pool.secrets_file}: {fault}; name a readable file of secrets")
    return stored


def _load_asking(auth: config.Auth, faults: list[str]) -> Asking | None:
    if not {AuthSource.AUTH_HTTP, AuthSource.OAUTH}.intersection(auth.source):
        return None
    from tlsgate.auth.asking import load_asking  # HTTP is dear to import, and few have such a source

    return load_asking(auth, faults)


def needs_restart(before: Config, after: Config) -> str:
    """What has changed in the config and takes effect at the next start only."""
    changed = {
        "admin.address": before.admin.address != after.admin.address,
        "log": before.log != after.log,
        "server.state_directory": before.server.state_directory != after.server.state_directory,
        "state.url": before.state.url != after.state.url,
        "server.workers": before.server.workers != after.server.workers,
        "server.user": before.server.user != after.server.user,
    }
    return ", ".join(key for key, differs in changed.items() if differs)
