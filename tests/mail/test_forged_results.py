"""Forged Authentication-Results go, all else stays, in whatever segments a message comes (D22)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.dialogue.smtp_data import DataDecoder
from tlsgate.mail.forged_results import LONGEST_LOOK, MOST_HEADER, ForgedResults

US = "mail.test"
FORGED = b"Authentication-Results: mail.test; spf=pass\r\n"


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    return pieces


def _filtered(message: bytes, sizes: list[int] | None = None, name: str = US) -> tuple[bytes, ForgedResults]:
    results = ForgedResults(name)
    passed = b"".join(results.feed(piece) for piece in _cut(message, sizes or [len(message) or 1]))
    return passed + results.finish(), results


GOES = [
    FORGED,
    b"authentication-RESULTS:MAIL.Test;spf=pass\r\n",
    b"Authentication-Results \t: mail.test; none\r\n",
    b"Authentication-Results:\r\n mail.test;\r\n\tspf=pass\r\n",
    b"Authentication-Results:\r\n \r\n\t\r\n mail.test; spf=pass\r\n",
    b"Authentication-Results\r\n : mail.test; spf=pass\r\n",
    b"Authentication-Results: mail.test 1; spf=pass\r\n",
    b"Authentication-Results: mail.test/1; spf=pass\r\n",
    b"Authentication-Results: mail.test (comment) 1 (more); spf=pass\r\n",
    b"Authentication-Results: (a (nested \\) ( one)) of \\( them) (b) mail.test; spf=pass\r\n",
    b"Authentication-Results: (a\r\n b)\r\n\tmail.test; spf=pass\r\n",
    b'Authentication-Results: "mail.test"; spf=pass\r\n',
    b'Authentication-Results: "m\\ail.test"; spf=pass\r\n',
    b"Authentication-Results: mail.test.; spf=pass\r\n",
    b"Authentication-Results: mail.test\r\n",
    b"Authentication-Results: \xef\xbd\x8dail.test; spf=pass\r\n",
    # what readers may take for our name, or not: no honest server writes it
    b"Authentication-Results: (mail.test; spf=pass\r\n",
    b"Authentication-Results: ; mail.test\r\n",
    b"Authentication-Results:\r\n",
    b"Authentication-Results: =?us-ascii?q?mail.test?=; spf=pass\r\n",
    b'Authentication-Results: "mail.test; spf=pass\r\n',
    b"Authentication-Results: mail .test; spf=pass\r\n",
    b"Authentication-Results: mail(.).test; spf=pass\r\n",
    b"Authentication-Results: <mail.test>; spf=pass\r\n",
    b"Authentication-Results: mail.test\xc2\xa0; spf=pass\r\n",
    b"Authentication-Results: mail.test\xa0; spf=pass\r\n",
    b"Authentication-Results: ma\xc2\xadil\xe3\x80\x82test; spf=pass\r\n",
    # a line that a stuffed dot hides until the backend takes it off
    b".Authentication-Results: mail.test; spf=pass\r\n",
    b"Authentication-Results:\r\n. mail.test; spf=pass\r\n",
    b"Authentication-Results: mail.test;\r\n.\tspf=pass\r\n. dkim=pass\r\n",
]


@pytest.mark.parametrize("sizes", [[1], [2], [3], [7, 1], [1000]])
@pytest.mark.parametrize("field", GOES)
@pytest.mark.parametrize("before", [b"", b"Subject: x\r\n", b"nonsense\r\n", b"X:\r\n \r\n", b"..\r\n"])
def test_goes(before: bytes, field: bytes, sizes: list[int]) -> None:
    """What a reader behind us would take for our word."""
    for behind in (b"\r\n" + FORGED, b"To: y\r\n\r\nbody\r\n", b"..To: y\r\n\r\n", b"", field + b"\r\n"):
        passed, results = _filtered(before + field + behind, sizes)
        assert passed == before + (behind if behind != field + b"\r\n" else b"\r\n")
        assert results.removed == 1 + (behind == field + b"\r\n")


STAYS = [
    b"Authentication-Results: other.test; spf=pass\r\n",
    b"Authentication-Results: sub.mail.test; spf=pass\r\n",
    b"Authentication-Results: mail.test.other.test; spf=pass\r\n",
    b"Authentication-Results: (mail.test) other.test; spf=pass\r\n",
    b'Authentication-Results: "mail.test other"; spf=pass\r\n',
    b"Authentication-Results: other.test; spf=pass\r\n mail.test; dkim=pass\r\n",
    b"Authentication-Results\r\n",
    b"Authentication-Results mail.test: x\r\n",
    b"Authentication-Results: spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=a.test; dkim=none\r\n",
    b"Authentication-Results-Original: mail.test; spf=pass\r\n",
    b"X-Authentication-Results: mail.test; spf=pass\r\n",
    b"ARC-Authentication-Results: i=1; mail.test; spf=pass\r\n",
    b" Authentication-Results: mail.test; spf=pass\r\n",
    b"..Authentication-Results: mail.test; spf=pass\r\n",
    b"Received: from x by mail.test\r\n",
    b"Subject: x\r\n Authentication-Results: mail.test\r\n",
    b"\r\n" + FORGED,
    b"Subject: x\r\n\r\n" + FORGED,
]


@pytest.mark.parametrize("sizes", [[1], [2], [3], [7, 1], [1000]])
@pytest.mark.parametrize("message", STAYS)
def test_stays(message: bytes, sizes: list[int]) -> None:
    """Signatures (DKIM, ARC) hold for what wasn't touched, and other hosts' results aren't ours to remove."""
    for behind in (b"\r\nbody\r\n", b""):
        passed, results = _filtered(message + behind, sizes)
        assert (passed, results.removed) == (message + behind, 0)


