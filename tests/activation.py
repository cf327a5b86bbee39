"""Starts a program as systemd does whose sockets it has bound."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import BinaryIO

# In the process that becomes the program: descriptors from 3 on, and its own id.
_BECOME = """
import fcntl, os, sys
given = [int(each) for each in sys.argv[1].split(",") if each]
high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 1000) for each in given]
os.closerange(3, 1000)
for at, each in enumerate(high):
    os.dup2(each, 3 + at)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""


def start(
    program: Sequence[str], sockets: Sequence[socket.socket], names: str, log: BinaryIO
) -> subprocess.Popen[bytes]:
    """Run Python with ``program``, which has the sockets. ``names``: with ":" between them."""
    numbers = [each.fileno() for each in sockets]
    command = [sys.executable, "-c", _BECOME, ",".join(map(str, numbers)), names, *program]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=numbers, env=dict(os.environ)
    )
