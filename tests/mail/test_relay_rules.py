"""A closed relay stays closed, by whatever spelling: the forms of relay tests, and what real mail looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.smtp_syntax import Path, SmtpSyntaxError, forward_path
from tlsgate.mail.addresses import AddressSyntaxError
from tlsgate.mail.relay_rules import NotTaken, Reason, RelayDomains, Taken, judge

OURS = RelayDomains(["ours.test", ".tree.test", "xn--bcher-kva.test"])


def _told(argument: str, domains: RelayDomains = OURS) -> str:
    """What RCPT TO:``argument`` comes to: what the backend gets, or the reply's code."""
    try:
        verdict = judge(forward_path(f"TO:{argument}")[0], domains)
    except SmtpSyntaxError as fault:
        return fault.code
    match verdict:
        case Taken(recipient):
            return str(recipient)
        case NotTaken():
            return f"{verdict.reply.code} {verdict.reply.enhanced}"


DENIED = "550 5.7.1"
SYNTAX = "501 5.1.3"

FORMS = {
    # plain
    "<user@other.test>": DENIED,
    "user@other.test": DENIED,
    "<user@localhost>": DENIED,
    "<user@ours.test.other.test>": DENIED,
    "<user@notours.test>": DENIED,
    "<user@ours.test-other.test>": DENIED,
    "<user@test>": DENIED,
    "<user@sub.ours.test>": DENIED,
    # percent hack
    "<user%other.test@ours.test>": DENIED,
    "<user%other.test@[192.0.2.1]>": DENIED,
    "<user%other.test>": DENIED,
    '<"user%other.test"@ours.test>': DENIED,
    '<"user%other.test">': DENIED,
    "<user%other.test%ours.test@ours.test>": DENIED,
    "<%other.test@ours.test>": DENIED,
    "<user%@ours.test>": DENIED,
    "<user\uff05other.test@ours.test>": DENIED,
    "<user\ufe6aother.test@ours.test>": DENIED,
    # bang path
    "<other.test!user>": DENIED,
    "<other.test!user@ours.test>": DENIED,
    "<other.test!user@[192.0.2.1]>": DENIED,
    "<ours.test!other.test!user@ours.test>": DENIED,
    '<"other.test!user"@ours.test>': DENIED,
    "<other.test\uff01user@ours.test>": DENIED,
    # at-at
    "<user@other.test@ours.test>": DENIED,
    "<user@ours.test@other.test>": DENIED,
    "user@other.test@ours.test": DENIED,
    "<@ours.test:user@other.test@ours.test>": DENIED,
    "<user@@ours.test>": DENIED,
    '<"user@other.test"@ours.test>': DENIED,
    '<"user@other.test">': DENIED,
    '<"user@ours.test">': DENIED,
    '<"user\\@other.test"@ours.test>': DENIED,
    "<user\uff20other.test@ours.test>": DENIED,
    '<"user"@"other.test"@ours.test>': DENIED,
    # source routes: dropped, and what is behind them is judged
    "<@ours.test:user@other.test>": DENIED,
    "<@ours.test,@sub.tree.test:user@other.test>": DENIED,
    "<@other.test:user@ours.test>": "<user@ours.test>",
    "<@[192.0.2.1]:user@other.test>": SYNTAX,
    "<@ours.test:>": SYNTAX,
    '<"@ours.test:user"@ours.test>': DENIED,
    # address literals: ours too, since nothing says which of them are
    "<user@[127.0.0.1]>": DENIED,
    "<user@[192.0.2.1]>": DENIED,
    "<user@[IPv6:::1]>": DENIED,
    "<user@127.0.0.1>": DENIED,
    "<user@2130706433>": DENIED,
    "<user@[ours.test]>": DENIED,
    # what delivery agents take for more than a name
    '<"|program"@ours.test>': DENIED,
    "<|program@ours.test>": DENIED,
    "</etc/passwd@ours.test>": DENIED,
    '<"../user"@ours.test>': DENIED,
    "<-oX@ours.test>": DENIED,
    '<":include:/etc/passwd"@ours.test>': DENIED,
    '<"user@other.test,x"@ours.test>': DENIED,
    '<"user,x"@ours.test>': DENIED,
    '<"<user>"@ours.test>': DENIED,
    '<"(user)"@ours.test>': DENIED,
    '<"a\\\\b"@ours.test>': DENIED,
    '<"a\\"b"@ours.test>': DENIED,
    # no address
    "<>": SYNTAX,
    "<user>": SYNTAX,
    "<@ours.test>": SYNTAX,
    '<""@ours.test>': SYNTAX,
    "<user@>": SYNTAX,
    "<user@.ours.test>": SYNTAX,
    "<user@ours.test..>": SYNTAX,
    "<user@ours.test%00other.test>": SYNTAX,
    "<user@ours.test\0other.test>": SYNTAX,
    "<us\0er@ours.test>": SYNTAX,
    "<user@ours.test other.test>": SYNTAX,
    "<user@ours.test>other.test": "501 5.5.4",
    "<" + "u" * 250 + "@ours.test>": SYNTAX,
    "<user@" + "o" * 64 + ".tree.test>": SYNTAX,
    # look-alikes and IDNA
    "<user@our\u0455.test>": DENIED,
    "<user@xn--our-jed.test>": DENIED,
    "<user@xn--ours-.test>": SYNTAX,
    "<user@b\u00fccher.test>": "<user@xn--bcher-kva.test>",
    "<user@B\u00dcCHER.test>": "<user@xn--bcher-kva.test>",
    "<user@XN--BCHER-KVA.test>": "<user@xn--bcher-kva.test>",
    "<user@ours\u3002test>": "<user@ours.test>",
    "<user@\uff4furs.test>": "<user@ours.test>",
    # ours
    "<user@ours.test>": "<user@ours.test>",
    "user@ours.test": "<user@ours.test>",
    "<User@OURS.Test>": "<User@ours.test>",
    "<user@ours.test.>": "<user@ours.test>",
    '<"user"@ours.test>': "<user@ours.test>",
    '<"a b"@ours.test>': '<"a b"@ours.test>',
    "<user+box/sub=x@ours.test>": "<user+box/sub=x@ours.test>",
    "<\u00fcser@ours.test>": "<\u00fcser@ours.test>",
    "<user@tree.test>": "<user@tree.test>",
    "<user@a.tree.test>": "<user@a.tree.test>",
    "<user@b.a.TREE.test>": "<user@b.a.tree.test>",
    "<user@nottree.test>": DENIED,
    # RFC 5321 4.5.1
    "<postmaster>": "<postmaster>",
    "<PostMaster>": "<PostMaster>",
    '<"postmaster">': "<postmaster>",
    "<postmaster@other.test>": DENIED,
    "<abuse>": SYNTAX,
}


