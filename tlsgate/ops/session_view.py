"""Live sessions as the admin API shows them: which are asked for, and page by page."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, TypeVar

import msgspec

MOST = 200  # sessions of a page: one packet from a worker to the parent
_LONGEST_TEXT = 100
_T = TypeVar("_T")
_Text = Annotated[str, msgspec.Meta(max_length=1024)]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which sessions, and how many of them at once. An empty text asks for nothing.

    ``client``: a prefix. ``after``: the id that the page before has ended with. ``busiest``: those with the most octets
    first, and no page behind them; else in the order of their ids.
    """

    id: _Text = ""
    user: _Text = ""
    client: _Text = ""
    listener: _Text = ""
    after: _Text = ""
    busiest: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = MOST


class LiveSession(msgspec.Struct, frozen=True):
    """``since``: its accept, in seconds of the epoch. ``bytes_in``, ``bytes_out``: from the client and to it, behind
    the login."""

    id: str
    listener: str
    client: str
    client_port: int
    phase: str
    since: float
    user: str | None
    mechanism: str | None
    backend: str | None
    tls_version: str | None
    cipher: str | None
    bytes_in: int
    bytes_out: int


class Page(msgspec.Struct, frozen=True):
    """``total``: how many are wanted, on all pages. ``next``: what ``after`` is for the page behind, None at the end.

    ``unheard``: workers that didn't answer; their sessions are missing.
    """

    sessions: list[LiveSession]
    total: int
    next: str | None
    unheard: int = 0


def place(session: str) -> tuple[int, str]:
    """Where a session stands, by its id: behind those of its process that are older."""
    return len(session), session


def chosen(found: Sequence[_T], wanted: Wanted, key: Callable[[_T], tuple[str, int]]) -> tuple[list[_T], str | None]:
    """The page's, and where the next begins. ``key``: gives a session's id and octets."""
    if wanted.busiest:
        return heapq.nlargest(wanted.limit, found, key=lambda each: key(each)[1]), None
    after = place(wanted.after)
    behind = [each for each in found if place(key(each)[0]) > after]
    page = heapq.nsmallest(wanted.limit, behind, key=lambda each: place(key(each)[0]))
    return page, key(page[-1])[0] if len(behind) > len(page) else None


def merged(pages: Iterable[Page], wanted: Wanted, unheard: int) -> Page:
    """One page out of those of several processes."""
    pages = list(pages)
    found = [each for page in pages for each in page.sessions]
    sessions, following = chosen(found, wanted, lambda each: (each.id, each.bytes_in + each.bytes_out))
    if following is None and sessions and any(page.next is not None for page in pages):
        following = sessions[-1].id
    return Page(sessions, sum(page.total for page in pages), following, unheard)


def short(text: str | None) -> str | None:
    """A text that a client chose, so short that a page is bounded, and fit for any encoder."""
    return None if text is None else text[:_LONGEST_TEXT].encode(errors="replace").decode()
