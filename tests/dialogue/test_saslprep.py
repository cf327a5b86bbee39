"""SASLprep: the RFC's examples and what may not pass."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.dialogue.saslprep import saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0628", "\u0627\u0628"),
        ("u\u0308", "\u00fc"),
        ("", ""),
        ("\u00ad", ""),
    ],
)
def test_examples(text: str, prepared: str) -> None:
    """RFC 4013 3, and others: two ways to write a name must not be two users."""
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text",
    [
        "\x07",
        "a\x7f",
        "a\u0085",
        "\u0627\u0031",
        "\u0627a\u0627",
        "a\u200e",
        "\ufffd",
        "\ue000",
        "a\u2028",
        "\U000e0001",
        "\ufdd0",
        "\ud800",
        "\u2ff0",
    ],
)
def test_what_may_not_be_in_a_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"character|right-to-left") as caught:
        saslprep(text)
    assert text not in str(caught.value)


def test_unassigned_characters_may_be_asked_for_but_not_kept() -> None:
    """RFC 3454 7."""
    assert saslprep("\u0221") == "\u0221"
    with pytest.raises(ValueError, match="unassigned"):
        saslprep("\u0221", stored=True)


ONE_OF_EIGHTEEN = "\ufdfa"


def test_what_gets_too_long_is_no_name_or_password() -> None:
    """Each character that comes out is looked at in many tables: a line of these, on a connection in clear, would hold
    everybody else up for tenths of a second."""
    assert len(saslprep(ONE_OF_EIGHTEEN * 227)) == 4086
    for text in (ONE_OF_EIGHTEEN * 228, ONE_OF_EIGHTEEN * 228 + "\x07", ONE_OF_EIGHTEEN * 100_000):
        with pytest.raises(ValueError, match="too long"):
            saslprep(text)
    assert len(saslprep(ONE_OF_EIGHTEEN, longest=18)) == 18
    with pytest.raises(ValueError, match="too long"):
        saslprep(ONE_OF_EIGHTEEN, longest=17)


@settings(deadline=None)
@given(st.text(max_size=50))
def test_what_is_prepared_stays_as_it_is(text: str) -> None:
    """Else the name that is looked for would depend on how often it was prepared."""
    try:
        prepared = saslprep(text)
    except ValueError:
        return
    assert saslprep(prepared) == prepared
