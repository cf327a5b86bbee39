"""What the admin API reaches: the words that it gives back are written for people and safe to show."""

from __future__ import annotations

import pytest

from tests.ops.admin_address import Nowhere, Told
from tlsgate.admission.bans import Bans
from tlsgate.controls import Controls


def test_what_is_no_network_is_shown_without_control_characters() -> None:
    controls = Controls(Bans(Told()), lambda: None, Nowhere())
    for call in (controls.unban, lambda text: controls.ban(text, 1, "")):
        with pytest.raises(ValueError, match=r'"\\x1b\[2J" is not a prefix'):
            call("\x1b[2J")


def test_bans_that_are_given_out_stay_as_they_were() -> None:
    """They are written out by a thread while others come and go."""
    controls = Controls(Bans(Told()), lambda: None, Nowhere())
    controls.ban("192.0.2.1", 60, "")
    given = controls.bans()
    controls.ban("192.0.2.2", 60, "")
    assert len(given) == 1


@pytest.mark.parametrize("network", ["0.0.0.0/0", "10.0.0.0/7", "::/1", "2001::/15", "::ffff:0:0/96", "1.2.3.4/0"])
def test_a_ban_by_hand_of_much_of_the_world_is_refused(network: str) -> None:
    """One slip of a key would turn everybody away, the one who made it too."""
    bans = Bans(Told())
    with pytest.raises(ValueError, match=r"is too wide: ban no more than a /(8|16)$"):
        Controls(bans, lambda: None, Nowhere()).ban(network, 60, "")
    assert not len(bans)


@pytest.mark.parametrize("network", ["10.0.0.0/8", "2001::/16"])
def test_a_ban_by_hand_may_be_wide(network: str) -> None:
    assert Controls(Bans(Told()), lambda: None, Nowhere()).ban(network, 60, "").network == network
