"""stunnel's TLS: certificates, versions, clients' certificates."""

from __future__ import annotations

from tlsgate.config.fault import Wrong, shown
from tlsgate.importing.draft import Draft, absolute
from tlsgate.importing.reading import Place
from tlsgate.importing.stunnel_syntax import Service

_FILES = (".p12", ".pfx")


def of_service(draft: Draft, service: Service) -> None:
    """What a service that listens does."""
    _certificate(draft, service, [])
    _versions(draft, service)
    _options(draft, service)
    _clients(draft, service)


def of_name(draft: Draft, service: Service) -> None:
    """A secondary service, for a server name: ``sni = SERVICE:PATTERN``."""
    names = [each.value.partition(":")[2] for each in service.values("sni")]
    _certificate(draft, service, names)
    if service.last("connect") is not None:
        text = f"[{service.name}]: backends by server name; here users are led, by [[routes]]"
        draft.lost(service.place, text, draft.services)


def completed(draft: Draft, place: Place) -> None:
    """A certificate must be there. ``place``: where one could have been."""
    if "certificate" not in draft.tls.keys:
        draft.lost(place, "no certificate in PEM is named: TLS needs one, put it in these files", draft.tls)
        draft.tls.keys.update(certificate="fullchain.pem", private_key="privkey.pem")


def _certificate(draft: Draft, service: Service, names: list[str]) -> None:
    certificate, key = service.last("cert"), service.last("key")
    if certificate is None:
        return
    pair = (certificate.value, certificate.value if key is None else key.value)
    if any(each.lower().endswith(_FILES) or each.lower().startswith("pkcs11:") for each in pair):
        draft.lost(certificate.place, "cert, key: tlsgate reads PEM files only", draft.tls)
        return
    draft.certificate(certificate.place, pair, names)


def _versions(draft: Draft, service: Service) -> None:
    for key in ("sslVersion", "sslVersionMin"):
        least = service.last(key)
        if least is None or (key, least.value) == ("sslVersion", "all"):
            continue
        if least.value not in ("TLSv1.2", "TLSv1.3"):
            draft.lost(least.place, f"{key} = {shown(least.value)}: TLS 1.2 is the least here", draft.tls)
        draft.once(draft.tls, "minimum_version", "1.3" if least.value == "TLSv1.3" else "1.2", least.place)
    most = service.last("sslVersionMax")
    if most is not None and most.value not in ("all", "TLSv1.3"):
        draft.lost(most.place, f"sslVersionMax = {shown(most.value)}: TLS 1.3 is always offered", draft.tls)


# What is so anyway, or makes no difference.
_NEEDLESS = {
    *("NO_SSLv2", "NO_SSLv3", "NO_TLSv1", "NO_TLSv1.1", "NO_TLSv1_1", "NO_COMPRESSION", "NO_RENEGOTIATION"),
    *("SINGLE_DH_USE", "SINGLE_ECDH_USE", "CIPHER_SERVER_PREFERENCE", "ALL"),
    *("-NO_TLSv1.2", "-NO_TLSv1_2", "-NO_TLSv1.3", "-NO_TLSv1_3", "-NO_TICKET"),
}


def _options(draft: Draft, service: Service) -> None:
    for each in service.values("options"):
        if each.value in ("NO_TLSv1.2", "NO_TLSv1_2"):
            draft.once(draft.tls, "minimum_version", "1.3", each.place)
        elif each.value in ("-NO_SSLv2", "-NO_SSLv3", "-NO_TLSv1", "-NO_TLSv1.1", "-NO_TLSv1_1"):
            draft.lost(each.place, f"options = {each.value}: TLS 1.2 is the least here", draft.tls)
        elif each.value not in _NEEDLESS:
            draft.lost(each.place, f"options = {shown(each.value)}: tlsgate has its own", draft.tls)


def _clients(draft: Draft, service: Service) -> None:
    """Clients' certificates, which all listeners ask for here, and none insists on."""
    asked = [
        option
        for key, off in (("verifyChain", "no"), ("verifyPeer", "no"), ("verify", "0"))
        if (option := service.last(key)) is not None and option.value.lower() != off
    ]
    authority = service.last("CAfile")
    if not asked:
        return
    if authority is None:
        draft.lost(asked[0].place, "clients' certificates: client_ca needs one file of CAs, CAfile", draft.tls)
        return
    text = "clients without a certificate may log in too; all listeners ask for one"
    draft.lost(asked[0].place, f"clients' certificates: {text}", draft.tls)
    try:
        draft.once(draft.tls, "client_ca", absolute(authority.place, authority.value), authority.place)
    except Wrong:
        draft.lost(authority.place, "CAfile: a file whose name can't be written", draft.tls)
