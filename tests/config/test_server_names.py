"""Names that stand for several servers: one that is read otherwise than it is meant leads logins elsewhere."""

from __future__ import annotations

import pytest

from tlsgate.config import BackendAddress, HostPort, MxName, SrvName
from tlsgate.config.fault import Wrong
from tlsgate.config.server_names import parse_backend_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("srv:_imap._tcp.example.org", SrvName("_imap._tcp.example.org")),
        ("srv:_pop3s._tcp.mail.svc.cluster.local", SrvName("_pop3s._tcp.mail.svc.cluster.local")),
        ("mx:example.org", MxName("example.org", 25)),
        ("mx:example.org:2525", MxName("example.org", 2525)),
        ("mx:25", HostPort("mx", 25)),
        ("srv:143", HostPort("srv", 143)),
        ("10.0.0.5:143", HostPort("10.0.0.5", 143)),
    ],
)
def test_good(text: str, address: BackendAddress) -> None:
    assert parse_backend_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "srv:",
        "srv:example.org",
        "srv:_imap.example.org",
        "srv:_imap._udp.example.org",
        "srv:_imap._tcp.",
        "srv:_imap._tcp.example.org:143",
        "srv:_imap._tcp.a b",
        "srv:_imap._tcp._x.example.org",
        "srv:_" + "x" * 63 + "._tcp.example.org",
        "srv:_imap._tcp." + "a." * 122 + "org",
    ],
)
def test_no_service(text: str) -> None:
    with pytest.raises(Wrong, match=r'such as "srv:_imap\._tcp\.example\.org"'):
        parse_backend_address(text)


@pytest.mark.parametrize(
    "text", ["mx:", "mx:192.0.2.1", "mx:example.org:", "mx:example.org:0", "mx:example.org:70000", "mx:a:b:25", "mx:*"]
)
def test_no_domain(text: str) -> None:
    with pytest.raises(Wrong, match='"mx:domain:port"'):
        parse_backend_address(text)


def test_whose_service_it_is() -> None:
    """The certificate's name."""
    assert SrvName("_imap._tcp.mail.example.org").domain == "mail.example.org"
