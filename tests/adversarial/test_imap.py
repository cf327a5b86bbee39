"""Cases B1 to B6, B12 and B13 on the wire, over TLS: commands that are too long or malformed.

What fails here lets one client's octets be read as commands that nobody has sent, here or at the backend, or holds
memory without a bound.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import IMAP, TLS, WRONG, Case, each
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)

FAILED = "NO [AUTHENTICATIONFAILED] Authentication failed"


def said(name: str, sent: str, answer: str, *told: str, ended: str = "", bad: int = 20) -> Case:
    """What is sent in one segment, and what comes back; ``ended``: the gateway closes."""
    script = f"C: {sent}\nS: {answer}\n" + ("X:" if ended else "")
    told = tuple(f"auth_failed {each_told}" for each_told in told)
    return Case(name, IMAP, TLS, script, told=told, ended=ended, bounds={"bad_commands": bad, "auth_attempts": bad})


LINES = (
    said(
        "B1_imap_line_a_byte_too_long", "«x*8193»", "* BAD Line too long⏎* BYE Line too long⏎", ended="no_login line_"
    ),
    said("B1_imap_line_at_its_bound", "a NOOP«x*8184»⏎", "a BAD Unknown command, or not before login⏎"),
    said(
        "B1_imap_line_over_its_bound_in_pieces",
        "a LOGIN ann «x*4096»\nC: «x*4096»",
        "* BAD Line too long⏎* BYE Line too long⏎",
        ended="no_login line_too_long",
    ),
    said(
        "B1_imap_command_over_its_bound_by_literals",
        "a LOGIN {4000+}⏎«u*4000» {4000+}⏎«p*4000» {4000+}⏎«x*4000»",
        "* BYE Literal too long⏎",
        ended="no_login literal_too_long",
    ),
    *(
        said(f"B2_imap_literal_size_{name}", f"a LOGIN {{{size}}}⏎", f"a {answer}⏎")
        for name, size, answer in (
            ("of_4_gib", "4294967296", "NO [LIMIT] Literal too long"),
            ("below_nothing", "-1", "BAD Syntax: bad string"),
            ("beyond_64_bits", "99999999999999999999", "NO [LIMIT] Literal too long"),
            ("behind_a_space", " 5", "BAD Syntax: bad string"),
            ("before_a_space", "5 ", "BAD Syntax: bad string"),
            ("in_hexadecimal", "0x5", "BAD Syntax: bad string"),
            ("of_4097", "4097", "NO [LIMIT] Literal too long"),
        )
    ),
    said(
        "B2_imap_literal_nonsync_of_4_gib",
        "a LOGIN {4294967296+}⏎b NOOP⏎",
        "* BYE Literal too long⏎",
        ended="no_login literal_too_long",
    ),
    said(
        "B2_imap_literal_nonsync_below_nothing",
        "a LOGIN {-1+}⏎b NOOP⏎",
        "a BAD Syntax: bad string⏎b OK NOOP completed⏎",
    ),
    said(
        "B3_imap_literal_with_a_bare_lf",
        "a LOGIN {3+}⏎a␊b {1+}⏎p⏎",
        f"a {FAILED}⏎",
        "LOGIN None control character in user name",
    ),
    said(
        "B3_imap_literal_with_a_command",
        "a LOGIN ann {15+}⏎p⏎b SELECT x⏎⏎",
        f"a {FAILED}⏎",
        "LOGIN ann control character in password",
    ),
    said(
        "B3_imap_literal_user_with_a_command",
        "a LOGIN {13+}⏎ann⏎b LOGOUT {1+}⏎p⏎",
        f"a {FAILED}⏎",
        "LOGIN None control character in user name",
    ),
    said(
        "B3_imap_literal_asked_for",
        "a LOGIN {3}⏎\nS: + OK⏎\nC: a⏎ p⏎",
        f"a {FAILED}⏎",
        "LOGIN None control character in user name",
    ),
)

ARGUMENTS = (
    said("B4_imap_quote_unterminated", f'a LOGIN "ann" "{WRONG}⏎', "a BAD Syntax: bad string⏎"),
    said("B4_imap_escape_that_is_none", r'a LOGIN "an\n" "p"⏎', "a BAD Syntax: bad string⏎"),
    said("B4_imap_line_end_in_quotes", 'a LOGIN "ann⏎b NOOP⏎', "a BAD Syntax: bad string⏎b OK NOOP completed⏎"),
    said("B4_imap_quotes_side_by_side", 'a LOGIN "ann""p"⏎', "a BAD Syntax: missing space or parenthesis⏎"),
    *(
        said(f"B5_imap_{name}", f"{sent}⏎", f"{answer}⏎")
        for name, sent, answer in (
            ("too_many_arguments", f"a LOGIN ann {WRONG} extra", "a BAD Syntax: too many arguments"),
            ("too_few_arguments", "a LOGIN ann", "a BAD Syntax: missing space or parenthesis"),
            ("no_tag", f"LOGIN ann {WRONG}", "LOGIN BAD Unknown command, or not before login"),
            ("tag_of_a_server", f"* LOGIN ann {WRONG}", "* BAD Syntax: bad tag"),
            ("tag_of_a_continuation", f"+ LOGIN ann {WRONG}", "* BAD Syntax: bad tag"),
            ("tag_with_a_brace", f"a{{ LOGIN ann {WRONG}", "* BAD Syntax: missing space or parenthesis"),
            ("tag_with_a_percent", f"a% LOGIN ann {WRONG}", "* BAD Syntax: missing space or parenthesis"),
            ("tag_with_a_parenthesis", f"a( LOGIN ann {WRONG}", "* BAD Syntax: missing space or parenthesis"),
            ("tag_of_65", f"«t*65» LOGIN ann {WRONG}", "* BAD Syntax: missing space or parenthesis"),
            ("empty_line", "", "* BAD Syntax: bad tag"),
            ("command_of_the_next_state", "a SELECT INBOX", "a BAD Unknown command, or not before login"),
            ("nul_in_a_name", "a LOGIN an␀n p", "a BAD Syntax: missing space or parenthesis"),
            ("wildcard_for_a_user", "a LOGIN * p", "a BAD Syntax: bad string"),
        )
    ),
    said("B6_imap_empty_user", f'a LOGIN "" {WRONG}⏎', f"a {FAILED}⏎", "LOGIN None empty user name"),
    said("B6_imap_user_of_spaces", f'a LOGIN "   " {WRONG}⏎', f"a {FAILED}⏎", "LOGIN None empty user name"),
    said("B6_imap_user_of_513", f"a LOGIN «u*513» {WRONG}⏎", f"a {FAILED}⏎", f"LOGIN {'u' * 512} user name too long"),
    said(
        "B6_imap_user_of_70_kib",
        "a LOGIN «u*71680» p⏎",
        "* BAD Line too long⏎* BYE Line too long⏎",
        ended="no_login line_",
    ),
    said(
        "B6_imap_user_with_a_line_separator",
        rf'a LOGIN "an\xe2\x80\xa8n" {WRONG}⏎',
        f"a {FAILED}⏎",
        "LOGIN None control character in user name",
    ),
    said(
        "B6_imap_user_that_is_no_utf8",
        rf'a LOGIN "an\xff" {WRONG}⏎',
        f"a {FAILED}⏎",
        "LOGIN an\ufffd user name is not UTF-8",
    ),
    said("B6_imap_user_with_nul", "a LOGIN {3+}⏎a␀n p⏎", f"a {FAILED}⏎", "LOGIN None control character in user name"),
    said("B12_imap_id_with_31_fields", 'a ID («"k" "v" *31»)⏎', "a BAD Syntax: ID is too long⏎"),
    said("B12_imap_id_value_of_1025", 'a ID ("k" "«v*1025»")⏎', "a BAD Syntax: ID is too long⏎"),
    said("B12_imap_id_nested", 'a ID (("k" "v"))⏎', "a BAD Syntax: bad string⏎"),
    said("B12_imap_id_nil", "a ID NIL⏎", '* ID ("name" "tlsgate")⏎a OK ID completed⏎'),
    said("B12_imap_id_in_literals", "a ID ({1+}⏎k {3+}⏎a⏎)⏎", '* ID ("name" "tlsgate")⏎a OK ID completed⏎'),
    said("B13_imap_bare_lf", "a NOOP␊b NOOP⏎", "* BAD Line must end with CR LF⏎b OK NOOP completed⏎"),
    said("B13_imap_bare_lf_login", f"a LOGIN ann {WRONG}␊", "* BAD Line must end with CR LF⏎"),
    said("B13_imap_bare_cr", "a NOOP␍b NOOP⏎", "a BAD Syntax: too many arguments⏎"),
    said("B13_imap_nul", "a NO␀OP⏎", "a BAD Unknown command, or not before login⏎"),
)


@each(*LINES)
async def test_lines_and_literals(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*ARGUMENTS)
async def test_arguments(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
