"""tlsgate user: exit codes, what is said, and where a password comes from."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.peers import wait_until
from tlsgate.auth.passwd import read_users
from tlsgate.cli import main

COMMAND = (sys.executable, "-m", "tlsgate", "user")
SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # of "secret"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"# ours\nann:{SHA}\nbob:!{SHA}\ncay:{{PLAIN}}hunter2\neve:{{APP-PASSWORDS-ONLY}}\n")
    path.chmod(0o640)
    return path


def run(users: Path, *line: str, said: bytes = b"") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    done = subprocess.run([*COMMAND, *line, "--file", str(users)], input=said, capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def right(users: Path, name: str, secret: bytes) -> bool:
    stored = read_users(users.read_bytes()).hashes.get(name)
    return stored is not None and stored.matches(secret)


def test_a_users_life(tmp_path: Path) -> None:
    users = tmp_path / "new"
    assert run(users, "add", "ann@example.org", said=b" p w\xff:\r\nanother line\n")[0] == 0
    assert right(users, "ann@example.org", b" p w\xff:")
    assert users.stat().st_mode & 0o777 == 0o600
    assert run(users, "verify", "ann@example.org", said=b" p w\xff:\n")[0] == 0
    assert run(users, "passwd", "ann@example.org", said=b"other")[0] == 0
    for secret, code in ((b" p w\xff:\n", 1), (b"other\n", 0)):
        assert run(users, "verify", "ann@example.org", said=secret)[0] == code
    assert run(users, "list") == (0, "ann@example.org\n", "")
    assert run(users, "remove", "ann@example.org")[0] == 0
    assert run(users, "verify", "ann@example.org", said=b"other\n")[0] == 1
    assert run(users, "list") == (0, "", "")


@pytest.mark.parametrize(
    ("line", "said", "why"),
    [
        (("add", "ann"), b"pw\n", "is there already"),
        (("add", "dan"), b"", "empty password"),
        (("add", "dan"), b"\n", "empty password"),
        (("add", "dan"), b"x" * 4097, "password too long"),
        (("add", "d:n"), b"pw\n", '":"'),
        (("passwd", "dan"), b"pw\n", "is not there"),
        (("passwd", "bob"), b"pw\n", "is locked"),
        (("remove", "dan"), b"", "is not there"),
        (("verify", "ann"), b"wrong\n", "the password is wrong"),
        (("verify", "ann"), b"secret ", "the password is wrong"),
        (("verify", "bob"), b"secret\n", "is locked"),
        (("verify", "eve"), b"secret\n", "has app passwords only"),
        (("add", "dan", "--scheme", "SCRAM-SHA-256"), b"\xff\n", "must be UTF-8"),
        (("passwd", "bob", "--app-passwords-only"), b"", "is locked"),
        (("verify", "cay"), b"hunter2\n", "is not there, or its line can't be used"),
        (("verify", "dan"), b"secret\n", "is not there"),
    ],
)
def test_no(users: Path, line: tuple[str, ...], said: bytes, why: str) -> None:
    """Exit code 1, and the file is as it was."""
    before = users.read_bytes()
    code, out, err = run(users, *line, said=said)
    assert (code, out) == (1, "")
    assert why in err and "Traceback" not in err
    assert users.read_bytes() == before


@pytest.mark.parametrize("line", [("passwd", "ann"), ("remove", "ann"), ("verify", "ann"), ("list",)])
def test_a_file_that_is_not_there(tmp_path: Path, line: tuple[str, ...]) -> None:
    code, out, err = run(tmp_path / "none", *line, said=b"pw\n")
    assert (code, out, err) == (1, "", f"{tmp_path / 'none'}: No such file or directory\n")
    assert list(tmp_path.iterdir()) == []


def test_the_list_tells_who_is_locked_or_easily_guessed_and_which_lines_are_faulty(users: Path) -> None:
    code, out, err = run(users, "list")
    assert (code, out) == (0, "ann\tweak: {SHA}\nbob\tlocked\neve\tapp passwords only\n")
    assert err.startswith(f"{users}:4: ")
    assert "hunter2" not in err


def test_who_logs_in_by_scram_goes_on_so_unless_it_is_said(users: Path) -> None:
    """A client that has been told to use SCRAM would be locked out by a hash of another kind."""

    def scheme(name: str) -> str:
        return next(line for line in users.read_text().splitlines() if line.startswith(f"{name}:")).split("}")[0]

    assert run(users, "add", "dan", "--scheme", "scram-sha-256", said=b"pw\n")[0] == 0
    assert scheme("dan") == "dan:{SCRAM-SHA-256"
    assert run(users, "passwd", "dan", said=b"other\n")[0] == 0
    assert scheme("dan") == "dan:{SCRAM-SHA-256"
    assert right(users, "dan", b"other")
    assert run(users, "passwd", "dan", "--scheme", "ARGON2ID", said=b"third\n")[0] == 0
    assert scheme("dan") == "dan:{ARGON2ID"
    assert right(users, "dan", b"third")


def test_app_passwords_only_and_back(users: Path) -> None:
    """No password is asked for where there is to be none."""
    assert run(users, "passwd", "ann", "--app-passwords-only") == (0, "ann has app passwords only\n", "")
    assert run(users, "add", "dan", "--app-passwords-only") == (0, "dan is added\n", "")
    read = read_users(users.read_bytes())
    assert all(read.lets_in(name) and read.hashes[name] is None for name in ("ann", "dan"))
    assert run(users, "passwd", "ann", said=b"pw\n")[0] == 0
    assert right(users, "ann", b"pw")


@pytest.mark.parametrize("action", ["add", "passwd", "verify"])
def test_there_is_no_way_to_give_a_password_on_the_command_line(
    users: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everybody on the host would see it in the list of processes."""
    for extra in (["hunter2"], ["--password", "hunter2"], ["--pass=hunter2"]):
        with pytest.raises(SystemExit) as left:
            main(["user", action, "ann", *extra, "--file", str(users)])
        assert left.value.code == 2
    assert "unrecognized arguments: hunter2" in capsys.readouterr().err


