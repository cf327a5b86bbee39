"""Finds what a message's links lead to, while the message streams."""

from __future__ import annotations

from tlsgate.admission.dnsbl import is_private
from tlsgate.mail.surbl.part_header import PartHeader
from tlsgate.mail.surbl.site import Site, read_site
from tlsgate.mail.surbl.structure import Leaf, Structure
from tlsgate.mail.surbl.suffixes import Suffixes
from tlsgate.mail.surbl.text_part import Room, TextPart, is_text

_SITES = 100
_HOSTS = 5000  # names and addresses as they are written, whatever they are
_KNOWN = 600  # of them aren't read twice
_SHORTEST = 4  # "a.de"


class Scanner:
    """Takes a message's octets, without stuffed dots, in pieces that may be cut anywhere. No input is an error.

    Time is in proportion to length: for text about 0.2 µs an octet, 0.7 µs for the worst, and twice as much where
    an encoding has to be guessed. What is found doesn't depend
    on the cuts. ``beyond``: whether something wasn't looked at, or maybe not as readers do: too much, or unclear.
    """

    def __init__(self, suffixes: Suffixes) -> None:
        self._suffixes = suffixes
        self._structure = Structure(self._open)
        self._room = Room()
        self._known: set[int] = set()  # their hashes, which take less than they do
        self._hosts = 0
        self._sites: dict[Site, None] = {}
        self._told = 0

    @property
    def beyond(self) -> bool:
        return self._structure.beyond or self.done

    @property
    def sites(self) -> tuple[Site, ...]:
        """All that were found by now, at most 100: registered domains, and addresses that aren't private."""
        return tuple(self._sites)

    def feed(self, data: bytes) -> tuple[Site, ...]:
        """Take what comes next. Gives what hasn't been found before."""
        if self.done:
            return ()
        self._structure.feed(data)
        return self._new()

    def finish(self) -> tuple[Site, ...]:
        """The message is over. Gives what hasn't been found before."""
        self._structure.finish()
        return self._new()

    @property
    def done(self) -> bool:
        """Whether nothing more is looked at."""
        return not self._room or len(self._sites) >= _SITES or self._hosts >= _HOSTS

    def _new(self) -> tuple[Site, ...]:
        new = self.sites[self._told :]
        self._told = len(self._sites)
        return new

    def _open(self, header: PartHeader) -> Leaf | None:
        return TextPart(header, self._found, self._room) if is_text(header) else None

    def _found(self, host: str) -> None:
        """Take a host as it is written."""
        known = hash(host)
        if known in self._known or len(host) < _SHORTEST or self.done:
            return
        self._hosts += 1
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known.add(known)
        site = read_site(host)
        if isinstance(site, str):
            site = self._suffixes.registered(site)
        elif site is not None and is_private(site):
            site = None
        if site is not None:
            self._sites[site] = None
