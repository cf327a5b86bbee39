"""A real browser without a window, told what to do by the DevTools protocol over pipes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import msgspec
import trio

from tests.system.peers import program

_ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",  # root's browser has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
]


class Browser:
    """One page. ``complaints``: what it had to say: errors, warnings, violations of the policy."""

    def __init__(self, told: trio.lowlevel.FdStream, says: trio.lowlevel.FdStream) -> None:
        self.complaints: list[str] = []
        self._told, self._says = told, says
        self._page = ""
        self._sent = 0
        self._rest = b""

    async def begin(self, width: int, height: int) -> None:
        """Open the page, empty."""
        target = await self._do("Target.createTarget", url="about:blank")
        attached = await self._do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._page = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self._do(f"{domain}.enable")
        await self._do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    async def open(self, url: str) -> None:
        await self._do("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise's is waited for."""
        done = await self._do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until an expression is true."""
        with trio.fail_after(20):
            await self.run(
                f"new Promise(done => {{ const look = () => {script} ? done() : setTimeout(look, 20); look() }})"
            )

    async def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        wanted = await self._send(method, parameters)
        while True:
            said = await self._message()
            if said.get("id") == wanted:
                assert "result" in said, said
                result: dict[str, Any] = said["result"]
                return result
            await self._notice(said)

    async def _send(self, method: str, parameters: dict[str, Any]) -> int:
        self._sent += 1
        command: dict[str, Any] = {"id": self._sent, "method": method, "params": parameters}
        if self._page:
            command["sessionId"] = self._page
        await self._told.send_all(msgspec.json.encode(command) + b"\0")
        return self._sent

    async def _notice(self, said: dict[str, Any]) -> None:
        match said.get("method"):
            case "Log.entryAdded":
                self.complaints.append(said["params"]["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(str(said["params"]))
            case "Page.javascriptDialogOpening":
                await self._send("Page.handleJavaScriptDialog", {"accept": True})

    async def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = await self._says.receive_some()
            assert piece, "the browser is gone"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        said: dict[str, Any] = msgspec.json.decode(line)
        return said


@asynccontextmanager
async def browser(profile: Path, width: int = 1280, height: int = 1000) -> AsyncIterator[Browser]:
    """Run one until the block ends. ``profile``: a directory of its own."""
    chromium = program("chromium")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "-", chromium, *_ARGUMENTS]
    async with trio.lowlevel.FdStream(ours_out) as told, trio.lowlevel.FdStream(ours_in) as says:
        process = await trio.lowlevel.open_process(
            [*command, f"--user-data-dir={profile}"], pass_fds=(theirs_in, theirs_out), stdout=DEVNULL, stderr=DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            page = Browser(told, says)
            with trio.fail_after(30):
                await page.begin(width, height)
            yield page
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
