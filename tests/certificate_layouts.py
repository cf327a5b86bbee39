"""Certificates on disk as those lay them out who renew them; the config sees chain.pem and key.pem."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

from tests.gate import HOSTNAME, authority

CHAIN, KEY = "chain.pem", "key.pem"


def write_pair(directory: Path, chain: str = CHAIN, key: str = KEY) -> str:
    """A new certificate and its key; gives the certificate as PEM."""
    issued = authority().issue_cert(HOSTNAME)
    (directory / chain).write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(directory / key)
    return issued.cert_chain_pems[0].bytes().decode()


class Layout(Protocol):
    """``renew`` puts a new pair in place; gives its certificate as PEM."""

    def renew(self) -> str: ...


@dataclass(frozen=True)
class InPlace:
    """Files that are overwritten."""

    directory: Path

    def renew(self) -> str:
        return write_pair(self.directory)


@dataclass(frozen=True)
class CertManager:
    """A volume of Kubernetes: the files are links through ..data, which is renamed over; what was there is removed."""

    directory: Path
    number: count[int] = field(default_factory=count)

    def renew(self) -> str:
        data = self.directory / "..data"
        before = data.resolve() if data.exists() else None
        new = self.directory / f"..generation_{next(self.number)}"
        new.mkdir()
        pem = write_pair(new)
        link = self.directory / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(data)
        for name in (CHAIN, KEY):
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"..data/{name}")
        if before is not None:
            shutil.rmtree(before)
        return pem


@dataclass
class Certbot:
    """live/ has links into archive/, which are replaced one after the other; what was there stays."""

    directory: Path
    newest: int = 0

    def renew(self) -> str:
        pem = self.archive()
        self.link(CHAIN)
        self.link(KEY)
        return pem

    def archive(self) -> str:
        """A new pair that no link leads to yet."""
        (self.directory / "archive").mkdir(exist_ok=True)
        self.newest += 1
        return write_pair(self.directory / "archive", f"{CHAIN}{self.newest}", f"{KEY}{self.newest}")

    def link(self, name: str) -> None:
        """Have one link lead to the newest."""
        path = self.directory / name
        path.unlink(missing_ok=True)
        path.symlink_to(f"archive/{name}{self.newest}")


LAYOUTS = (InPlace, CertManager, Certbot)
