"""The clients and the backend of bench/, compiled as `make bench` does it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.peers import missing

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``client``, ``backend`` and ``clock.so``."""
    if shutil.which("cc") is None or not Path("/usr/include/openssl/ssl.h").exists():
        missing("no C compiler, or no headers of OpenSSL")
    directory = tmp_path_factory.mktemp("built")
    command = ["make", "-C", str(_ROOT), f"BENCH={directory}", "CC=cc -Werror"]
    programs = [f"{directory}/{name}" for name in ("client", "backend", "clock.so")]
    subprocess.run([*command, *programs], check=True, capture_output=True)
    return directory
