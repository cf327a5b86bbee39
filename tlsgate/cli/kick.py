"""tlsgate kick: end a session, or all of a user."""

from __future__ import annotations

import argparse
from urllib.parse import quote

import msgspec

from tlsgate.cli.admin_api import AdminApi, NotDone, answered, printable


class _Kicked(msgspec.Struct):
    kicked: int


def execute(arguments: argparse.Namespace) -> int:
    """End ``arguments.session``, or those of ``arguments.user``; gives the exit code."""
    return answered(_kick, arguments)


def _kick(api: AdminApi, arguments: argparse.Namespace) -> None:
    whose = f"?user={quote(arguments.user, safe='')}" if arguments.user is not None else f"/{_name(arguments.session)}"
    answer = api.ask("DELETE", f"/api/sessions{whose}", expected=404)
    if answer.status == 404:
        raise NotDone("there is no such session; `tlsgate sessions` lists them")
    count = answer.read(_Kicked).kicked
    print(
        f"ended {count} session{'' if count == 1 else 's'} of {printable(arguments.user)}"
        if arguments.user
        else f"ended {printable(arguments.session)}"
    )


def _name(session: str) -> str:
    if not session.isalnum():  # "" or "../x" would lead elsewhere
        raise NotDone(f"{printable(session)} is no session's id; `tlsgate sessions` lists them")
    return quote(session)
