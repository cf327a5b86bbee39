"""certs/certbot/let-tlsgate-read: tlsgate may read the key that it serves, and no other of certbot's."""

from __future__ import annotations

import grp
import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.peers import needs_root

HOOK = Path(__file__).parents[2] / "certs" / "certbot" / "let-tlsgate-read"
NOBODY = 65_534
NAME = "mail.example.org"


@dataclass(frozen=True, slots=True)
class Etc:
    """/etc/letsencrypt as certbot makes it: ``live`` has links into ``archive``, and all of it is its owner's."""

    root: Path

    @property
    def lineage(self) -> Path:
        return self.root / "live" / NAME

    def issue(self, name: str, number: int) -> None:
        archive, live = self.root / "archive" / name, self.root / "live" / name
        for directory in (archive, live):
            directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        for part, mode in (("fullchain", 0o644), ("privkey", 0o600)):
            file, link = archive / f"{part}{number}.pem", live / f"{part}.pem"
            file.write_text(part)
            file.chmod(mode)
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../archive/{name}/{file.name}")
        for directory in (self.root / "archive", self.root / "live"):
            directory.chmod(0o700)

    def key(self, name: str, number: int) -> Path:
        return self.root / "archive" / name / f"privkey{number}.pem"


@pytest.fixture
def etc(tmp_path: Path) -> Etc:
    made = Etc(tmp_path / "letsencrypt")
    made.issue(NAME, 1)
    made.issue("other.example.org", 1)
    made.issue(NAME, 2)
    return made


def run_hook(etc: Etc, group: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RENEWED_LINEAGE": str(etc.lineage), "TLSGATE_GROUP": group}
    return subprocess.run([HOOK], env=environment, capture_output=True, text=True, timeout=30)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_newest_key_is_the_groups_to_read_and_no_other_changes(etc: Etc) -> None:
    """A hook that opens more gives away keys of services that tlsgate has nothing to do with."""
    own = grp.getgrgid(os.getgid()).gr_name
    for _ in range(2):  # certbot runs it at each renewal
        done = run_hook(etc, own)
        assert (done.returncode, done.stderr) == (0, "")
    assert mode(etc.key(NAME, 2)) == 0o640
    assert etc.key(NAME, 2).stat().st_gid == os.getgid()
    assert mode(etc.key(NAME, 1)) == mode(etc.key("other.example.org", 1)) == 0o600
    assert [mode(etc.root / name) for name in ("live", "archive")] == [0o710, 0o710]


def test_a_member_of_the_group_reads_what_the_config_names(etc: Etc) -> None:
    """Else renewed certificates are not served: certificate_fault, and an expired one after three months."""
    needs_root("becoming another user needs root")
    group = next(each for each in grp.getgrall() if each.gr_gid not in (0, NOBODY))
    for directory in (etc.root, *etc.root.parents):
        if directory.stat().st_uid == os.getuid() and not directory.stat().st_mode & stat.S_IXOTH:
            directory.chmod(mode(directory) | stat.S_IXOTH)  # pytest's own

    def reads(name: str) -> bool:
        path = etc.lineage / name
        tried = subprocess.run(
            ["cat", path], user=NOBODY, group=NOBODY, extra_groups=[group.gr_gid], capture_output=True, timeout=30
        )
        return tried.returncode == 0

    assert not reads("privkey.pem")
    assert run_hook(etc, group.gr_name).returncode == 0
    assert reads("privkey.pem")
    assert reads("fullchain.pem")


def test_without_certbot_it_touches_nothing(etc: Etc) -> None:
    """Run by hand, it must not change modes from wherever it stands."""
    environment = {name: value for name, value in os.environ.items() if name != "RENEWED_LINEAGE"}
    done = subprocess.run([HOOK], env=environment, capture_output=True, text=True, timeout=30, cwd=etc.root)
    assert done.returncode != 0
    assert "RENEWED_LINEAGE" in done.stderr
    assert mode(etc.key(NAME, 2)) == 0o600
