"""The source "users-file": who is right, that a stranger costs the same, and that the file is followed."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from datetime import date
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.auth.attempts import attempt
from tlsgate.auth import followed, users_file
from tlsgate.auth.app_passwords_edit import new_line
from tlsgate.auth.app_passwords_file import load_app_passwords
from tlsgate.auth.app_passwords_used import LastUses
from tlsgate.auth.attempt import Attempt, Caller
from tlsgate.auth.decoy_key import DecoyKey
from tlsgate.auth.edit import hashed
from tlsgate.auth.followed import POLL, Followed
from tlsgate.auth.judgement import Judgement, Right, Unavailable
from tlsgate.auth.passwd import Users, read_users
from tlsgate.auth.users_file import CHECKING, PATIENCE, Content, Found, UsersFile, Verdict, load
from tlsgate.config import Network, Protocol
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused
from tlsgate.dialogue.proofs import Proven
from tlsgate.dialogue.scram_secret import read_secret

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # secret
OTHER = "{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI="  # other
PBKDF2 = "{PBKDF2}$1$JqOAnZT5kbuxS5XV$5000$3239a2b0972504b9df0b922ebbe78230b61a6cc1"
ARGON2ID = "$argon2id$v=19$m=16,t=1,p=1$TonRmvPeOydk7D3nPMcYIw$/OwdgCiOAUe1szH7f2Ct4LWjzRQSb923sm8IuajT2jo"
SCRAM = (
    "{SCRAM-SHA-256}4096,MDEyMzQ1Njc4OWFiY2RlZg==,nQpbZ77WudtqufPwikHXGRt6g2QJ4zns8bZLw273DRM=,"
    "jn2amWP1q1h+jgjy0YTO14S6/F02SV7taipOeB7ef20="
)  # pencil
WRONG = Refused(Refusal.AUTHENTICATION_FAILED)
CLIENT = ip_address("192.0.2.7")
APP = "abcd-efgh-ijkm-npqr-stuv"


class Source:
    """A users file, the source that follows it, and what was told."""

    def __init__(self, path: Path, *lines: str) -> None:
        self.path = path
        self.told: list[Content | str] = []
        self.write(*lines)
        self.file = UsersFile(path, load(path), self.told.append)

    def write(self, *lines: str) -> None:
        """As an editor does: a new file in the old one's place."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.chmod(0o640)
        if self.path.is_dir():
            self.path.rmdir()
        new.rename(self.path)

    def overwrite(self, line: str) -> None:
        """In place, as a script does."""
        self.path.write_text(f"{line}\n")
        os.utime(self.path, ns=(1, 1))

    def damage(self, what: str) -> None:
        self.path.unlink()
        match what:
            case "directory":
                self.path.mkdir()
            case "pipe":
                os.mkfifo(self.path)
            case "empty":
                self.path.touch()
            case "large":
                self.path.write_text("#" * 1001)
            case "dangling":
                self.path.symlink_to("nowhere")

    async def ask(self, user: str, typed: str = "secret", authzid: str = "") -> Judgement | None:
        return await self.file(shown(Credentials(user, typed.encode(), authzid)))

    async def lets_in(self, user: str, typed: str = "secret") -> bool:
        return isinstance(await self.ask(user, typed), Right)


def shown(what: Credentials | Proven) -> Attempt:
    return Attempt(what, "ANY", Protocol.IMAP, 1, float("inf"), lambda: Caller(CLIENT))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


# -- who is right ----------------------------------------------------------------------------------------


async def test_right_wrong_unknown_and_locked(path: Path) -> None:
    source = Source(path, f"ann:{SHA}", "bob:!", f"cay:{PBKDF2}")
    assert await source.lets_in("ann")
    assert await source.lets_in("cay")
    assert await source.ask("ann", "other") == WRONG
    assert await source.ask("bob") == WRONG  # though it is the password of the dummy
    assert await source.ask("bob", "!") == WRONG
    assert await source.ask("dan") is None
    assert await source.ask("Ann") is None


async def test_nobody_is_right_by_a_file_without_a_hash(path: Path) -> None:
    source = Source(path, "bob:", "cay:*")
    assert await source.ask("bob") == WRONG
    assert await source.ask("cay", "*") == WRONG
    assert await source.ask("dan") is None


async def test_nobody_acts_as_somebody_else(path: Path) -> None:
    source = Source(path, f"ann:{SHA}", f"bob:{SHA}")
    assert isinstance(await source.ask("ann", authzid="ann"), Right)
    assert await source.ask("ann", authzid="bob") == Refused(Refusal.AUTHORIZATION_FAILED)


