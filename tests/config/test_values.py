"""Single values: what each parser takes and gives, and what it refuses with which words."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from tlsgate.config.fault import Wrong
from tlsgate.config.values import (
    AnswerRange,
    HostPort,
    Rate,
    UnixPath,
    Url,
    is_loopback,
    parse_address,
    parse_answers,
    parse_domain,
    parse_duration,
    parse_file,
    parse_host,
    parse_hostname,
    parse_mail_domain,
    parse_nameserver,
    parse_network,
    parse_network_or_file,
    parse_rate,
    parse_secure_url,
    parse_server_name,
    parse_size,
    parse_url,
)

Parser = Callable[[str], object]


def valkey(text: str) -> Url:
    return parse_url(text, ("valkey",))


RIGHT: dict[Parser, dict[str, object]] = {
    parse_duration: {"30s": 30.0, "500ms": 0.5, "10m": 600.0, "1h": 3600.0, "1d": 86400.0, "0s": 0.0},
    parse_size: {"64KiB": 65536, "25MiB": 25 * 1024**2, "1GiB": 1024**3},
    parse_rate: {"30/1m": Rate(30, 60.0), "1/500ms": Rate(1, 0.5), "500/1h": Rate(500, 3600.0)},
    parse_mail_domain: {"example.org": "example.org", ".example.org": ".example.org", ".xn--e1afmkfd": ".xn--e1afmkfd"},
    parse_domain: {"example.org": "example.org", "localhost": "localhost", "xn--e1afmkfd.test": "xn--e1afmkfd.test"},
    parse_server_name: {"mail.example.org": "mail.example.org", "*.example.org": "*.example.org"},
    parse_hostname: {
        "mail.example.org": "mail.example.org",
        "[192.0.2.1]": "[192.0.2.1]",
        "[IPv6:2001:db8::1]": "[IPv6:2001:db8::1]",
    },
    parse_host: {"dovecot_1": "dovecot_1", "192.0.2.1": "192.0.2.1", "2001:DB8:0::1": "2001:db8::1"},
    parse_address: {
        "10.0.0.5:143": HostPort("10.0.0.5", 143),
        "dovecot_1:143": HostPort("dovecot_1", 143),
        "[::]:993": HostPort("::", 993),
        "[FE80::1%eth0]:993": HostPort("fe80::1%eth0", 993),
        "127.0.0.1:0": HostPort("127.0.0.1", 0),
        "a:65535": HostPort("a", 65535),
        "unix:/run/x.sock": UnixPath(Path("/run/x.sock")),
        "unix:/" + 106 * "x": UnixPath(Path("/" + 106 * "x")),
    },
    parse_nameserver: {
        "192.0.2.53": HostPort("192.0.2.53", 53),
        "2001:db8::53": HostPort("2001:db8::53", 53),
        "192.0.2.53:5353": HostPort("192.0.2.53", 5353),
        "[2001:db8::53]:5353": HostPort("2001:db8::53", 5353),
    },
    parse_network: {
        "192.0.2.0/24": ip_network("192.0.2.0/24"),
        "192.0.2.1": ip_network("192.0.2.1/32"),
        "2001:db8::/32": ip_network("2001:db8::/32"),
        "::1": ip_network("::1/128"),
        "0.0.0.0/0": ip_network("0.0.0.0/0"),
        "::/0": ip_network("::/0"),
    },
    parse_network_or_file: {
        "192.0.2.0/24": ip_network("192.0.2.0/24"),
        "2001:db8::1": ip_network("2001:db8::1/128"),
        "/etc/tlsgate/block": Path("/etc/tlsgate/block"),
        "block.txt": Path("block.txt"),
        "1.txt": Path("1.txt"),
        "cafe": Path("cafe"),
    },
    parse_answers: {
        "127.0.0.2": AnswerRange(IPv4Address("127.0.0.2"), IPv4Address("127.0.0.2")),
        "127.0.0.2-127.0.0.11": AnswerRange(IPv4Address("127.0.0.2"), IPv4Address("127.0.0.11")),
    },
    parse_file: {"a/b.pem": Path("a/b.pem"), "/etc/ä": Path("/etc/ä")},
    valkey: {
        "valkey://host:6379/0": Url("valkey://host:6379/0"),
        "valkey://:secret@[::1]": Url("valkey://:secret@[::1]"),
    },
    parse_secure_url: {
        "https://id.example.org/keys": Url("https://id.example.org/keys"),
        "http://127.0.0.1:80/keys": Url("http://127.0.0.1:80/keys"),
        "http://[::1]/keys": Url("http://[::1]/keys"),
        "http://localhost/keys": Url("http://localhost/keys"),
    },
}


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [(parse, text, value) for parse, cases in RIGHT.items() for text, value in cases.items()],
)
def test_right(parse: Parser, text: str, value: object) -> None:
    """A value that is read as another one, or refused, would be a config that doesn't do what it says."""
    found = parse(text)
    assert (type(found), found) == (type(value), value)


