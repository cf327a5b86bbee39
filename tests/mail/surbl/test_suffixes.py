"""Names to registered domains: the wrong level would be asked about at lists that know the right one."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

import tlsgate.mail.surbl.suffixes as suffixes_module
from tlsgate.mail.surbl.suffixes import Suffixes, SuffixesMissing, missing_extra


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("www.example.co.uk", "example.co.uk"),
        ("a.b.github.io", "b.github.io"),
        ("a.xn--bcher-kva.xn--p1ai", "xn--bcher-kva.xn--p1ai"),
        ("co.uk", None),
        ("com", None),
        ("printer.local", None),
        ("www.example.test", None),
        ("localhost", None),
        ("1.0.168.192.in-addr.arpa", None),
    ],
)
def test_registered_domains(suffixes: Suffixes, name: str, domain: str | None) -> None:
    assert suffixes.registered(name) == domain


async def test_without_the_package_the_fault_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **others: Any) -> Any:
        if name == "publicsuffixlist":
            raise ModuleNotFoundError(name=name)
        return real(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SuffixesMissing, match=r"screening\.surbl: needs the extra tlsgate\[surbl\]"):
        await Suffixes.load()


def test_a_check_of_the_config_tells_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of the start, which would else be the first to tell."""
    assert missing_extra() == ""
    monkeypatch.setattr(suffixes_module, "find_spec", lambda name: None)
    assert missing_extra().startswith("screening.surbl: needs the extra tlsgate[surbl]")
