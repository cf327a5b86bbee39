"""Answers of the DNS that are kept for a while."""

from __future__ import annotations

from collections import OrderedDict

from tlsgate.dns.answer import Answer, Found, Question

_ENTRIES = 20_000
_OCTETS = 16 * 1024**2


class AnswerCache:
    """Holds at most ``entries`` answers of ``octets`` in all; what wasn't used for longest goes first.

    Times are the caller's, in seconds.
    """

    def __init__(self, entries: int = _ENTRIES, octets: int = _OCTETS) -> None:
        self._most_entries = entries
        self._most_octets = octets
        self._octets = 0
        self._kept: OrderedDict[Question, tuple[float, int, Answer]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, question: Question, now: float) -> Answer | None:
        """The answer that is still good ``now``."""
        kept = self._kept.get(question)
        if kept is None:
            return None
        expires, _, answer = kept
        if now >= expires:
            self._drop(question)
            return None
        self._kept.move_to_end(question)
        return answer

    def expiry(self, question: Question) -> float | None:
        """Until when the answer that is kept is good."""
        kept = self._kept.get(question)
        return None if kept is None else kept[0]

    def put(self, question: Question, answer: Answer, expires: float) -> None:
        """Keep an answer until ``expires``."""
        if question in self._kept:
            self._drop(question)
        octets = len(question[0]) + (sum(map(len, answer.records)) if isinstance(answer, Found) else 0)
        self._kept[question] = (expires, octets, answer)
        self._octets += octets
        while len(self._kept) > self._most_entries or self._octets > self._most_octets:
            self._drop(next(iter(self._kept)))

    def _drop(self, question: Question) -> None:
        self._octets -= self._kept.pop(question)[1]
