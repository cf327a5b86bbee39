"""The PROXY header, both versions: read as it comes in, octet by octet."""

from __future__ import annotations

from tlsgate.dialogue.events import NeedData, RemoteProtocolError
from tlsgate.dialogue.proxy import LONGEST_PAYLOAD, ProxyHeader, proxy_v1, proxy_v2, read_header


def fuzz(data: bytes) -> None:
    whole = _read(data)
    if isinstance(whole, ProxyHeader):
        assert 0 < whole.taken <= len(data)
        assert _read(data[: whole.taken]) == whole
        # What is not whole asks for more, and takes nothing of what follows.
        assert _read(data[: whole.taken - 1]) is None
        assert _read(data[: whole.taken // 2]) is None
        if whole.source is not None and whole.destination is not None:
            for written in (proxy_v1(whole.source, whole.destination), proxy_v2(whole.source, whole.destination)):
                again = _read(written + data)
                assert isinstance(again, ProxyHeader)
                assert again.taken == len(written)
                assert (again.source is None) is False
    elif whole is None:
        assert len(data) < LONGEST_PAYLOAD + 16
        assert data == b"" or not isinstance(_read(data[:-1]), str)
    else:
        assert isinstance(_read(data + b"\0"), str)


def _read(data: bytes) -> ProxyHeader | str | None:
    try:
        found = read_header(data)
    except RemoteProtocolError as error:
        return str(error)
    return None if isinstance(found, NeedData) else found
