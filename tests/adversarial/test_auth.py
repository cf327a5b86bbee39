"""Cases B7, B8, C4 and D3 on the wire, over TLS: SASL exchanges that are cut, garbled or not offered.

What fails here lets bad base64 or a hidden line end become a login or a command at the backend.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import IMAP, IMAP_LOGIN, POP3, POP3_LOGIN, SMTP_LOGIN, SUBMISSION, TLS, WRONG, Case, each
from tests.legacy_server import SECRET, USER
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True)
class Words:
    """How a protocol asks and answers. ``rows``: of exchanges, and of mechanisms that aren't there."""

    rows: tuple[str, str]
    ask: str
    more: str
    cancelled: str
    malformed: str
    unknown: str
    denied: str
    granted: str
    heard: str
    ending: str


WORDS = {
    IMAP: Words(
        ("B7", "B8"),
        "a AUTHENTICATE",
        "+ ",
        "a BAD Authentication cancelled",
        "a BAD Bad authentication response",
        "a NO [CANNOT] Mechanism not supported",
        "a NO [AUTHORIZATIONFAILED] Not authorized",
        "a OK [CAPABILITY IMAP4rev1 IDLE] Logged in",
        f"{IMAP_LOGIN}z NOOP⏎",
        "* BYE Too many authentication failures",
    ),
    POP3: Words(
        ("C4", "C4"),
        "AUTH",
        "+ ",
        "-ERR Authentication cancelled",
        "-ERR Bad authentication response",
        "-ERR Mechanism not supported",
        "-ERR [AUTH] Not authorized",
        "+OK Logged in",
        f"{POP3_LOGIN}NOOP⏎",
        "-ERR Too many authentication failures",
    ),
    SUBMISSION: Words(
        ("D3", "D3"),
        "AUTH",
        "334 ",
        "501 5.7.0 Authentication cancelled",
        "501 5.5.2 Bad authentication response",
        "504 5.5.4 Mechanism not supported",
        "535 5.7.8 Not authorized",
        "235 2.7.0 Authentication successful",
        f"{SMTP_LOGIN}QUIT⏎",
        "421 4.7.0 mail.example.org Too many authentication failures",
    ),
}
# What the client answers to PLAIN's empty challenge, and why it comes to nothing.
RESPONSES = {
    "cancelled": ("*", "PLAIN None cancelled"),
    "empty_in_a_wrong_place": ("=", "PLAIN None bad base64"),
    "empty": ("", "PLAIN None malformed PLAIN response"),
    "without_padding": ("AGFubgBodW50ZXIyaHVudGVyMg", "PLAIN None bad base64"),
    "with_spaces": ("AGFu bgBo dW50ZXIyaHVudGVyMg==", "PLAIN None bad base64"),
    "without_nul": (f"«base64 {WRONG}»", "PLAIN None malformed PLAIN response"),
    "with_one_nul": (f"«base64 ann␀{WRONG}»", "PLAIN None malformed PLAIN response"),
    "with_three_nuls": (f"«base64 ␀ann␀{WRONG}␀x»", "PLAIN None malformed PLAIN response"),
    "with_a_line_in_the_user": (f"«base64 ␀an⏎b NOOP␀{WRONG}»", "PLAIN None control character in user name"),
    "with_a_line_in_the_password": (f"«base64 ␀ann␀{WRONG}⏎b NOOP»", "PLAIN ann control character in password"),
    "with_a_line_in_the_authzid": (f"«base64 a⏎b␀ann␀{WRONG}»", "PLAIN ann control character in user name"),
    "without_a_user": (f"«base64 ␀␀{WRONG}»", "PLAIN None empty user name"),
    "without_a_password": ("«base64 ␀ann␀»", "PLAIN ann empty password"),
    "with_a_user_that_is_no_utf8": (r"AP+/AGh1bnRlcjJodW50ZXIy", "PLAIN \ufffd\ufffd user name is not UTF-8"),
}


