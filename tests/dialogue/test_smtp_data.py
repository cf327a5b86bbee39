"""The end of a message: one message in is one message out, to however sloppy a reader (SMTP smuggling)."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.smtp_data import END_OF_DATA, BodyFault, DataDecoder

# A dot alone between any octets that any server was ever seen to take for the end of a line.
_SLOPPY_END = re.compile(rb"(?<=[\r\n\0])\.(?=[\r\n\0])")

_octets = st.text("\r\n.\0ax", max_size=40).map(str.encode)
_lines = st.lists(st.text(".ax ", max_size=6).map(str.encode), max_size=8)
_sizes = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    return pieces


def _fed(
    pieces: list[bytes], limit: int = 1000, *, normalize: bool = False, longest_line: int | None = 998
) -> tuple[bytes, DataDecoder]:
    """What was passed on, and the decoder; what came behind the end is in ``rest`` whole."""
    decoder = DataDecoder(limit, normalize=normalize, longest_line=longest_line)
    passed = b""
    for number, piece in enumerate(pieces):
        passed += decoder.feed(piece)
        if decoder.ended:
            decoder.rest += b"".join(pieces[number + 1 :])
            break
    return passed, decoder


def _stuffed(message: bytes) -> bytes:
    """RFC 5321 4.5.2, as a right client does it."""
    return re.sub(rb"(?m)^\.", b"..", message) + b".\r\n"


def _unstuffed(data: bytes) -> bytes:
    """RFC 5321 4.5.2, as a right server does it, line by line. Data behind the end is an error here."""
    message = b""
    lines = data.split(b"\r\n")
    while (line := lines.pop(0)) != b".":
        message += line.removeprefix(b".") + b"\r\n"
    assert lines == [b""]
    return message


@given(_lines, _sizes, st.binary(max_size=20))
def test_a_right_message_arrives_as_it_was(lines: list[bytes], sizes: list[int], behind: bytes) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    passed, decoder = _fed(_cut(_stuffed(message) + behind, sizes))
    assert decoder.ended and decoder.fault is None
    assert _unstuffed(passed + END_OF_DATA) == message
    assert decoder.rest == behind
    assert decoder.size == len(message)


@given(_octets, _sizes)
def test_no_reader_sees_two_messages(data: bytes, sizes: list[int]) -> None:
    """Whatever is sent: a message that stands has one end for every reader, and one that doesn't has none."""
    passed, decoder = _fed(_cut(data + b"\r\n.\r\n", sizes))
    assert decoder.ended
    ends = [found.start() for found in _SLOPPY_END.finditer(b"\r\n" + passed)]
    assert ends == [], passed
    if decoder.fault is None:
        whole = b"\r\n" + passed + END_OF_DATA
        assert len(_SLOPPY_END.findall(whole)) == 1
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", whole)


@given(_octets, _sizes, st.integers(0, 20), st.booleans(), st.integers(0, 20))
def test_segments_mean_nothing(data: bytes, sizes: list[int], limit: int, normalize: bool, longest_line: int) -> None:
    """Also which fault is told, when there are several."""
    data += b"\r\n.\r\n" + data
    passed, decoder = _fed(_cut(data, sizes), limit, normalize=normalize, longest_line=longest_line)
    at_once, whole = _fed([data], limit, normalize=normalize, longest_line=longest_line)
    assert (decoder.fault, decoder.size, decoder.rest) == (whole.fault, whole.size, whole.rest)
    if whole.fault is None:
        assert passed == at_once
    else:
        assert at_once == b""


@given(_octets, _sizes)
def test_what_is_held_back_is_bounded(data: bytes, sizes: list[int]) -> None:
    """Between segments at most the four octets that may begin the end are kept."""
    decoder = DataDecoder(10_000)
    fed = passed = 0
    for piece in _cut(data, sizes):
        passed += len(decoder.feed(piece))
        fed += len(piece)
        if decoder.ended or decoder.fault:
            return
        assert 0 <= fed - passed <= 4


# -- bare line ends made right ones ----------------------------------------------------------------------


def _meant(data: bytes) -> bytes:
    """What a client that sends bare line ends has written: its dots are those of lines that end with CR LF."""
    return re.sub(rb"\r\n|\r|\n", b"\r\n", _unstuffed(data))


@given(_octets, _sizes)
def test_a_normalized_message_is_what_was_meant(data: bytes, sizes: list[int]) -> None:
    """A dot that begins a line only once its line end is right must not end the message, nor be lost."""
    data = data.replace(b"\0", b"") + b"\r\n.\r\n"
    end = (b"\r\n" + data).index(b"\r\n.\r\n") + 3
    passed, decoder = _fed(_cut(data, sizes), normalize=True)
    assert decoder.ended and decoder.fault is None
    assert decoder.rest == data[end:]
    assert _unstuffed(passed + END_OF_DATA) == _meant(data[:end])
    assert decoder.size == len(_meant(data[:end]))


@given(_octets, _sizes)
def test_no_reader_sees_two_messages_in_a_normalized_one(data: bytes, sizes: list[int]) -> None:
    passed, decoder = _fed(_cut(data + b"\r\n.\r\n", sizes), normalize=True)
    assert decoder.ended
    assert not _SLOPPY_END.search(b"\r\n" + passed), passed
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", passed)
    assert (decoder.fault is BodyFault.NUL) == (b"\0" in _before_end(data))


