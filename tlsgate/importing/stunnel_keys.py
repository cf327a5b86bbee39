"""stunnel's options that stand for one key of ours each, and those that we have no key for."""

from __future__ import annotations

import re

from tlsgate.importing.draft import Draft, Table, duration
from tlsgate.importing.stunnel_syntax import Option, Service

_DAY = 86_400


def of_main(draft: Draft, service: Service) -> None:
    """What holds for the whole process."""
    for each in service.options:
        if each.key == "setuid" and each.value and each.value.isprintable():
            draft.once(draft.server, "user", each.value[:64], each.place)
        elif each.key == "setgid":
            draft.lost(each.place, "setgid: it is server.user's groups that count", draft.server)


def of_service(draft: Draft, service: Service) -> None:
    """What a service, or all of them, is told: idle time, and what has no key here."""
    for each in service.options:
        if each.key == "timeoutidle":
            _seconds(draft, each)
        elif each.key in _LOST and (each.key, each.value.lower()) not in _OFF:
            draft.lost(each.place, f"{_LOST[each.key][0]}: {_LOST[each.key][1]}", _table(draft, each.key))
        elif each.key not in _KNOWN and each.key not in _LOST:
            draft.lost(each.place, f"{_word(each.key)}: tlsgate doesn't know it", draft.services)
        elif each.key in ("setuid", "setgid") and service.name:
            draft.lost(each.place, f"{each.key}: a unix socket is server.user's", draft.services)


def of_pool(draft: Draft, service: Service, table: Table) -> None:
    """How long a service waits for its backends."""
    option = service.last("TIMEOUTconnect")
    if option is None:
        return
    if re.fullmatch(r"[0-9]{1,3}", option.value) and 0 < int(option.value) <= 300:
        table.keys["connect_timeout"] = duration(int(option.value))
    else:
        draft.lost(option.place, "TIMEOUTconnect: connect_timeout is 300 seconds at most", table)


def _seconds(draft: Draft, option: Option) -> None:
    if re.fullmatch(r"[0-9]{1,9}", option.value):
        draft.seconds(draft.limits, "idle_timeout", int(option.value), 30 * _DAY, option.place)
    else:
        draft.lost(option.place, "TIMEOUTidle: is no number of seconds", draft.limits)


def _table(draft: Draft, key: str) -> Table:
    return draft.tls if key in _OF_TLS else draft.services


def _word(key: str) -> str:
    """An unknown key, if it looks like one: it may be anything."""
    return key if re.fullmatch(r"[a-z0-9_]{1,40}", key) else "an option"


_OWN = "tlsgate has its own"
_REVOCATION = "nobody is asked about revocation"
_NO_PROGRAM = "tlsgate starts no programs"
_PEER = "client_ca is all that is asked of a certificate"
_LOST = {
    key.lower(): (key, why)
    for key, why in {
        "CApath": "client_ca is one file of CAs",
        "CAengine": "client_ca is one file of CAs",
        "CRLfile": _REVOCATION,
        "CRLpath": _REVOCATION,
        "OCSP": _REVOCATION,
        "OCSPaia": _REVOCATION,
        "OCSPflag": _REVOCATION,
        "OCSPnonce": _REVOCATION,
        "OCSPrequire": _REVOCATION,
        "PSKidentity": "TLS is by certificates here",
        "PSKsecrets": "TLS is by certificates here",
        "checkEmail": _PEER,
        "checkHost": _PEER,
        "checkIP": _PEER,
        "chroot": "a systemd service can be confined in other ways",
        "ciphers": _OWN,
        "ciphersuites": _OWN,
        "compression": "TLS compresses nothing here",
        "config": _OWN,
        "curve": _OWN,
        "curves": _OWN,
        "engine": "keys are in files",
        "engineCtrl": "keys are in files",
        "engineDefault": "keys are in files",
        "engineId": "keys are in files",
        "engineNum": "keys are in files",
        "execArgs": _NO_PROGRAM,
        "exec": _NO_PROGRAM,
        "fips": "it is up to the OpenSSL that is installed",
        "ident": "nobody is asked by IDENT",
        "libwrap": "who may connect is in [admission]",
        "local": "the system chooses the address to connect from",
        "protocolHost": "a client's option",
        "protocolPassword": "a client's option; its value isn't shown here",
        "protocolUsername": "a client's option",
        "protocolAuthentication": "a client's option",
        "protocolDomain": "a client's option",
        "protocolHeader": "a client's option; its value isn't shown here",
        "provider": "keys are in files",
        "providerParameter": "keys are in files",
        "pty": _NO_PROGRAM,
        "redirect": "who has no certificate may log in by a password",
        "requireCert": "clients without a certificate may log in too",
        "securityLevel": _OWN,
        "sessiond": "sessions are resumed by tickets",
        "ticketKeySecret": "tickets have keys of their own; its value isn't shown here",
        "ticketMacSecret": "tickets have keys of their own; its value isn't shown here",
        "TIMEOUTbusy": "limits.greeting_timeout and login_timeout bound what comes before a login",
        "transparent": "backends are told who the client is by pools.*.client_address",
    }.items()
}
_OF_TLS = {each.lower() for each in ("CApath", "CRLfile", "CRLpath", "ciphers", "ciphersuites", "config", "curve")} | {
    "curves",
    "securitylevel",
    "requirecert",
    "compression",
}
# The words that ask for what is so anyway.
_OFF = {("fips", "no"), ("libwrap", "no"), ("transparent", "none"), ("transparent", "no"), ("requirecert", "no")} | {
    ("pty", "no"),
    ("ocspaia", "no"),
}
# What other files look at, or what makes no difference: logs, processes, buffers, what TLS does anyway.
_KNOWN = {
    *(
        "accept",
        "connect",
        "cert",
        "key",
        "client",
        "protocol",
        "sni",
        "failover",
        "delay",
        "cafile",
        "verify",
        "verifychain",
        "verifypeer",
    ),
    *("sslversion", "sslversionmin", "sslversionmax", "options", "setuid", "setgid"),
    *("timeoutconnect", "timeoutclose", "timeoutidle", "timeoutocsp"),
    *(
        "pid",
        "foreground",
        "debug",
        "output",
        "log",
        "syslog",
        "service",
        "logid",
        "stack",
        "socket",
        "reset",
        "retry",
        "renegotiation",
    ),
    *("rndbytes", "rndfile", "rndoverwrite", "egd", "sessioncachesize", "sessioncachetimeout", "sessionresume"),
    *("taskbar", "iconactive", "iconerror", "iconidle"),
}
