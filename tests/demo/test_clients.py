"""Real clients: curl, mbsync and swaks say what they say to any server."""

import re
import subprocess
from pathlib import Path

import pytest
import trio

from tests.demo.conftest import program
from tlsgate.demo import DemoBackend
from tlsgate.demo.samples import SAMPLES

pytestmark = pytest.mark.system


async def run(*command: str, code: int = 0) -> bytes:
    """Run a program for a minute at most; it must end with `code`. Returns what it wrote."""
    with trio.fail_after(60):
        done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == code, done.stdout.decode(errors="replace")
    return bytes(done.stdout)


async def curl(*arguments: str, code: int = 0, user: str = "demo:sec ret") -> bytes:
    return await run(program("curl"), "--silent", "--max-time", "50", "--user", user, *arguments, code=code)


async def test_curl_reads_imap(backend: DemoBackend) -> None:
    url = f"imap://127.0.0.1:{backend.imap_port}"
    assert b'* LIST (\\HasNoChildren) "/" INBOX' in await curl(url)
    assert b'* LIST (\\HasNoChildren) "/" INBOX' in await curl(f"{url}/INBOX")
    assert await curl(f"{url}/INBOX;MAILINDEX=1") == SAMPLES[0]
    assert await curl(f"{url}/INBOX;UID=3") == SAMPLES[2]
    assert await curl(f"{url}/INBOX;UID=1;SECTION=TEXT") == SAMPLES[0].partition(b"\r\n\r\n")[2]
    assert await curl(f"{url}/INBOX", "-X", "SEARCH ALL") == b"* SEARCH 1 2 3\r\n"
    assert await curl(f"{url}/INBOX?UNSEEN") == b"* SEARCH 2\r\n"
    assert await curl(url, "--login-options", "AUTH=LOGIN")
    assert await curl(url, "--sasl-ir")
    await curl(url, user="demo:wrong", code=67)


async def test_curl_uploads_by_imap(backend: DemoBackend, tmp_path: Path) -> None:
    message = b"Subject: up\r\n\r\n" + b"x" * 30 * 1024 * 1024 + b"\r\n"
    (tmp_path / "message").write_bytes(message)
    url = f"imap://127.0.0.1:{backend.imap_port}/INBOX"
    await curl("-T", str(tmp_path / "message"), url)
    assert backend.mailbox.messages[4].raw == message
    assert await curl(f"{url};UID=4") == message


async def test_curl_reads_pop3(backend: DemoBackend) -> None:
    url = f"pop3://127.0.0.1:{backend.pop3_port}/"
    assert (await curl(url)).splitlines() == [b"%d %d" % (n, len(raw)) for n, raw in enumerate(SAMPLES, 1)]
    assert await curl(f"{url}2") == SAMPLES[1]
    assert len((await curl(url, "-X", "UIDL")).splitlines()) == 3
    assert await curl(url, "--login-options", "AUTH=LOGIN")
    await curl(url, "-I", "-X", "DELE 1")
    await curl(url, user="demo:wrong", code=67)


async def test_curl_sends(backend: DemoBackend, tmp_path: Path) -> None:
    message = b"Subject: sent\r\n\r\n.dot\r\n"
    (tmp_path / "message").write_bytes(message)
    arguments = ["--mail-from", "demo@example.org", "--mail-rcpt", "zoe@example.net", "-T", str(tmp_path / "message")]
    url = f"smtp://127.0.0.1:{backend.smtp_port}/client.example"
    await curl(url, *arguments)
    assert backend.mailbox.messages[4].raw.endswith(message)
    await curl(url, *arguments, user="demo:wrong", code=67)
    await run(program("curl"), "--silent", "--max-time", "50", url, *arguments, code=55)
    assert len(backend.mailbox.messages) == 4


async def test_swaks_sends(backend: DemoBackend) -> None:
    for mechanism in ("PLAIN", "LOGIN"):
        await run(
            program("swaks"),
            *("--server", f"127.0.0.1:{backend.smtp_port}", "--auth", mechanism, "--auth-user", "demo"),
            *("--auth-password", "sec ret", "--from", "demo@example.org", "--to", "zoe@example.net"),
            *("--pipeline", "--timeout", "20", "--header", f"Subject: by {mechanism}"),
        )
    assert b"Subject: by PLAIN\r\n" in backend.mailbox.messages[4].raw
    assert b"Subject: by LOGIN\r\n" in backend.mailbox.messages[5].raw


async def test_mbsync_syncs_both_ways(backend: DemoBackend, tmp_path: Path) -> None:
    maildir = tmp_path / "mail"
    maildir.mkdir()
    (tmp_path / "mbsyncrc").write_text(f"""
IMAPStore far
Host 127.0.0.1
Port {backend.imap_port}
User demo
Pass "sec ret"
SSLType None
AuthMechs LOGIN

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX

Channel demo
Far :far:
Near :near:
Create Near
Expunge Both
SyncState *
""")
    sync = (program("mbsync"), "-c", str(tmp_path / "mbsyncrc"), "demo")
    await run(*sync)
    local = sorted((maildir / "INBOX" / "new").iterdir())
    assert {without_tuid(path.read_bytes()) for path in local} == {raw.replace(b"\r\n", b"\n") for raw in SAMPLES}

    local[0].rename(maildir / "INBOX" / "cur" / f"{local[0].name.partition(':')[0]}:2,T")
    (maildir / "INBOX" / "cur" / "own:2,S").write_bytes(b"Subject: own\n\nmine\n")
    await run(*sync)
    assert len(backend.mailbox.messages) == 3
    uploaded = backend.mailbox.messages[4]
    assert without_tuid(uploaded.raw) == b"Subject: own\r\n\r\nmine\r\n"
    assert uploaded.flags == {b"\\Seen"}


def without_tuid(raw: bytes) -> bytes:
    """mbsync marks what it copies with a header field of its own."""
    return re.sub(rb"(?m)^X-TUID: .*\n", b"", raw)
