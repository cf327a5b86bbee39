"""A selected mailbox as one IMAP session sees it (RFC 3501 section 2.3.1.2): no I/O, responses as bytes."""

import re
from collections.abc import Iterable, Iterator

from tlsgate.demo.imap_fetch import parse_items
from tlsgate.demo.imap_search import parse_search
from tlsgate.demo.imap_syntax import SyntaxFault, Token, in_set, number_set, text
from tlsgate.demo.mailbox import Mailbox, Message

SYSTEM_FLAGS = (b"\\Answered", b"\\Deleted", b"\\Draft", b"\\Flagged", b"\\Seen")

_MAX_FLAGS = 64
_BY_LOWER_CASE = {flag.lower(): flag for flag in SYSTEM_FLAGS}
_KEYWORD = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,100}")
_STORE = re.compile(rb"(?i)([+-]?)FLAGS(\.SILENT)?")


class Selected:
    """Sequence numbers of one session. They change only where `changes` reports it, so that both sides agree."""

    def __init__(self, mailbox: Mailbox, read_only: bool) -> None:
        self.mailbox = mailbox
        self.read_only = read_only
        self._view = list(mailbox.messages)
        self._seen_uidnext = mailbox.uidnext

    def opening(self) -> Iterator[bytes]:
        """Yield the untagged responses to SELECT and EXAMINE."""
        flags = b" ".join(SYSTEM_FLAGS)
        yield b"* FLAGS (%b)\r\n* %d EXISTS\r\n* 0 RECENT\r\n" % (flags, len(self._view))
        for number, message in self._messages():
            if b"\\Seen" not in message.flags:
                yield b"* OK [UNSEEN %d] first unseen\r\n" % number
                break
        permanent = b"" if self.read_only else flags + b" \\*"
        yield b"* OK [PERMANENTFLAGS (%b)] flags kept\r\n" % permanent
        yield b"* OK [UIDVALIDITY %d] UIDs valid\r\n" % self.mailbox.uidvalidity
        yield b"* OK [UIDNEXT %d] next UID\r\n" % self.mailbox.uidnext

    def changes(self, expunge: bool = True) -> list[bytes]:
        """Take over what has changed in the mailbox, and return EXPUNGE (where allowed) and EXISTS responses."""
        responses = []
        if expunge:
            for index in reversed(range(len(self._view))):
                if self._view[index] not in self.mailbox.messages:
                    del self._view[index]
                    responses.append(b"* %d EXPUNGE\r\n" % (index + 1))
        new = [uid for uid in self.mailbox.messages if uid >= self._seen_uidnext]
        self._seen_uidnext = self.mailbox.uidnext
        if new:
            self._view += new
            responses.append(b"* %d EXISTS\r\n" % len(self._view))
        return responses

    def fetch(self, argument: list[Token], uid: bool) -> Iterator[bytes]:
        """Yield the responses to FETCH in pieces. Raises SyntaxFault before the first."""
        items = parse_items(argument[1:], uid)
        marks_seen = not self.read_only and any(item.marks_seen for item in items)
        shows_flags = any(item.name == b"FLAGS" for item in items)
        for number, message in self._chosen(argument[0], uid):
            newly_seen = marks_seen and b"\\Seen" not in message.flags
            if newly_seen:
                message.flags.add(b"\\Seen")
            yield b"* %d FETCH (" % number
            for index, item in enumerate(items):
                yield b"%b%b " % (b" " if index else b"", item.name)
                yield item.write(message)
            yield b")\r\n"
            if newly_seen and not shows_flags:
                yield _flags_response(number, message, uid)

    def store(self, argument: list[Token], uid: bool) -> Iterator[bytes]:
        """Change flags, and yield the responses to STORE. Raises SyntaxFault before the first change."""
        if len(argument) < 3 or not (item := _STORE.fullmatch(text(argument[1]))):
            raise SyntaxFault("bad STORE")
        flags = parse_flags(argument[2] if isinstance(argument[2], list) else argument[2:])
        for number, message in self._chosen(argument[0], uid):
            match item[1]:
                case b"+":
                    changed = message.flags | flags
                case b"-":
                    changed = message.flags - flags
                case _:
                    changed = set(flags)
            if len(changed) <= _MAX_FLAGS:
                message.flags = changed
            if not item[2]:
                yield _flags_response(number, message, uid)

    def search(self, argument: list[Token], uid: bool) -> bytes:
        """Return the response to SEARCH. Raises SyntaxFault."""
        key = parse_search(argument, len(self._view), self._largest_uid())
        found = (message.uid if uid else number for number, message in self._messages() if key(number, message))
        return b"* SEARCH%b\r\n" % b"".join(b" %d" % number for number in found)

    def expunge(self, uids: Token | None = None) -> None:
        """Remove what is flagged \\Deleted, within a UID set if there is one. Raises SyntaxFault."""
        ranges = None if uids is None else number_set(uids, self._largest_uid())
        deleted = [message.uid for _, message in self._messages() if b"\\Deleted" in message.flags]
        self.mailbox.remove([uid for uid in deleted if ranges is None or in_set(uid, ranges)])

    def _chosen(self, token: Token, uid: bool) -> Iterator[tuple[int, Message]]:
        ranges = number_set(token, self._largest_uid() if uid else len(self._view))
        for number, message in self._messages():
            if in_set(message.uid if uid else number, ranges):
                yield number, message

    def _messages(self) -> Iterator[tuple[int, Message]]:
        for number, uid in enumerate(tuple(self._view), 1):
            if message := self.mailbox.messages.get(uid):
                yield number, message

    def _largest_uid(self) -> int:
        return self._view[-1] if self._view else 0


def parse_flags(words: Iterable[Token]) -> set[bytes]:
    """Return flags as they are kept: system flags in their own case. Raises SyntaxFault."""
    flags = set()
    for word in words:
        flag = text(word)
        known = _BY_LOWER_CASE.get(flag.lower(), flag)
        if known is flag and flag not in SYSTEM_FLAGS and not _KEYWORD.fullmatch(flag):
            raise SyntaxFault("bad flag")
        flags.add(known)
    if len(flags) > _MAX_FLAGS:
        raise SyntaxFault("too many flags")
    return flags


def _flags_response(number: int, message: Message, uid: bool) -> bytes:
    prefix = b"UID %d " % message.uid if uid else b""
    return b"* %d FETCH (%bFLAGS (%b))\r\n" % (number, prefix, b" ".join(sorted(message.flags)))
