"""Perdition's ssl_mode and what goes with it, on both sides."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from tlsgate.config.enums import BackendTls, TlsMode
from tlsgate.config.fault import Wrong, shown
from tlsgate.importing.draft import Draft, Plain, Table, absolute
from tlsgate.importing.perdition_syntax import Option
from tlsgate.importing.reading import Place

Options = Mapping[str, Option]


class Mode(Struct, frozen=True):
    """``ssl_mode``, for clients and for backends. ``place``: where it is said, None where it isn't."""

    listen: TlsMode
    outgoing: BackendTls
    listen_forced: bool
    place: Place | None


def mode(draft: Draft, options: Options, *, secure: bool) -> Mode:
    """``secure``: of IMAP4S or POP3S, whose default is TLS on both sides."""
    option = options.get("ssl_mode")
    words = {each.strip().lower() for each in option.value.split(",")} - {""} if option is not None else set()
    if not words and secure:
        words = {"ssl_all"}
    for each in sorted(words - _WORDS):
        draft.lost(option.place, f"ssl_mode {shown(each)}: isn't known here", draft.tls) if option else None
    listen = TlsMode.IMPLICIT if words & {"ssl_listen", "ssl_all"} else TlsMode.STARTTLS
    outgoing = BackendTls.NONE
    if words & {"ssl_outgoing", "ssl_all"}:
        outgoing = BackendTls.IMPLICIT
    elif words & {"tls_outgoing", "tls_all", "tls_outgoing_force", "tls_all_force"}:
        outgoing = BackendTls.STARTTLS
    if option is not None and outgoing is BackendTls.STARTTLS and not words & {"tls_outgoing_force", "tls_all_force"}:
        draft.lost(option.place, "ssl_mode: a backend that has no STARTTLS isn't spoken to in clear", draft.services)
    forced = listen is TlsMode.IMPLICIT or bool(words & {"tls_listen_force", "tls_all_force"})
    return Mode(listen, outgoing, forced, option.place if option is not None else None)


_WORDS = {"none"} | {f"{how}_{where}" for how in ("ssl", "tls") for where in ("listen", "outgoing", "all")}
_WORDS |= {f"tls_{where}_force" for where in ("listen", "outgoing", "all")}


def of_listeners(draft: Draft, options: Options, mode: Mode, start: Place) -> None:
    """Certificate and versions; logins in clear."""
    if not mode.listen_forced:
        text = "logins without TLS are refused here, before the password is sent; STARTTLS is offered"
        draft.lost(mode.place or start, text, draft.services)
    files = []
    for name, usual in (("ssl_cert_file", "perdition.crt.pem"), ("ssl_key_file", "perdition.key.pem")):
        option = options.get(name)
        files.append(option.value if option is not None and option.value else f"/etc/perdition/{usual}")
    option = options.get("ssl_cert_file") or options.get("ssl_key_file")
    draft.certificate(option.place if option is not None else start, (files[0], files[1]), [])
    _least(draft, options)
    if "certificate" not in draft.tls.keys:
        draft.tls.keys.update(certificate="fullchain.pem", private_key="privkey.pem")


def _least(draft: Draft, options: Options) -> None:
    option = options.get("ssl_listen_min_proto_version")
    if option is not None and option.value.lower() not in ("tlsv1.2", "tlsv1.3"):
        text = f"ssl_listen_min_proto_version {shown(option.value)}: TLS 1.2 is the least here"
        draft.lost(option.place, text, draft.tls)
    draft.tls.keys["minimum_version"] = "1.3" if option and option.value.lower() == "tlsv1.3" else "1.2"


_VERSIONS = {"tlsv1": "1.0", "tlsv1.1": "1.1", "tlsv1.2": "1.2", "tlsv1.3": "1.3"}


def of_backends(draft: Draft, options: Options, mode: Mode, table: Table) -> dict[str, Plain]:
    """What is the same for all backends."""
    keys: dict[str, Plain] = {"tls": str(mode.outgoing)}
    if mode.outgoing is BackendTls.NONE:
        return keys
    least = options.get("ssl_outgoing_min_proto_version")
    if least is not None:
        if least.value.lower() in _VERSIONS:
            keys["minimum_version"] = _VERSIONS[least.value.lower()]
        else:
            draft.lost(least.place, f"ssl_outgoing_min_proto_version {shown(least.value)}: isn't spoken here", table)
    if "ssl_no_cert_verify" in options:
        keys["verify"] = False
        table.remarks.append("ssl_no_cert_verify: anybody between here and the backends can read along")
        return keys
    if (option := options.get("ssl_no_cn_verify")) is not None:
        draft.lost(option.place, "ssl_no_cn_verify: names are compared; backends can be given a server_name", table)
    authorities = options.get("ssl_ca_chain_file") or options.get("ssl_ca_file")
    if authorities is not None and authorities.value:
        try:
            keys["ca"] = absolute(authorities.place, authorities.value)
        except Wrong:
            draft.lost(authorities.place, f"{authorities.name}: a file whose name can't be written", table)
    return keys
