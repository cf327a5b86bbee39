"""Numbers that pages name and the code has: one that is changed in the code makes the sentence untrue."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import ROOT
from tlsgate import certificate_watch, controls, listener, live, renewal, server, session
from tlsgate.admission import bans, failures, lists, penalties, reread, screened
from tlsgate.auth import app_passwords, app_passwords_used, followed, line_table, success_cache
from tlsgate.backends import backend, records, resolve
from tlsgate.dialogue import smtp_data
from tlsgate.doctor import certificates, relay_forms
from tlsgate.mail import aliases_file
from tlsgate.mail.surbl import findings, scanner, structure, text_part
from tlsgate.ops import client_report, log, session_view
from tlsgate.relay import pump
from tlsgate.state import conversation
from tlsgate.tls import validity
from tlsgate.workers import fleet, handle

_DAY = 86_400
_MIB = 1024**2


def claims() -> Iterator[tuple[str, str]]:
    """A page, and what it says, with the code's number in it."""
    delays = [min(2.0**step, failures._LONGEST_DELAY) for step in range(5)]
    yield "admission.md", "wait before it is looked at: {:g} s, then {:g}, {:g}, {:g}, and {:g}".format(*delays)
    yield "admission.md", f"within {penalties._KNOWN / _DAY:g} days, no failure makes it wait"
    yield "admission.md", f"more than {lists.MOST_BYTES // _MIB} MiB or a million prefixes"
    assert lists.MOST_PREFIXES == 1_000_000
    yield "admission.md", f"in force some {2 * reread.POLL:g} s later"
    assert bans._LONGEST == bans._REMEMBERED == _DAY
    yield "admission.md", "within a day after the last one's end is twice as long, up to a day"
    words = {10.0: "ten"}
    yield "admission.md", f"A handshake has {words[session._HANDSHAKE]} seconds"
    yield "client-addresses.md", f"must send the header within {listener._HEADER_TIMEOUT:g} s"
    yield "logging-in.md", f"reread within {followed.POLL:g} s of a change"
    yield "logging-in.md", f"A user can have {app_passwords.MOST_PER_USER}."
    assert app_passwords_used.PAUSE == 60
    yield "logging-in.md", "at most once a minute"
    yield "logging-in.md", f"At most {success_cache.MOST_ENTRIES:,} logins are remembered"
    assert line_table.MOST_LINES == 1_000_000
    yield "logging-in.md", "may have a million lines"
    yield "logging-in.md", f"from {resolve._LEAST:g} s to {resolve._MOST / 60:g} min"
    yield "logging-in.md", f"doesn't say the same they are good for {resolve._UNTOLD:g} s"
    yield "logging-in.md", f"at most {records.MOST_SERVERS} servers each"
    assert backend._LEAST_SHARE == 1 / 20
    yield "logging-in.md", "grows from a twentieth to the whole"
    yield "mail.md", f"is larger than {aliases_file.LARGEST // _MIB} MiB"
    yield "mail.md", f"a line of more than {smtp_data.LONGEST_LINE} octets"
    yield (
        "mail.md",
        f"the client speaks before it is greeted, within `pregreet_delay` (0s: nobody waits) | {screened._PREGREET} |",
    )
    yield "mail.md", f"a link in the message to a site that is listed | {findings._WEIGHT} |"
    assert text_part.Room().decoded == _MIB
    yield "mail.md", f"(the first 1 MB of text, {scanner._SITES} sites, nesting of {structure._DEPTH})"
    yield "operations.md", f"their files are looked at every {certificate_watch.POLL:g} s"
    assert certificate_watch.POLL * renewal._PATIENCE < 60
    yield "operations.md", "is served to new clients within a minute"
    yield "operations.md", f"of each at most {client_report.MOST:,}"
    yield "operations.md", f"at most {session_view.MOST}, the next ones with"
    v4, v6 = controls._WIDEST[4], controls._WIDEST[6]
    yield "operations.md", f"One wider than a /{v4} (IPv6: /{v6}) is refused"
    assert live._PATIENCE == 2
    yield "operations.md", "when nothing is on its way to it, within two seconds"
    assert server._LOOKING == 1
    yield "operations.md", "What they can't tell in a second is left out"
    yield "operations.md", f"{len(relay_forms.forms('example.org', '[192.0.2.1]'))} forms of recipients"
    yield "operations.md", f"within {certificates._SOON.days} days of it"
    yield "operations.md", f"no sign of life for {handle._HANGS * fleet._TICK:g} s is killed"
    yield "operations.md", f"of one that dies they are free {conversation._LEASE / 1000:g} s later"
    yield "performance.md", f"reads of {pump._BUFFER // 1024} KiB into one buffer"
    yield "performance.md", f"log lines are gathered for {log._GATHER * 1000:g} ms"
    yield "metrics-and-log.md", f"A certificate ends within {validity._SOON.days} days"


CLAIMS = list(claims())


@pytest.mark.parametrize(("page", "claim"), CLAIMS, ids=[f"{page}: {claim[:40]}" for page, claim in CLAIMS])
def test_the_page_says_the_number_of_the_code(page: str, claim: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert claim in re.sub(r"\s+", " ", text)