def _before_end(data: bytes) -> bytes:
    return (b"\r\n" + data + b"\r\n.\r\n").partition(b"\r\n.\r\n")[0]


@given(_octets, _sizes)
def test_normalizing_holds_no_more_back(data: bytes, sizes: list[int]) -> None:
    """And drops nothing: a right message is passed on as it is."""
    data = re.sub(rb"\r|\n|\0", b"\r\n", data)
    decoder, strict = DataDecoder(10_000, normalize=True), DataDecoder(10_000)
    for piece in _cut(data, sizes):
        assert decoder.feed(piece) == strict.feed(piece)
        if decoder.ended:
            return


def test_a_message_that_line_ends_make_too_large() -> None:
    """The limit holds for what the backend gets."""
    for sizes in ([1], [100]):
        _, decoder = _fed(_cut(b"\n" * 10 + b"\r\n.\r\n", sizes), 21, normalize=True)
        assert decoder.fault is BodyFault.TOO_LARGE
        _, decoder = _fed(_cut(b"\n" * 10 + b"\r\n.\r\n", sizes), 22, normalize=True)
        assert decoder.fault is None


def test_sizes_leave_out_stuffing_and_the_end() -> None:
    """RFC 1870 5: the size that was declared is the message's, not the wire's."""
    for message, size in ((b"", 0), (b"\r\n", 2), (b".\r\n", 3), (b"..\r\n.a\r\n", 8)):
        for sizes in ([1], [100]):
            _, decoder = _fed(_cut(_stuffed(message), sizes), size)
            assert (decoder.size, decoder.fault) == (size, None)
            if size:
                _, decoder = _fed(_cut(_stuffed(message), sizes), size - 1)
                assert decoder.fault is BodyFault.TOO_LARGE


def test_a_wrong_octet_is_told_before_a_size() -> None:
    """A smuggling attempt must not hide in the statistics of large messages."""
    for wrong, fault in ((b"\r", BodyFault.BARE_CR), (b"\n", BodyFault.BARE_LF), (b"\0", BodyFault.NUL)):
        for sizes in ([1], [100]):
            _, decoder = _fed(_cut(b"x" * 50 + wrong + b"x\r\n.\r\n", sizes), 10)
            assert decoder.fault is fault


def test_the_end_is_looked_for_behind_a_fault() -> None:
    """Else what follows a refused message would never be read again."""
    passed, decoder = _fed([b"a\nb\r\n", b"more\r\n.\r\nQUIT\r\n"])
    assert decoder.ended
    assert passed == b""
    assert decoder.rest == b"QUIT\r\n"


# -- lines that are too long (RFC 5321 4.5.3.1.6) --------------------------------------------------------


def _first_wrong(data: bytes, longest_line: int) -> BodyFault | None:
    """RFC 5321's words, line by line, of what comes before the end of data; a wrong octet goes before a long line."""
    for line in data.split(b"\r\n"):
        wrong = re.search(rb"[\r\n\0]", line)
        sound = line[: wrong.start()] if wrong else line
        if len(sound.removeprefix(b".")) > longest_line:
            return BodyFault.LONG_LINE
        if wrong:
            return {b"\r": BodyFault.BARE_CR, b"\n": BodyFault.BARE_LF, b"\0": BodyFault.NUL}[wrong.group()]
    return None


@given(_octets, _sizes, st.integers(0, 12))
def test_the_first_fault_is_told(data: bytes, sizes: list[int], longest_line: int) -> None:
    """A line is as long as what its receiver gets, whatever segments it comes in."""
    _, decoder = _fed(_cut(data + b"\r\n.\r\n", sizes), longest_line=longest_line)
    assert decoder.fault is _first_wrong(_before_end(data), longest_line)


def test_the_longest_line() -> None:
    """998 octets, with a stuffed dot 999; at a message's beginning, behind another line, and once more."""
    for before in (b"", b"\r\n", b"x" * 998 + b"\r\n", b"." * 999 + b"\r\n", b"x\r\n" * 700):
        for line in (b"x" * 998, b"." * 999, b"." + b"x" * 998):
            for sizes in ([1], [16384], [997, 3]):
                _, decoder = _fed(_cut(before + line + b"\r\n.\r\n", sizes), 10_000)
                assert decoder.fault is None
                _, decoder = _fed(_cut(before + line + b"x\r\n.\r\n", sizes), 10_000)
                assert decoder.fault is BodyFault.LONG_LINE


def test_a_long_line_needs_no_end_to_be_known() -> None:
    """Else all of it is passed on before it is refused."""
    decoder = DataDecoder(10_000)
    assert decoder.feed(b"x" * 998) == b"x" * 998
    assert decoder.feed(b"x") == b""
    assert decoder.fault is BodyFault.LONG_LINE


def test_lines_of_any_length() -> None:
    """For a backend that copes with them."""
    passed, decoder = _fed([b"x" * 9000, b"\r\n.\r\n"], 10_000, longest_line=None)
    assert (passed, decoder.fault) == (b"x" * 9000 + b"\r\n", None)


def test_a_long_line_is_told_before_a_size() -> None:
    """And what is wrong behind it changes nothing."""
    for sizes in ([1], [100], [10_000]):
        _, decoder = _fed(_cut(b"x\r\n" * 50 + b"x" * 999 + b"\n\r\n.\r\n", sizes), 10)
        assert decoder.fault is BodyFault.LONG_LINE
