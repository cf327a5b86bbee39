"""nginx's ssl module: certificates, versions, clients' certificates."""

from __future__ import annotations

from tlsgate.config.fault import Wrong
from tlsgate.importing.draft import Draft, absolute
from tlsgate.importing.nginx_syntax import Settings, word
from tlsgate.importing.reading import Place


def of_server(draft: Draft, settings: Settings, place: Place) -> None:
    """What a server that listens at ``place`` does."""
    _certificates(draft, settings, place)
    _protocols(draft, settings)
    _clients(draft, settings)


def completed(draft: Draft, place: Place) -> None:
    """A certificate must be there. ``place``: where one could have been."""
    if "certificate" not in draft.tls.keys:
        draft.lost(place, "no certificate is named: TLS needs one, put it in these files", draft.tls)
        draft.tls.keys.update(certificate="fullchain.pem", private_key="privkey.pem")


def _certificates(draft: Draft, settings: Settings, place: Place) -> None:
    """The first is taken: a second is for another algorithm."""
    certificates, keys = settings.get("ssl_certificate", ()), settings.get("ssl_certificate_key", ())
    for each in certificates[1:]:
        draft.lost(each.place, "ssl_certificate: a name has one certificate, the first", draft.tls)
    if not certificates or not keys:
        return
    pair = (" ".join(certificates[0].words), " ".join(keys[0].words))
    if any(":" in each or "$" in each for each in pair):
        draft.lost(certificates[0].place, "ssl_certificate: certificates and keys are in files", draft.tls)
        return
    names = [each for directive in settings.get("server_name", ()) for each in directive.words]
    draft.certificate(certificates[0].place, pair, names)


_WEAK = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")


def _protocols(draft: Draft, settings: Settings) -> None:
    for each in settings.get("ssl_protocols", ()):
        weak = [version for version in _WEAK if version in each.words]
        if weak:
            draft.lost(each.place, f"ssl_protocols {' '.join(weak)}: TLS 1.2 is the least here", draft.tls)
        draft.once(draft.tls, "minimum_version", "1.3" if each.words == ("TLSv1.3",) else "1.2", each.place)


def _clients(draft: Draft, settings: Settings) -> None:
    """Clients' certificates, which all listeners ask for here, and none insists on."""
    how = word(settings, "ssl_verify_client")
    if how not in ("on", "optional", "optional_no_ca"):
        return
    place = settings["ssl_verify_client"][0].place
    if how == "on":
        text = "ssl_verify_client on: clients without a certificate may log in too; all listeners ask for one"
        draft.lost(place, text, draft.tls)
    elif how == "optional_no_ca":
        draft.lost(place, "ssl_verify_client optional_no_ca: certificates are verified, or refused", draft.tls)
        return
    for each in settings.get("ssl_client_certificate", ())[:1]:
        try:
            draft.once(draft.tls, "client_ca", absolute(each.place, " ".join(each.words)), each.place)
        except Wrong:
            draft.lost(each.place, "ssl_client_certificate: a file whose name can't be written", draft.tls)
