"""Case A17 on the wire: a peer that speaks something else, as a browser that was led here, gets no command through.

What fails here lets a web page speak to the mail server in its visitor's name (cross-protocol scripting).
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import CLEAR, IMAP, MX, POP3, SUBMISSION, TLS, WRONG, Case, each
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

ENDS = {
    IMAP: ("* BYE Not the protocol spoken here⏎", "no_login foreign_protocol"),
    POP3: ("-ERR Not the protocol spoken here⏎", "no_login foreign_protocol"),
    SUBMISSION: ("421 4.7.0 mail.example.org Not the protocol spoken here⏎", "no_login foreign_protocol"),
    MX: ("421 4.7.0 mail.example.org Not the protocol spoken here⏎", "ok foreign_protocol"),
}
LOGIN = {
    IMAP: f"a LOGIN ann {WRONG}⏎",
    POP3: f"USER ann⏎PASS {WRONG}⏎",
    SUBMISSION: "EHLO x⏎MAIL FROM:<a@b>⏎",
    MX: "EHLO x⏎MAIL FROM:<a@b>⏎RCPT TO:<bob@example.org>⏎DATA⏎x⏎.⏎",
}
REQUESTS = {
    "get": "GET / HTTP/1.1⏎Host: mail.example.org⏎⏎",
    "get_in_small_letters": "get / http/1.1⏎⏎",
    "post": "POST /a HTTP/1.1⏎Content-Type: text/plain⏎⏎{login}",
    "put_of_old_http": "PUT /a⏎⏎{login}",
    "options": "OPTIONS * HTTP/1.1⏎⏎{login}",
    "http2": "PRI * HTTP/2.0⏎⏎SM⏎⏎{login}",
    "connect": "CONNECT mail.example.org:143 HTTP/1.1⏎⏎{login}",
    "host_alone": "Host: mail.example.org⏎{login}",
}
HTTP = tuple(
    Case(
        f"A17_{protocol}_http_{what}_{where}",
        protocol,
        where,
        f"""
        C: {request.format(login=LOGIN[protocol])}
        S: {ENDS[protocol][0]}
        X:
        """,
        ended=ENDS[protocol][1],
    )
    for protocol in Protocol
    for what, request in REQUESTS.items()
    for where in (CLEAR, TLS)
    if what in ("get", "post") or where == CLEAR
)
HELLOS = tuple(
    Case(
        f"A17_{protocol}_client_hello_where_clear_text_is_due",
        protocol,
        CLEAR,
        rf"""
        C: \x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03
        S: {ENDS[protocol][0]}
        X:
        """,
        ended=ENDS[protocol][1],
    )
    for protocol in Protocol
)
OTHERS = (
    Case(
        "A17_submission_imap_spoken",
        SUBMISSION,
        CLEAR,
        f"""
        C: a LOGIN ann {WRONG}⏎
        S: 500 5.5.1 Unknown command⏎
        C: a SELECT INBOX⏎
        S: 500 5.5.1 Unknown command⏎421 4.7.0 mail.example.org Too many bad commands⏎
        X:
        """,
        ended="no_login bad_commands",
        bounds={"bad_commands": 2},
    ),
    Case(
        "A17_imap_smtp_spoken",
        IMAP,
        CLEAR,
        """
        C: EHLO x⏎
        S: EHLO BAD Unknown command, or not before login⏎
        C: MAIL FROM:<a@b>⏎
        S: MAIL BAD Unknown command, or not before login⏎* BYE Too many bad commands⏎
        X:
        """,
        ended="no_login bad_commands",
        bounds={"bad_commands": 2},
    ),
    Case(
        "A17_pop3_smtp_spoken",
        POP3,
        CLEAR,
        """
        C: EHLO x⏎
        S: -ERR Unknown command, or not before login⏎
        C: MAIL FROM:<a@b>⏎
        S: -ERR Too many bad commands⏎
        X:
        """,
        ended="no_login bad_commands",
        bounds={"bad_commands": 2},
    ),
)


@each(*HTTP)
async def test_a_browser(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*HELLOS)
async def test_tls_too_early(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*OTHERS)
async def test_another_mail_protocol(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
