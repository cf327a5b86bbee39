import imaplib
import re
from functools import partial

import pytest
import trio

from tests.demo.conftest import Connect, Talk, in_thread
from tlsgate.demo import DemoBackend, serve
from tlsgate.demo.samples import SAMPLES


async def logged_in(connect: Connect, backend: DemoBackend, select: bool = True) -> Talk:
    talk = await connect(backend.imap_port)
    assert (await talk.ask(b'l LOGIN demo "sec ret"'))[-1].startswith(b"l OK")
    if select:
        assert (await talk.ask(b"s SELECT INBOX"))[-1].startswith(b"s OK [READ-WRITE]")
    return talk


async def test_greeting_has_the_capabilities_of_an_old_server(connect: Connect, backend: DemoBackend) -> None:
    talk = await connect(backend.imap_port, greeted=False)
    greeting = await talk.line()
    assert greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
    offered = set(greeting[greeting.index(b"[") + 1 : greeting.index(b"]")].split())
    assert offered >= {b"LITERAL+", b"SASL-IR", b"ID", b"IDLE", b"NAMESPACE", b"UIDPLUS", b"AUTH=PLAIN", b"AUTH=LOGIN"}
    assert b"STARTTLS" not in offered


@pytest.mark.parametrize(
    ("sent", "prompts"),
    [
        (b'a LOGIN demo "sec ret"\r\n', 0),
        (b'a login "demo" "sec ret"\r\n', 0),
        (b"a LOGIN {4+}\r\ndemo {7+}\r\nsec ret\r\n", 0),
        (b"a LOGIN {4}\r\ndemo {7}\r\nsec ret\r\n", 2),
        (b"a AUTHENTICATE PLAIN AGRlbW8Ac2VjIHJldA==\r\n", 0),
        (b"a AUTHENTICATE PLAIN\r\nAGRlbW8Ac2VjIHJldA==\r\n", 1),
        (b"a AUTHENTICATE LOGIN\r\nZGVtbw==\r\nc2VjIHJldA==\r\n", 2),
        (b"a AUTHENTICATE LOGIN ZGVtbw==\r\nc2VjIHJldA==\r\n", 1),
    ],
)
async def test_every_way_to_log_in(connect: Connect, backend: DemoBackend, sent: bytes, prompts: int) -> None:
    talk = await connect(backend.imap_port)
    pieces = sent.split(b"\r\n")[:-1] if prompts else [sent.removesuffix(b"\r\n")]
    for piece in pieces[:-1]:
        await talk.send(piece + b"\r\n")
        assert (await talk.line()).startswith(b"+ ")
    await talk.send(pieces[-1] + b"\r\n")
    assert (await talk.line()).startswith(b"a OK [CAPABILITY ")


@pytest.mark.parametrize(
    "command",
    [b"a LOGIN demo wrong", b"a LOGIN nobody wrong", b"a AUTHENTICATE PLAIN AGRlbW8Ad3Jvbmc="],
)
async def test_wrong_password_is_an_authentication_failure_and_may_be_repeated(
    connect: Connect, backend: DemoBackend, command: bytes
) -> None:
    talk = await connect(backend.imap_port)
    for _ in range(3):
        assert (await talk.ask(command))[-1].startswith(b"a NO [AUTHENTICATIONFAILED] ")
    assert (await talk.ask(b'b LOGIN demo "sec ret"'))[-1].startswith(b"b OK")


@pytest.mark.parametrize(
    "command",
    [
        b"a SELECT INBOX",
        b"a FETCH 1 FLAGS",
        b"a AUTHENTICATE PLAIN !",
        b"a AUTHENTICATE GSSAPI =",
        b"a STARTTLS",
        b"a IDLE",
    ],
)
async def test_what_needs_a_login_or_is_not_offered_is_bad(
    connect: Connect, backend: DemoBackend, command: bytes
) -> None:
    talk = await connect(backend.imap_port)
    assert (await talk.ask(command))[-1].startswith(b"a BAD ")
    assert (await talk.ask(b"b NOOP"))[-1].startswith(b"b OK")


async def test_cancelled_authentication_leaves_the_session_usable(connect: Connect, backend: DemoBackend) -> None:
    talk = await connect(backend.imap_port)
    await talk.ask(b"a AUTHENTICATE PLAIN", b"+ ")
    assert (await talk.ask(b"*", b"a "))[-1].startswith(b"a BAD ")
    assert (await talk.ask(b'b LOGIN demo "sec ret"'))[-1].startswith(b"b OK")


