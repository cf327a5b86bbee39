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


def bans(command: argparse.ArgumentParser) -> None:
    """How to show them."""
    command.add_argument("--json", action="store_true", help="as the admin API tells them")
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
