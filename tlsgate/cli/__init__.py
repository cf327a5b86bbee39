"""The command line: one file a command, no logic of its own."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from importlib import import_module

from tlsgate import __version__
from tlsgate.cli import arguments

# Imported only when asked for: `check` needs no listener and `demo` no config file.
_COMMANDS = {
    "run": "serve until SIGTERM or SIGINT; SIGHUP reloads the config",
    "check": "parse the config, load what it names, print what would be served",
    "doctor": "look at a deployment from outside: what is wrong, why it matters, what to do",
    "status": "how a running gateway is: listeners, pools, sessions, workers",
    "sessions": "list the sessions that live",
    "report": "list whose clients come with TLS below 1.3, without SNI, by STARTTLS, or tried to log in in clear",
    "top": "watch a running gateway: its busiest sessions; q quits",
    "kick": "end a session, or all of a user",
    "drain": "take no more connections, and stop when the sessions have ended or server.drain is over",
    "reload": "take over a changed config, or say what is wrong with it",
    "ban": "refuse a network from now on, for a while",
    "unban": "end a ban before its time",
    "bans": "list who is banned",
    "user": "who is in a users file, and by which password",
    "import": "print what another proxy's config is here, and what of it can't be carried over",
    "demo": "a sample gateway with a sample backend on loopback: no config, no root, nothing else needed",
}
_ARGUMENTS = {
    "run": arguments.config,
    "check": arguments.config,
    "doctor": arguments.doctor,
    "status": arguments.look,
    "sessions": arguments.sessions,
    "report": arguments.look,
    "top": arguments.look,
    "kick": arguments.kick,
    "drain": arguments.admin,
    "reload": arguments.admin,
    "ban": arguments.ban,
    "unban": arguments.unban,
    "bans": arguments.look,
    "user": arguments.user,
    "import": arguments.import_,
}
_MODULES = {"import": "import_"}


def main(line: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="tlsgate", description="A TLS-enforcing gateway in front of legacy mail servers"
    )
    parser.add_argument("--version", action="version", version=f"tlsgate {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name in _ARGUMENTS:
            _ARGUMENTS[name](command)
    chosen = parser.parse_args(line)
    if chosen.command == "run":
        # Its default would kill us in the moment that imports and the first look at the backends take.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    execute = import_module(f"tlsgate.cli.{_MODULES.get(chosen.command, chosen.command)}").execute
    return int(execute(chosen))
