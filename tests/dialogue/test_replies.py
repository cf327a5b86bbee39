"""The table of what is said for which reason."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.events import ABOUT_CREDENTIALS, Ending, Refusal, ending_after
from tlsgate.dialogue.replies import ENDINGS, REFUSALS, SASL_FAILURES, Words, printable
from tlsgate.dialogue.sasl import Failure


def test_every_reason_has_words() -> None:
    """A reason without a row would be a KeyError in the middle of a session."""
    assert set(REFUSALS) == set(Refusal)
    assert set(ENDINGS) == set(Ending)
    assert set(SASL_FAILURES) == set(Failure)


@pytest.mark.parametrize("words", [*REFUSALS.values(), *SASL_FAILURES.values(), *ENDINGS.values()])
def test_codes_are_well_formed(words: Words) -> None:
    basic, enhanced = words.smtp.split(" ")
    assert re.fullmatch(r"[245]\d\d", basic)
    assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", enhanced)
    assert basic[0] == enhanced[0]
    assert re.fullmatch(r"[A-Z]*", words.imap)
    assert words.pop3 in {"", "AUTH", "SYS/TEMP", "SYS/PERM", "IN-USE"}
    assert printable(words.text.encode()) == words.text


def test_only_refusals_that_mean_the_password_say_auth() -> None:
    """RFC 3206: AUTH makes a client ask its user for another password; 535 does the same."""
    for reason, words in REFUSALS.items():
        wrong = reason in {Refusal.AUTHENTICATION_FAILED, Refusal.AUTHORIZATION_FAILED, Refusal.EXPIRED}
        assert (reason in ABOUT_CREDENTIALS) == (ending_after(reason) is Ending.AUTH_ATTEMPTS) == wrong
        assert (words.pop3 == "AUTH") == wrong
        assert words.smtp.startswith("535") == wrong


def test_endings_of_smtp_are_421_but_for_a_leave_and_a_refusal_for_good() -> None:
    """A sender that is told 421 comes again; one that is told 554 tells its user (RFC 5321 3.1)."""
    others = {Ending.LOGOUT: "221", Ending.BLOCKED: "554", Ending.DNSBL: "554"}
    for ending, words in ENDINGS.items():
        assert words.smtp.startswith(others.get(ending, "421"))


@given(st.binary(max_size=60), st.integers(0, 50))
def test_printable_is_fit_for_any_line(text: bytes, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert all(" " <= character <= "~" for character in shown)
    assert shown == shown.strip()
