"""nginx's syntax: what is a word, where a file ends, and what includes may cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsgate.importing.nginx_syntax import Directive, read_directives
from tlsgate.importing.reading import CannotImport


def read(directory: Path, text: str) -> tuple[Directive, ...]:
    path = directory / "nginx.conf"
    path.write_text(text)
    return read_directives(path)


def words(directives: tuple[Directive, ...]) -> list[list[str]]:
    return [[each.name, *each.words] for each in directives]


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("a b c;", ["a", "b", "c"]),
        ("a 'b c' \"d;{}#\";", ["a", "b c", "d;{}#"]),
        (r"a 'it\'s' b\ c \;;", ["a", "it's", r"b\ c", r"\;"]),
        ("a b#c; # d;\n", ["a", "b#c"]),
        ("a ${b}c $d;", ["a", "${b}c", "$d"]),
        ("a '';", ["a", ""]),
        ("a\n  b\n;", ["a", "b"]),
        ("a x}y;", ["a", "x}y"]),
    ],
)
def test_words(tmp_path: Path, text: str, read_as: list[str]) -> None:
    assert words(read(tmp_path, text)) == [read_as]


def test_blocks_and_lines(tmp_path: Path) -> None:
    (mail,) = read(tmp_path, "# one\nmail {\n  server {\n    listen 'a\nb';\n    protocol imap; }\n}\n")
    assert mail.block is not None
    (server,) = mail.block
    assert server.block is not None
    assert [(each.name, each.place.line) for each in (mail, server, *server.block)] == [
        ("mail", 2),
        ("server", 3),
        ("listen", 4),
        ("protocol", 6),
    ]


def test_lua_is_passed_over(tmp_path: Path) -> None:
    """Its quotes and braces aren't nginx's."""
    text = "http { content_by_lua_block { -- don't {\n say('}') if x then y = {1} end } }\nmail { }"
    assert [(each.name, each.place.line) for each in read(tmp_path, text)] == [("http", 1), ("mail", 3)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a b", '1: the file ends before a ";"'),
        ("mail {\n", 'the file ends before a ";"'),
        ("a;\n}", '2: "}" is not expected'),
        ("a }", '1: "}" is not expected'),
        ("\n;", '2: ";" is not expected'),
        ("{", '1: "{" is not expected'),
        ("a;\nb 'c;", "2: a quote or an escape that doesn't end"),
        ("a {" * 20, "nested too deep"),
    ],
)
def test_what_can_not_be_read_is_said_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(CannotImport) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'nginx.conf'}:") and why in str(caught.value)


def test_includes(tmp_path: Path) -> None:
    """By path or pattern, from the main file's directory, in order; each keeps its own lines."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/b.conf").write_text("\nb 2;")
    (tmp_path / "conf.d/a.conf").write_text("a 1; include c.inc;")
    (tmp_path / "c.inc").write_text("c 3;")
    found = read(tmp_path, "mail { include conf.d/*.conf; } include none/*.conf; include gone;")
    assert found[0].block is not None
    assert words(found[0].block) == [["a", "1"], ["c", "3"], ["b", "2"]]
    assert str(found[0].block[2].place) == f"{tmp_path}/conf.d/b.conf:2"
    assert words(found[1:]) == [["include", "gone"]]


@pytest.mark.parametrize("text", ["include nginx.conf;", "include nginx.conf; include nginx.conf;", "include *.conf;"])
def test_circles_of_includes_end(tmp_path: Path, text: str) -> None:
    with pytest.raises(CannotImport, match="include"):
        read(tmp_path, text)


def test_many_includes_end(tmp_path: Path) -> None:
    (tmp_path / "one.inc").write_text("a;")
    with pytest.raises(CannotImport, match="more than 256 files"):
        read(tmp_path, "include one.inc;" * 257)


def test_what_is_no_file_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(CannotImport, match="No such file"):
        read_directives(tmp_path / "gone")
    with pytest.raises(CannotImport, match="is no file"):
        read_directives(Path("/dev/zero"))
    with pytest.raises(CannotImport, match="larger than 1048576"):
        read(tmp_path, "#" * (1024**2 + 1))
