"""Who comes with old clients: what is kept, how much of it, and what of it is shown."""

from __future__ import annotations

import msgspec
import pytest

from tests.ops.admin_address import serving
from tests.ops.hostile_gateway import MARKUP, HostileGateway
from tlsgate.ops.client_report import MOST, ClientReport, Habit, Noted


def _users(report: ClientReport) -> set[str]:
    return {each.user for each in report.rows(10 * MOST)}


def test_a_user_is_counted_and_shown_from_where_it_came_last() -> None:
    report = ClientReport()
    report.add(Noted(Habit.STARTTLS, "ann", 2, 20.0, "192.0.2.8", "imap"))
    report.add(Noted(Habit.STARTTLS, "ann", 3, 10.0, "192.0.2.7", "pop3"))
    report.add(Noted(Habit.OLD_TLS, "ann", 1, 30.0, "192.0.2.9", "imaps"))
    assert report.rows(10) == [
        Noted(Habit.OLD_TLS, "ann", 1, 30.0, "192.0.2.9", "imaps"),
        Noted(Habit.STARTTLS, "ann", 5, 20.0, "192.0.2.8", "imap"),
    ]
    assert len(report.rows(1)) == 1


def test_who_was_not_seen_for_longest_makes_room() -> None:
    report = ClientReport()
    for number in range(MOST):
        report.note(Habit.NO_SNI, f"user{number}", "192.0.2.7", "imaps")
    report.note(Habit.NO_SNI, "user0", "192.0.2.7", "imaps")
    report.note(Habit.NO_SNI, "ann", "192.0.2.7", "imaps")
    assert len(_users(report)) == MOST
    assert {"ann", "user0"} <= _users(report)
    assert "user1" not in _users(report)


def test_names_tried_in_clear_push_out_nobody_who_has_logged_in() -> None:
    """Anybody can try as many as they like."""
    report = ClientReport()
    report.note(Habit.OLD_TLS, "ann", "192.0.2.7", "imaps")
    for number in range(2 * MOST):
        report.note(Habit.CLEARTEXT, f"made up {number}", "203.0.113.7", "imap")
    assert "ann" in _users(report)
    assert len(_users(report)) == MOST + 1


@pytest.mark.parametrize("name", ["x" * 10_000, "\udcff" * 200, "\U0001f600" * 200])
def test_a_name_of_any_kind_is_bounded_and_passes_to_another_process(name: str) -> None:
    report, parent = ClientReport(), ClientReport()
    report.note(Habit.CLEARTEXT, name, "203.0.113.7", "imap")
    for each in msgspec.msgpack.decode(msgspec.msgpack.encode(report.take()), type=list[Noted]):
        parent.add(each)
    (noted,) = parent.rows(10)
    assert len(noted.user) == 100


def test_all_is_taken_bit_by_bit_and_a_bit_fits_a_packet() -> None:
    report, parent = ClientReport(), ClientReport()
    for habit in Habit:
        for number in range(100):
            report.note(habit, f"{number:03}".ljust(100, "\U0001f600"), "2001:db8::ffff:ffff:ffff:ffff", "x" * 64)
    while not report.is_empty:
        taken = report.take()
        assert len(msgspec.msgpack.encode(taken)) < 100_000
        for each in taken:
            parent.add(each)
    assert len(parent.rows(10 * MOST)) == 400


async def test_it_is_served() -> None:
    async with serving(gateway=HostileGateway()) as admin:
        answer = await admin.ask("GET", "/api/report")
        assert answer.headers["content-type"] == "application/json"
        assert [(each["habit"], each["user"]) for each in answer.json] == [(habit, MARKUP) for habit in Habit]
        assert len((await admin.ask("GET", "/api/report?limit=2")).json) == 2


@pytest.mark.parametrize("query", ["limit=0", "limit=40001", "limit=x", "user=ann"])
async def test_what_cannot_be_asked(query: str) -> None:
    async with serving(gateway=HostileGateway()) as admin:
        answer = await admin.ask("GET", f"/api/report?{query}")
        assert answer.status == 400
        assert answer.json["error"]
