"""Peers that speak HTTP are known by their first line, and nobody else is taken for one."""

from __future__ import annotations

import pytest

from tlsgate.dialogue.foreign import is_foreign


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"get / http/1.0\r\n",
        b"GET /\r\n",
        b"POST /a?b=c HTTP/1.1\r\n",
        b"PUT /a HTTP/1.1\r\n",
        b"HEAD http://mail.example.org/ HTTP/1.1\r\n",
        b"CONNECT mail.example.org:25 HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"Host: mail.example.org\r\n",
        b"HOST:x\r\n",
    ],
)
def test_http(line: bytes) -> None:
    assert is_foreign(line)


@pytest.mark.parametrize(
    "line",
    [
        b"GET NOOP\r\n",
        b"post LOGIN alice /HTTP/\r\n",
        b"host NOOP\r\n",
        b"a GET / HTTP/1.1\r\n",
        b"HELP\r\n",
        b"EHLO host:\r\n",
        b"DELETE NOOP\r\n",
        b"\r\n",
    ],
)
def test_mail(line: bytes) -> None:
    assert not is_foreign(line)
