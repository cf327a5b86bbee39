"""SMTP's grammar: what passes is one command for a backend, whatever it was made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.smtp_syntax import (
    LONGEST_PATH,
    MAIL_PARAMETERS,
    Parameters,
    Path,
    SmtpSyntaxError,
    check_parameters,
    command,
    ehlo_name,
    forward_path,
    reverse_path,
)

_SPECIAL = '<>@."\\ ,:;=%!+\r\n\0\tab\u00e4\u0085\u2028[]1'
_ALL = frozenset(MAIL_PARAMETERS.values())


@given(st.text(_SPECIAL, max_size=24) | st.text(max_size=24), st.text(_SPECIAL + "SIZE", max_size=24))
def test_what_passes_is_one_line_and_means_the_same(address: str, parameters: str) -> None:
    """The encoder towards a backend: no argument can make a second command or a second address of it."""
    for read, keyword in ((reverse_path, "FROM:"), (forward_path, "TO:")):
        for form in (f"{keyword}<{address}>{parameters}", f"{keyword}<{address}> {parameters}", f"{keyword}{address}"):
            try:
                path, given_parameters = read(form)
            except SmtpSyntaxError as error:
                assert error.code[:3] == "501" or (error.code == "550 5.7.1" and keyword == "TO:")
                continue
            wire = command(f"X {keyword}"[:-1], path, given_parameters)
            assert wire.endswith(b"\r\n") and wire.count(b"\n") == wire.count(b"\r") == 1
            assert b"\0" not in wire and b"\t" not in wire
            assert read(wire.decode()[2:-2]) == (path, given_parameters)


@pytest.mark.parametrize(
    ("argument", "mailbox"),
    [
        ("FROM:<>", ""),
        ("from:<a@b.example>", "a@b.example"),
        ("FROM: <a@b.example>", "a@b.example"),
        ("FROM:<@x.example,@y.example:a@b.example>", "a@b.example"),
        ('FROM:<"a b"@b.example>', '"a b"@b.example'),
        ('FROM:<"a\\"b@c"@b.example>', '"a\\"b@c"@b.example'),
        ('FROM:<"<>"@b.example>', '"<>"@b.example'),
        ("FROM:<a+b=c!d%e@b.example>", "a+b=c!d%e@b.example"),
        ("FROM:<a@b.example.>", "a@b.example."),
        ("FROM:<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
        ("FROM:<jürgen@bücher.example>", "jürgen@bücher.example"),
        ("FROM:<root>", "root"),
        ('FROM:<"a b">', '"a b"'),
        ("FROM:a@b.example", "a@b.example"),
        ("FROM: a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("FROM:<a..b@docomo.example>", "a..b@docomo.example"),
        ("FROM:<.a...@b.example>", ".a...@b.example"),
        ("FROM:a.@b.example", "a.@b.example"),
    ],
)
def test_reverse_paths(argument: str, mailbox: str) -> None:
    assert reverse_path(argument) == (Path(mailbox), ())


@pytest.mark.parametrize(
    "address",
    [
        "a",
        "a@",
        "a@b.example>",
        "a@b.example,c@d.example",
        "a b@c.example",
        "a@b@c.example",
        '"a"@b.example',
        "@x.example:a@b.example",
        "<@x.example:a>",
        "<a@b.example",
        "<a@b.example>>",
        "<<a@b.example>>",
        "<a@b@c.example>",
        "<a b@c.example>",
        "<@c.example>",
        "<..@c.example>",
        "<.>",
        '<."a"@c.example>',
        "<a@b..example>",
        "<a@-b.example>",
        "<a@b.example,c@d.example>",
        "<a\r\n@b.example>",
        '<"a\r\nb"@c.example>',
        '<"a\0b"@c.example>',
        "<a\u0085@b.example>",
        # Line ends for some that read logs and headers.
        "<a\u2028b@c.example>",
        '<"a\u2029b"@c.example>',
        "<a@b\u2028c.example>",
        "<a@\u2029.example>",
        "<a@[]>",
        "<a@[1.2.3.4>",
        "< a@b.example>",
        "<a@b.example >",
    ],
)
def test_what_is_no_path(address: str) -> None:
    for read, keyword in ((reverse_path, "FROM:"), (forward_path, "TO:")):
        with pytest.raises(SmtpSyntaxError):
            read(keyword + address)


@pytest.mark.parametrize("address", ["<a..b@c.example>", "<.a@c.example>", "<a.@c.example>", "<a..b>", "a.@c.example"])
def test_a_recipient_has_a_dot_between_two_atoms_only(address: str) -> None:
    """As a sender it is only somebody's name; a backend may take such a recipient for another one."""
    with pytest.raises(SmtpSyntaxError) as caught:
        forward_path(f"TO:{address}")
    assert caught.value.code == "501 5.1.3"


@pytest.mark.parametrize(
    "address",
    ["<a@b@c.example>", "a@b@c.example", "<@x.example:a@b@c.example>", '<"a"@"b"@c.example>', '<"x@"a@b@c>', "<a@@b>"],
)
def test_a_recipient_with_two_at_signs_is_a_try_to_relay(address: str) -> None:
    """A relay test waits for 550; a sender of that form is only malformed."""
    with pytest.raises(SmtpSyntaxError) as caught:
        forward_path(f"TO:{address}")
    assert caught.value.code == "550 5.7.1"
    with pytest.raises(SmtpSyntaxError) as caught:
        reverse_path(f"FROM:{address}")
    assert caught.value.code == "501 5.1.7"


