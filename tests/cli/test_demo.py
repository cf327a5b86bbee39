"""tlsgate demo: every command that it prints works when pasted into a shell."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.peers import program, wait_until

_SCREEN = 50


@dataclass(frozen=True)
class Demo:
    process: subprocess.Popen[bytes]
    screen: str

    def commands(self) -> list[str]:
        return [line.strip() for line in self.screen.splitlines() if re.match(r"  (curl|printf) ", line)]

    def paste(self, *words: str) -> str:
        """Run the one printed command that holds all ``words``; gives its output."""
        (command,) = [line for line in self.commands() if all(word in line for word in words)]
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=30)
        output = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0, f"{command}\n{output}"
        return output


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    program("curl")
    program("openssl")
    directory = tmp_path_factory.mktemp("demo")
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        process = subprocess.Popen([sys.executable, "-m", "tlsgate", "demo"], stdout=out, stderr=err)
    try:
        wait_until(lambda: "Below:" in (directory / "out").read_text() or process.poll() is not None, "the screen")
        screen = (directory / "out").read_text()
        assert "Below:" in screen, (directory / "err").read_text()
        yield Demo(process, screen)
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(20)
    log = (directory / "err").read_text()
    assert status == 0, log
    assert "Traceback" not in log
    certificate = re.search(r"\S+certificate\.pem", screen)
    assert certificate is not None
    assert not Path(certificate[0]).exists()


def test_it_fits_on_a_screen(demo: Demo) -> None:
    assert len(demo.screen.splitlines()) <= _SCREEN
    for name in ("imaps", "imap", "pop3s", "pop3", "submissions", "submission"):
        assert re.search(rf"^  {name} +localhost:\d+", demo.screen, re.MULTILINE)
    assert "user demo, password" in demo.screen


def test_a_message_is_sent_and_read_back_by_imap_and_pop3(demo: Demo) -> None:
    demo.paste("smtps://")
    for scheme in ("imaps://", "pop3s://"):
        read = demo.paste(scheme)
        assert "Subject: Hello" in read
        assert "Sent through tlsgate." in read


def test_starttls(demo: Demo) -> None:
    assert "a OK" in demo.paste("-starttls imap")
    stat = [line for line in demo.paste("-starttls pop3").splitlines() if line.startswith("+OK")]
    assert len(stat) >= 3
    assert "235 2.7.0" in demo.paste("-starttls smtp")


def test_a_login_in_clear_is_refused(demo: Demo) -> None:
    assert "a NO [PRIVACYREQUIRED]" in demo.paste("telnet://")
    assert "a NO [PRIVACYREQUIRED]" in demo.screen


def test_every_printed_command_was_pasted(demo: Demo) -> None:
    assert len(demo.commands()) == 7


def test_metrics_are_where_it_says(demo: Demo) -> None:
    found = re.search(r"http://\S+/metrics", demo.screen)
    assert found is not None
    done = subprocess.run([program("curl"), "-sf", found[0]], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "tlsgate_cleartext_auth_refused_total" in done.stdout
