"""HTML as far as links go: attributes with URIs, and the text that is shown. Linear in time, whatever comes.

Read as browsers do (the WHATWG's HTML standard, 13.2.5), but for what Outlook shows and they don't: conditional
comments.
"""

from __future__ import annotations

import html
import re

from tlsgate.mail.surbl.finder import Finder, Found, read_reference

_TAG = 16 * 1024  # octets of memory: of a longer one the rest is text
_ENTITY_LENGTH = 40
_ENTITY = re.compile(r"&(?:#0*+[0-9]{1,7}|#[xX]0*+[0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")
_OPENING = re.compile("<[A-Za-z/!?]")
_LETTER = re.compile("[A-Za-z]")
_NAME = re.compile(r"</?([A-Za-z][^\s/>]*+)")
# Up to ">", or to an attribute whose quote isn't closed.
_INSIDE = re.compile(
    r"(?:[\s/]++(?!=)|[^\s/>=]++(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s>\"'][^\s>]*+|(?=>)))?+)*+", re.DOTALL
)
_URI_ATTRIBUTE = re.compile(
    r"[\s/\"':](?:href|src|srcset|action|formaction|background|data|poster|cite|longdesc|lowsrc|dynsrc|content|style)"
    r"\s*+=\s*+(?:\"([^\"]*+)|'([^']*+)|([^\s>]++))",
    re.IGNORECASE,
)
_INLINE = re.compile(
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|del|dfn|em|font|i|ins|kbd|mark|o:p|q|s|samp|small|span|strike|strong|sub|"
    "sup|tt|u|var|wbr"
)
_RAW_END = re.compile(r"</(?:style|script)", re.IGNORECASE)
_RAW_END_LENGTH = 8
_COMMENT_END = re.compile("--!?>")
_CONDITION = "<!--[if"


class Markup:
    """Takes HTML in pieces."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._shown = Finder(found)
        self._code = Finder(found, names=False)
        self._step = self._text
        self._held = ""
        self._final = False

    def feed(self, text: str) -> None:
        """Find what is complete by now."""
        text = self._held + text
        shown: list[str] = []
        at: int | None = 0
        done = 0
        while at is not None and done < len(text):
            at = self._step(text, done, shown)
            done = done if at is None else at
        self._held = text[done:]
        if shown:
            self._shown.feed("".join(shown))

    def finish(self) -> None:
        """The text is over, whatever is open."""
        self._final = True
        self.feed("")
        self._shown.finish()
        self._code.finish()

    # -- a step: from ``at`` to where the next one begins, or None for more text ----------------------

    def _text(self, text: str, at: int, shown: list[str]) -> int | None:
        opening = _OPENING.search(text, at)
        cut = opening.start() if opening else len(text)
        if opening and cut == at:
            return self._opening(text, at, shown)
        if not opening and not self._final:
            cut = max(at, cut - text.endswith("<"))
            entity = text.rfind("&", max(at, cut - _ENTITY_LENGTH))
            cut = cut if entity < 0 or ";" in text[entity:] else entity
        if cut == at:
            return None
        shown.append(_unescaped(text[at:cut]))
        return cut

    def _opening(self, text: str, at: int, shown: list[str]) -> int | None:
        start = text[at : at + len(_CONDITION)].lower()
        if len(start) < len(_CONDITION) and not self._final:
            return None
        if start == _CONDITION:
            self._step = self._declaration
            return at + len(_CONDITION)
        if start.startswith("<!--"):
            self._step = self._comment
            return at + 2  # "<!-->" is one
        if start.startswith(("<!", "<?")) or (start[1] == "/" and not _LETTER.match(start, 2)):
            self._step = self._declaration
            return at + 2
        return self._tag(text, at, shown)

    def _declaration(self, text: str, at: int, shown: list[str]) -> int:
        """What ends with ">", and isn't shown."""
        end = text.find(">", at)
        if end < 0:
            return len(text)
        self._step = self._text
        return end + 1

    def _comment(self, text: str, at: int, shown: list[str]) -> int | None:
        """The last three characters may begin its end."""
        if found := _COMMENT_END.search(text, at):
            self._step = self._text
            return found.end()
        if self._final:
            return len(text)
        return len(text) - 3 if len(text) - 3 > at else None

    def _tag(self, text: str, at: int, shown: list[str]) -> int | None:
        name = _NAME.match(text, at)
        inside = _INSIDE.match(text, at if name is None else name.end())
        end = at if inside is None else inside.end()
        waits = not self._final and len(text) - at < (_TAG if text.isascii() else _TAG // 4)
        if end < len(text) and text[end] != ">" and not waits:
            end = text.find(">", end)
        if not 0 <= end < len(text) or text[end] != ">":
            if waits:
                return None
            end = len(text)
        self._read_tag(text[at:end], "" if name is None else name[1].lower(), shown)
        return min(end + 1, len(text))

    def _raw(self, text: str, at: int, shown: list[str]) -> int | None:
        """Style and code, up to their end."""
        end = _RAW_END.search(text, at)
        if end:
            self._step = self._text
        cut = end.start() if end else max(at, len(text) - (0 if self._final else _RAW_END_LENGTH))
        self._code.feed(text[at:cut])
        return None if cut == at and end is None else cut

    def _read_tag(self, tag: str, name: str, shown: list[str]) -> None:
        if not _INLINE.fullmatch(name):
            shown.append("\n")
        if "=" in tag:
            for found in _URI_ATTRIBUTE.finditer(tag):
                read_reference(_unescaped(found[found.lastindex or 0]), self._found)
        if name in ("style", "script") and not tag.startswith("</"):
            self._step = self._raw


def _unescaped(text: str) -> str:
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text