async def test_what_thunderbird_asks_at_first(connect: Connect, backend: DemoBackend) -> None:
    talk = await connect(backend.imap_port)
    transcript = [
        (b"1 capability", b"* CAPABILITY IMAP4rev1 "),
        (b"2 authenticate PLAIN AGRlbW8Ac2VjIHJldA==", b"2 OK "),
        (b'3 ID ("name" "Thunderbird" "version" "128.0")', b'* ID ("name" "tlsgate-demo")'),
        (b"4 namespace", b'* NAMESPACE (("" "/")) NIL NIL'),
        (b'5 lsub "" "*"', b'* LSUB (\\HasNoChildren) "/" INBOX'),
        (b'6 list "" "INBOX"', b'* LIST (\\HasNoChildren) "/" INBOX'),
        (b'7 list "" ""', b'* LIST (\\Noselect) "/" ""'),
        (b'8 create "Trash"', b"8 NO "),
        (b'9 select "INBOX"', b"* FLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen)"),
        (b"10 getquotaroot INBOX", b"10 BAD "),
        (b"11 UID fetch 1:* (FLAGS)", b"* 1 FETCH (UID 1 FLAGS ())"),
        (
            b"12 UID fetch 1 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Subject Message-ID)])",
            b"* 1 FETCH (UID 1 RFC822.SIZE %d FLAGS () BODY[HEADER.FIELDS (From To Subject Message-ID)] {"
            % len(SAMPLES[0]),
        ),
        (b"13 IDLE", b"+ "),
    ]
    for command, first in transcript:
        lines = await talk.ask(command, b"+ " if command.endswith(b"IDLE") else None)
        assert lines[0].startswith(first), command
    assert (await talk.ask(b"DONE", b"13 "))[-1].startswith(b"13 OK")


async def test_select_tells_what_a_client_caches_by(connect: Connect, backend: DemoBackend) -> None:
    talk = await logged_in(connect, backend, select=False)
    lines = await talk.ask(b"s EXAMINE inbox")
    assert lines[-1].startswith(b"s OK [READ-ONLY]")
    assert b"* 3 EXISTS" in lines
    assert any(line.startswith(b"* OK [UIDVALIDITY %d]" % backend.mailbox.uidvalidity) for line in lines)
    assert any(line.startswith(b"* OK [UIDNEXT 4]") for line in lines)
    assert (await talk.ask(b"t STORE 1 +FLAGS (\\Seen)"))[-1].startswith(b"t NO [READ-ONLY]")
    assert (await talk.ask(b"u SELECT Other"))[-1].startswith(b"u NO ")
    assert (await talk.ask(b"v FETCH 1 FLAGS"))[-1].startswith(b"v BAD ")


async def test_structure_and_envelope_are_written_as_the_grammar_has_them(
    connect: Connect, backend: DemoBackend
) -> None:
    talk = await logged_in(connect, backend)
    structure = (await talk.ask(b"a FETCH 3 BODYSTRUCTURE"))[0]
    assert structure == (
        b'* 3 FETCH (BODYSTRUCTURE (("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 27 1 NIL NIL NIL NIL)'
        b'("text" "csv" ("charset" "utf-8") NIL NIL "7bit" 29 2 NIL ("attachment" ("filename" "figures.csv")) NIL NIL)'
        b' "mixed" ("boundary" "=_figures_for_may") NIL NIL NIL))'
    )
    body = (await talk.ask(b"b FETCH 1 BODY"))[0]
    assert re.fullmatch(rb'\* 1 FETCH \(BODY \("text" "plain" \("charset" "utf-8"\) NIL NIL "7bit" \d+ 3\)\)', body)
    envelope = (await talk.ask(b"c FETCH 3 ENVELOPE"))[0]
    sender = b'(("Reports, Daily" NIL "reports" "example.com"))'
    assert envelope == (
        b'* 3 FETCH (ENVELOPE ("Mon, 13 May 2024 12:30:00 +0000" "Figures for May" '
        + b" ".join([sender] * 3)
        + b' (("Demo User" NIL "demo" "example.org")) NIL NIL NIL "<sample-3@example.org>"))'
    )


