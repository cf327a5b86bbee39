"""Who may send what, with a real Postfix behind two workers and clients whom admission trusts."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.accounts import User
from tests.system.certificates import Certificate
from tests.system.clients import mailbox, message, smtp, wait_for_mail
from tests.system.dovecot import Dovecot
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import wait_until
from tests.system.postfix import DOMAIN, Postfix

ADMISSION = """
messages_per_user = "2/1h"
recipients_per_user = "4/1h"
[admission]
trust = ["127.0.0.0/8"]
[relay]
sender_must_match = true
aliases_file = "{aliases}"
"""


@pytest.fixture(scope="module")
def aliases(root: Path) -> Path:
    path = root / "aliases"
    path.write_text("# nobody has any yet\n")
    return path


@pytest.fixture(scope="module")
def strict(
    root: Path, aliases: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot, legacy_postfix: Postfix
) -> Iterator[Gateway]:
    """A gateway that holds users to their own addresses, and to two messages and four recipients."""
    with gateway(
        root / "quotas-and-senders",
        gateway_certificate,
        [Listener("submissions", "submission", "implicit", "smtp"), Listener("imaps", "imap", "implicit", "imap")],
        [Pool("smtp", legacy_postfix.smtp), Pool("imap", legacy_dovecot.imap)],
        server='drain = "2s"\nworkers = 2',
        admission=ADMISSION.format(aliases=aliases),
    ) as running:
        yield running


def _send(gate: Gateway, user: User, sender: str, recipients: list[str]) -> dict[str, tuple[int, bytes]]:
    """In a session of its own. Gives the recipients that were refused."""
    with smtp(gate, "submissions", "implicit") as client:
        client.login(user.name, user.secret)
        return client.sendmail(sender, recipients, message(user, "x"))


def test_a_user_over_its_quotas(strict: Gateway, user: User) -> None:
    """Two messages and four recipients, whichever worker has the session."""
    assert _send(strict, user, user.name, [user.name]) == {}
    refused = _send(strict, user, user.name, [user.name, f"a@{DOMAIN}", f"b@{DOMAIN}", f"c@{DOMAIN}"])
    assert {name: code for name, (code, _) in refused.items()} == {
        f"a@{DOMAIN}": 550,  # Postfix knows none of them, and they count all the same
        f"b@{DOMAIN}": 550,
        f"c@{DOMAIN}": 452,
    }
    with pytest.raises(smtplib.SMTPRecipientsRefused) as none_left:
        _send(strict, user, user.name, [user.name])
    assert none_left.value.recipients[user.name][0] == 452
    with mailbox(strict, user) as reader:
        wait_for_mail(reader, 2)
    assert strict.event("quota", lambda event: event["user"] == user.name)["quota"] == "recipients"
    assert [event["quota"] for event in strict.events("quota") if event["user"] == user.name] == ["recipients"]
    wait_until(lambda: strict.metric("tlsgate_mail_refused_total", rule="recipients") >= 2, "both are counted")


def test_a_user_with_too_many_messages(strict: Gateway, user: User) -> None:
    for _ in range(2):
        assert _send(strict, user, user.name, [user.name]) == {}
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        _send(strict, user, user.name, [user.name])
    assert refusal.value.smtp_code == 451
    with mailbox(strict, user) as reader:
        wait_for_mail(reader, 2)


def test_senders_that_are_forged_and_one_that_is_an_alias(strict: Gateway, aliases: Path, user: User) -> None:
    """An alias that is added counts some seconds later, without a reload."""
    sales = f"sales@{DOMAIN}"
    with pytest.raises(smtplib.SMTPSenderRefused) as forged:
        _send(strict, user, sales, [user.name])
    assert (forged.value.smtp_code, forged.value.smtp_error[:5]) == (550, b"5.7.1")
    assert strict.event("sender_refused", lambda event: event["user"] == user.name)["from"] == sales
    aliases.write_text(f"{user.name}: {sales}\n")
    wait_until(lambda: len(strict.events("aliases_reloaded")) == 2, "both workers have it", 15)
    assert _send(strict, user, sales, [user.name]) == {}
    with pytest.raises(smtplib.SMTPSenderRefused):
        _send(strict, user, f"boss@{DOMAIN}", [user.name])
    with mailbox(strict, user) as reader:
        wait_for_mail(reader, 1)
