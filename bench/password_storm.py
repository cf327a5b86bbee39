"""What a storm of wrong passwords does to everybody else: how long the loop is held, and what other logins wait.

    python bench/password_storm.py [--guesses 200] [--checks N] [KIND ...]

200 guesses come at once at users whose hashes are slow. Meanwhile an app password is checked each 10 ms, as by another
session, and the right slow password once a second. ``--checks``: how many run at once, for trying.

On two cores that others used too, two checks at once (median and most, ms):

| hash         | alone | loop late | app password | right password | the storm                  |
| ------------ | ----- | --------- | ------------ | -------------- | -------------------------- |
| argon2id     |    22 |  0.1,  13 |    0.1,  0.3 |           3700 |  4.7 s                     |
| scram 100k   |    23 |  0.1,  11 |    0.1,  0.3 |           2800 |  3.8 s                     |
| bcrypt 10    |    60 |  0.1,  29 |    0.1,  6.8 |           9000 | 10.1 s, 14 "try again"     |
| sha512-crypt |     3 |  1.9,   7 |    0.1,  0.1 |            600 |  0.6 s, which is in Python |

One check at once keeps the loop's delay at 5 ms and is no slower in all there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import trio
from passlib.hash import bcrypt, sha512_crypt  # type: ignore[import-untyped]

from tlsgate.auth.app_passwords_edit import new_line
from tlsgate.auth.app_passwords_file import load_app_passwords
from tlsgate.auth.edit import hashed
from tlsgate.auth.followed import Followed
from tlsgate.auth.users_file import CHECKING, Found, UsersFile, Verdict, load
from tlsgate.config import Protocol

APP, RIGHT = "abcd-efgh-ijkm-npqr-stuv", b"correct horse"
KINDS: dict[str, Callable[[], str]] = {
    "argon2id": lambda: hashed(RIGHT, "ARGON2ID"),
    "scram 100k": lambda: hashed(RIGHT, "SCRAM-SHA-256"),
    "bcrypt 10": lambda: str(bcrypt.using(rounds=10).hash(RIGHT)),
    "sha512-crypt": lambda: str(sha512_crypt.using(rounds=5000).hash(RIGHT)),
}


class Times:
    """How long something took, in milliseconds."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def of(self, call: Callable[[], Awaitable[Found]]) -> Found:
        began = time.perf_counter()
        found = await call()
        self.taken.append(1000 * (time.perf_counter() - began))
        return found

    def __str__(self) -> str:
        ordered = sorted(self.taken) or [0.0]
        return f"{ordered[len(ordered) // 2]:8.1f} {ordered[-1]:8.1f}"


async def ticking(held: Times) -> None:
    """How late a timer of 1 ms is: the loop was held, or the core was somebody else's."""
    while True:
        began = time.perf_counter()
        await trio.sleep(0.001)
        held.taken.append(1000 * (time.perf_counter() - began - 0.001))


async def again(seconds: float, times: Times, call: Callable[[], Awaitable[Found]]) -> None:
    while True:
        found = await times.of(call)
        assert found.verdict in (Verdict.RIGHT, Verdict.UNAVAILABLE), found
        await trio.sleep(seconds)


async def storm(directory: Path, kind: str, guesses: int) -> None:
    users, apps = directory / "users", directory / "apps"
    users.write_text("".join(f"user{number}:{KINDS[kind]()}\n" for number in range(4)))
    apps.write_text(new_line("user0", "phone", APP, date(2026, 1, 31), frozenset(), ()) + "\n")
    file = UsersFile(
        users,
        load(users),
        lambda _: None,
        app_passwords=Followed(apps, load_app_passwords(apps), load_app_passwords, lambda _: None),
    )

    def check(user: str, typed: bytes) -> Callable[[], Awaitable[Found]]:
        return partial(file.check, user, typed, Protocol.IMAP, lambda: ip_address("192.0.2.1"))

    alone, held, cheap, dear = Times(), Times(), Times(), Times()
    for _ in range(5):
        await alone.of(check("user1", RIGHT))
    verdicts: Counter[str] = Counter()

    async def guess(number: int) -> None:
        found = await check(f"user{number % 5}", b"wrong %d" % number)()
        verdicts[found.verdict.name] += 1

    began = time.perf_counter()
    async with trio.open_nursery() as watching:
        watching.start_soon(ticking, held)
        watching.start_soon(again, 0.01, cheap, check("user0", APP.encode()))
        watching.start_soon(again, 1.0, dear, check("user1", RIGHT))
        async with trio.open_nursery() as guessing:
            for number in range(guesses):
                guessing.start_soon(guess, number)
        watching.cancel_scope.cancel()
    seconds = time.perf_counter() - began
    told = ", ".join(f"{count} {name.lower()}" for name, count in sorted(verdicts.items()))
    print(f"{kind:13} {alone} | {held} | {cheap} | {dear} | {seconds:5.1f} s: {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guesses", type=int, default=200)
    parser.add_argument("--checks", type=int)
    parser.add_argument("kinds", nargs="*", default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    arguments = parser.parse_args()
    if arguments.checks:
        CHECKING.total_tokens = arguments.checks
    print(f"{arguments.guesses} guesses, {CHECKING.total_tokens} checks at once; median and most, in ms")
    print(f"{'':13} {'alone':>17} | {'loop late':>17} | {'app password':>17} | {'right password':>17} | the storm")
    with tempfile.TemporaryDirectory() as directory:
        for kind in arguments.kinds:
            trio.run(storm, Path(directory), kind, arguments.guesses)


if __name__ == "__main__":
    main()
