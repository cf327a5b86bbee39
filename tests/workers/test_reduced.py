"""What of a prepared config comes to the process that only admits connections: all but what logins need."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tests.test_prepared import SHA, written
from tests.test_prepared import config as config  # the fixture
from tlsgate.auth.app_passwords_edit import new_line
from tlsgate.config import load
from tlsgate.prepared import Prepared, prepare
from tlsgate.workers import reduced

APP = "aaaa-bbbb-cccc-dddd-eeee"
STORED = "a secret of hers"
AUTH = """source = ["users-file", "auth-http"]
users_file = "users"
app_passwords_file = "apps"
user_map = "map"
auth_http = "http://127.0.0.1:1/"
auth_http_header_file = "header"
"""


def put(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{each}\n" for each in lines))
    path.chmod(0o600)


@pytest.fixture
def prepared(config: Path) -> Prepared:
    """With every file that a source or a pool can have, and a fault in each."""
    directory = config.parent
    put(directory / "users", f"ann:{SHA}", "bob:{APP-PASSWORDS-ONLY}", "faulty")
    put(directory / "apps", new_line("ann", "phone", APP, date(2026, 1, 31), frozenset(), ()), "faulty")
    put(directory / "map", "ann as=ann.old", "faulty")
    put(directory / "header", "X-Key: the key of ours")
    put(directory / "secrets", f"ann:ann.old:{STORED}", "faulty")
    return prepare(load(written(config, AUTH, 'stored"\nsecrets_file = "secrets')))


def passed(prepared: Prepared) -> tuple[Prepared, bytes]:
    file = io.BytesIO()
    reduced.write(prepared, file)
    return reduced.read(io.BytesIO(file.getvalue())), file.getvalue()


def test_what_lets_anybody_in_does_not_come_back(prepared: Prepared) -> None:
    """It gives up its privileges, and whoever breaks into it must not find what only they could open."""
    again, octets = passed(prepared)
    assert prepared.app_passwords is not None and prepared.users is not None
    (app,) = prepared.app_passwords.passwords.by_user["ann"]
    for secret in (SHA.partition("}")[2].encode(), app.salt, app.digest, STORED.encode(), b"the key of ours"):
        assert secret not in octets
    assert again.settings == prepared.settings
    assert again.users is not None and not again.users.users.lets_in("ann")


def test_what_is_wrong_with_the_files_does(prepared: Prepared) -> None:
    """It tells of it, at each reload."""
    told = list(passed(prepared)[0].remarks())
    assert told == list(prepared.remarks())
    assert sum(each.event.endswith("_fault") and each.text.startswith("it ") for each in told) >= 3


def test_nobody_who_can_log_in_is_still_told(prepared: Prepared, config: Path) -> None:
    put(config.parent / "users", "ann:!")
    locked = replace(prepared, users=prepare(load(config)).users)
    assert any("nobody can log in by it" in each.text for each in passed(locked)[0].remarks())
    assert not any("nobody can log in by it" in each.text for each in passed(prepared)[0].remarks())
