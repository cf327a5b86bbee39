"""HTML: links and shown text are found as browsers and Outlook have them, and tags can't hide what follows."""

from __future__ import annotations

import pytest

from tlsgate.mail.surbl.markup import Markup


def found(*pieces: str) -> list[str]:
    hosts: list[str] = []
    markup = Markup(hosts.append)
    for piece in pieces:
        markup.feed(piece)
    markup.finish()
    return list(dict.fromkeys(hosts))


_A = "a.example.com"
_LINK = f'<a href="http://{_A}/">x</a>'


@pytest.mark.parametrize(
    "text",
    [
        _LINK,
        f"<a href='http://{_A}'>",
        f"<a href=http://{_A}>",
        f"<A CLASS=x HREF = 'http://{_A}'>",
        f"<a\nhref\n=\n//{_A}\n>",
        f"<a/href=//{_A}>",
        f"<a title='>' href=//{_A}>",
        f'<a title="a > b" href=//{_A}>',
        f"<img src=//{_A}/x.png>",
        f"<form action='//{_A}'>",
        f"<v:fill src='//{_A}'>",
        f"<use xlink:href='//{_A}'>",
        f"<td background='//{_A}'>",
        f"<td style='background: url(http://{_A}/x)'>",
        f'<meta http-equiv=refresh content="0; url=http://{_A}">',
        f'<img srcset="http://{_A}/1 1x, //b 2x">',
        "<a href='http&#58;&#x2f;/a&period;example.c&#0000111;m'>",
        "<a href='http://a.example&#46com'>",
        f"<style>p {{ background: url(http://{_A}/) }}</style>",
        "a.exam<b></b>ple.com",
        "a.exam<!-- x -->ple.com",
        "a.exam<span style='x'>ple</span>.com",
        "a&#46;example&period;com",
        "a.exam&shy;ple.com",
        "<p>a.example.com<p>b",
        "<td>word</td><td>a.example.com</td>",
        "1 < 2 a.example.com",
        "<3 a.example.com",
        # What must not swallow a link.
        f"<!-->{_LINK}",
        f"<!--->{_LINK}",
        f"<!-- --!>{_LINK}<!-- -->",
        f"<!-- > -->{_LINK}",
        f"<!--[if mso]>{_LINK}<![endif]-->",
        f"<!--[if !mso]><!-->{_LINK}<!--<![endif]-->",
        f"<!DOCTYPE html>{_LINK}",
        f"<?xml?>{_LINK}",
        f"</>{_LINK}",
        f"</ x>{_LINK}",
        f'<a b=a=">{_LINK}">',
        f'<a ="x>{_LINK}',
        f'<a b">{_LINK}',
        f'<a title="{_LINK}',
        f'<a title="{"x" * 40_000}">{_LINK}',
        f'<img src="data:image/png;base64,{"QUJD" * 10_000}">{_LINK}',
        f"<a {'x ' * 20_000}>{_LINK}",
        f"<style></style>{_LINK}",
        f"<script>if (a < b) '</p>'</script>{_LINK}",
        f"<style>{_LINK}",
        f"<title>{_LINK}",
        _LINK.removesuffix(">x</a>"),
    ],
)
def test_found(text: str) -> None:
    """In one piece, and in pieces of one and three characters."""
    assert _A in found(text)
    if len(text) < 1000:
        for length in (1, 3):
            assert _A in found(*(text[at : at + length] for at in range(0, len(text), length))), length


@pytest.mark.parametrize(
    "text",
    [
        "<!-- a.example.com -->",
        "<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0//EN' 'http://www.w3.org/TR/xhtml1/DTD/xhtml1.dtd'>",
        "<html xmlns='http://www.w3.org/1999/xhtml'>",
        "<script>a.example.com</script>",
        "<p class='a.example.com'>",
        "<a href='mailto:alice@example.com'>",
        "<td>a.exa</td><td>mple.com</td>",
    ],
)
def test_what_is_no_link(text: str) -> None:
    assert not any("example.com" in host or "w3.org" in host for host in found(text))


def test_shown_and_meant() -> None:
    """A link that looks like another's."""
    assert found('<a href="http://bad.example.net/">www.example.com</a>') == ["bad.example.net", "www.example.com"]


@pytest.mark.parametrize("text", ["<a href='", "<!--", "<a " * 100, "&#", "<style>", "<![CDATA["])
def test_nothing_grows(text: str) -> None:
    """An open tag or comment must not be kept as long as it lasts."""
    markup = Markup(lambda host: None)
    markup.feed(text)
    for _ in range(20):
        markup.feed("x" * 8000)
        assert len(markup._held) + len(markup._shown._held) + len(markup._code._held) < 40_000
