"""Files about users: passwd and htpasswd lines, app passwords, the user map, aliases."""

from __future__ import annotations

from functools import partial

from tlsgate.auth.app_passwords import read_app_passwords
from tlsgate.auth.hashes import is_locked, read_hash
from tlsgate.auth.line_table import LineTable
from tlsgate.auth.passwd import read_users
from tlsgate.auth.user_map import _check, _pairs, _user
from tlsgate.config import Protocol
from tlsgate.mail.aliases import read_aliases

_FIT = {each: {"imap": None} for each in (Protocol.IMAP, Protocol.POP3, Protocol.SUBMISSION)}
_CHEAP = ("SSHA", "SHA", "SMD5", "LDAP-MD5", "SHA256", "SSHA256")


def fuzz(data: bytes) -> None:
    users = read_users(data)
    assert len(users.hashes) + users.faulty <= data.count(b"\n") + 1
    assert len(users.faults) <= users.faulty
    for user, stored in users.hashes.items():
        assert not any(each in user for each in "\0\r\n:")
        if stored is not None and stored.scheme in _CHEAP:
            stored.matches(b"x")
    for fault in users.faults:
        assert fault.text.isprintable()
    _hash(data.decode(errors="replace"))
    for user, passwords in read_app_passwords(data).by_user.items():
        assert user.strip()
        assert len({each.label for each in passwords}) == len(passwords)
        passwords[0].matches(b"x")
    table = LineTable(data, partial(_check, _FIT), _user)
    for line in data.splitlines():
        if line.strip() and (found := table.find(_user(line))) is not None:
            _pairs(found)
    aliases = read_aliases(data)
    assert all(each.text.isprintable() for each in aliases.remarks)


def _hash(text: str) -> None:
    try:
        found = read_hash(text)
    except ValueError as fault:
        assert text.strip() not in str(fault) or len(text) < 30
        return
    assert found.scheme
    assert isinstance(found.weak, bool)
    assert text not in repr(found) or is_locked(text)