async def test_nested_message_sections(connect: Connect, nursery: trio.Nursery) -> None:
    inner = b"Subject: inner\r\n\r\ninner text\r\n"
    raw = (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n--b\r\n\r\none\r\n'
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b--\r\nepilogue\r\n"
    )
    backend: DemoBackend = await nursery.start(partial(serve, {"demo": "sec ret"}, messages=[raw]))
    talk = await logged_in(connect, backend)
    items = {
        b"1": b"one",
        b"2": inner,
        b"2.HEADER": b"Subject: inner\r\n\r\n",
        b"2.TEXT": b"inner text\r\n",
        b"2.1": b"inner text\r\n",
        b"2.MIME": b"Content-Type: message/rfc822\r\n\r\n",
        b"": raw,
    }
    for section, content in items.items():
        await talk.send(b"a FETCH 1 BODY.PEEK[%b]\r\n" % section)
        assert await talk.line() == b"* 1 FETCH (BODY[%b] {%d}" % (section, len(content))
        assert await talk.read_exactly(len(content)) == content
        assert (await talk.lines(b"a "))[0] == b")"
    assert (await talk.ask(b"b FETCH 1 BODY.PEEK[3]"))[0] == b"* 1 FETCH (BODY[3] NIL)"
    structure = (await talk.ask(b"c FETCH 1 BODY"))[0]
    assert b'("message" "rfc822" NIL NIL NIL "7bit" 30 (NIL "inner" NIL' in structure
    assert structure.endswith(b'("text" "plain" NIL NIL NIL "7bit" 12 1) 3) "mixed"))')


async def test_partial_fetch_and_seen(connect: Connect, backend: DemoBackend) -> None:
    talk = await logged_in(connect, backend)
    peeked = await talk.ask(b"a FETCH 1 BODY.PEEK[TEXT]<5.7>")
    assert peeked[0] == b"* 1 FETCH (BODY[TEXT]<5> {7}"
    assert peeked[1] == b"message)"
    assert backend.mailbox.messages[1].flags == set()
    assert (await talk.ask(b"b FETCH 1 RFC822.TEXT"))[-2] == b"* 1 FETCH (FLAGS (\\Seen))"
    assert backend.mailbox.messages[1].flags == {b"\\Seen"}


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (b"ALL", b" 1 2 3"),
        (b"UNSEEN", b" 1 3"),
        (b"SEEN", b" 2"),
        (b"UID 2:*", b" 2 3"),
        (b"1,3", b" 1 3"),
        (b"NOT 1 NOT UID 3", b" 2"),
        (b"OR (FROM zoe) SUBJECT figures", b" 2 3"),
        (b"CHARSET UTF-8 HEADER Message-ID sample-1", b" 1"),
        (b"BODY {4+}\r\nTLS.", b" 1"),
        (b"LARGER 100000", b""),
        (b"SINCE 1-Jan-2020 BEFORE 1-Jan-2020", b""),
        (b"KEYWORD $Junk", b""),
    ],
)
async def test_search(connect: Connect, backend: DemoBackend, keys: bytes, found: bytes) -> None:
    talk = await logged_in(connect, backend)
    await talk.ask(b"a STORE 2 +FLAGS.SILENT (\\seen)")
    assert (await talk.ask(b"b SEARCH " + keys))[0] == b"* SEARCH" + found


@pytest.mark.parametrize(
    "command",
    [
        b"SEARCH",
        b"SEARCH NONSENSE",
        b"SEARCH OR 1",
        b"SEARCH " + b"NOT " * 10000 + b"ALL",
        b"SEARCH " + b"(" * 10000,
        b"SEARCH LARGER ,",
        b"FETCH 1",
        b"FETCH x FLAGS",
        b"FETCH 1 (NONSENSE)",
        b"FETCH 1 BODY[NONSENSE]",
        b"FETCH 1 (" + b"BODY[] " * 60 + b")",
        b"STORE 1 +FLAGS ({4+}\r\na\r\nb)",
        b"STORE 1 NONSENSE (\\Seen)",
        b"UID NOOP",
        b'APPEND INBOX "01-Jan-0001 00:00:00 +1400" {1+}\r\nx',
        b'LIST "" "unclosed',
        b"NONSENSE",
    ],
)
async def test_bad_syntax_is_bad_and_nothing_more(connect: Connect, backend: DemoBackend, command: bytes) -> None:
    talk = await logged_in(connect, backend)
    assert (await talk.ask(b"a " + command, b"a "))[0].startswith(b"a BAD ")
    assert (await talk.ask(b"b NOOP"))[-1].startswith(b"b OK")