@pytest.mark.parametrize(("argument", "told"), FORMS.items())
def test_forms(argument: str, told: str) -> None:
    """550 where mail would go to others through us, 501 where it is no address, and what is ours gets through."""
    assert _told(argument) == told


@pytest.mark.parametrize("argument", FORMS)
def test_no_domains_take_nothing(argument: str) -> None:
    """A listener that nobody has told what is its own must not guess."""
    assert _told(argument, RelayDomains([]))[0] == "5"


AT_AT = {"user@other.test@ours.test": Reason.MISLEADING, "a@b@ours.test": Reason.MISLEADING, "": Reason.SYNTAX}


@pytest.mark.parametrize(("mailbox", "reason"), AT_AT.items())
def test_what_the_grammar_refuses_is_refused_here_too(mailbox: str, reason: Reason) -> None:
    """Should the dialogue's grammar become laxer, the relay must not open."""
    assert judge(Path(mailbox), OURS) == NotTaken(reason)


_PIECES = st.sampled_from(
    ["user", "@", "%", "!", '"', "\\", ":", ",", ".", "ours.test", "other.test", "[192.0.2.1]", " ", "\uff20", "\uff05"]
)


@given(st.lists(_PIECES, max_size=8).map("".join))
def test_whatever_is_taken_is_ours_for_every_reader(mailbox: str) -> None:
    """Also for one that takes the first "@", drops quotes, or knows percent hacks and bang paths."""
    match judge(Path(mailbox), OURS):
        case Taken(Path(taken)):
            bare = taken.replace('"', "")
            assert bare.count("@") == 1 and bare.endswith("@ours.test")
            assert not any(sign in bare for sign in "%!\\:,\uff20\uff05")


def test_entries_are_canonical_too() -> None:
    domains = RelayDomains(["Ours.Test", ".TREE.test"])
    assert "ours.test" in domains and "a.tree.test" in domains and "tree.test" in domains
    assert "a.ours.test" not in domains and "" not in domains and "test" not in domains
    with pytest.raises(AddressSyntaxError):
        RelayDomains(["a b"])
