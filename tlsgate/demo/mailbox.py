"""One user's INBOX: messages, UIDs, flags, and a notice to whoever idles on it."""

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import trio

MAX_MAILBOX = 1 << 30
"""Bytes one mailbox may hold."""


class MailboxFull(Exception):
    """The message would take the mailbox over its size limit."""


@dataclass(slots=True, eq=False)
class Message:
    """One stored message: `raw` as it came, `received` in UTC (INTERNALDATE), `flags` as IMAP writes them."""

    uid: int
    raw: bytes = field(repr=False)
    received: datetime
    flags: set[bytes]


class Mailbox:
    """Messages by UID, in order of arrival. UIDs ascend and are never given twice (RFC 3501 section 2.3.1.1)."""

    def __init__(self, messages: Iterable[bytes] = ()) -> None:
        self.uidvalidity = int(time.time())
        self.uidnext = 1
        self.messages: dict[int, Message] = {}
        self._size = 0
        self._watchers: set[trio.MemorySendChannel[None]] = set()
        for raw in messages:
            self.append(raw)

    def append(self, raw: bytes, flags: Iterable[bytes] = (), received: datetime | None = None) -> Message:
        """Store a message and return it with its UID. Raises MailboxFull."""
        if self._size + len(raw) > MAX_MAILBOX:
            raise MailboxFull
        message = Message(self.uidnext, raw, (received or datetime.now(UTC)).astimezone(UTC), set(flags))
        self.uidnext += 1
        self._size += len(raw)
        self.messages[message.uid] = message
        self._notify()
        return message

    def remove(self, uids: Collection[int]) -> None:
        """Remove these messages; UIDs that are gone already are passed over."""
        for uid in uids:
            if message := self.messages.pop(uid, None):
                self._size -= len(message.raw)
        self._notify()

    @contextmanager
    def watch(self) -> Iterator[tuple[trio.MemorySendChannel[None], trio.MemoryReceiveChannel[None]]]:
        """Give a channel that yields once after each change (or several in one).

        Closing the sending end ends the iteration at once and without a cancellation.
        """
        send, receive = trio.open_memory_channel[None](1)
        self._watchers.add(send)
        try:
            with send, receive:
                yield send, receive
        finally:
            self._watchers.discard(send)

    def _notify(self) -> None:
        for watcher in self._watchers:
            try:
                watcher.send_nowait(None)
            except (trio.WouldBlock, trio.ClosedResourceError):
                continue  # a notice is waiting already, or its reader has just stopped
