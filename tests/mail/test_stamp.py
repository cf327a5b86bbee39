"""What of a session goes to the head of its messages, and in which order."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from ipaddress import ip_address

import pytest

from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.mail.authentication_results import Result
from tlsgate.mail.received import Tls
from tlsgate.mail.stamp import Stamp

_CLIENT = ClientFacts(Endpoint(ip_address("192.0.2.1"), 4711), None, "Ab3x", "rdns.test", "host.test")
_TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def _lines(written: bytes) -> list[str]:
    return re.sub(r"\r\n\t", " ", written.decode()).split("\r\n")


def test_results_stand_above_the_field_of_the_hop_that_made_them() -> None:
    """RFC 8601 4: by its place alone a reader tells ours from one that came with the message."""
    stamp = Stamp("us.test", _CLIENT, None, False)
    results, received, end = _lines(stamp.fields([Result("iprev", "pass", "", (("policy.iprev", "192.0.2.1"),))]))
    assert results == "Authentication-Results: us.test; iprev=pass policy.iprev=192.0.2.1"
    assert received.startswith("Received: from host.test (rdns.test [192.0.2.1]) by us.test with ESMTP id Ab3x; ")
    assert end == ""


def test_nothing_found_is_said_too_but_a_user_s_message_has_no_results() -> None:
    """Where there is no field of ours, a reader would take a forged one from before for it."""
    stamp = Stamp("us.test", _CLIENT, None, False)
    assert _lines(stamp.fields([]))[0] == "Authentication-Results: us.test; none"
    assert message_from_bytes(stamp.fields()).keys() == ["Received"]


@pytest.mark.parametrize(
    ("tls", "logged_in", "word"),
    [(None, False, "ESMTP"), (None, True, "ESMTPA"), (_TLS, False, "ESMTPS"), (_TLS, True, "ESMTPSA")],
)
def test_how_it_came(tls: Tls | None, logged_in: bool, word: str) -> None:
    """RFC 3848."""
    assert f" with {word} id Ab3x" in _lines(Stamp("us.test", _CLIENT, tls, logged_in).fields())[0]


def test_the_time_is_now_and_has_its_zone() -> None:
    """A session may last for hours, so each message has its own."""
    stamp = Stamp("us.test", _CLIENT, None, False)
    when = parsedate_to_datetime(_lines(stamp.fields())[0].rpartition("; ")[2])
    assert abs(when - datetime.now(UTC)) < timedelta(seconds=60)
