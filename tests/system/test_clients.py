"""Programs that people use: curl, mbsync, swaks, openssl s_client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.accounts import WRONG, User
from tests.system.clients import LISTENER, body_of, fetched, large_body, mailbox, message, wait_for_mail
from tests.system.gateway import Gateway
from tests.system.peers import missing, program, run

SCHEME = {"imap": "imap", "pop3": "pop3", "submission": "smtp"}
CURL_LOGIN_DENIED = 67

both_ways = pytest.mark.parametrize("tls", ["implicit", "starttls"])


def _curl(
    gate: Gateway, protocol: str, tls: str, user: User, path: str, *options: str, text: str = ""
) -> tuple[int, str]:
    """curl's exit status and output. With STARTTLS it must not go on without TLS."""
    scheme = SCHEME[protocol] + ("s" if tls == "implicit" else "")
    url = f"{scheme}://localhost:{gate.ports[LISTENER[protocol, tls]]}/{path}"
    login = ("--user", f"{user.name}:{user.secret}")
    always = ("--silent", "--show-error", "--cacert", str(gate.ca), "--ssl-reqd", "--max-time", "20")
    done = run(program("curl"), *always, *login, *options, url, text=text)
    return done.returncode, done.stdout + done.stderr


@both_ways
def test_curl_sends_and_reads(gate: Gateway, user: User, tls: str) -> None:
    envelope = ("--mail-from", user.name, "--mail-rcpt", user.name, "--upload-file", "-")
    sent = message(user, "by curl", b"Sent by curl.\r\n").decode()
    assert _curl(gate, "submission", tls, user, "client.example.test", *envelope, text=sent) == (0, "")
    with mailbox(gate, user) as client:
        wait_for_mail(client, 1)
    for protocol, path in (("imap", "INBOX;MAILINDEX=1"), ("pop3", "1")):
        status, output = _curl(gate, protocol, tls, user, path)
        assert status == 0, output
        assert "Subject: by curl" in output
        assert "Sent by curl." in output


@both_ways
@pytest.mark.parametrize("protocol", ["imap", "pop3", "submission"])
def test_curl_is_told_that_the_secret_is_wrong(gate: Gateway, user: User, tls: str, protocol: str) -> None:
    status, output = _curl(gate, protocol, tls, User(user.name, WRONG), "")
    assert status == CURL_LOGIN_DENIED, output


def _mbsync_config(directory: Path, gate: Gateway, user: User, tls: str) -> Path:
    (directory / "secret").write_text(user.secret)
    (directory / "near").mkdir()
    config = directory / "mbsyncrc"
    config.write_text(f"""
IMAPAccount gate
Host localhost
Port {gate.ports[LISTENER["imap", tls]]}
User {user.name}
PassCmd "cat {directory}/secret"
AuthMechs LOGIN
SSLType {"IMAPS" if tls == "implicit" else "STARTTLS"}
SystemCertificates no
CertificateFile {gate.ca}

IMAPStore far
Account gate

MaildirStore near
Path {directory}/near/
Inbox {directory}/near/INBOX

Channel both
Far :far:
Near :near:
Create Near
Sync All
SyncState {directory}/state
""")
    return config


@both_ways
def test_mbsync_mirrors_a_mailbox_both_ways(gate: Gateway, user: User, tls: str, tmp_path: Path) -> None:
    mbsync = program("mbsync")
    there = [message(user, f"there {number}", large_body(50_000, number)) for number in range(20)]
    with mailbox(gate, user) as client:
        for raw in there:
            client.append("INBOX", "", "", raw)
    config = _mbsync_config(tmp_path, gate, user, tls)
    done = run(mbsync, "-c", str(config), "-a")
    assert done.returncode == 0, done.stderr
    inbox = tmp_path / "near" / "INBOX"
    assert sorted(map(body_of, _maildir(inbox))) == sorted(map(body_of, there))

    (inbox / "new" / "1.from.here").write_bytes(message(user, "here").replace(b"\r\n", b"\n"))
    done = run(mbsync, "-c", str(config), "-a")
    assert done.returncode == 0, done.stderr
    with mailbox(gate, user) as client:
        wait_for_mail(client, 21)
        assert b"Subject: here\r\n" in fetched(client, 21)