# The words that the refusal must have; "" where the key's own advice says it all.
WRONG: dict[Parser, dict[str, str]] = {
    parse_duration: {
        "": "",
        "30": "",
        "s": "",
        "1.5h": "",
        "-1s": "",
        "1h30m": "",
        "\u0663s": "",
        "1s\n": "",
        "367d": "year",
    },
    parse_size: {"": "", "25": "", "25MB": "", "1.5MiB": "", "-1KiB": "", "1TiB": ""},
    parse_rate: {"": "", "30": "", "30/": "", "0/1m": "", "30/0s": "", "-1/1m": "", "1/1y": "", "1/9999d": "year"},
    parse_domain: {
        "": "",
        "a..b": "",
        "-a.test": "",
        "a-.test": "",
        "a_b.test": "",
        "ä.test": "",
        "a.test.": "",
        "1.2.3.4": "",
        64 * "a" + ".test": "",
        63 * "a." + 128 * "a": "",
        "a.test\n": "",
    },
    parse_mail_domain: {"": "", ".": "", "..example.org": "", "*.example.org": "", ".192.0.2.1": "", ".a.test.": ""},
    parse_server_name: {"*": "", "*.": "", "a.*.test": "", "*a.test": "", "192.0.2.1": ""},
    parse_hostname: {
        "192.0.2.1": 'use a host name, or "[192.0.2.1]"',
        "2001:db8::1": 'use a host name, or "[IPv6:2001:db8::1]"',
        "[2001:db8::1]": "",
        "[IPv6:192.0.2.1]": "",
        "[192.0.2.1": "",
        "mail.example.org]": "",
        "a b": "",
    },
    parse_host: {"": "not a host name", "a/b": "not a host name", "1.2.3": "not a host name", "[::1]": "not a host"},
    parse_address: {
        "": "",
        "localhost": "",
        ":143": "",
        "[::1]": "",
        "10.0.0.5:": "is not a port",
        "10.0.0.5:70000": "is not a port",
        "10.0.0.5:imap": "is not a port",
        "10.0.0.5:+1": "is not a port",
        "10.0.0.5:\u0661": "is not a port",
        "::1:993": 'use "[::1]:993"',
        "[10.0.0.5]:143": "is not an IPv6 address",
        "[fe80::1%a b]:143": "is not an IPv6 address",
        "a:b:143": "",
        "*:993": "is not a host name or an address",
        "10.0.0:143": "is not a host name or an address",
        "unix:run/x": "absolute path",
        "unix:": "absolute path",
        "unix:/run/": "absolute path",
        "unix:/a\0b": "absolute path",
        "unix:/" + 107 * "x": "too long",
        "unix:/" + 54 * "ä": "too long",
    },
    parse_nameserver: {"": "", "dns.example.org": "", "192.0.2.53:0": "", "unix:/run/dns": "", "dns.test:53": ""},
    parse_network: {
        "": "",
        "192.0.2.0/33": "",
        "192.0.2.0/": "",
        "192.0.2.0/255.255.255.0": "",
        "192.0.2.1/24": 'use "192.0.2.0/24"',
        "2001:db8::1/32": 'use "2001:db8::/32"',
        "::ffff:192.0.2.0/120": 'use "192.0.2.0/24"',
        "fe80::1%eth0": "",
        "example.org": "",
    },
    parse_network_or_file: {"": "", "10.0.0.0/33": "", "10/8": "", "2001:db8::/129": "", "a\nb": "", "10": ""},
    parse_answers: {
        "": "",
        "127.0.0.2-": "",
        "10.0.0.1": "outside 127.0.0.0/8",
        "127.0.0.2-128.0.0.1": "outside 127.0.0.0/8",
        "127.0.0.9-127.0.0.2": 'use "127.0.0.2-127.0.0.9"',
    },
    parse_file: {"a\0b": "control character", "a\nb": "control character"},
    valkey: {
        "": "",
        "host": "",
        "redis://host": "",
        "valkey://": "",
        "valkey://host:port": "",
        "valkey://host:0": "",
        "valkey://[::1": "",
        "valkey://a b": "",
        "valkey://ä.test": "",
        "valkey://host/\n": "",
    },
    parse_secure_url: {
        "http://id.example.org/keys": 'use "https://…"',
        "HTTP://id.example.org/keys": 'use "https://…"',
        "ftp://id.example.org": "",
    },
}


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [(parse, text, words) for parse, cases in WRONG.items() for text, words in cases.items()],
)
def test_wrong(parse: Parser, text: str, words: str) -> None:
    """A slip that is taken for a value would surprise at run time; a refusal must say what is right where it knows."""
    with pytest.raises(Wrong) as caught:
        parse(text)
    assert words in str(caught.value)
    assert words or not str(caught.value)


@pytest.mark.parametrize(
    "text", ["10.0.0.5:143", "[2001:db8::1]:993", "dovecot_1:143", "unix:/run/x.sock", "[fe80::1%eth0]:993"]
)
def test_address_as_text(text: str) -> None:
    """An address in a message or a metric must be one that a config takes."""
    assert str(parse_address(text)) == text


def test_answers_as_text() -> None:
    for text in ("127.0.0.2", "127.0.0.2-127.0.0.11"):
        assert str(parse_answers(text)) == text


def test_url_hides_its_password() -> None:
    """A Config that is printed or logged would tell the password of the shared state."""
    url = valkey("valkey://user:hunter2@host:6379/0")
    assert "hunter2" not in repr(url)
    assert "host:6379/0" in repr(url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    """A host taken for loopback wrongly would open the admin API to others without a token."""
    assert is_loopback(host) is expected
