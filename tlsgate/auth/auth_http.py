"""The source "auth-http": a server that speaks nginx's auth_http protocol decides, and says which backend to take."""

from __future__ import annotations

import trio

from tlsgate.auth.auth_http_answer import Again, Allowed, Denied, Unavailable, read_answer
from tlsgate.auth.auth_http_request import Question, request_headers
from tlsgate.config import Url
from tlsgate.http.client import Client
from tlsgate.http.message import Headers, HttpError

PATIENCE = 15.0
"""Seconds for an answer, what the server makes us wait (Auth-Status: WAIT) included."""
_LARGEST_BODY = 64 * 1024
_SHORTEST_WAIT = 1


class AuthHttp:
    """``client``: asks, and keeps connections; https where the ``url`` is. ``headers``: sent beside nginx's."""

    def __init__(self, client: Client, url: Url, headers: Headers = ()) -> None:
        self._client = client
        self._url = url
        self._headers = headers

    async def ask(self, question: Question) -> Allowed | Denied | Unavailable:
        """Never raises but for cancellation."""
        headers = (*request_headers(question), *self._headers)
        deadline = trio.current_time() + PATIENCE
        while True:
            try:
                response = await self._client.request(
                    "GET", self._url, headers, b"", largest=_LARGEST_BODY, deadline=deadline
                )
            except HttpError as error:
                return Unavailable(str(error))
            answer = read_answer(response, question)
            if not isinstance(answer, Again):
                return answer
            # nginx asks at once without Auth-Wait, as fast as it can.
            again_at = trio.current_time() + max(_SHORTEST_WAIT, answer.wait)
            if again_at >= deadline:
                return Unavailable("Auth-Status: WAIT for too long")
            await trio.sleep_until(again_at)
