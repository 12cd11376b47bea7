"""Order books that a client can follow."""

from random import Random
from typing import Any

import pytest

from exchanges.simulated.book import PriceLevels

from .conftest import Harness, payloads

Side = dict[str, str]


def applied(book: dict[str, Side], data: dict[str, Any]) -> None:
    """A client's book after a delta: deletes must exist."""
    for side in ("b", "a"):
        for price, size in data[side]:
            if size == "0":
                del book[side][price]
            else:
                book[side][price] = size


@pytest.mark.parametrize(
    ("category", "topic"),
    [("linear", "orderbook.50.ETHUSDT"), ("spot", "orderbook.200.BTCUSDT"), ("inverse", "orderbook.1000.BTCUSD")],
)
def test_deltas_lead_from_snapshot_to_snapshot(harness: Harness, category: str, topic: str) -> None:
    """u grows by one, depth holds, the book never crosses, and a fresh snapshot equals the book followed."""
    session = harness.client(category)
    first = harness.ask(session, op="subscribe", args=[topic])[0]
    book = {side: dict(first["data"][side]) for side in ("b", "a")}
    u = first["data"]["u"]
    harness.run(2000)
    deltas = payloads(session)
    assert len(deltas) > 20
    for delta in deltas:
        assert (delta["type"], delta["data"]["u"]) == ("delta", u + 1)
        u += 1
        applied(book, delta["data"])
        assert max(map(float, book["b"])) < min(map(float, book["a"]))
        assert len(book["b"]) == len(book["a"]) == int(topic.split(".")[1])
    fresh = harness.ask(harness.client(category), op="subscribe", args=[topic])[0]["data"]
    assert fresh["u"] == u
    assert {side: dict(fresh[side]) for side in ("b", "a")} == book
    assert [float(p) for p, _ in fresh["b"]] == sorted(map(float, book["b"]), reverse=True)


def test_jump_beyond_the_depth_replaces_every_level() -> None:
    """Old levels are deleted, none is left behind."""
    price_levels = PriceLevels(5, 10_000, 100, Random(1))
    bids, asks = price_levels.move_to(9_000)
    assert sorted(tick for tick, size in bids.items() if size == 0) == list(range(9_996, 10_001))
    assert sorted(tick for tick, size in asks.items() if size) == list(range(9_001, 9_006))
    assert sorted(price_levels.sizes) == list(range(8_996, 9_006))


def test_top_book_is_snapshots_only_and_repeats_when_still(harness: Harness) -> None:
    """The repeat has the same u, three seconds later, not earlier (trap T6)."""
    session = harness.subscribe("linear", "orderbook.1.BTCUSDT")
    harness.run(500)
    messages = payloads(session)
    assert {message["type"] for message in messages} == {"snapshot"}
    harness.now_ms = messages[-1]["ts"] + 2900
    harness.market.repeat()
    assert not session.pending
    harness.now_ms += 200
    harness.market.repeat()
    assert payloads(session)[0]["data"] == messages[-1]["data"]


def test_service_restart_sends_u_1(harness: Harness) -> None:
    """A snapshot with u == 1, then deltas from 2 (trap T7)."""
    session = harness.subscribe("linear", "orderbook.50.BTCUSDT")
    harness.market.symbols["linear", "BTCUSDT"].restart_books(harness.now_ms)
    harness.run(500)
    first, second = payloads(session)[:2]
    assert (first["type"], first["data"]["u"], second["type"], second["data"]["u"]) == ("snapshot", 1, "delta", 2)