async def test_idle_and_noop_report_what_other_sessions_did(connect: Connect, backend: DemoBackend) -> None:
    idle, other = await logged_in(connect, backend), await logged_in(connect, backend)
    await idle.ask(b"i IDLE", b"+ ")
    appended = await other.ask(b"a APPEND INBOX (\\Flagged) {9+}\r\nA: b\r\n\r\nc", b"a ")
    assert appended == [b"* 4 EXISTS", b"a OK [APPENDUID %d 4] kept" % backend.mailbox.uidvalidity]
    assert await idle.line() == b"* 4 EXISTS"
    await other.ask(b"b UID STORE 1,2 +FLAGS.SILENT (\\Deleted)")
    assert await other.ask(b"c UID EXPUNGE 2") == [b"* 2 EXPUNGE", b"c OK done"]
    assert await idle.line() == b"* 2 EXPUNGE"
    assert await other.ask(b"d EXPUNGE") == [b"* 1 EXPUNGE", b"d OK done"]
    assert await idle.line() == b"* 1 EXPUNGE"
    assert await idle.ask(b"DONE", b"i ") == [b"i OK done"]
    assert (await idle.ask(b"e UID FETCH 1:* FLAGS"))[:-1] == [
        b"* 1 FETCH (UID 3 FLAGS ())",
        b"* 2 FETCH (UID 4 FLAGS (\\Flagged))",
    ]


async def test_expunge_is_not_told_where_it_would_shift_numbers(connect: Connect, backend: DemoBackend) -> None:
    talk = await logged_in(connect, backend)
    backend.mailbox.remove([1])
    assert await talk.ask(b"a FETCH 1:2 UID") == [b"* 2 FETCH (UID 2)", b"a OK done"]
    assert await talk.ask(b"b NOOP") == [b"* 1 EXPUNGE", b"b OK done"]
    assert await talk.ask(b"c FETCH 1 UID") == [b"* 1 FETCH (UID 2)", b"c OK done"]


async def test_users_do_not_see_each_other(connect: Connect, backend: DemoBackend) -> None:
    talk = await connect(backend.imap_port)
    await talk.ask(b"a LOGIN ann other")
    await talk.ask(b"b APPEND INBOX {9+}\r\nA: b\r\n\r\nc", b"b ")
    assert await talk.ask(b"c STATUS INBOX (MESSAGES UNSEEN)") == [
        b'* STATUS "INBOX" (MESSAGES 4 UNSEEN 4)',
        b"c OK done",
    ]
    assert len(backend.mailbox.messages) == 3


async def test_imaplib(backend: DemoBackend) -> None:
    def client() -> None:
        with imaplib.IMAP4("127.0.0.1", backend.imap_port, timeout=20) as imap:
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                imap.login("demo", "wrong")
            imap.login("demo", "sec ret")
            assert imap.select() == ("OK", [b"3"])
            assert imap.search(None, "ALL") == ("OK", [b"1 2 3"])
            _, data = imap.fetch("2", "(RFC822)")
            assert isinstance(data[0], tuple)
            assert data[0][1] == SAMPLES[1]
            date = imaplib.Time2Internaldate(1e9)
            assert imap.append("INBOX", "\\Seen", date, b"Subject: new\r\n\r\ntext\r\n")[0] == "OK"
            _, data = imap.uid("FETCH", "4", "(FLAGS INTERNALDATE RFC822.HEADER)")
            assert isinstance(data[0], tuple)
            assert imaplib.ParseFlags(data[0][0]) == (b"\\Seen",)
            assert b'INTERNALDATE "09-Sep-2001 01:46:40 +0000"' in data[0][0]
            imap.store("1", "+FLAGS", "(\\Deleted)")
            assert imap.expunge() == ("OK", [b"1"])
            imap.close()
        assert list(backend.mailbox.messages) == [2, 3, 4]

    await in_thread(client)


async def test_a_big_message_passes_both_ways(backend: DemoBackend) -> None:
    raw = b"Subject: big\r\n\r\n" + b"0123456789" * 7 * 1024 * 450 + b"\r\n"

    def client() -> None:
        with imaplib.IMAP4("127.0.0.1", backend.imap_port, timeout=20) as imap:
            imap.login("demo", "sec ret")
            imap.append("INBOX", "", "", raw)
            imap.select()
            _, data = imap.fetch("4", "(BODY.PEEK[] BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            assert isinstance(data[0], tuple)
            assert data[0][1] == raw

    with trio.fail_after(30):
        await in_thread(client)


@pytest.mark.parametrize("sent", [b"a" * 70000 + b"\r\n", b"a LOGIN {70000+}\r\n", b"a LOGIN {70000}\r\n"])
async def test_too_long_before_login_ends_in_bye(connect: Connect, backend: DemoBackend, sent: bytes) -> None:
    talk = await connect(backend.imap_port)
    await talk.send(sent)
    assert (await talk.line()).startswith(b"* BYE ")
