"""One canonical form: spellings of one address are equal, and no two addresses are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.smtp_syntax import SmtpSyntaxError, forward_path
from tlsgate.mail.addresses import Address, AddressSyntaxError, canonical_domain, fold, parse_address

CANONICAL = {
    "ann@example.org": "ann@example.org",
    "Ann@EXAMPLE.org": "Ann@example.org",
    "ann@example.org.": "ann@example.org",
    '"ann"@example.org': "ann@example.org",
    '"a\\nn"@example.org': "ann@example.org",
    '"a b"@example.org': '"a b"@example.org',
    '"a\\"b\\\\"@example.org': '"a\\"b\\\\"@example.org',
    '"a..b"@example.org': '"a..b"@example.org',
    '"a@b"@example.org': '"a@b"@example.org',
    "ann@[192.0.2.1]": "ann@[192.0.2.1]",
    "ann@[IPv6:2001:DB8::1]": "ann@[ipv6:2001:db8::1]",
    "ann@b\u00fccher.test": "ann@xn--bcher-kva.test",
    "ann@B\u00dcCHER.test": "ann@xn--bcher-kva.test",
    "ann@XN--BCHER-KVA.test": "ann@xn--bcher-kva.test",
    "ann@stra\u00dfe.test": "ann@xn--strae-oqa.test",  # not strasse.test, as IDNA 2003 had it
    "ann@example\u3002org": "ann@example.org",
    "ann@\uff45xample.org": "ann@example.org",
    "\u00e4nn@example.org": "\u00e4nn@example.org",
    "ann": "ann",
    '"a@b"': '"a@b"',
    "a@b@c": '"a@b"@c',
}


@pytest.mark.parametrize(("written", "canonical"), CANONICAL.items())
def test_canonical(written: str, canonical: str) -> None:
    """A spelling with a form of its own gets round every rule that is made for the address."""
    assert str(parse_address(written)) == canonical


@pytest.mark.parametrize(
    "mailbox",
    (
        *("", "@", "@a.test", "ann@", '""@a.test', ".ann@a.test", "ann.@a.test", "a..b@a.test", "a b@a.test"),
        *('"ann@a.test', '"ann"x@a.test', '"a"@b@a.test', "<ann@a.test>", "@b:ann@a.test", "ann@a.test,b@a.test"),
        *("ann@.a.test", "ann@a.test..", "ann@a..test", "ann@-a.test", "ann@a-.test", "ann@a%b", "ann@a test"),
        *("ann@[", "ann@[192.0.2.1", "ann@[a b]", "ann@\u2100.test", "ann@a\u2024\u2024b.test", "ann@\ufffd.test"),
        *("a\0nn@a.test", "ann@a.test\0b", "ann@a\r\n.test", "ann\x85@a.test", '"\r\n"@a.test', "ann@\ud800.test"),
        *(
            "x" * 250 + "@a.test",
            "ann@" + "x" * 64 + ".test",
            "ann@" + "\u00e4." * 126 + "test",
            "\u00e4" * 126 + "@a.b",
        ),
    ),
)
def test_no_address(mailbox: str) -> None:
    with pytest.raises(AddressSyntaxError) as fault:
        parse_address(mailbox)
    assert mailbox not in str(fault.value) or len(mailbox) < 2


def test_the_longest() -> None:
    """254 octets (RFC 5321 4.5.3.1.3), of the canonical form too: a domain that grows in A-labels must not go on."""
    assert parse_address("x" * 247 + "@a.test")
    assert len(str(parse_address("\u00e4" * 123 + "@a.test")).encode()) == 253
    grows = "ann@" + ".".join(["\u00fc" * 20] * 6)
    assert len(grows.encode()) < 254
    with pytest.raises(AddressSyntaxError):
        parse_address("x" * 100 + grows)


@given(st.text('aB.@"\\ %!\u00e4', max_size=12), st.sampled_from(["a.test", "A.Test.", "[192.0.2.1]", "\u00e4.test"]))
def test_what_is_printed_is_the_address(local: str, domain: str) -> None:
    """Printed and read again, by us or by a server's grammar, it is the same address."""
    address = Address(local, str(parse_address(f"x@{domain}")).removeprefix("x@"))
    if not local:
        return
    assert parse_address(str(address)) == address
    path, rest = forward_path(f"TO:<{address}>")
    assert (path.mailbox, rest) == (str(address), ())


@given(st.text(max_size=20))
def test_any_text(mailbox: str) -> None:
    """Nothing else than AddressSyntaxError comes of what strangers write, and what passes is fit for a backend."""
    try:
        printed = str(parse_address(mailbox))
    except AddressSyntaxError:
        return
    try:
        assert forward_path(f"TO:<{printed}>")[0].mailbox == printed
    except SmtpSyntaxError:
        pytest.fail(f"{printed!r} is none for the encoder")


def test_domains() -> None:
    assert canonical_domain("EXAMPLE.org.") == "example.org"
    for name in ("", ".", "[192.0.2.1]", "a@b", "a b"):
        with pytest.raises(AddressSyntaxError):
            canonical_domain(name)


def test_case() -> None:
    """Who is told apart by a server may not send as the other."""
    assert parse_address("ANN@Example.org").folded == parse_address('"ann"@example.org').folded
    assert fold("gro\u00df") != fold("gross")
    assert fold("\u212aarl") != fold("karl")  # the sign for kelvin, whose lower case is "k"
