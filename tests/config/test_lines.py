"""In which line a key stands."""

from __future__ import annotations

import tomllib

import pytest

from tlsgate.config.fault import KeyPath
from tlsgate.config.lines import Lines

# Every number is that of its own line.
TEXT = (
    """\
# [no.header] = 1
top = 2
"quoted \\u00e4" = 3
a . 'b'."c.d" = 4
[server]  # a comment with [brackets] and "a quote
text = "# [no] 'comment' \\" = 1"
here = 7
multi = \"\"\"
[no.header]
here = "1" \\\\\"\"\"\"\"
after = 11
literal = '''
'here' = 1
''''
after_literal = 15
time = 1979-05-27 07:32:00
float = 1.5e3
after_scalars = 18
list = [ 19, [19, 19], # ] no end
  20, { inner = 20 , dotted.inner = 20 },
  [
    22 ],
]
table = { inner = 24, "quoted" = [ 24, 24 ] }
empty = [[], {}]
after_empty = 26
[[listeners]]
here = 28
[[listeners]]
here = 30
[[listeners.parts]]
here = 32
[listeners.rest]
here = 34
[[listeners]]
[listeners.rest]
here = 37
[ pools . "a.b" ]
here = 39
"""
    "windows = 40\r\n"
    "last = 41"
)


def _numbers(value: object, key: KeyPath = ()) -> list[tuple[KeyPath, int]]:
    match value:
        case dict():
            return [found for name, inner in value.items() for found in _numbers(inner, (*key, name))]
        case list():
            return [found for index, inner in enumerate(value) for found in _numbers(inner, (*key, index))]
        case int():
            return [(key, value)]
        case _:
            return []


@pytest.mark.parametrize(("key", "line"), _numbers(tomllib.loads(TEXT)), ids=str)
def test_line_of_value(key: KeyPath, line: int) -> None:
    """A fault that points to another line sends its reader to the wrong place."""
    assert Lines(TEXT).of(key) == line


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("server",), 5),
        (("server", "hostname"), 5),
        (("listeners",), 27),
        (("listeners", 0), 27),
        (("listeners", 1), 29),
        (("listeners", 2, "name"), 35),
        (("listeners", 1, "parts", 0, "name"), 31),
        (("pools", "a.b", "backends", 3, "tls"), 38),
        (("pools", "other"), 38),
        (("server", "list", 3, "other"), 20),
        (("tls", "certificate"), None),
    ],
    ids=str,
)
def test_line_of_what_is_missing(key: KeyPath, line: int | None) -> None:
    """A key that isn't there is looked for where it belongs."""
    assert Lines(TEXT).of(key) == line
