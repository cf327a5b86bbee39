"""Where it was measured, in a few words: no figure means anything without them."""

from __future__ import annotations

import os
import platform
import re
import ssl
import subprocess
import sys
from pathlib import Path

from OpenSSL import SSL

_PACKAGES = ("nginx", "dovecot-core", "haproxy", "stunnel4")


def machine() -> list[str]:
    """Lines for people."""
    found = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    whose = "the distribution's" if sys.base_prefix == "/usr" else "another"
    return [
        f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        f"tlsgate: CPython {platform.python_version()} ({whose}), {SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()}",
        f"others: {', '.join(_versions())}; the system's OpenSSL, for the interpreter {ssl.OPENSSL_VERSION}",
    ]


def _versions() -> list[str]:
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n", *_PACKAGES]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:
        return ["versions unknown"]
