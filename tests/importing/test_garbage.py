"""Configs that somebody has bitten into: an import that our loader takes, or words; never another exception."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.importing.imported import Imported
from tests.importing.test_nginx import MANUAL
from tests.importing.test_stunnel import SAMPLE
from tlsgate.importing.draft import Draft
from tlsgate.importing.nginx import import_nginx
from tlsgate.importing.perdition import import_perdition
from tlsgate.importing.reading import CannotImport
from tlsgate.importing.stunnel import import_stunnel

NGINX = MANUAL + (
    "mail { ssl_certificate a; ssl_certificate_key b; server { listen 993 ssl proxy_protocol; server_name a.example;"
    " set_real_ip_from 10.0.0.0/8; ssl_verify_client on; ssl_client_certificate c; ssl_protocols TLSv1.3; timeout 1m;"
    " imap_auth external; resolver 127.0.0.1; smtp_auth none; xclient on; proxy_protocol on; auth_http h/a; } }"
)
STUNNEL = SAMPLE.replace("\ufeff", "") + (
    "[imap]\naccept = ::1:143\nconnect = [::1]:143\nprotocol = imap\nCAfile = a\nverify = 2\nsni = a:b.example\n"
    "TIMEOUTidle = 5\nTIMEOUTconnect = 5\nsslVersionMin = TLSv1.3\nfailover = rr\n"
)
PERDITION = (
    "protocol IMAP4S\nb 127.0.0.1:143,[::1]\ns a:143,b\nl imaps\np 143\nssl_mode tls_all\nL 5\nt 5\nu me\n"
    "A all\ne example.org\nS all\nD @\nssl_ca_file a\nssl_cert_file b\nssl_listen_min_proto_version tlsv1\n"
)
_PIECES = st.one_of(
    st.text(max_size=6),
    st.sampled_from(['"', "'", "\\", "\n", ";", "{", "}", "=", "0", "99999", "\x7f", "\x00", ":", "[", ",", "\u2028"]),
    st.sampled_from(["é.example", "a b", "unix:", "/", "127.0.0.1", "::", "*", "²", "x" * 300, "-", "%", "1d", "@"]),
)
_BITES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), _PIECES), min_size=1, max_size=4)


def bitten(text: str, bites: list[tuple[float, int, str]]) -> str:
    """Each bite: where, how much goes, what comes."""
    for where, gone, new in bites:
        at = int(where * len(text))
        text = text[:at] + new + text[at + gone :]
    return text


@pytest.mark.parametrize(
    ("importing", "text"),
    [(import_nginx, NGINX), (import_stunnel, STUNNEL), (import_perdition, PERDITION)],
    ids=["nginx", "stunnel", "perdition"],
)
@settings(deadline=None, max_examples=150)
@given(bites=_BITES)
def test_bitten_configs(
    importing: Callable[[Path, str], Draft], text: str, bites: list[tuple[float, int, str]]
) -> None:
    with TemporaryDirectory() as directory:
        try:
            Imported(importing, Path(directory) / "a.conf", bitten(text, bites))
        except CannotImport as fault:
            assert str(fault)
