"""An issuer is asked over HTTP."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from tlsgate.auth.oauth.exchange import LARGEST_ANSWER, PATIENCE, FetchFailed
from tlsgate.http.client import Client
from tlsgate.http.message import Headers, HttpError

_JSON: Headers = (("Accept", b"application/json"),)


class OverHttp:
    """``fetch`` and ``post`` as ``Fetch`` and ``Post``, by this ``client``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def fetch(self, url: str) -> bytes:
        return await self._ask("GET", url, _JSON, b"")

    async def post(self, url: str, form: bytes, headers: Mapping[str, str]) -> bytes:
        return await self._ask("POST", url, tuple((name, text.encode()) for name, text in headers.items()), form)

    async def _ask(self, method: str, url: str, headers: Headers, body: bytes) -> bytes:
        deadline = trio.current_time() + PATIENCE
        try:
            answer = await self._client.request(method, url, headers, body, largest=LARGEST_ANSWER, deadline=deadline)
        except HttpError as error:
            raise FetchFailed(str(error)) from None
        if answer.status != 200:
            raise FetchFailed(f"status {answer.status}")
        return answer.body
