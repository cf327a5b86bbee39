"""When certificates are loaded again: once their files rest, wherever the links lead, and not again and again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.certificate_layouts import CHAIN, KEY, LAYOUTS, Certbot, InPlace, Layout
from tests.gate import authority
from tests.test_gateway import config, reading
from tlsgate.prepared import Prepared
from tlsgate.renewal import Renewal
from tlsgate.tls.certificate import CertificateFault

BACKEND = '{ address = "127.0.0.1:1" }'


class Served:
    """A config in force, and who looks at its files."""

    def __init__(self, path: Path) -> None:
        self.now: Prepared = reading(path)
        self.renewal = Renewal(lambda: self.now)

    def polls(self, count: int) -> list[bool]:
        return [self.renewal.changed() for _ in range(count)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_new_pair_is_loaded_once_it_rests(layout: Callable[[Path], Layout], tmp_path: Path) -> None:
    """A look at the link itself, or at the file that was opened, sees no change in any but the first layout."""
    files = layout(tmp_path)
    files.renew()
    served = Served(config(tmp_path, BACKEND))
    assert served.polls(3) == [False, False, False]
    files.renew()
    assert served.polls(2) == [False, True]
    before, served.now = served.now, served.renewal.renewed()
    assert before.contexts.certificates[0].chain != served.now.contexts.certificates[0].chain
    assert served.polls(3) == [False, False, False]


def test_files_that_never_rest_are_taken_all_the_same(tmp_path: Path) -> None:
    served = Served(config(tmp_path, BACKEND))

    def poll(at: int) -> bool:
        os.utime(tmp_path / CHAIN, (at, at))
        return served.renewal.changed()

    assert [poll(at) for at in range(1, 5)] == [False, False, True, True]


def test_what_cannot_be_used_is_loaded_again_when_it_changes_and_else_seldom(tmp_path: Path) -> None:
    """A config's lists may have a million lines: to read them at each poll would be all that we do."""
    certbot = Certbot(tmp_path)
    certbot.renew()
    served = Served(config(tmp_path, BACKEND))
    certbot.archive()
    certbot.link(CHAIN)
    assert served.polls(2) == [False, True]
    with pytest.raises(CertificateFault, match=r"key\.pem: is not the key of"):
        served.renewal.renewed()
    assert sum(served.polls(60)) == 2
    certbot.link(KEY)
    assert served.polls(2) == [False, True]
    served.renewal.renewed()


def test_a_file_that_is_gone_is_a_change_and_its_return_is_none(tmp_path: Path) -> None:
    """A volume that is mounted again must not put new contexts, without the tickets of before, in force."""
    volume = tmp_path / "volume"
    volume.mkdir()
    InPlace(volume).renew()
    for name in (CHAIN, KEY):
        (tmp_path / name).symlink_to(volume / name)
    served = Served(config(tmp_path, BACKEND))
    volume.rename(tmp_path / "away")
    assert served.polls(2) == [False, True]
    with pytest.raises(CertificateFault, match="No such file"):
        served.renewal.renewed()
    (tmp_path / "away").rename(volume)
    assert served.polls(3) == [False, False, False]


def test_a_change_while_files_are_read_is_seen(tmp_path: Path) -> None:
    """Else the pair that is in force is the old one until the next renewal, which may be after its end."""
    files = InPlace(tmp_path)
    files.renew()
    served = Served(config(tmp_path, BACKEND))
    known = served.now.files
    files.renew()
    served.now = replace(reading(tmp_path / "tlsgate.toml"), files=known)  # read late, looked at before
    assert served.polls(2) == [False, True]


@pytest.mark.parametrize("named", ["sni", "client_ca", "backend"])
def test_every_file_counts(named: str, tmp_path: Path) -> None:
    """One that is forgotten is in force until somebody thinks of a reload."""
    (tmp_path / "more").mkdir()
    InPlace(tmp_path / "more").renew()
    ca = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(ca)
    backend = f'{{ address = "127.0.0.1:1", tls = "implicit", ca = "{ca}" }}' if named == "backend" else BACKEND
    path = config(tmp_path, backend)
    text = path.read_text()
    if named == "sni":
        pair = f'certificate = "{tmp_path}/more/{CHAIN}"\nprivate_key = "{tmp_path}/more/{KEY}"'
        text += f'[[tls.sni]]\nhostnames = ["other.example.org"]\n{pair}\n'
    elif named == "client_ca":
        text = text.replace("[tls]", f'[tls]\nclient_ca = "{ca}"')
    path.write_text(text)
    served = Served(path)
    os.utime(tmp_path / "more" / CHAIN if named == "sni" else ca, (1, 1))
    assert served.polls(2) == [False, True]
    served.renewal.renewed()


def test_the_config_is_not_read_again(tmp_path: Path) -> None:
    """Half of what an operator is writing, and hasn't checked, would be served by night."""
    files = InPlace(tmp_path)
    files.renew()
    path = config(tmp_path, BACKEND)
    served = Served(path)
    path.write_text("[server]\n")
    files.renew()
    assert served.renewal.renewed().settings == served.now.settings
