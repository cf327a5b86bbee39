"""What nginx does behind itself: auth_http, and how backends are spoken to. auth_http names them: it has none."""

from __future__ import annotations

from tlsgate.config.enums import ClientAddress, LoginMode, Mechanism, Protocol
from tlsgate.config.fault import Wrong
from tlsgate.config.values import parse_url
from tlsgate.importing.draft import Draft, Table, Value
from tlsgate.importing.listeners import free_name
from tlsgate.importing.nginx_keys import time
from tlsgate.importing.nginx_syntax import Settings, word
from tlsgate.importing.reading import Place

_PORTS = {Protocol.IMAP: 143, Protocol.POP3: 110, Protocol.SUBMISSION: 25, Protocol.MX: 25}
_NOWHERE = "192.0.2.1"  # RFC 5737: nobody has it


def pool(draft: Draft, settings: Settings, protocol: Protocol, place: Place) -> str:
    """The pool, by its name, of a server of this ``protocol`` that listens at ``place``; one is made if need be."""
    asked = protocol is not Protocol.MX and _auth_http(draft, settings)
    _mechanisms(draft, settings, protocol)
    if protocol is Protocol.MX:
        _mx(draft, place)
    _greeting_delay(draft, settings, protocol)
    keys: dict[str, Value] = {"backends": [{"address": f"{_NOWHERE}:{_PORTS[protocol]}"}]}
    if protocol is Protocol.SUBMISSION and asked and word(settings, "proxy_smtp_auth") != "on":
        keys["login"] = str(LoginMode.NONE)
    told = _client_address(draft, settings, protocol)
    if told is not ClientAddress.NONE:
        keys["client_address"] = str(told)
    for name, known in draft.pools.items():
        if known.keys == keys and name.startswith(_NAMES[protocol]):
            return name
    name = free_name(_NAMES[protocol], set(draft.pools))
    draft.pools[name] = Table(f"[pools.{name}]", keys)
    text = "auth_http names them; put in one, whose capabilities are offered before a login"
    if protocol is Protocol.MX:
        text = "put in the server that mail goes to"
    draft.lost(place, f"pool {name}: nginx knows no backends; {text}", draft.pools[name])
    return name


_NAMES = {Protocol.IMAP: "imap", Protocol.POP3: "pop3", Protocol.SUBMISSION: "smtp", Protocol.MX: "mx"}


def _auth_http(draft: Draft, settings: Settings) -> bool:
    """Whether it is asked here too."""
    found = settings.get("auth_http", ())
    if not found:
        return False
    text = " ".join(found[0].words)
    url = text if text.startswith("http://") else f"http://{text}"
    try:
        if text.startswith("unix:") or "@" in text:
            raise Wrong
        parse_url(url, ("http",))
    except Wrong:
        draft.lost(found[0].place, "auth_http: is no URL of a host; it isn't shown here", draft.auth)
        return False
    draft.once(draft.auth, "auth_http", url, found[0].place)
    draft.auth.keys.setdefault("source", "auth-http")
    return True


_PASSWORDS = ("plain", "login", "none")
_WHY_NOT = {
    "apop": "needs passwords in clear at the server",
    "cram-md5": "needs passwords in clear at the server",
    "external": "no certificates are asked for",
    "oauthbearer": "auth_http is asked about passwords and certificates only",
    "xoauth2": "auth_http is asked about passwords and certificates only",
}
_DIRECTIVES = {Protocol.IMAP: "imap_auth", Protocol.POP3: "pop3_auth", Protocol.SUBMISSION: "smtp_auth"}


def _mechanisms(draft: Draft, settings: Settings, protocol: Protocol) -> None:
    """Those that all listeners have; PLAIN and LOGIN are never left out: they show the same secret."""
    for directive in settings.get(_DIRECTIVES.get(protocol, ""), ()):
        for method in directive.words:
            if method == "external" and "client_ca" in draft.tls.keys and "auth_http" in draft.auth.keys:
                usual = (Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.EXTERNAL)
                draft.auth.keys["mechanisms"] = [str(each) for each in usual]
            elif method not in _PASSWORDS:
                known = method if method in _WHY_NOT else "a method"
                why = _WHY_NOT.get(method, "isn't known here")
                draft.lost(directive.place, f"{directive.name} {known}: {why}", draft.auth)


def _client_address(draft: Draft, settings: Settings, protocol: Protocol) -> ClientAddress:
    """XCLIENT is nginx's default for SMTP; we tell a backend in one way."""
    proxy = word(settings, "proxy_protocol") == "on"
    if protocol in (Protocol.SUBMISSION, Protocol.MX) and word(settings, "xclient") != "off":
        if not proxy:
            return ClientAddress.XCLIENT
        for each in settings.get("xclient", ()):
            draft.lost(each.place, "xclient: a backend is told of the client in one way, here by PROXY", draft.services)
    return ClientAddress.PROXY_V1 if proxy else ClientAddress.NONE


def _mx(draft: Draft, place: Place) -> None:
    text = "relay.domains: name those that mail is taken for; nginx leaves it to auth_http, which mx doesn't ask"
    draft.lost(place, text, draft.relay)
    draft.relay.keys["domains"] = []


def _greeting_delay(draft: Draft, settings: Settings, protocol: Protocol) -> None:
    for each in settings.get("smtp_greeting_delay", ()):
        seconds = time(" ".join(each.words))
        if seconds and protocol is Protocol.MX:
            draft.seconds(draft.screening, "pregreet_delay", seconds, 30, each.place)
        elif seconds and protocol is Protocol.SUBMISSION:
            draft.lost(each.place, "smtp_greeting_delay: pregreet_delay is for mx", draft.screening)
