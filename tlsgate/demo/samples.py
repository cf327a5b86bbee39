"""The messages that a new demo mailbox holds."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage

_FIRST = datetime(2024, 5, 13, 9, 30, tzinfo=UTC)


def _message(number: int, sender: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage(policy=policy.SMTP)
    message["Date"] = _FIRST + timedelta(hours=number)
    message["From"] = sender
    message["To"] = "Demo User <demo@example.org>"
    message["Subject"] = subject
    message["Message-ID"] = f"<sample-{number}@example.org>"
    message.set_content(text)
    return message


def _samples() -> Sequence[bytes]:
    welcome = _message(
        1,
        "tlsgate <postmaster@example.org>",
        "Welcome to the demo mailbox",
        "This message lies on a server that speaks no TLS at all.\n\nYou read it through tlsgate, over TLS.\n",
    )
    lunch = _message(
        2,
        "Zoë Müller <zoe@example.net>",
        "Café at noon?",
        "Déjà vu: the same table, the same coffee.\n\n.a line that begins with a dot\n\nZoë\n",
    )
    report = _message(
        3,
        '"Reports, Daily" <reports@example.com>',
        "Figures for May",
        "The figures are attached.\n",
    )
    report.add_attachment("day,logins\n2024-05-13,1024\n", subtype="csv", filename="figures.csv")
    report.set_boundary("=_figures_for_may")
    return tuple(message.as_bytes() for message in (welcome, lunch, report))


SAMPLES = _samples()