def _maildir(directory: Path) -> Iterator[bytes]:
    for path in [*(directory / "cur").iterdir(), *(directory / "new").iterdir()]:
        yield path.read_bytes().replace(b"\n", b"\r\n")


def _swaks(gate: Gateway, user: User, *options: str) -> tuple[int, str]:
    server = ("--server", "localhost", "--timeout", "20", "--from", user.name, "--to", user.name)
    login = ("--auth-user", user.name, "--auth-password", user.secret)
    done = run(program("swaks"), *server, *login, *options, "--header", "Subject: by swaks", "--body", "Swaks.")
    return done.returncode, done.stdout + done.stderr


@both_ways
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_sends(gate: Gateway, user: User, tls: str, mechanism: str) -> None:
    if run(program("perl"), "-MNet::SSLeay", "-e", "1").returncode != 0:
        missing("swaks needs Perl's Net::SSLeay for TLS")
    port = str(gate.ports[LISTENER["submission", tls]])
    mode = "--tls-on-connect" if tls == "implicit" else "--tls"
    verify = ("--tls-verify", "--tls-ca-path", str(gate.ca))
    status, output = _swaks(gate, user, "--port", port, mode, *verify, "--auth", mechanism)
    assert status == 0, output
    with mailbox(gate, user) as client:
        wait_for_mail(client, 1)
        assert b"Swaks." in fetched(client, 1)


def test_swaks_finds_no_login_in_clear(gate: Gateway, user: User) -> None:
    status, output = _swaks(gate, user, "--port", str(gate.ports["submission"]), "--auth", "PLAIN")
    assert status != 0
    assert "AUTH" not in "".join(line for line in output.splitlines() if "250" in line)
    assert user.secret not in output.replace("auth-password", "")


@both_ways
@pytest.mark.parametrize(
    ("protocol", "typed", "expected"),
    [
        ("imap", "a LOGOUT\r\n", "a OK"),
        ("pop3", "QUIT\r\n", "+OK"),
        ("submission", "QUIT\r\n", "221 "),
    ],
)
def test_openssl_s_client(gate: Gateway, tls: str, protocol: str, typed: str, expected: str) -> None:
    """The chain verifies for the name, and the dialogue goes on behind the handshake."""
    starttls = ("-starttls", SCHEME[protocol]) if tls == "starttls" else ()
    port = gate.ports[LISTENER[protocol, tls]]
    trust = ("-CAfile", os.fspath(gate.ca), "-verify_return_error", "-verify_hostname", "localhost")
    done = run(
        program("openssl"), "s_client", "-connect", f"localhost:{port}", *starttls, *trust, "-ign_eof", text=typed
    )
    assert "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
    assert any(line.startswith(expected) for line in done.stdout.splitlines()), done.stdout


@pytest.mark.parametrize("protocol", ["imap", "pop3", "submission"])
def test_tls_below_1_2_is_refused(gate: Gateway, protocol: str) -> None:
    port = gate.ports[LISTENER[protocol, "implicit"]]
    legacy = ("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    done = run(program("openssl"), "s_client", "-connect", f"localhost:{port}", *legacy, text="")
    assert done.returncode != 0
    assert "alert protocol version" in done.stderr, done.stderr


def test_one_session_ticket_for_a_connection(gate: Gateway) -> None:
    """OpenSSL sends two unless it is told otherwise: a file that isn't read would cost each login a write."""
    trust = ("-CAfile", str(gate.ca), "-tls1_3")
    port = gate.ports["imaps"]
    done = run(
        program("openssl"), "s_client", "-connect", f"localhost:{port}", *trust, "-crlf", "-ign_eof", text="a LOGOUT\n"
    )
    assert done.stdout.count("New Session Ticket arrived") == 1
