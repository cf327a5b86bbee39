"""The files that a config names: what check says of them, and what isn't served."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.gate import HOSTNAME, authority
from tlsgate.cli import main
from tlsgate.config import load
from tlsgate.dialogue.smtp_syntax import Path as SmtpPath
from tlsgate.prepared import needs_restart, prepare
from tlsgate.secret_file import CLOSE_IT

# Of "secret".
SHA = (
    "{SHA512-CRYPT}$6$saltsaltsaltsalt$ph0yGsyjzqdeFaon7.gJZo8eAG"
    "5/rj9/JdzOu1Rl7dKzBYg3xgvl7T2VQ2Rt81bc5AXkdA54r0p8QvC1omD6R1"
)


@pytest.fixture(autouse=True)
def _keeps_its_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``run`` gives up for good, the process of all tests would be without."""
    monkeypatch.setattr("tlsgate.cli.run.give_up", lambda: None)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A good config; its [auth] and the pool's login are put in by ``written``."""
    issued = authority().issue_cert(HOSTNAME)
    (tmp_path / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    return tmp_path / "tlsgate.toml"


def written(config: Path, auth: str, login: str = "same", protocol: str = "submission", admin: str = "") -> Path:
    config.write_text(f"""
[server]
hostname = "{HOSTNAME}"
[tls]
certificate = "chain.pem"
private_key = "key.pem"
[[listeners]]
name = "a"
protocol = "{protocol}"
address = "127.0.0.1:0"
tls = "implicit"
pool = "a"
[pools.a]
backends = [{{ address = "127.0.0.1:1" }}]
login = "{login}"
[auth]
{auth}
[admin]
{admin}
""")
    return config


MASTER = 'master"\nmaster_user = "m"\nmaster_password_file = "master.secret'
USERS_FILE = 'source = "users-file"\nusers_file = "users"\n'


def test_check_tells_faulty_lines_by_their_numbers(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users = config.parent / "users"
    users.write_text(f"ann:{SHA}\nbob:hunter2\n# a comment\nann:{SHA}\n")
    users.chmod(0o644)
    assert main(["check", "--config", str(written(config, USERS_FILE, "none"))]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert f"{users}: everybody on this host can read the hashes; {CLOSE_IT}" in lines
    assert f"{users}:2: its hash is malformed" in lines
    assert any(line.startswith(f"{users}:4: ") for line in lines)
    assert "hunter2" not in said.out
    assert said.err == ""


def test_a_sound_file_is_worth_no_word(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users = config.parent / "users"
    users.write_text(f"ann:{SHA}\n")
    users.chmod(0o640)
    assert main(["check", "--config", str(written(config, USERS_FILE, "none"))]) == 0
    assert str(users) not in capsys.readouterr().out


def test_a_missing_file_is_a_fault_of_the_config_beside_the_others(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(config, USERS_FILE).write_text(config.read_text().replace("key.pem", "gone.pem"))
    for command in ("check", "run"):
        assert main([command, "--config", str(config)]) == 2
        first, second = capsys.readouterr().err.splitlines()
        assert first.startswith(f"{config.parent / 'gone.pem'}: ")
        assert second.startswith(f"auth.users_file: {config.parent / 'users'}: No such file or directory; ")


def test_a_file_that_no_source_needs_is_not_read(config: Path) -> None:
    assert prepare(load(written(config, 'source = "backend"\nusers_file = "users"'))).users is None


def test_sources_that_are_never_asked_are_told(config: Path) -> None:
    (config.parent / "users").write_text(f"ann:{SHA}\n")
    for order, told in (('"users-file", "backend"', False), ('"backend", "users-file"', True)):
        prepared = prepare(load(written(config, f'source = [{order}]\nusers_file = "users"')))
        assert any(remark.about == "auth.source" for remark in prepared.remarks()) is told


TOKEN = "0123456789abcdef"


def test_the_token_file_is_read(config: Path) -> None:
    token = config.parent / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    prepared = prepare(load(written(config, "", admin='token_file = "token"')))
    assert prepared.admin_token is not None
    assert prepared.admin_token.secret == TOKEN
    assert not [each for each in prepared.remarks() if each.event == "token_file_fault"]
    assert prepare(load(written(config, ""))).admin_token is None


def test_a_token_that_everybody_can_read_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = config.parent / "token"
    token.write_text(TOKEN)
    token.chmod(0o644)
    assert main(["check", "--config", str(written(config, "", admin='token_file = "token"'))]) == 0
    out = capsys.readouterr().out
    assert f"{token}: everybody on this host can read the token; {CLOSE_IT}" in out.splitlines()
    assert TOKEN not in out
    assert "not active yet" not in out


def test_a_token_file_that_holds_none_is_a_fault_of_the_config(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who set one would think that changes are possible, or that strangers need it."""
    written(config, "", admin='token_file = "token"')
    for content, why in ((None, "No such file or directory"), ("short", "holds no token")):
        if content is not None:
            (config.parent / "token").write_text(content)
        for command in ("check", "run"):
            assert main([command, "--config", str(config)]) == 2
            error = capsys.readouterr().err
            assert error.startswith(f"admin.token_file: {config.parent / 'token'}: {why}")
            assert "short" not in error


def test_another_token_needs_no_restart_but_another_address_does(config: Path) -> None:
    (config.parent / "token").write_text(TOKEN)
    before = load(written(config, ""))
    assert needs_restart(before, load(written(config, "", admin='token_file = "token"'))) == ""
    assert needs_restart(before, load(written(config, "", admin='address = "127.0.0.1:1"'))) == "admin.address"


def test_check_tells_lines_of_lists_that_are_left_out(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The log of `run` tells them too, by the lists' own trace, as they are read again."""
    block = config.parent / "block"
    block.write_text("192.0.2.0/24\nhost.example\n")
    text = written(config, "").read_text() + '[admission]\nblock = ["block"]\n'
    config.write_text(text)
    assert main(["check", "--config", str(config)]) == 0
    assert f'{block}:2: "host.example" is not a prefix' in capsys.readouterr().out.splitlines()


# -- the file of aliases ---------------------------------------------------------------------------------


def with_aliases(config: Path, text: str | None, *, must_match: bool = True) -> Path:
    written(config, 'source = "backend"')
    relay = f'[relay]\nsender_must_match = {str(must_match).lower()}\naliases_file = "aliases"\n'
    config.write_text(config.read_text() + relay)
    if text is not None:
        (config.parent / "aliases").write_text(text)
    return config


def test_the_file_of_aliases_is_read_and_its_faults_are_told_by_line(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_aliases(config, "ann: a@a.test\nben b@a.test\n" + "nonsense\n" * 200)
    assert main(["check", "--config", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    aliases = config.parent / "aliases"
    assert f'{aliases}:2: it isn\'t "login: address, address"' in lines
    assert f"{aliases}: 101 more lines are faulty" in lines
    assert not any("not active yet" in line for line in lines)
    prepared = prepare(load(path))
    assert prepared.aliases is not None
    assert prepared.aliases.may_send("ann", SmtpPath("a@a.test"))


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_missing_file_of_aliases_is_a_fault_of_the_config_beside_the_others(
    config: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """With none of them, every user with an alias would be refused."""
    path = with_aliases(config, None)
    path.write_text(path.read_text().replace("key.pem", "gone.pem"))
    assert main([command, "--config", str(path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{config.parent / 'gone.pem'}: ")
    assert second.startswith(f"relay.aliases_file: {config.parent / 'aliases'}: No such file or directory; ")


def test_a_file_of_aliases_that_has_no_effect_is_told_and_not_read(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who forgot sender_must_match believes that nobody can forge a sender."""
    path = with_aliases(config, None, must_match=False)
    assert prepare(load(path)).aliases is None
    assert main(["check", "--config", str(path)]) == 0
    told = "relay.aliases_file: has no effect without relay.sender_must_match"
    assert told in capsys.readouterr().out.splitlines()
    assert main(["check", "--config", str(with_aliases(config, "ann: a@a.test\n"))]) == 0
    assert "relay.aliases_file" not in capsys.readouterr().out


# -- the state that replicas share -----------------------------------------------------------------------

SECRET_OF_STATE = "a-password-in-a-url"


def with_state(config: Path, url: str) -> str:
    written(config, 'source = "backend"')
    config.write_text(f'{config.read_text()}[state]\nurl = "{url}"\n')
    return str(config)


def test_a_state_with_a_good_url_is_checked_without_asking_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"valkey://user:{SECRET_OF_STATE}@127.0.0.1:1/3"
    assert main(["check", "--config", with_state(config, url)]) == 0
    said = capsys.readouterr()
    assert SECRET_OF_STATE not in said.out + said.err


def test_a_state_needs_its_library(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the other faults; and not as a traceback at the first connection."""
    monkeypatch.setitem(sys.modules, "coredis", None)  # as if it weren't installed
    path = with_state(config, f"valkey://:{SECRET_OF_STATE}@127.0.0.1:6379/0")
    config.write_text(config.read_text().replace('private_key = "key.pem"', 'private_key = "none.pem"'))
    for command in ("check", "run"):
        assert main([command, "--config", path]) == 2
        said = capsys.readouterr().err
        assert "state.url: needs the extra tlsgate[valkey], which isn't installed" in said
        assert "none.pem" in said
        assert SECRET_OF_STATE not in said


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{SECRET_OF_STATE}@127.0.0.1",
        f"valkey://:{SECRET_OF_STATE}@127.0.0.1:99999",
        f"valkey://:{SECRET_OF_STATE}@127.0.0.1/database",
        f"valkey://:{SECRET_OF_STATE}@127.0.0.1/-1",
        f"valkey://:{SECRET_OF_STATE}@127.0.0.1/0?db=1",
        f"valkey://:{SECRET_OF_STATE}@/0",
        f"valkey://:{SECRET_OF_STATE}@[::1/0",
        SECRET_OF_STATE,
    ],
)
def test_a_state_with_a_bad_url(config: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main(["check", "--config", with_state(config, url)]) == 2
    said = capsys.readouterr()
    assert "state.url" in said.err
    assert SECRET_OF_STATE not in said.out + said.err


def test_another_state_needs_a_restart(config: Path) -> None:
    before = prepare(load(Path(with_state(config, "valkey://127.0.0.1:1/0")))).settings
    after = prepare(load(Path(with_state(config, f"valkey://:{SECRET_OF_STATE}@127.0.0.1:2/0")))).settings
    assert needs_restart(before, after) == "state.url"


def test_a_masters_password_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gateway that starts without it could log nobody in."""
    users, secret = config.parent / "users", config.parent / "master.secret"
    users.write_text(f"ann:{SHA}\n")
    users.chmod(0o640)
    line = ["check", "--config", str(written(config, USERS_FILE, MASTER))]
    assert main(line) == 2
    assert f"pools.a.master_password_file: {secret}: No such file" in capsys.readouterr().err
    secret.write_text("hunter2\nhunter3\n")
    assert main(line) == 2
    said = capsys.readouterr()
    assert "holds no password that can be sent" in said.err and "hunter" not in said.err + said.out
    for mode, told in ((0o644, True), (0o640, False)):
        secret.write_text("hunter2\n")
        secret.chmod(mode)
        assert main(line) == 0
        said = capsys.readouterr()
        remark = f"{secret}: everybody on this host can read the password; {CLOSE_IT}"
        assert (remark in said.out.splitlines()) is told
        assert "hunter" not in said.err + said.out and "not active yet" not in said.out
    assert "hunter2" not in repr(prepare(load(config)))
