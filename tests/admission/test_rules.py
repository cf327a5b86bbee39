"""Allow, block and trust together: which of them holds for a client, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsgate.admission.lists import ListFault
from tlsgate.admission.network import UNIX, parse_client
from tlsgate.admission.rules import AddressRules, Standing, load_rules
from tlsgate.config import Admission
from tlsgate.config.values import Network, parse_network_or_file


def _given(*texts: str) -> tuple[Network | Path, ...]:
    return tuple(map(parse_network_or_file, texts))


def _trusted(*texts: str) -> tuple[Network, ...]:
    return tuple(each for each in _given(*texts) if not isinstance(each, Path))


def _standing(rules: AddressRules, address: str) -> Standing:
    return rules.rule(parse_client(address)).standing


@pytest.fixture
def rules() -> AddressRules:
    return load_rules(
        Admission(
            allow=_given("192.0.2.7", "2002:c633:6401::/48", "203.0.113.9"),
            block=_given("192.0.2.0/24", "198.51.100.0/24", "2001:db8:bad::/48"),
            trust=_trusted("192.0.2.8", "203.0.113.0/24", "2001:db8::/32"),
        )
    )


@pytest.mark.parametrize(
    ("address", "standing"),
    [
        ("192.0.2.7", Standing.ALLOWED),  # in a blocked network: an exception is why one writes both
        ("192.0.2.6", Standing.BLOCKED),
        ("192.0.2.8", Standing.BLOCKED),  # trust is from caps and bans, not from a block
        ("203.0.113.9", Standing.ALLOWED),
        ("203.0.113.8", Standing.TRUSTED),
        ("2001:db8:1::1", Standing.TRUSTED),
        ("2001:db8:bad::1", Standing.BLOCKED),
        ("8.8.8.8", Standing.STRANGER),
        ("2a00::1", Standing.STRANGER),
        ("unix", Standing.STRANGER),
    ],
)
def test_the_first_rule_that_holds_counts(rules: AddressRules, address: str, standing: Standing) -> None:
    assert _standing(rules, address) is standing


@pytest.mark.parametrize(
    ("address", "standing"),
    [
        ("::ffff:192.0.2.6", Standing.BLOCKED),
        ("::ffff:192.0.2.7", Standing.ALLOWED),
        ("2002:c000:206::1", Standing.BLOCKED),
        ("64:ff9b::192.0.2.6", Standing.BLOCKED),
        ("2002:c633:6401::1", Standing.ALLOWED),  # of a blocked IPv4 address, but allowed as itself
        ("2002:cb00:7109::1", Standing.STRANGER),  # of an allowed and trusted one
        ("64:ff9b::203.0.113.9", Standing.STRANGER),
        ("2002:c000:207::1", Standing.BLOCKED),  # the exception is for the IPv4 address itself
    ],
)
def test_an_ipv4_address_within(rules: AddressRules, address: str, standing: Standing) -> None:
    """A block can't be got round by another way to write the address; an allowance isn't had by one."""
    assert _standing(rules, address) is standing


def test_without_rules_all_are_strangers() -> None:
    rules = load_rules(Admission())
    assert [_standing(rules, each) for each in ("192.0.2.1", "::1", "2002:c000:206::1")] == [Standing.STRANGER] * 3
    assert rules.rule(UNIX).reason == ""
    assert rules.files == ()


def test_the_reason_names_the_prefix_and_where_it_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "drop.txt"
    path.write_text("192.0.2.0/24 ; SBL123\n203.0.113.0/24\n")
    rules = load_rules(Admission(block=(path, *_given("2001:db8::/32"))))
    reasons = [rules.rule(parse_client(each)).reason for each in ("192.0.2.1", "203.0.113.1", "2001:db8::1")]
    assert reasons == [
        f"192.0.2.0/24 in {path}: SBL123",
        f"203.0.113.0/24 in {path}",
        "2001:db8::/32 in admission.block",
    ]


def test_a_file_in_both_lists_is_one_file(tmp_path: Path) -> None:
    """Two copies of one file could differ for a while."""
    path, other = tmp_path / "list.txt", tmp_path / "other.txt"
    path.write_text("192.0.2.0/24\n")
    other.write_text("")
    rules = load_rules(Admission(allow=(path,), block=(path, other, path)))
    assert [file.path for file in rules.files] == [path, other]
    assert rules.allow[0] is rules.block[0]
    assert len(rules.block) == 2


def test_every_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    good, empty, page = (tmp_path / name for name in ("good", "empty", "page"))
    good.write_text("192.0.2.1\n")
    empty.write_text("")
    page.write_text("<html>\n")
    with pytest.raises(ListFault) as raised:
        load_rules(Admission(allow=(good, tmp_path / "gone"), block=(empty, tmp_path, page, tmp_path / "gone")))
    assert str(raised.value).splitlines() == [
        f"{tmp_path / 'gone'}: No such file or directory; name a readable file that lists prefixes",
        f"{tmp_path}: is not a file; name a readable file that lists prefixes",
        f"{page}: no line of it is a prefix; write one a line, such as 192.0.2.0/24 # why",
    ]