def cases(protocol: Protocol) -> list[Case]:
    words = WORDS[protocol]
    row, other_row = words.rows
    hello = "" if protocol is not SUBMISSION else "H:"
    plain = f"{hello}\nC: {words.ask} PLAIN⏎\nS: {words.more}⏎\n"

    def case(name: str, script: str, *told: str, row: str = row, ended: str = "", heard: str = "") -> Case:
        failed = tuple(f"auth_failed {each_told}" for each_told in told)
        return Case(f"{row}_{protocol}_{name}", protocol, TLS, script, ended, heard, told=failed)

    return [
        *(
            case(
                f"plain_{name}",
                f"{plain}C: {response}⏎\nS: {words.cancelled if response == '*' else words.malformed}⏎",
                told,
            )
            for name, (response, told) in RESPONSES.items()
        ),
        case(
            "attempts_that_are_malformed_are_counted",
            f"{hello}\nC: «{words.ask} PLAIN =⏎*9»\nS: «{words.malformed}⏎*3»{words.ending}⏎\nX:",
            *["PLAIN None malformed PLAIN response"] * 3,
            ended="no_login auth_attempts",
        ),
        case(
            "attempts_that_are_cancelled_are_counted",
            f"{hello}\nC: «{words.ask} LOGIN⏎*⏎*9»\n"
            f"S: «{words.more}VXNlcm5hbWU6⏎{words.cancelled}⏎*3»{words.ending}⏎\nX:",
            *["LOGIN None cancelled"] * 3,
            ended="no_login auth_attempts",
        ),
        case(
            "plain_acts_as_somebody_else",
            f"{plain}C: «base64 eve␀ann␀{WRONG}»⏎\nS: {words.denied}⏎",
            "PLAIN ann authorization_failed",
        ),
        case(
            "plain_right",
            f"{plain}C: «base64 ␀{USER}␀{SECRET}»⏎\nS: {words.granted}⏎",
            heard=words.heard,
        ),
        case(
            "plain_acts_as_itself",
            f"{hello}\nC: {words.ask} PLAIN «base64 {USER}␀{USER}␀{SECRET}»⏎\nS: {words.granted}⏎",
            heard=words.heard,
        ),
        case(
            "login_right",
            f"{hello}\nC: {words.ask} LOGIN⏎\nS: {words.more}VXNlcm5hbWU6⏎\nC: «base64 {USER}»⏎\n"
            f"S: {words.more}UGFzc3dvcmQ6⏎\nC: «base64 {SECRET}»⏎\nS: {words.granted}⏎",
            heard=words.heard,
        ),
        case(
            "login_with_its_user",
            f"{hello}\nC: {words.ask} LOGIN «base64 {USER}»⏎\n"
            f"S: {words.more}UGFzc3dvcmQ6⏎\nC: «base64 {SECRET}»⏎\nS: {words.granted}⏎",
            heard=words.heard,
        ),
        case(
            "login_cancelled_at_the_user",
            f"{hello}\nC: {words.ask} LOGIN⏎*⏎\nS: {words.more}VXNlcm5hbWU6⏎{words.cancelled}⏎",
            "LOGIN None cancelled",
        ),
        case(
            "login_cancelled_at_the_password",
            f"{hello}\nC: {words.ask} LOGIN «base64 ann»⏎*⏎\nS: {words.more}UGFzc3dvcmQ6⏎{words.cancelled}⏎",
            "LOGIN ann cancelled",
        ),
        case(
            "login_with_empty_answers",
            f"{hello}\nC: {words.ask} LOGIN⏎⏎⏎\n"
            f"S: {words.more}VXNlcm5hbWU6⏎{words.more}UGFzc3dvcmQ6⏎{words.malformed}⏎",
            "LOGIN None empty user name",
        ),
        case(
            "login_with_a_line_in_the_password",
            f"{hello}\nC: {words.ask} LOGIN «base64 ann»⏎«base64 {WRONG}⏎QUIT»⏎\n"
            f"S: {words.more}UGFzc3dvcmQ6⏎{words.malformed}⏎",
            "LOGIN ann control character in password",
        ),
        case(
            "unknown",
            f"{hello}\nC: {words.ask} X-UNKNOWN⏎\nS: {words.unknown}⏎",
            "other None mechanism not supported",
            row=other_row,
        ),
        case(
            "external_without_a_certificate",
            f"{hello}\nC: {words.ask} EXTERNAL =⏎\nS: {words.unknown}⏎",
            "other None mechanism not supported",
            row=other_row,
        ),
        case(
            "plain_empty_initial_response",
            f"{hello}\nC: {words.ask} PLAIN =⏎\nS: {words.malformed}⏎",
            "PLAIN None malformed PLAIN response",
            row=other_row,
        ),
        case(
            "plain_behind_two_spaces",
            f"{hello}\nC: {words.ask} PLAIN  «base64 ␀ann␀{WRONG}»⏎\nS: {words.malformed}⏎",
            "PLAIN None bad base64",
            row=other_row,
        ),
    ]


@each(*(case for protocol in WORDS for case in cases(protocol)))
async def test_exchanges(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
