"""What commands take beside their name. Nothing is imported for what isn't given."""

from __future__ import annotations

import argparse
from pathlib import Path


def config(command: argparse.ArgumentParser) -> None:
    """The config file, without which there is nothing to do."""
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="the TOML config file")


def doctor(command: argparse.ArgumentParser) -> None:
    """What to look at, and how to show what is found."""
    config(command)
    command.add_argument(
        "--domain", type=_domain, metavar="DOMAIN", help="one whose mail comes here: its MX and SPF are looked at too"
    )
    command.add_argument("--json", action="store_true", help="a list: about, severity, what, why, do")


def admin(command: argparse.ArgumentParser) -> None:
    """Where a running gateway is asked, and by whose leave."""
    command.add_argument("--config", type=Path, metavar="FILE", help="the gateway's config: has address and token file")
    command.add_argument(
        "--admin",
        type=_address,
        metavar="ADDRESS",
        help='its admin address: "host:port", "[v6]:port" or "unix:/path"; else the config\'s, else 127.0.0.1:9090',
    )
    command.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the token; else the config's admin.token_file, else what TLSGATE_TOKEN_FILE names",
    )


def ban(command: argparse.ArgumentParser) -> None:
    """Whom to ban, how long and why."""
    unban(command)
    command.add_argument(
        "--for", dest="seconds", type=_duration, default=3600.0, metavar="TIME", help='"1h" if not said'
    )
    command.add_argument("--reason", help="for the log and the list of bans")


def unban(command: argparse.ArgumentParser) -> None:
    """Whose ban it is."""
    command.add_argument("network", metavar="ADDR/PREFIX", help="a prefix, or an address for itself alone")
    admin(command)


def look(command: argparse.ArgumentParser) -> None:
    """How to show what there is."""
    command.add_argument("--json", action="store_true", help="as the admin API tells it")
    admin(command)


def sessions(command: argparse.ArgumentParser) -> None:
    """Which ones, and how to show them."""
    command.add_argument("--user", metavar="NAME", help="only those of this user")
    command.add_argument("--client", metavar="ADDR/PREFIX", help="only those from this prefix")
    command.add_argument("--listener", metavar="NAME", help="only those of this listener")
    look(command)


def kick(command: argparse.ArgumentParser) -> None:
    """Whose session it is."""
    whose = command.add_mutually_exclusive_group(required=True)
    whose.add_argument("session", nargs="?", metavar="SESSION", help="its id, as sessions and the log tell it")
    whose.add_argument("--user", metavar="NAME", help="all sessions of this user")
    admin(command)


_USER_ACTIONS = {
    "add": "let somebody in; the password comes from a prompt or the first line of standard input",
    "passwd": "give somebody another password, which comes from there too",
    "remove": "let somebody in no more",
    "verify": "say whether a password, which comes from there too, is right",
    "list": "show who is let in, and what is wrong with the file",
}


def user(command: argparse.ArgumentParser) -> None:
    """What to do with a users file, and about whom."""
    actions = command.add_subparsers(dest="action", required=True, metavar="action")
    for name, text in _USER_ACTIONS.items():
        action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name != "list":
            action.add_argument("name", metavar="NAME", help="the name to log in by")
        action.add_argument("--file", type=Path, required=True, metavar="FILE", help="the users file")
        if name in ("add", "passwd"):
            _new_password(action)
    text = "the app passwords of users: each for one device, beside the users file"
    _app_password(actions.add_parser("app-password", help=text, description=text, allow_abbrev=False))


def _new_password(action: argparse.ArgumentParser) -> None:
    how = action.add_mutually_exclusive_group()
    how.add_argument(
        "--scheme",
        type=str.upper,
        choices=("ARGON2ID", "SCRAM-SHA-256"),
        help="of the hash; ARGON2ID if not said, but passwd keeps SCRAM-SHA-256 where it is",
    )
    how.add_argument(
        "--app-passwords-only", action="store_true", help="no password: only the user's app passwords are let in"
    )


_APP_PASSWORD_STEPS = {
    "add": "make one, and print it: this once",
    "remove": "let one in no more",
    "list": "show them, and what is wrong with the file",
}


def _app_password(action: argparse.ArgumentParser) -> None:
    steps = action.add_subparsers(dest="step", required=True, metavar="step")
    for name, text in _APP_PASSWORD_STEPS.items():
        step = steps.add_parser(name, help=text, description=text, allow_abbrev=False)
        step.add_argument("name", metavar="NAME", nargs="?" if name == "list" else None, help="the name to log in by")
        step.add_argument("--file", type=Path, required=True, metavar="FILE", help="the file of app passwords")
        if name == "list":
            last_used = step.add_mutually_exclusive_group()
            last_used.add_argument("--state-directory", type=Path, metavar="DIR", help="has when each was last used")
            last_used.add_argument("--config", type=Path, metavar="FILE", help="a config that names that directory")
        else:
            step.add_argument("--label", required=True, metavar="L", help='what it is for, such as "phone"')
        if name == "add":
            step.add_argument("--protocols", default="", metavar="P,P", help="imap, pop3, submission; all if not said")
            step.add_argument("--networks", default="", metavar="N,N", help="prefixes; everywhere if not said")


def import_(command: argparse.ArgumentParser) -> None:
    """Whose config it is, and its file."""
    command.add_argument("source", choices=("nginx", "perdition", "stunnel"), help="whose config it is")
    command.add_argument("file", type=Path, metavar="FILE", help="the config; files that it includes are read too")


def _address(text: str) -> object:
    from tlsgate.config.fault import Wrong
    from tlsgate.config.values import parse_address

    try:
        return parse_address(text)
    except Wrong as wrong:
        raise argparse.ArgumentTypeError(str(wrong) or 'use "host:port", "[v6]:port" or "unix:/path"') from None


def _domain(text: str) -> str:
    from tlsgate.config.fault import Wrong
    from tlsgate.config.values import parse_domain

    try:
        return parse_domain(text)
    except Wrong:
        raise argparse.ArgumentTypeError('use a domain in ASCII, such as "example.org"') from None


def _duration(text: str) -> float:
    from tlsgate.config.fault import Wrong
    from tlsgate.config.values import parse_duration

    try:
        seconds = parse_duration(text)
    except Wrong as wrong:
        raise argparse.ArgumentTypeError(str(wrong) or 'use "30s", "10m", "1h" or "1d"') from None
    if seconds < 1:
        raise argparse.ArgumentTypeError("is less than a second")
    return seconds
