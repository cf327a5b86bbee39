"""Which names of strangers pass for a host's."""

from __future__ import annotations

import pytest

from tlsgate.admission.host_name import is_host_name

_LABEL = "x" * 63


@pytest.mark.parametrize("name", ["a", "mx1.example.org", "mx.host1", "_x.example", "3com.example", "xn--bcher-kva.de"])
def test_host_names(name: str) -> None:
    assert is_host_name(name)


def test_the_longest_name() -> None:
    longest = ".".join([_LABEL, _LABEL, _LABEL, "y" * 61])
    assert is_host_name(longest)
    assert not is_host_name(longest + "y")


@pytest.mark.parametrize(
    "name",
    (
        *("", ".", "a.", ".a", "a..b", "-a.b", "a-.b", "a b.c", "a\n", "a.b\r\nc", "\xfc.de", "\u0661.example"),
        *("1.2.3.4", "12", "a.1", _LABEL + "x.org", "[192.0.2.1]", "a:b", "a/b.c", "a\\.b"),
    ),
)
def test_other_text(name: str) -> None:
    """What passes goes into logs, headers and XCLIENT as it is."""
    assert not is_host_name(name)
