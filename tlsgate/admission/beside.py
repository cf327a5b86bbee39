"""A check that runs beside the handshake, and whose result is asked for when it is needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

_Result = TypeVar("_Result")


class Beside(Generic[_Result]):
    """Runs ``check`` as a task of ``nursery``, which may outlive the session: whoever starts one cancels it at its end.

    ``otherwise``: the result of a check that was cancelled, and of one under way.
    """

    def __init__(self, nursery: trio.Nursery, check: Callable[[], Awaitable[_Result]], otherwise: _Result) -> None:
        self._result = otherwise
        self._done = trio.Event()
        self._scope = trio.CancelScope()
        nursery.start_soon(self._run, check)

    async def _run(self, check: Callable[[], Awaitable[_Result]]) -> None:
        try:
            with self._scope:
                self._result = await check()
        finally:
            self._done.set()

    @property
    def now(self) -> _Result:
        """The result, or ``otherwise`` while there is none."""
        return self._result

    async def result(self) -> _Result:
        """Wait for it; as often as is liked, and from several tasks."""
        await self._done.wait()
        return self._result

    def cancel(self) -> None:
        """Nobody needs it any more."""
        self._scope.cancel()
