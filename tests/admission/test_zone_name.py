"""A customer's key in a list's zone is a secret: who has it asks at the customer's cost."""

from __future__ import annotations

import pytest

from tlsgate.admission.zone_name import shown


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("zen.spamhaus.org", "zen.spamhaus.org"),
        ("ab3def5hij7klm9opq1stu2wxy.zen.dq.spamhaus.net", "zen.dq.spamhaus.net"),
        ("0123456789abcdef0123456789abcdef.combined.mail.abusix.zone", "combined.mail.abusix.zone"),
        ("abcdefghijklmnopqrst.example.org", "abcdefghijklmnopqrst.example.org"),  # a word, with no digit
        ("bl2.example.org", "bl2.example.org"),
        ("0123456789abcdef0123.org", "0123456789abcdef0123.org"),  # a top-level domain alone says nothing
    ],
)
def test_keys_are_left_out(zone: str, expected: str) -> None:
    assert shown(zone) == expected
