"""tlsgate run: serve until told to stop."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import trio

from tlsgate.activation import receive
from tlsgate.config import ConfigError, load
from tlsgate.gateway import Gateway
from tlsgate.ops.log import EventLog, LibraryHandler
from tlsgate.ops.metrics import Metrics
from tlsgate.prepared import Prepared, prepare
from tlsgate.tls.certificate import CertificateFault
from tlsgate.workers.process import CannotStart, drop_privileges, give_up, raise_descriptor_limit, worker_count
from tlsgate.workers.spawner import start_spawner
from tlsgate.workers.worker import work

STOPPED, COULD_NOT_START, BAD_CONFIG = 0, 1, 2


def execute(arguments: argparse.Namespace) -> int:
    """Serve ``arguments.config``; gives the exit code."""
    path = Path(arguments.config).absolute()
    try:
        give_up()
        passed = receive(os.environ)
        prepared = _read(path)
    except CannotStart as fault:
        print(fault, file=sys.stderr)
        return COULD_NOT_START
    except (ConfigError, CertificateFault) as fault:
        print(fault, file=sys.stderr)
        return BAD_CONFIG
    settings = prepared.settings
    spawner = None
    reread: Callable[[], Prepared] = partial(_read, path)
    if worker_count(settings.server.workers) > 1:  # forked while we have no threads and have bound nothing
        spawner = start_spawner(prepared, reread, partial(work, settings), passed.close)
        reread = spawner.reread  # what it may read we may not, once we have become server.user
    log = EventLog(sys.stderr.buffer, settings.log.format, settings.log.level)
    logging.getLogger().addHandler(LibraryHandler(log))
    try:
        gateway = Gateway(prepared, reread, log, Metrics(log), raise_descriptor_limit(), spawner, passed)
        gateway.bind()
        if settings.server.user:
            # What is imported late elsewhere: the user may not be able to read our files.
            import_module("tlsgate.ops.admin")
            drop_privileges(settings.server.user)
        if os.geteuid() == 0:
            log.emit("runs_as_root", "warning", key="server.user")
    except CannotStart as fault:
        log.close()
        print(fault, file=sys.stderr)
        return COULD_NOT_START
    status = STOPPED
    try:
        trio.run(gateway.run)
    except* CannotStart as faults:
        print(faults.exceptions[0], file=sys.stderr)
        status = COULD_NOT_START
    finally:
        log.close()
    return status


def _read(path: Path) -> Prepared:
    return prepare(load(path))
