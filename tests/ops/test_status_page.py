"""The status page in a real browser: what it shows, and what it doesn't let happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.ops.admin_address import TOKEN, Admin, serving
from tests.ops.browser import Browser, browser
from tests.ops.hostile_gateway import MARKUP, SCRIPT, HostileGateway
from tlsgate.admission.network import parse_network

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
REASON = "<b onmouseover=alert(1)>scans</b>"
SHOWN = "document.querySelectorAll('#sessions td').length > 1"


@pytest.fixture
def gateway() -> HostileGateway:
    return HostileGateway()


@pytest.fixture
async def admin(gateway: HostileGateway) -> AsyncIterator[Admin]:
    async with serving(token=TOKEN, gateway=gateway) as admin:
        admin.bans.add(parse_network("192.0.2.0/24")[0], 3600, REASON)
        yield admin


def url(admin: Admin) -> str:
    return f"http://127.0.0.1:{admin.port}/"


async def table(page: Browser, name: str) -> list[list[str]]:
    """The texts of a table's cells."""
    rows: list[list[str]] = await page.run(
        f"[...document.querySelectorAll('#{name} tr')].slice(1).map(row => [...row.cells].map(td => td.textContent))"
    )
    return rows


async def press(page: Browser, text: str) -> None:
    """Show the token, and press the first button of this name."""
    await page.run(f"token.value = '{TOKEN.secret}'; token.dispatchEvent(new Event('change'))")
    pressed = f"[...document.querySelectorAll('button')].find(each => each.textContent === '{text}')"
    await page.until(f"{pressed} !== undefined")
    # Within a task of its own: the dialogue that follows holds the page until it is answered.
    await page.run(f"setTimeout(() => {pressed}.click(), 0)")


async def test_what_strangers_chose_is_text_and_the_browser_has_no_complaints(admin: Admin, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as page:
        await page.open(url(admin))
        await page.until(SHOWN)
        sessions = await table(page, "sessions")
        assert [row[0] for row in sessions] == [MARKUP, SCRIPT, r"ann\u{202e}txt.exe", "ann", ""]
        assert sessions[3][1:9] == [
            "192.0.2.7", "imaps", "relay", "TLSv1.2", "10.0.0.5:143", "14.6 KiB", "8.6 MiB", "5 min",
        ]  # fmt: skip
        assert (await table(page, "bans"))[0][3] == REASON
        assert [(row[0], row[1]) for row in await table(page, "clients")] == [
            (MARKUP, each) for each in ("TLS below 1.3", "no SNI", "STARTTLS", "login in clear")
        ]
        up, down = await table(page, "backends")
        assert (up[3], down[3]) == ("up", "down")
        assert down[6].endswith(SCRIPT)
        assert [row[2] for row in await table(page, "certificates")] == ["in 4 days", "expired"]
        assert MARKUP in await page.run("about.textContent")
        assert await page.run("document.title") == "mail.example.org - tlsgate"
        assert await page.run("document.querySelectorAll('img, b[onmouseover], td script').length") == 0
        assert page.complaints == []


async def test_on_a_phone_nothing_is_wider_than_the_screen(admin: Admin, tmp_path: Path) -> None:
    """Wide tables scroll in boxes of their own."""
    async with browser(tmp_path / "profile", 390, 844) as page:
        await page.open(url(admin))
        await page.until(SHOWN)
        assert await page.run("document.documentElement.scrollWidth") <= 390
        assert await page.run("document.querySelector('#sessions').offsetWidth") > 390


async def test_markup_that_slipped_through_would_do_nothing(admin: Admin, tmp_path: Path) -> None:
    """Also shows that complaints are heard at all."""
    async with browser(tmp_path / "profile") as page:
        await page.open(url(admin))
        await page.until(SHOWN)
        for slip in ("document.body.innerHTML = '<i>'", "about.setAttribute('onclick', 'document.title = 1')"):
            assert await page.run(f"try {{ {slip}; 'taken' }} catch {{ 'refused' }}") == "refused"
        assert await page.run("fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'refused')") == "refused"
        assert sum("Content Security Policy" in each for each in page.complaints) >= 2


async def test_old_figures_are_not_shown_as_news(admin: Admin, gateway: HostileGateway, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as page:
        await page.open(url(admin))
        await page.until(SHOWN)
        assert await page.run("fault.hidden")
        gateway.broken = True
        await page.run("user.dispatchEvent(new Event('change'))")
        await page.until("document.body.classList.contains('stale')")
        assert await page.run("fault.textContent") == "No figures: /api/state: 500"
        gateway.broken = False
        await page.run("user.dispatchEvent(new Event('change'))")
        await page.until("!document.body.classList.contains('stale')")
        assert await page.run("fault.hidden")


async def test_a_user_is_looked_for(admin: Admin, gateway: HostileGateway, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as page:
        await page.open(url(admin))
        await page.until(SHOWN)
        await page.run("user.value = 'a&b=c'; user.dispatchEvent(new Event('change'))")
        with trio.fail_after(20):
            while gateway.asked.user != "a&b=c":
                await page.run("0")


async def test_with_the_token_a_session_is_ended_and_a_ban_lifted(
    admin: Admin, gateway: HostileGateway, tmp_path: Path
) -> None:
    async with browser(tmp_path / "profile") as page:
        await page.open(url(admin))
        await page.until(SHOWN)
        assert await page.run("document.querySelectorAll('button').length") == 0
        await press(page, "lift")
        await page.until("bans.textContent.includes('none')")
        assert admin.told.unbanned_networks == [("192.0.2.0/24", "admin")]
        await press(page, "end")
        with trio.fail_after(20):
            while not gateway.kicked:
                await page.run("0")
        assert gateway.kicked == ["1-0"]
        assert page.complaints == []