def test_fields_without_end_are_refused() -> None:
    """Each costs a look at its name: a stranger's megabyte of them must not keep others waiting."""
    field = "Authentication-Results: \u00e9{}.test; x=y\r\n"
    passed, results = _filtered("".join(field.format(number) for number in range(101)).encode() + b"\r\nbody\r\n")
    assert results.too_large
    assert not passed
    message = "".join(field.format(number) for number in range(100)).encode() + b"\r\nbody\r\n"
    assert _filtered(message)[0] == message


def test_names_of_every_form() -> None:
    for name, forms in {
        "xn--bcher-kva.test": ["xn--bcher-kva.test", "b\u00fccher.test", "B\u00dcCHER.test."],
        "[192.0.2.1]": ['"[192.0.2.1]"', "[192.0.2.1]"],
        "[IPv6:2001:db8::1]": ['"[IPv6:2001:DB8::1]"', "[ipv6:2001:db8::1]"],
        "Mail.Test": ["mail.test"],
    }.items():
        for form in forms:
            field = f"Authentication-Results: {form}; spf=pass\r\n".encode()
            assert _filtered(field + b"\r\n", name=name)[0] == b"\r\n", form


# -- any message -----------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        *(b"Authentication-Results", b"authentication-results:", b":", b" mail.test", b"MAIL.test;", b"other.test"),
        *(b"\r\n", b"\r\n", b"\r\n", b"\r\n ", b"\r\n\t", b"\r\n.", b"\r\n. ", b"\r\n..", b".", b" ", b"(", b")"),
        *(b'"', b"\\", b'"mail.test"', b"Subject: x", b"\r\nAuthentication-Results: mail.test", b"\xff", b"\r", b"\n"),
    ]
)
_messages = st.lists(_WORDS, max_size=30).map(lambda words: b"".join(words) + b"\r\n")
_sizes = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def _by_lines(message: bytes) -> bytes:
    """The same, told line by line."""
    header, blank, body = (b"\r\n" + message).partition(b"\r\n\r\n")
    fields: list[list[bytes]] = [[]]
    for line in header[2:].split(b"\r\n") if blank else (message[:-2].split(b"\r\n")):
        if line.removeprefix(b".")[:1] not in (b" ", b"\t"):
            fields.append([])
        fields[-1].append(line)
    kept = [line for field in fields if not _is_forged(field) for line in field]
    written = b"".join(line + b"\r\n" for line in kept) if message != b"\r\n" else b""
    if not header and blank:
        written = b""
    return written + (b"\r\n" + body if blank else b"")


def _is_forged(field: list[bytes]) -> bool:
    text = b"\r\n".join(line.removeprefix(b".") for line in field)
    name, colon, rest = text.partition(b":")
    if not colon or name.rstrip().lower() != b"authentication-results":
        return False
    rest = _behind_blanks(rest)
    quoted = re.match(rb'"((?:[^"\\]|\\[\0-\xff])*)"', rest)
    token = re.match(rb'[^\0-\x20\x7f()<>@,;:\\"/\[\]?=]+', rest)
    if not (quoted or token):
        return True
    found = re.sub(rb"\\([\0-\xff])", rb"\1", quoted[1]) if quoted else token[0] if token else b""
    rest = rest[(quoted or token).end() :]  # type: ignore[union-attr]
    if token and rest.startswith(b"="):
        return False
    rest = _behind_blanks(re.sub(rb"\A[0-9]*", b"", _behind_blanks(rest)))
    return rest[:1] not in (b"", b";") or not found or found.decode(errors="ignore").lower().strip(" .") == US


def _behind_blanks(rest: bytes) -> bytes:
    while True:
        rest = rest.lstrip(b" \t\r\n")
        if not rest.startswith(b"("):
            return rest
        depth, at = 0, 0
        while at < len(rest):
            at += 2 if rest[at : at + 1] == b"\\" else 1
            depth += {b"(": 1, b")": -1}.get(rest[at - 1 : at], 0) if rest[at - 2 : at - 1] != b"\\" else 0
            if not depth:
                break
        rest = rest[at:]


