"""What several workers know of a pool, as one."""

from __future__ import annotations

from tlsgate.ops.pool_view import BackendView, PoolView, merged


def backend(
    up: bool, connections: int, capabilities: list[str] | None, failed_at: float | None, failure: str | None = None
) -> BackendView:
    return BackendView("b:143", "none", 10, 1, up, connections, capabilities, failed_at, failure)


def test_connections_are_a_sum_the_last_failure_counts_and_one_that_sees_it_down_is_enough() -> None:
    views = [
        PoolView("imap", "same", [backend(True, 3, None, 10.0, "refused")]),
        PoolView("imap", "same", [backend(False, 4, ["IDLE"], 20.0, "timeout")]),
        PoolView("imap", "same", [backend(True, 5, ["IDLE"], None)]),
    ]
    (both,) = merged(views, 1).backends
    assert (both.up, both.connections, both.capabilities) == (False, 12, ["IDLE"])
    assert (both.failed_at, both.failure) == (20.0, "timeout")
    assert merged(views, 1).unheard == 1


def test_a_backend_that_only_one_worker_has_found_yet_is_shown() -> None:
    other = BackendView("c:143", "none", 10, 1, True, 0, None, None, None)
    views = [PoolView("imap", "same", [backend(True, 1, None, None)]), PoolView("imap", "same", [other])]
    assert [each.address for each in merged(views, 0).backends] == ["b:143", "c:143"]
