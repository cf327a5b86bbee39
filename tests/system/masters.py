"""Servers before which the gateway logs in as a master: for logins whose proof no backend could take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.accounts import User
from tests.system.certificates import Certificate
from tests.system.dovecot import Dovecot, dovecot
from tests.system.gateway import Pool
from tests.system.postfix import postfix

_SECRET = "the master's own"
_PASSDB = """auth_master_user_separator = *
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {masters}
  master = yes
  result_success = continue
}}
{more}
passdb {{
"""


@dataclass(frozen=True, slots=True)
class Mastered:
    """``pools``: "imap", "pop3" and "smtp", all with ``login``, the lines of a pool for these servers."""

    dovecot: Dovecot
    pools: list[Pool]
    login: str


@contextmanager
def mastered(
    root: Path, name: str, mail: Path, users_file: Path, users: list[User], certificate: Certificate, passdb: str = ""
) -> Iterator[Mastered]:
    """Dovecot and Postfix, called ``name`` below ``root``. ``passdb``: more of Dovecot's."""
    masters, secret = root / f"{name}.masters", root / f"{name}.secret"
    masters.write_text(f"master:{{PLAIN}}{_SECRET}\n")
    masters.chmod(0o644)
    secret.write_text(f"{_SECRET}\n")
    secret.chmod(0o600)
    login = f'login = "master"\nmaster_user = "master"\nmaster_password_file = "{secret}"\n'
    changes = {"passdb {\n": _PASSDB.format(masters=masters, more=passdb)}
    names = [each.name for each in users]
    with (
        dovecot(root / f"dovecot-{name}", mail, users_file, certificate, changes) as store,
        postfix(root / f"postfix-{name}", mail, names, store.auth, certificate) as sender,
    ):
        pools = [Pool("imap", store.imap, rest=login), Pool("pop3", store.pop3, rest=login)]
        yield Mastered(store, [*pools, Pool("smtp", sender.smtp, rest=login)], login)