@given(_messages, _sizes)
@settings(max_examples=400)
def test_segments_mean_nothing(message: bytes, sizes: list[int]) -> None:
    whole, at_once = _filtered(message)
    passed, results = _filtered(message, sizes)
    assert passed == whole
    assert results.removed == at_once.removed
    assert (whole == message) == (not results.removed)


@given(_messages)
@settings(max_examples=400)
def test_nothing_forged_is_left(message: bytes) -> None:
    """Nor made of what is left."""
    passed, _ = _filtered(message)
    assert _filtered(passed)[0] == passed


@given(st.lists(_WORDS.filter(lambda word: word not in (b"\r", b"\n")), max_size=30).map(b"".join))
@settings(max_examples=400)
def test_as_told_line_by_line(text: bytes) -> None:
    """The whole field goes, and only the field. Bare CRs and LFs, as no message has them here, are left out."""
    message = text.replace(b"\r\n.\r\n", b"\r\n") + b"\r\n"
    if not re.search(rb"(?:\A|\r\n)\.\r\n", message):
        assert _filtered(message)[0] == _by_lines(message)


@given(_messages, _sizes)
def test_behind_the_decoder(message: bytes, sizes: list[int]) -> None:
    """What the decoder gives ends with a line end even where the end of data is cut from it."""
    decoder, results = DataDecoder(10_000, normalize=True), ForgedResults(US)
    passed = b""
    for piece in _cut(message + b"\r\n.\r\n", sizes):
        passed += results.feed(decoder.feed(piece))
        if decoder.ended:
            break
    passed += results.finish()
    assert decoder.ended
    assert not passed or passed.endswith(b"\r\n")


# -- bounds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 4096, 10**7])
def test_a_name_behind_kilobytes_of_comments_is_forged(size: int) -> None:
    """Kilobytes that hide the name from us don't hide it from a reader. As does a name that is only cut."""
    for length in range(LONGEST_LOOK - 60, LONGEST_LOOK + 3):
        for padding in (b"(" + b"x" * (length - 26) + b")", b" " * (length - 24)):
            field = b"Authentication-Results: " + padding + b"mail.test; spf=pass\r\n"
            if size == 1 and length % 16:
                continue
            assert _filtered(b"A: b\r\n" + field + b"C: d\r\n\r\n", [size])[0] == b"A: b\r\nC: d\r\n\r\n"


def test_a_long_field_of_others_stays() -> None:
    field = b"Authentication-Results: other.test; spf=pass\r\n" + b" dkim=pass;\r\n" * 10_000
    for size in (1000, 10**7):
        assert _filtered(field + FORGED + b"\r\n", [size])[0] == field + b"\r\n"


@pytest.mark.parametrize("behind", [b"C: d\r\n\r\n", b"..C: d\r\n\r\n", b".C: d\r\n\r\n", b"\r\nbody\r\n", b""])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 10**7])
def test_a_long_forged_field_goes_whole(size: int, behind: bytes) -> None:
    """Its end comes long after it was decided on, and is found wherever segments cut it."""
    field = FORGED + b" dkim=pass\r\n. arc=pass\r\n" * 500
    assert _filtered(b"A: b\r\n" + field + behind, [size])[0] == b"A: b\r\n" + behind


@pytest.mark.parametrize("size", [1000, 65536, 10**7])
def test_the_largest_header(size: int) -> None:
    """One octet more, and forged fields could follow where nobody looks for them any more."""
    line = b"X: " + b"x" * 94 + b"\r\n"
    header = line * (MOST_HEADER // len(line))
    header += b"Y: " + b"y" * (MOST_HEADER - len(header) - 7) + b"\r\n\r\n"
    assert len(header) == MOST_HEADER
    passed, results = _filtered(header + FORGED * 3, [size])
    assert passed == header + FORGED * 3 and not results.too_large
    _, results = _filtered(b"z" + header + FORGED * 3, [size])
    assert results.too_large
    assert results.feed(b"more") == results.finish() == b""


def test_a_message_of_any_size_without_an_end_of_its_header() -> None:
    _, results = _filtered(b"x" * (MOST_HEADER + 1), [5000])
    assert results.too_large


@pytest.mark.parametrize(
    "piece", [b"x", b"\r\n", b"\r", b"A: b\r\n", b"Authentication-Results: (", b" ", FORGED, b"\r\n.\r"]
)
@pytest.mark.parametrize("start", [b"", b"Authentication-Results:", FORGED])
def test_what_is_held_is_bounded(start: bytes, piece: bytes) -> None:
    results = ForgedResults(US)
    results.feed(start)
    for _ in range(20_000 // len(piece)):
        results.feed(piece)
        assert len(results._held) <= LONGEST_LOOK + 32
