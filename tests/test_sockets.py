"""Listening at all places or at none, and what is said when a place is taken."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tlsgate.config import HostPort, Listener, Protocol, TlsMode, UnixPath
from tlsgate.sockets import Place, bind_all, shown, socket_key
from tlsgate.workers.process import CannotStart

ANY_PORT = HostPort("127.0.0.1", 0)


def taken_place(taken: socket.socket, key: str = "listeners.new.address") -> Place:
    return Place(key, HostPort(*taken.getsockname()))


def listener(name: str, port: int) -> Listener:
    address = HostPort("127.0.0.1", port)
    return Listener(name=name, protocol=Protocol.IMAP, address=address, tls=TlsMode.IMPLICIT, pool="imap")


def test_listeners_of_one_address_share_a_socket_whatever_their_name() -> None:
    """A renamed listener needs no new socket; with port 0 each gets one of its own."""
    assert socket_key(listener("one", 993)) == socket_key(listener("two", 993))
    assert socket_key(listener("one", 0)) != socket_key(listener("two", 0))


def test_all_or_none(tmp_path: Path) -> None:
    """Half a set would keep its ports from a second try."""
    path = tmp_path / "gate"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        places = {"unix": Place("listeners.unix.address", UnixPath(path)), "taken": taken_place(taken)}
        with pytest.raises(CannotStart, match=r"^listeners\.new\.address: can't listen on .*in use"):
            bind_all(places)
    assert not path.exists()


def test_a_port_that_our_own_leaving_listener_holds() -> None:
    """ "Address already in use" sends an operator looking for another process."""
    bound = bind_all({"old": Place("listeners.old.address", ANY_PORT)})
    with bound["old"] as old:
        port = old.getsockname()[1]
        leaving = [Place("listeners.old.address", HostPort("127.0.0.1", port))]
        with pytest.raises(CannotStart) as raised:
            bind_all({"new": Place("listeners.new.address", HostPort("0.0.0.0", port))}, leaving)
        assert str(raised.value) == (
            f"listeners.new.address: can't listen on 0.0.0.0:{port}: "
            "listeners.old.address still has that port; this change needs a restart"
        )


def test_a_port_that_another_process_holds_is_not_said_to_be_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotStart, match="already in use"):
        bind_all({"new": taken_place(taken)}, [Place("listeners.old.address", HostPort("127.0.0.1", 1))])


def test_addresses_are_shown_as_a_config_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "gate"
    bound = bind_all({"tcp": Place("a", ANY_PORT), "unix": Place("b", UnixPath(path))})
    with bound["tcp"] as tcp, bound["unix"] as unix:
        assert shown(tcp) == f"127.0.0.1:{tcp.getsockname()[1]}"
        assert shown(unix) == f"unix:{path}"
