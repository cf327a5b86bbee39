"""Who may send from where."""

from __future__ import annotations

import pytest

from tlsgate.dialogue.smtp_syntax import Path
from tlsgate.mail.aliases import MOST_REMARKS, Aliases, read_aliases

TEXT = """\
\ufeff# who may send from where
ann: ann@example.org, "a b"@example.org ,Sales@Example.org   # and nobody else
ANN:b\u00fccher@b\u00fccher.test

ben@example.org: @example.net
robot:*@*.example.net,@*.Example.com
fleet#1: x#y@a.test
J\u00fcrgen: j@a.test
""".encode()


@pytest.fixture(scope="module")
def aliases() -> Aliases:
    found = read_aliases(TEXT)
    assert found.remarks == ()
    return found


MAY = [
    ("ann", "ann@example.org"),
    ("ann", "Ann@EXAMPLE.org."),
    ("Ann", "sales@example.org"),
    ("ann", '"sales"@example.org'),
    ("ann", '"a b"@example.org'),
    ("ann", "b\u00fccher@xn--bcher-kva.test"),
    ("ben@example.org", "ben@example.org"),
    ("BEN@example.org", "Ben@Example.ORG"),
    ("ben@example.org", "anything@example.net"),
    ("robot", "x@a.example.net"),
    ("robot", "x@b.a.example.com"),
    ("fleet#1", "x#y@a.test"),
    ("J\u00fcrgen", "j@a.test"),
    ("cay@example.org", "cay@example.org"),  # in no line
    ("\u00fc@b\u00fccher.test", "\u00fc@xn--bcher-kva.test"),
]
MAY_NOT = [
    ("ann", "bob@example.org"),
    ("ann", "ann@example.org.evil.test"),
    ("ann", "ann"),
    ("ann", "ann@example.net"),
    ("bob", "ann@example.org"),
    ("ben@example.org", "x@a.example.net"),
    ("ben@example.org", "ann@example.org"),
    ("robot", "x@example.net"),
    ("robot", "x@notexample.net"),
    ("cay", "cay@example.org"),
    ("cay@example.org", "cay"),
    ("cay@example.org", '"cay@example.org"@evil.test'),
    ("j\u00fcrgen", "j@other.test"),
    ("*", "x@example.net"),
    ("", "ann@example.org"),
    ("gross@a.test", "gro\u00df@a.test"),
    ("ann", "ann@example.org\0"),
]


@pytest.mark.parametrize(("user", "sender"), MAY)
def test_may_send(aliases: Aliases, user: str, sender: str) -> None:
    assert aliases.may_send(user, Path(sender))


@pytest.mark.parametrize(("user", "sender"), MAY_NOT)
def test_may_not_send(aliases: Aliases, user: str, sender: str) -> None:
    """Mail in somebody else's name, by whatever spelling."""
    assert not aliases.may_send(user, Path(sender))


def test_everybody_may_send_receipts(aliases: Aliases) -> None:
    """RFC 8098 2.1: they come from the null path."""
    assert aliases.may_send("ann", Path(""))
    assert Aliases().may_send("nobody", Path(""))


def test_without_a_file_users_are_themselves() -> None:
    assert Aliases().may_send("ann@example.org", Path("ann@example.org"))
    assert not Aliases().may_send("ann@example.org", Path("bob@example.org"))


FAULTY = {
    b"ann ann@example.org": "login: address",
    b": ann@example.org": "login: address",
    b"ann:": "no address",
    b"ann: , ": "no address",
    b"ann: # all of them": "no address",
    b"ann: ann@example.org, sales": "address 2 has no domain",
    b"ann: ann@@example.org": 'has an "@"',
    b"ann: a@a.test b@b.test": "address 1 can't be used",
    b"ann: a@a.test;b@b.test": "address 1 can't be used",
    b"ann: @": "address 1 can't be used",
    b"ann: @*": "address 1 can't be used",
    b"ann: @a.*.test": "address 1 can't be used",
    b"ann: *": "address 1 has no domain",
    b"ann: *-x@example.org": 'only "*@"',
    b"ann: ann@example .org": "address 1 can't be used",
    b"a\0nn: ann@example.org": "login: address",
    b"ann: \xff@example.org": "UTF-8",
    b"ann: " + b"a@b.test," * 1000: "longer than 8192",
}


@pytest.mark.parametrize(("line", "text"), FAULTY.items())
def test_a_faulty_line_is_told_and_left_out(line: bytes, text: str) -> None:
    """A line that was meant otherwise than it is read gives somebody else's address away."""
    found = read_aliases(b"# first\nbob: b@a.test\n" + line + b"\n")
    assert [remark.number for remark in found.remarks] == [3]
    assert text in found.remarks[0].text and found.bad_lines == 1
    assert set(found.patterns) == {"bob"}


def test_remarks_are_bounded() -> None:
    found = read_aliases(b"nonsense\n" * 1000)
    assert (len(found.remarks), found.bad_lines) == (MOST_REMARKS, 1000)


def test_line_ends_of_any_system() -> None:
    assert read_aliases(b"ann: a@b.test\r\nbob: b@b.test").patterns == {
        "ann": frozenset({"a@b.test"}),
        "bob": frozenset({"b@b.test"}),
    }