# -- at a terminal ---------------------------------------------------------------------------------------


def at_terminal(users: Path, *line: str, answers: tuple[bytes, ...]) -> tuple[int, bytes]:
    """Exit code, and everything that the terminal has shown; each answer is typed when it is asked for."""
    ours, theirs = pty.openpty()
    shown = bytearray()

    def asked(times: int) -> Callable[[], bool]:
        def look() -> bool:
            shown.extend(os.read(ours, 4096))
            return shown.count(b": ") >= times and shown.rstrip().endswith(b":")

        return look

    process = subprocess.Popen(
        [*COMMAND, *line, "--file", str(users)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,  # without a terminal of its own, it must make do with its standard input
    )
    os.close(theirs)
    try:
        for times, answer in enumerate(answers, start=1):
            wait_until(asked(times), "a prompt")
            os.write(ours, answer + b"\n")
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
        return process.wait(30), bytes(shown)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_prompt_asks_twice_and_shows_nothing(users: Path) -> None:
    code, shown = at_terminal(users, "add", "dan", answers=(b"correct horse", b"correct horse"))
    assert code == 0, shown
    assert b"horse" not in shown
    assert right(users, "dan", b"correct horse")
    code, shown = at_terminal(users, "verify", "dan", answers=(b"correct horse",))
    assert (code, b"horse" in shown) == (0, False)


def test_a_slip_of_the_finger_changes_nothing(users: Path) -> None:
    before = users.read_bytes()
    code, shown = at_terminal(users, "passwd", "ann", answers=(b"correct horse", b"correct hores"))
    assert code == 1
    assert b"the two passwords differ" in shown
    assert users.read_bytes() == before


def test_the_end_of_input_at_a_prompt_is_no_password(users: Path) -> None:
    code, shown = at_terminal(users, "passwd", "ann", answers=(b"\x04",))
    assert code == 1
    assert b"Traceback" not in shown
