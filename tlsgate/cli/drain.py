"""tlsgate drain: take no more connections, and stop when the sessions have ended."""

from __future__ import annotations

import argparse

import msgspec

from tlsgate.cli.admin_api import AdminApi, answered


class _Drains(msgspec.Struct):
    begun: bool


def execute(arguments: argparse.Namespace) -> int:
    """Have the gateway drain; gives the exit code."""
    return answered(_drain, arguments)


def _drain(api: AdminApi, _arguments: argparse.Namespace) -> None:
    begun = api.ask("POST", "/api/drain").read(_Drains).begun
    print("it drains, and stops then" if begun else "it drains already")
