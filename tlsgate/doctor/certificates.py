"""Will clients accept the listeners' certificates, today and in three weeks?"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tlsgate.config import Config
from tlsgate.doctor.finding import Finding, Severity
from tlsgate.tls.certificate import Certificate

_SOON = timedelta(days=21)
_LEAST_RSA, _LEAST_EC = 2048, 256  # bits
_WEAK_HASHES = ("md5", "sha1")


def certificates(
    served: Sequence[Certificate], settings: Config, known: Collection[bytes], now: datetime
) -> Iterator[Finding]:
    """``served``: that of ``[tls]``, then those of ``[[tls.sni]]``. ``known``: roots, in DER."""
    for number, each in enumerate(served):
        about = f"certificate {each.path}"
        yield from _time(about, each, now)
        yield from _chain(about, each.chain, known)
        yield from _strength(about, each)
        for name in _names(settings, number):
            if not each.is_for(name):
                what = f"isn't for {name}, whose clients get it; it is for {', '.join(each.names) or 'no name at all'}"
                why = "they refuse it, or warn their users"
                yield Finding(about, Severity.PROBLEM, what, why, "get one whose names have it")


def known_roots() -> tuple[bytes, ...]:
    """The system's roots, in DER. Reads files: not for the trio loop."""
    return tuple(ssl.create_default_context().get_ca_certs(binary_form=True))


def _names(settings: Config, number: int) -> Sequence[str]:
    """The names whose clients get a certificate, as far as they are known."""
    if number:
        return settings.tls.sni[number - 1].hostnames
    host = settings.server.hostname
    chosen = {name.lower() for each in settings.tls.sni for name in each.hostnames}
    if host.startswith("[") or chosen & {host.lower(), "*." + host.lower().partition(".")[2]}:
        return ()
    return (host,)


def _time(about: str, certificate: Certificate, now: datetime) -> Iterator[Finding]:
    left = certificate.expires - now
    when = f"{certificate.expires:%Y-%m-%d %H:%M} UTC"
    renew = "renew it, then reload: SIGHUP, or a restart"
    if left <= timedelta():
        yield Finding(about, Severity.PROBLEM, f"has expired: {when}", "clients refuse it", renew)
    elif left < _SOON:
        why = "by now most renew by themselves; when it ends clients refuse it"
        yield Finding(
            about, Severity.WARNING, f"ends in {left.days} days: {when}", why, f"see why nothing has; {renew}"
        )
    if certificate.begins > now:
        what = f"is valid from {certificate.begins:%Y-%m-%d %H:%M} UTC only"
        yield Finding(about, Severity.PROBLEM, what, "clients refuse it", "see whether this host's clock is right")


def _chain(about: str, chain: Sequence[x509.Certificate], known: Collection[bytes]) -> Iterator[Finding]:
    for number, (one, following) in enumerate(pairwise(chain), 2):
        if one.issuer != following.subject:
            what = f"the file's certificate {number} isn't the issuer of the one before it"
            why = "clients that don't look for the right order refuse it"
            yield Finding(about, Severity.WARNING, what, why, "put the server's first, then each issuer's")
            return
    last = chain[-1]
    if last.issuer == last.subject:
        if len(chain) == 1:
            why = "clients can't tell it from another's: they refuse it, or teach users to accept anything"
            yield Finding(about, Severity.WARNING, "is self-signed", why, "get one of a CA that clients know")
    elif not _is_known(last.issuer, known):
        issuer = last.issuer.rfc4514_string()
        what = f"the file ends before {issuer}, which isn't a root that this host knows"
        why = "clients that don't have it refuse the certificate: an intermediate is missing"
        do = 'append it (CAs call such a file "full chain"); if it is a root of your own, let this host know it'
        yield Finding(about, Severity.WARNING, what, why, do)


def _is_known(issuer: x509.Name, known: Collection[bytes]) -> bool:
    """Whether a root has this name. They aren't parsed: there are old ones that a strict parser refuses."""
    name = issuer.public_bytes()
    return any(name in each for each in known)


def _strength(about: str, certificate: Certificate) -> Iterator[Finding]:
    key = certificate.key
    weak_rsa = isinstance(key, rsa.RSAPrivateKey) and key.key_size < _LEAST_RSA
    weak_ec = isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size < _LEAST_EC
    if weak_rsa or weak_ec:
        do = "get one with ECDSA P-256 or RSA 2048"
        yield Finding(about, Severity.WARNING, "its key is too short", "clients refuse it", do)
    hashed = certificate.chain[0].signature_hash_algorithm
    if hashed is not None and hashed.name in _WEAK_HASHES:
        yield Finding(about, Severity.WARNING, f"is signed with {hashed.name}", "clients refuse it", "get a new one")
