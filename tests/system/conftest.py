"""Real legacy servers and a real gateway in front of them, started once for the run."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.accounts import User, write_users
from tests.system.certificates import BACKEND_NAME, GATEWAY_NAME, Certificate, issue
from tests.system.dovecot import OWNER, Dovecot, dovecot
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import HOST, needs_root
from tests.system.postfix import Postfix, postfix

HERE = Path(__file__).parent
LISTENERS = [
    Listener("imaps", "imap", "implicit", "imap"),
    Listener("imap", "imap", "starttls", "imap"),
    Listener("pop3s", "pop3", "implicit", "pop3"),
    Listener("pop3", "pop3", "starttls", "pop3"),
    Listener("submissions", "submission", "implicit", "smtp"),
    Listener("submission", "submission", "starttls", "smtp"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """A directory that the servers' users may enter: pytest's own is closed to them."""
    directory = Path(tempfile.mkdtemp(prefix="tlsgate-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def mail(root: Path) -> Path:
    """Where the maildirs are, one a user."""
    needs_root("mailboxes are given to a system user")
    directory = root / "mail"
    directory.mkdir()
    owner = pwd.getpwnam(OWNER)
    os.chown(directory, owner.pw_uid, owner.pw_gid)
    return directory


@pytest.fixture(scope="session")
def users_file(root: Path) -> Path:
    return root / "users"


@pytest.fixture(scope="session")
def all_users(users_file: Path) -> list[User]:
    return write_users(users_file, 300)


@pytest.fixture(scope="session")
def fresh_users(all_users: list[User]) -> Iterator[User]:
    return iter(all_users[:-1])


@pytest.fixture
def user(fresh_users: Iterator[User]) -> User:
    """A user whom no other test has, with an empty mailbox."""
    return next(fresh_users)


@pytest.fixture
def utf8_user(all_users: list[User]) -> User:
    """The one whose secret is not ASCII."""
    return all_users[-1]


@pytest.fixture(scope="session")
def backend_certificate(root: Path) -> Certificate:
    return issue(root / "backend-certificate", BACKEND_NAME)


@pytest.fixture(scope="session")
def gateway_certificate(root: Path) -> Certificate:
    return issue(root / "gateway-certificate", GATEWAY_NAME, HOST)


@pytest.fixture(scope="session")
def legacy_dovecot(root: Path, mail: Path, users_file: Path, all_users: list[User]) -> Iterator[Dovecot]:
    """Dovecot without TLS."""
    with dovecot(root / "dovecot", mail, users_file) as server:
        yield server


@pytest.fixture(scope="session")
def tls_dovecot(
    root: Path, mail: Path, users_file: Path, all_users: list[User], backend_certificate: Certificate
) -> Iterator[Dovecot]:
    """Dovecot with STARTTLS and implicit TLS, over the same mailboxes."""
    with dovecot(root / "dovecot-tls", mail, users_file, backend_certificate) as server:
        yield server


@pytest.fixture(scope="session")
def legacy_postfix(
    root: Path, mail: Path, all_users: list[User], legacy_dovecot: Dovecot, backend_certificate: Certificate
) -> Iterator[Postfix]:
    names = [user.name for user in all_users]
    with postfix(root / "postfix", mail, names, legacy_dovecot.auth, backend_certificate) as server:
        yield server


@pytest.fixture(scope="session")
def gate(
    root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot, legacy_postfix: Postfix
) -> Iterator[Gateway]:
    """The gateway in front of the cleartext servers: every protocol, implicit TLS and STARTTLS."""
    pools = [
        Pool("imap", legacy_dovecot.imap),
        Pool("pop3", legacy_dovecot.pop3),
        Pool("smtp", legacy_postfix.smtp),
    ]
    with gateway(root / "gateway", gateway_certificate, LISTENERS, pools) as running:
        yield running