@pytest.mark.parametrize("user", ["ann", "bob", "dan"])
async def test_a_stranger_costs_what_a_wrong_password_costs(
    path: Path, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    """Else names can be told from the time that an answer takes."""
    source = Source(path, f"ann:{PBKDF2}", "bob:!", f"cay:{PBKDF2}", f"eve:{SHA}")
    rounds: list[int] = []
    derive = hashlib.pbkdf2_hmac

    def recorded(name: str, secret: bytes, salt: bytes, iterations: int) -> bytes:
        rounds.append(iterations)
        return derive(name, secret, salt, iterations)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", recorded)
    assert await source.ask(user, "wrong") in (WRONG, None)
    assert rounds == [5000]


# -- off the loop, within bounds -------------------------------------------------------------------------


async def test_checks_are_bounded_and_who_waits_too_long_is_not_called_wrong(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """A flood of guesses must not make right passwords wrong ones, nor block the loop."""
    source = Source(path, f"ann:{SHA}")
    found: list[Judgement | None] = []

    async def ask() -> None:
        found.append(await source.ask("ann"))

    async with trio.open_nursery() as nursery:
        holders = [object() for _ in range(int(CHECKING.total_tokens))]
        for holder in holders:
            CHECKING.acquire_on_behalf_of_nowait(holder)
        try:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert CHECKING.statistics().tasks_waiting == 1
            mock_clock.jump(PATIENCE)
        finally:
            await trio.testing.wait_all_tasks_blocked()
            for holder in holders:
                CHECKING.release_on_behalf_of(holder)
    assert [type(each) for each in found] == [Unavailable]
    assert await source.lets_in("ann")


async def test_a_library_that_fails_is_no_wrong_password(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2 without memory, for one."""
    source = Source(path, f"ann:{PBKDF2}")

    def out_of_memory(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", out_of_memory)
    assert isinstance(await source.ask("ann"), Unavailable)


async def test_the_loop_goes_on_while_a_password_is_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(path, f"ann:{PBKDF2}")
    begun, go_on = trio.Event(), threading.Event()
    derive, token = hashlib.pbkdf2_hmac, trio.lowlevel.current_trio_token()

    def slow(name: str, secret: bytes, salt: bytes, iterations: int) -> bytes:
        token.run_sync_soon(begun.set)
        assert go_on.wait(20)
        return derive(name, secret, salt, iterations)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.ask, "ann")
        await begun.wait()
        go_on.set()


# -- the file --------------------------------------------------------------------------------------------


async def test_a_change_counts_within_five_seconds(path: Path, mock_clock: trio.testing.MockClock) -> None:
    source = Source(path, f"ann:{SHA}", f"bob:{SHA}")
    source.write("ann:!", f"cay:{OTHER}", "dan:{PLAIN}hunter2")
    mock_clock.jump(POLL - 0.5)
    assert await source.lets_in("ann")  # not looked at for each login
    assert source.told == []
    mock_clock.jump(0.5)
    assert await source.ask("ann") == WRONG
    assert await source.ask("bob") is None
    assert await source.lets_in("cay", "other")
    (content,) = source.told
    assert isinstance(content, Content)
    assert [(fault.line, "in clear" in fault.text) for fault in content.users.faults] == [(3, True)]


async def test_a_file_that_has_not_changed_is_not_read_again(path: Path, mock_clock: trio.testing.MockClock) -> None:
    source = Source(path, f"ann:{SHA}")
    for _ in range(3):
        mock_clock.jump(POLL)
        assert await source.lets_in("ann")
    assert source.told == []


async def test_a_change_in_place_of_the_same_length_is_seen(path: Path, mock_clock: trio.testing.MockClock) -> None:
    source = Source(path, f"ann:{SHA}")
    source.overwrite(f"ann:{OTHER}")
    mock_clock.jump(POLL)
    assert await source.lets_in("ann", "other")


@pytest.mark.parametrize("what", ["missing", "directory", "pipe", "empty", "large", "dangling"])
async def test_what_can_not_be_read_leaves_the_old_content_in_force(
    path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A disk that is full or a script that failed half-way must not lock everybody out. Told once, and again anew."""
    source = Source(path, f"ann:{SHA}")
    monkeypatch.setattr(followed, "LARGEST", 1000)
    source.damage(what)
    for _ in range(3):
        mock_clock.jump(POLL)
        assert await source.lets_in("ann")
    (problem,) = source.told
    assert isinstance(problem, str)
    source.write(f"bob:{SHA}")
    mock_clock.jump(POLL)
    assert await source.lets_in("bob")
    assert await source.ask("ann") is None
    assert len(source.told) == 2


async def test_each_loss_of_the_file_is_told(path: Path, mock_clock: trio.testing.MockClock) -> None:
    source = Source(path, f"ann:{SHA}")
    for losses in (1, 2):
        source.damage("missing")
        mock_clock.jump(POLL)
        assert await source.lets_in("ann")
        assert sum(isinstance(each, str) for each in source.told) == losses
        source.write(f"ann:{SHA}")
        mock_clock.jump(POLL)
        assert await source.lets_in("ann")


async def test_a_login_that_comes_while_the_file_is_read_does_not_wait(
    path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs holds one login up, which may be cancelled, and no other."""
    source = Source(path, f"ann:{SHA}")
    begun, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def hanging(data: bytes) -> Users:
        token.run_sync_soon(begun.set)
        assert go_on.wait(20)
        return read_users(data)

    monkeypatch.setattr(users_file, "read_users", hanging)
    source.write(f"ann:{OTHER}")
    mock_clock.jump(POLL)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.ask, "ann")
            await begun.wait()
            mock_clock.jump(POLL)
            assert await source.lets_in("ann")
            nursery.cancel_scope.cancel()
        mock_clock.jump(POLL)
        assert await source.lets_in("ann")
    finally:
        go_on.set()
    while not await source.lets_in("ann", "other"):  # once the thread has ended, the next poll reads it
        mock_clock.jump(POLL)


@pytest.mark.parametrize(("mode", "told"), [(0o640, False), (0o600, False), (0o644, True), (0o604, True)])
def test_a_file_that_everybody_can_read_is_told(path: Path, mode: int, told: bool) -> None:
    path.write_text(f"ann:{SHA}\n")
    path.chmod(mode)
    assert any("chmod 640" in each.text for each in load(path).remarks()) is told


def test_remarks_on_the_whole_file(path: Path) -> None:
    path.write_text("x\n" * 150)
    path.chmod(0o600)
    remarks = list(load(path).remarks())
    assert (remarks[0].line, remarks[0].text) == (0, "nobody can log in by it")
    assert (remarks[-1].line, remarks[-1].text) == (0, "50 more lines are faulty")
    assert len(remarks) == 102


def test_weak_hashes_are_told_by_their_scheme(path: Path) -> None:
    """Not by users: the remarks go to the log at each start."""
    path.write_text(f"ann:{SHA}\nbob:{SHA}\ncay:$1$dLuOPipH$UKUN4BjbVNXm0yxAmUB2k.\ndan:!{SHA}\n")
    path.chmod(0o600)
    remarks = [each.text for each in load(path).remarks()]
    assert len(remarks) == 2
    assert remarks[0].startswith("2 users have {SHA} hashes: easily guessed")
    assert remarks[1].startswith("1 user has a {MD5-CRYPT} hash: easily guessed")
    path.write_text(f"ann:{hashed(b'secret', 'ARGON2ID')}\nbob:{{APP-PASSWORDS-ONLY}}\n")
    assert list(load(path).remarks()) == []


async def test_a_right_password_tells_that_its_hash_is_weak(path: Path) -> None:
    """A wrong one says nothing of it."""
    source = Source(path, f"ann:{SHA}", f"bob:{SHA}", f"cay:{hashed(b'secret', 'ARGON2ID')}")
    assert await source.ask("ann", "wrong") == WRONG
    assert await source.ask("ann") == Right("ann", weak="SHA")
    assert await source.ask("bob") == Right("bob", weak="SHA")
    assert await source.ask("cay") == Right("cay")


# -- by no password --------------------------------------------------------------------------------------


async def test_who_has_proven_to_be_somebody_must_still_be_let_in(path: Path) -> None:
    source = Source(path, f"ann:{SCRAM}", "bob:!", "cay:{APP-PASSWORDS-ONLY}")
    assert await source.file(shown(Proven("ann"))) == Right("ann")
    assert await source.file(shown(Proven("cay"))) == Right("cay")
    for nobody in (Proven("bob"), Proven("dan")):
        assert await source.file(shown(nobody)) == WRONG
    for user, said in (("ann", Right("ann")), ("bob", WRONG), ("dan", None)):  # who isn't here may be elsewhere
        assert await source.file(attempt(Proven(user), "EXTERNAL")) == said
    assert await source.file(shown(Proven("ann", "cay"))) == Refused(Refusal.AUTHORIZATION_FAILED)


async def test_the_scram_secret_of_a_user_is_the_lines_and_follows_it(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    source = Source(path, f"ann:{SCRAM}", f"bob:{SHA}")
    assert await source.file.scram_secret("ann") == read_secret(SCRAM)
    source.write(f"ann:{SHA}", f"bob:{SCRAM}")
    mock_clock.jump(POLL)
    assert await source.file.scram_secret("ann") != read_secret(SCRAM)
    assert await source.file.scram_secret("bob") == read_secret(SCRAM)


async def test_nobody_can_tell_by_scram_who_has_no_secret(path: Path, tmp_path: Path) -> None:
    """Not by the salt, which stays as it is over changes and restarts, nor by the iterations."""
    state = tmp_path / "state"
    state.mkdir()
    source = Source(path, f"ann:{SCRAM}", f"bob:{SHA}", f"cay:!{SCRAM}", "eve:{APP-PASSWORDS-ONLY}", f"fay:{SCRAM}")

    def started() -> UsersFile:
        return UsersFile(path, load(path), source.told.append, decoy_key=DecoyKey(state))

    users = ("bob", "cay", "dan", "eve")
    first = started()
    decoys = [await first.scram_secret(user) for user in users]
    assert len({each.salt for each in decoys}) == len(users)
    assert {(each.iterations, len(each.salt)) for each in decoys} == {(4096, 16)}
    source.write(f"ann:{SCRAM}", f"gil:{SHA}", f"hal:{ARGON2ID}")
    second = started()
    assert [await second.scram_secret(user) for user in users] == decoys


async def test_without_a_state_directory_decoys_are_the_same_while_we_run(path: Path) -> None:
    source = Source(path, f"ann:{SCRAM}")
    again = UsersFile(path, load(path), source.told.append)
    assert await source.file.scram_secret("dan") == await again.scram_secret("dan")


async def test_a_secret_that_no_client_should_take_is_not_given(path: Path) -> None:
    """RFC 7677 4: clients refuse less than 4096 iterations, and who asks for 900 million holds them up."""
    keys = SCRAM.partition(",")[2]
    for iterations in (1, 4095, 90_000_000):
        source = Source(path, f"ann:{{SCRAM-SHA-256}}{iterations},{keys}")
        assert (await source.file.scram_secret("ann")).iterations == 100_000


# -- app passwords ---------------------------------------------------------------------------------------


class WithApps(Source):
    """With the app passwords of a file beside it: one ``line`` each."""

    def __init__(self, path: Path, users: tuple[str, ...], *lines: str) -> None:
        super().__init__(path, *users)
        self.apps_path = path.with_name("apps")
        self.write_apps(*lines)
        apps = Followed(self.apps_path, load_app_passwords(self.apps_path), load_app_passwords, lambda _: None)
        self.uses = LastUses(path.parent, lambda _: None)
        self.file = UsersFile(path, load(path), self.told.append, app_passwords=apps, last_uses=self.uses)

    def write_apps(self, *lines: str) -> None:
        new = self.apps_path.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.rename(self.apps_path)

    async def check(
        self, user: str, typed: str, protocol: Protocol = Protocol.IMAP, client: str = "192.0.2.7"
    ) -> Found:
        return await self.file.check(user, typed.encode(), protocol, lambda: ip_address(client))


def app(
    user: str, label: str, password: str = APP, protocols: tuple[Protocol, ...] = (), networks: tuple[str, ...] = ()
) -> str:
    where: list[Network] = [ip_network(each) for each in networks]
    return new_line(user, label, password, date(2026, 1, 31), frozenset(protocols), where)


async def test_an_app_password_lets_its_user_in_beside_the_own(path: Path) -> None:
    source = WithApps(path, (f"ann:{SHA}", f"bob:{SHA}"), app("ann", "phone"), app("ann", "pad", "other"))
    assert await source.ask("ann", APP) == Right("ann", label="phone")
    assert await source.check("ann", "other") == Found(Verdict.RIGHT, "pad")
    assert await source.lets_in("ann", "secret")
    assert await source.ask("bob", APP) == WRONG


async def test_app_passwords_only(path: Path) -> None:
    """Whoever has a second factor elsewhere; no text is the own password, that of the line neither."""
    source = WithApps(path, ("ann:{APP-PASSWORDS-ONLY}", f"bob:{SHA}"), app("ann", "phone"))
    assert await source.ask("ann", APP) == Right("ann", label="phone")
    for wrong in ("secret", "{APP-PASSWORDS-ONLY}", ""):
        assert (await source.check("ann", wrong)).verdict is Verdict.WRONG


@pytest.mark.parametrize(
    "line", ["ann:!", f"ann:!{SHA}", f"ann:{SHA}::::::nologin", "ann:{APP-PASSWORDS-ONLY}::::::nologin"]
)
async def test_a_lock_holds_for_app_passwords_too(path: Path, line: str) -> None:
    source = WithApps(path, (line, f"bob:{SHA}"), app("ann", "phone"))
    assert await source.ask("ann", APP) == WRONG


async def test_who_is_not_in_the_users_file_has_no_app_password(path: Path) -> None:
    """A user who is removed must be out, whatever is left in the other file."""
    source = WithApps(path, (f"bob:{SHA}",), app("ann", "phone"))
    assert await source.ask("ann", APP) is None


async def test_an_app_password_elsewhere_is_a_wrong_one_and_the_log_says_why(path: Path) -> None:
    source = WithApps(
        path,
        (f"ann:{PBKDF2}",),
        app("ann", "phone", protocols=(Protocol.IMAP,), networks=("192.0.2.0/24", "2001:db8::/32")),
    )
    for client in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"):
        assert await source.check("ann", APP, Protocol.IMAP, client) == Found(Verdict.RIGHT, "phone")
    for protocol, client, why in (
        (Protocol.POP3, "192.0.2.7", "app password 'phone' isn't for pop3"),
        (Protocol.IMAP, "198.51.100.7", "app password 'phone' isn't for this network"),
        (Protocol.IMAP, "2001:db9::7", "app password 'phone' isn't for this network"),
    ):
        assert await source.check("ann", APP, protocol, client) == Found(Verdict.WRONG, "phone", why=why)


@pytest.mark.parametrize("user", ["ann", "bob", "cay", "dan"])
async def test_an_app_password_that_is_wrong_costs_what_a_stranger_costs(
    path: Path, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    """One check of the own hash, or of the dummy, and as many of app passwords, for whoever has how many."""
    source = WithApps(
        path,
        (f"ann:{PBKDF2}", "bob:{APP-PASSWORDS-ONLY}", f"cay:{PBKDF2}"),
        *(app("ann", f"{n}") for n in range(16)),
        app("bob", "phone", protocols=(Protocol.POP3,)),
    )
    rounds: list[int] = []
    compared: list[bytes] = []
    derive, compare = hashlib.pbkdf2_hmac, hmac.compare_digest

    def recorded(name: str, secret: bytes, salt: bytes, iterations: int) -> bytes:
        rounds.append(iterations)
        return derive(name, secret, salt, iterations)

    def recorded_compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", recorded)
    monkeypatch.setattr(hmac, "compare_digest", recorded_compare)
    typed = APP if user == "bob" else "wrong"  # right, and not here
    assert (await source.check(user, typed)).verdict in (Verdict.WRONG, Verdict.UNKNOWN)
    assert rounds == [5000]
    assert len(compared) == 16 + 1


async def test_an_app_password_waits_for_nobody(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """While somebody has all the slow checks busy with guesses, phones go on."""
    source = WithApps(path, (f"ann:{SHA}",), app("ann", "phone"))
    holders = [object() for _ in range(int(CHECKING.total_tokens))]
    for holder in holders:
        CHECKING.acquire_on_behalf_of_nowait(holder)
    try:
        with trio.fail_after(1):
            assert await source.lets_in("ann", APP)
    finally:
        for holder in holders:
            CHECKING.release_on_behalf_of(holder)


async def test_the_file_of_app_passwords_is_followed(path: Path, mock_clock: trio.testing.MockClock) -> None:
    source = WithApps(path, (f"ann:{SHA}",), app("ann", "phone"))
    source.write_apps(app("ann", "pad", "other"))
    mock_clock.jump(POLL)
    assert await source.ask("ann", APP) == WRONG
    assert await source.lets_in("ann", "other")


async def test_a_use_is_noted_and_a_refusal_is_not(path: Path) -> None:
    source = WithApps(
        path, (f"ann:{SHA}",), app("ann", "phone", protocols=(Protocol.POP3,)), app("ann", "pad", "other")
    )
    noted: list[tuple[str, str]] = []
    source.uses.note = lambda *use: noted.append(use)  # type: ignore[method-assign]
    await source.ask("ann", APP)
    await source.ask("ann", "secret")
    assert noted == []
    await source.ask("ann", "other")
    assert noted == [("ann", "pad")]
