"""Files of secrets as Kubernetes mounts them: of root and the pod's group, behind links that are swapped at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.adversarial.known_secrets import all_secrets, shown, stored_login, write_secrets
from tests.gate import HOSTNAME, authority
from tlsgate.auth import app_passwords_file, stored_secrets, users_file
from tlsgate.auth.followed import POLL, Followed, Read
from tlsgate.config import Config, load
from tlsgate.prepared import Prepared, prepare
from tlsgate.renewal import Renewal
from tlsgate.secret_file import open_to_all
from tlsgate.tls.certificate import CertificateFault


class Mount:
    """A volume at ``path``: each name leads by ``..data`` to a directory with the files of one version."""

    def __init__(self, path: Path, mode: int) -> None:
        self.path = path
        self._mode = mode
        self._version = 0

    def project(self, files: dict[str, bytes]) -> None:
        """As the kubelet does: a new directory, then one swap for all names."""
        self._version += 1
        version = self.path / f"..{self._version}"
        version.mkdir()
        for name, data in files.items():
            (version / name).write_bytes(data)
            (version / name).chmod(self._mode)
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(Path("..data", name))
        (self.path / "..data_tmp").symlink_to(version.name)
        (self.path / "..data_tmp").rename(self.path / "..data")

    def files(self) -> dict[str, bytes]:
        return {link.name: link.read_bytes() for link in self.path.iterdir() if not link.name.startswith("..")}


def mounted(directory: Path, mode: int) -> tuple[Mount, Config]:
    """A config that names a file of secrets of every kind, mounted with ``mode``."""
    source, volume = directory / "source", directory / "secrets"
    source.mkdir()
    volume.mkdir()
    write_secrets(source)
    issued = authority().issue_cert(HOSTNAME)
    (source / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(source / "key.pem")
    mount = Mount(volume, mode)
    mount.project({each.name: each.read_bytes() for each in source.iterdir()})
    path = directory / "tlsgate.toml"
    path.write_text(f"""
[server]
hostname = "{HOSTNAME}"
[tls]
certificate = "{volume}/chain.pem"
private_key = "{volume}/key.pem"
[[listeners]]
name = "imaps"
protocol = "imap"
address = "127.0.0.1:0"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [{{ address = "127.0.0.1:1" }}]
{stored_login(volume)}
[admin]
{write_secrets(source).replace(str(source), str(volume))}""")
    return mount, load(path)


# Those of which everybody's eyes are a remark; users' secrets for backends aren't used then.
TOLD = ["apps", "client", "header", "key.pem", "master", "token", "users"]


def told(prepared: Prepared, volume: Path) -> dict[str, str]:
    """What is said of who can read files of the volume, by their names."""
    said = [each for each in prepared.remarks() if "can read" in each.text]
    assert all(Path(each.about).parent == volume for each in said)
    return {Path(each.about).name: each.text for each in said}


@pytest.mark.parametrize("mode", [0o440, 0o400, 0o640])
def test_a_group_of_ones_own_may_read_every_secret(tmp_path: Path, mode: int) -> None:
    """A pod can't have its secrets as files of its user: defaultMode 0440 and an fsGroup is as close as it gets."""
    mount, settings = mounted(tmp_path, mode)
    prepared = prepare(settings)
    assert told(prepared, mount.path) == {}
    assert prepared.stored["imap"].find("ann") is not None


@pytest.mark.parametrize("mode", [0o444, 0o644])  # 0644 is what a volume has by default
def test_whom_everybody_can_read_is_told_with_what_would_be_right(tmp_path: Path, mode: int) -> None:
    mount, settings = mounted(tmp_path, mode)
    with pytest.raises(CertificateFault) as refused:
        prepare(settings)
    (fault,) = str(refused.value).splitlines()
    assert fault.startswith(f"pools.imap.secrets_file: {mount.path}/stored: ") and f"mode {mode:04o}" in fault
    assert "chmod 640" in fault and "defaultMode 0440" in fault and "fsGroup" in fault
    (mount.path / "stored").resolve().chmod(0o440)
    said = told(prepare(settings), mount.path)
    assert sorted(said) == TOLD
    for text in said.values():
        assert "chmod 640" in text and "defaultMode 0440" in text and "fsGroup" in text
    assert not shown(fault + repr(said), all_secrets(mount.path))


@pytest.mark.parametrize("group", [100, 65534])  # Debian's "users" and "nogroup"
def test_a_group_that_everybody_is_in_is_everybody(tmp_path: Path, group: int) -> None:
    path = tmp_path / "secret"
    path.write_text("hunter2")
    path.chmod(0o640)
    facts = list(path.stat())
    facts[stat.ST_GID] = group
    assert open_to_all(os.stat_result(facts))
    facts[stat.ST_MODE] = stat.S_IFREG | 0o600
    assert not open_to_all(os.stat_result(facts))


LOADS: dict[str, Callable[[Path], Read]] = {
    "users": users_file.load,
    "apps": app_passwords_file.load_app_passwords,
    "stored": stored_secrets.load,
}


@pytest.mark.parametrize("name", LOADS)
async def test_a_new_version_of_the_volume_is_followed(tmp_path: Path, name: str, autojump_clock: MockClock) -> None:
    """Only a link above the file has changed: who watched the file itself would never hear of it."""
    mount, _ = mounted(tmp_path, 0o440)
    path, told = mount.path / name, list[Read | str]()
    followed = Followed(path, LOADS[name](path), LOADS[name], told.append)
    new = mount.files()
    new[name] += b"# a line more\n"
    mount.project(new)
    await trio.sleep(POLL)
    assert (await followed.now()).octets == len(new[name])
    assert len(told) == 1


def test_a_new_version_of_a_certificate_is_taken(tmp_path: Path) -> None:
    mount, settings = mounted(tmp_path, 0o440)
    before = prepare(settings)
    renewal = Renewal(lambda: before)
    assert not renewal.changed()
    issued = authority().issue_cert(HOSTNAME)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    mount.project(mount.files() | {"chain.pem": chain, "key.pem": issued.private_key_pem.bytes()})
    assert [renewal.changed(), renewal.changed()] == [False, True]  # it has settled
    serials = [each.contexts.certificates[0].chain[0].serial_number for each in (before, renewal.renewed())]
    assert serials[0] != serials[1]