@pytest.mark.parametrize(
    "address", ["<@b>", "<@@>", '<"a@b@c">x', "<@x.example,@y.example>", "<a@b", '<"a@b@c@d>', "<a>@b@c"]
)
def test_a_recipient_with_other_faults_is_none(address: str) -> None:
    with pytest.raises(SmtpSyntaxError) as caught:
        forward_path(f"TO:{address}")
    assert caught.value.code.startswith("501 ")


def test_at_signs_are_counted_in_linear_time() -> None:
    """A line is as long as the config says, and a client sends many."""
    for longest in ("a" * 1_000_000, '"' * 1_000_000, '"\\"' * 300_000, "<@" + "a," * 500_000, "a@" + "b" * 1_000_000):
        with pytest.raises(SmtpSyntaxError):
            forward_path(f"TO:{longest} ")


def test_the_null_path_is_no_recipient() -> None:
    """Bounces go to nobody: a backend that took it would have a message that it can't get rid of."""
    with pytest.raises(SmtpSyntaxError) as caught:
        forward_path("TO:<>")
    assert caught.value.code == "501 5.1.3"


def test_a_path_without_brackets_gets_them() -> None:
    """A backend that holds to RFC 5321 would refuse what we have taken."""
    path, parameters = reverse_path("FROM:a@b.example SIZE=5")
    assert command("MAIL FROM", path, parameters) == b"MAIL FROM:<a@b.example> SIZE=5\r\n"
    path, parameters = forward_path("TO:a@b.example")
    assert command("RCPT TO", path, parameters) == b"RCPT TO:<a@b.example>\r\n"


def test_the_longest_path_counts_octets_and_brackets() -> None:
    """RFC 5321 4.5.3.1.3. Characters beyond ASCII are several octets for the backend."""
    local = "x" * (LONGEST_PATH - 2 - len("@b.example"))
    assert len(str(reverse_path(f"FROM:<{local}@b.example>")[0])) == LONGEST_PATH
    for longer in (f"{local}x", f"{local[1:]}ä"):
        with pytest.raises(SmtpSyntaxError):
            reverse_path(f"FROM:<{longer}@b.example>")


def test_parameters() -> None:
    _, parameters = reverse_path("FROM:<>  size=5 BODY=8BITMIME   SMTPUTF8 ")
    assert parameters == (("SIZE", "5"), ("BODY", "8BITMIME"), ("SMTPUTF8", None))
    assert command("MAIL FROM", Path(""), parameters) == b"MAIL FROM:<> SIZE=5 BODY=8BITMIME SMTPUTF8\r\n"
    for bad in ("SIZE=5", " =5", " SIZE=", " A=B=C", " A\tB", " A=\u0085", " -A", " SIZE=1 size=1", " A B A", " Ä=1"):
        with pytest.raises(SmtpSyntaxError):
            reverse_path(f"FROM:<>{bad}")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ((("SIZE", "0"), ("BODY", "7bit"), ("SMTPUTF8", None), ("AUTH", "<>")), ""),
        ((("SIZE", None),), "501 5.5.4"),
        ((("SIZE", "-1"),), "501 5.5.4"),
        ((("SIZE", "²"),), "501 5.5.4"),
        ((("SIZE", "9" * 21),), "501 5.5.4"),
        ((("BODY", None),), "501 5.5.4"),
        ((("BODY", "BINARYMIME"),), "501 5.5.4"),
        ((("SMTPUTF8", "1"),), "501 5.5.4"),
        ((("NOTIFY", "NEVER"),), "555 5.5.4"),
        ((("XYZZY", None),), "555 5.5.4"),
    ],
)
def test_values(parameters: Parameters, code: str) -> None:
    assert _refused(lambda: check_parameters(parameters, MAIL_PARAMETERS, _ALL)) == code


def test_parameters_come_with_their_extension() -> None:
    for name, extension in MAIL_PARAMETERS.items():
        value = {"SIZE": "1", "BODY": "7BIT", "SMTPUTF8": None}.get(name, "x")
        parameters = ((name, value),)
        assert _refused(lambda p=parameters: check_parameters(p, MAIL_PARAMETERS, _ALL)) == ""  # type: ignore[misc]
        without = _ALL - {extension}
        assert _refused(lambda p=parameters, w=without: check_parameters(p, MAIL_PARAMETERS, w)) == "555 5.5.4"  # type: ignore[misc]


@given(st.text(max_size=40) | st.text("ab.-_[]:1<>&\"'\\ \r\n\0é\u2028\u202e", max_size=40))
def test_names_that_pass_are_safe_everywhere(name: str) -> None:
    """The client's name goes into XCLIENT, Received, logs and pages."""
    try:
        kept = ehlo_name(name)
    except SmtpSyntaxError:
        assert not name or not name.isprintable()
        return
    assert 1 <= len(kept) == len(name)
    assert kept.isascii() and kept.isprintable()
    assert not set(kept) & set('<>&"\\')
    assert ehlo_name(kept) == kept


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("client_1.example.", "client_1.example."),
        ("my pc", "my pc"),
        ("john's-pc", "john's-pc"),
        ("[IPv6:fe80::1%eth0]", "[IPv6:fe80::1%eth0]"),
        ("bücher", "b?cher"),
        ("\ufffd\ufffd", "??"),
        ("<script>alert(1)</script>", "?script?alert(1)?/script?"),
        ('a"&b\\c', "a??b?c"),
    ],
)
def test_names_are_kept_as_they_can_be_shown(name: str, kept: str) -> None:
    assert ehlo_name(name) == kept


def _refused(run: Callable[[], None]) -> str:
    try:
        run()
    except SmtpSyntaxError as error:
        return error.code
    return ""
