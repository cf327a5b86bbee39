"""One user, one name here; and at a backend no other user's."""

from __future__ import annotations

import pytest

from tlsgate.auth.user_names import UnfitName, backend_name, full_name
from tlsgate.dialogue.credentials import LONGEST_USER


@pytest.mark.parametrize(
    ("user", "full"),
    [
        ("ann", "ann@Example.org"),
        ("Ann", "Ann@Example.org"),
        ("\u00e4nn", "\u00e4nn@Example.org"),
        # In any case of the domain it is one user, for whom limits are kept once.
        ("ann@example.org", "ann@Example.org"),
        ("ann@EXAMPLE.ORG", "ann@Example.org"),
        # All else is as it was shown: sources know what it is, if it is anything.
        ("ann@example.net", "ann@example.net"),
        ("ann@Example.NET", "ann@Example.NET"),
        ("ann@example.org.", "ann@example.org."),
        ("ann@", "ann@"),
        ("@", "@"),
        ("@EXAMPLE.ORG", "@EXAMPLE.ORG"),
        ("ann@x@EXAMPLE.ORG", "ann@x@EXAMPLE.ORG"),
        ("ann@EXAMPLE.ORG@", "ann@EXAMPLE.ORG@"),
        ("", ""),
    ],
)
def test_full_name(user: str, full: str) -> None:
    assert full_name(user, "Example.org") == full
    assert full_name(full, "Example.org") == full  # whoever completes a name twice changes nothing
    assert full_name(user, "") == user


def test_a_letter_that_only_looks_like_the_domains_is_another() -> None:
    assert full_name("ann@\u212a.test", "k.test") == "ann@\u212a.test"


def test_a_name_never_gets_longer_than_a_name_may_be() -> None:
    """It would be an error in the middle of a login."""
    fits = "a" * (LONGEST_USER - len("@example.org"))
    assert full_name(fits, "example.org") == fits + "@example.org"
    assert full_name(fits + "a", "example.org") == fits + "a"


@pytest.mark.parametrize(
    ("user", "local"),
    [("ann@example.org", "ann"), ("ann", "ann"), ("A.n+x@EXAMPLE.org", "A.n+x"), ("ann*root@a", "ann*root")],
)
def test_the_local_part_alone(user: str, local: str) -> None:
    assert backend_name(user, strip_domain=True) == local
    assert backend_name(user, strip_domain=False) == user


@pytest.mark.parametrize("user", ["ann@", "@example.org", "@", "ann@bob@example.org", "ann@@example.org", " @a", "@@"])
def test_what_could_be_cut_in_two_ways_is_nobodys(user: str) -> None:
    """Were "ann@bob@example.org" ann, who owns any such name would read her mail."""
    with pytest.raises(UnfitName):
        backend_name(user, strip_domain=True)
    assert backend_name(user, strip_domain=False) == user


def test_the_name_of_the_user_map_goes_as_it_is() -> None:
    assert backend_name("ann@example.org", strip_domain=True, given="ann.old@legacy") == "ann.old@legacy"
    assert backend_name("a@b@c", strip_domain=True, given="abc") == "abc"
