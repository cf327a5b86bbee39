"""A prepared config on its way from the spawner to the parent: whole, but for what only handshakes and logins need.

Private keys, TLS contexts, users' hashes, and secrets that let us in elsewhere stay where privileges are kept: the
parent only admits connections.
"""

from __future__ import annotations

import pickle
import ssl
from types import MappingProxyType
from typing import Any, BinaryIO, get_args

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tlsgate.auth.master import Master
from tlsgate.prepared import Prepared
from tlsgate.tls.certificate import PrivateKey

_LEFT_OUT = (SSL.Context, *get_args(PrivateKey))


def write(prepared: Prepared, file: BinaryIO) -> None:
    """Write what the parent needs."""
    _Reducer(file, pickle.HIGHEST_PROTOCOL).dump(prepared)


def read(file: BinaryIO) -> Prepared:
    """What ``write`` wrote, without keys and with no context that is good for anything. Only for our spawner's."""
    prepared: Prepared = pickle.load(file)  # noqa: S301 - the spawner has more privileges than we
    return prepared


class _Reducer(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if isinstance(value, _LEFT_OUT):
            return type(None), ()
        if isinstance(value, Master):
            return Master, (value.user, value.separator, b"", value.open_to_all)
        if isinstance(value, ssl.SSLContext):  # who finds None makes one, of files that the parent may not read
            return ssl.SSLContext, (ssl.PROTOCOL_TLS_CLIENT,)
        if isinstance(value, x509.Certificate):
            return _certificate, (value.public_bytes(Encoding.DER),)
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


# Functions of ours, as pickle doesn't find these by their own names.
def _certificate(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _read_only(table: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(table)
