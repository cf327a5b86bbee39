"""The key of decoys: one for all workers and over restarts, nobody's to read, and never none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tlsgate.auth.decoy_key import OF_THIS_RUN, DecoyKey, decoy_key
from tlsgate.secret_file import UnusableSecret

NAME = "scram-decoy-key"


def test_it_is_made_once(tmp_path: Path) -> None:
    key = decoy_key(tmp_path)
    assert len(key) == 32 and key != OF_THIS_RUN
    assert decoy_key(tmp_path) == key
    assert [each.name for each in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_workers_that_begin_at_once_have_the_same(tmp_path: Path) -> None:
    keys: list[bytes] = []
    begin = threading.Barrier(8)

    def worker() -> None:
        begin.wait(20)
        keys.append(decoy_key(tmp_path))

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(keys) == 8 and len(set(keys)) == 1


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_file_that_holds_no_key(tmp_path: Path, content: bytes) -> None:
    """Half a key that a full disk left would be guessed."""
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UnusableSecret, match="32 octets"):
        decoy_key(tmp_path)


async def test_what_can_not_be_had_is_told_once_and_the_key_of_the_run_is_taken(tmp_path: Path) -> None:
    faults: list[str] = []
    key = DecoyKey(tmp_path / "none", faults.append)
    assert await key() == await key() == OF_THIS_RUN
    assert len(faults) == 1 and "No such file or directory" in faults[0]


async def test_where_it_comes_from(tmp_path: Path) -> None:
    assert await DecoyKey(None)() == OF_THIS_RUN
    key = DecoyKey(tmp_path)
    assert await key() == decoy_key(tmp_path)
    (tmp_path / NAME).unlink()
    assert await key() == await key()  # while we run it doesn't change


def test_forked_workers_have_the_one_of_their_parent_and_the_next_run_has_another() -> None:
    """An import in each worker would make a key in each: the salts would tell which worker serves."""
    code = (
        "import os; from tlsgate.auth.decoy_key import OF_THIS_RUN as key\n"
        "print(key.hex(), flush=True)\n"
        "if os.fork() == 0:\n    print(key.hex(), flush=True); os._exit(0)\n"
        "os.wait()"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, text=True, env=dict(os.environ))
        for _ in range(2)
    ]
    keys = [run.stdout.split() for run in runs]
    assert [len(each) for each in keys] == [2, 2]
    assert keys[0][0] == keys[0][1] and keys[0][0] != keys[1][0]
