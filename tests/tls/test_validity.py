"""What is said of certificates that are served though clients will complain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.tls.conftest import Pki
from tlsgate.tls.certificate import Certificate, load_certificate
from tlsgate.tls.validity import remarks

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
HOST = "mail.example.org"


def certificate(pki: Pki, begins: timedelta, ends: timedelta, *names: str) -> Certificate:
    """Valid from NOW + ``begins`` to NOW + ``ends``."""
    issued = pki.ca.issue_cert(*(names or (HOST,)), not_before=NOW + begins, not_after=NOW + ends)
    path, key = pki.directory / "site.pem", pki.directory / "site.key"
    issued.cert_chain_pems[0].write_to_path(path)
    issued.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    return load_certificate(path, key)


YEAR, DAY, SECOND = timedelta(days=365), timedelta(days=1), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("begins", "ends", "event", "text"),
    [
        (-YEAR, -SECOND, "certificate_expired", "EXPIRED"),
        (-YEAR, timedelta(), "certificate_expired", "EXPIRED"),
        (-YEAR, DAY * 2 + SECOND, "certificate_expires", "ends in 2 days"),
        (-YEAR, DAY * 14, "certificate_expires", "ends in 14 days"),
        (SECOND * 60, YEAR, "certificate_not_yet_valid", "valid from 2030-01-01 12:01 UTC only"),
    ],
)
def test_when_it_is_not_valid(pki: Pki, begins: timedelta, ends: timedelta, event: str, text: str) -> None:
    """Silence here is a help desk's Monday morning."""
    (remark,) = remarks([certificate(pki, begins, ends)], HOST, NOW)
    assert (remark.event, remark.about, remark.text) == (event, str(pki.directory / "site.pem"), text)


def test_a_good_one_needs_no_remark(pki: Pki) -> None:
    assert not list(remarks([certificate(pki, -DAY, DAY * 14 + SECOND)], HOST, NOW))


@pytest.mark.parametrize(
    ("names", "covered"),
    [
        (("mail.example.org",), True),
        (("MAIL.Example.org",), True),
        (("*.example.org",), True),
        (("imap.example.org", "mail.example.org"), True),
        (("example.org",), False),
        (("*.mail.example.org",), False),
        (("*.org",), False),
        (("elsewhere.example",), False),
    ],
)
def test_whether_it_is_for_our_name(pki: Pki, names: tuple[str, ...], covered: bool) -> None:
    found = list(remarks([certificate(pki, -DAY, YEAR, *names)], HOST, NOW))
    assert [remark.event for remark in found] == ([] if covered else ["certificate_name"])


def test_one_of_several_for_our_name_is_enough(pki: Pki) -> None:
    other = certificate(pki, -DAY, YEAR, "elsewhere.example")
    ours = certificate(pki, -DAY, YEAR)
    assert not list(remarks([other, ours], HOST, NOW))


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_key_that_everybody_can_read_is_told(pki: Pki, mode: int, told: bool) -> None:
    """Any program on the host could be us then, and nothing else would show it."""
    chain, key = pki.issue("site", HOST)
    key.chmod(mode)
    found = list(remarks([load_certificate(chain, key)], HOST, datetime.now(UTC)))
    assert [(each.event, each.about) for each in found] == [("private_key_fault", str(key))] * told
