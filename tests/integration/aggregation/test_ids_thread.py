"""Proof by ids with both threads, as they run: a stream that loses trades without a disconnect, and their repair."""

import random
import threading
import time
from collections.abc import Sequence

import msgspec

from aggregation.aggregator import Aggregator
from aggregation.recovery.repair import Repairer
from model import clock
from model.intervals import parse_interval
from model.records import Kline, PastTrade, TradeBatch
from tests.support.history import FakeHistory
from tests.support.markers import feed_up
from tests.support.waiting import wait_until

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SECONDS = 5.0


class Exchange:
    """Trades of consecutive ids by the host's clock; of some the stream sends nothing, of some two."""

    def __init__(self) -> None:
        self.random = random.Random(13)
        self.trades: dict[str, list[PastTrade]] = {symbol: [] for symbol in SYMBOLS}
        self.lost = 0

    def trade(self) -> list[bytes]:
        symbol = self.random.choice(SYMBOLS)
        its = self.trades[symbol]
        its.append(PastTrade(len(its) + 1, clock.now_ms(), 100.0 + len(its) % 9, 1.0, len(its) + 1))
        payload = msgspec.json.encode([symbol, *(getattr(its[-1], name) for name in ("event_ms", "price", "trade_id"))])
        chance = self.random.random()
        self.lost += chance < 0.05
        return [] if chance < 0.05 else [payload] * (2 if chance > 0.95 else 1)

    def by_id(self, _market: str, symbol: str, first: int, last: int) -> list[PastTrade]:
        return self.trades[symbol][first - 1 : last]


def decode(_market: str, payloads: Sequence[bytes]) -> TradeBatch:
    rows = [msgspec.json.decode(payload) for payload in payloads]
    symbols, ms, prices, ids = map(list, zip(*rows, strict=True))
    return TradeBatch(symbols, ms, prices, [1.0] * len(rows), ids, ids)


def test_every_lost_trade_is_repaired_while_trades_go_on() -> None:
    """No second between the first and the last lacks one in the end, and none claims to be complete without it."""
    exchange = Exchange()
    klines: dict[tuple[str, int], Kline] = {}
    lock = threading.Lock()

    def publish(_market: str, found: list[Kline]) -> None:
        with lock:
            klines.update(((kline.symbol, kline.timestamp), kline) for kline in found)

    history = FakeHistory(trades_by_id=exchange.by_id, now_ms=clock.now_ms)
    repairer = Repairer(history, lambda market, message: aggregator.queues[market].put_control(message))
    aggregator = Aggregator(
        ["linear"],
        [parse_interval("1s")],
        decode,
        publish,
        on_gap=repairer.request_trades,
        consecutive_ids=True,
    )
    queue = aggregator.queues["linear"]
    queue.put_control(feed_up(SYMBOLS, clock.now_ms()))
    aggregator.start()
    repairer.start()
    try:
        until_s, pause = time.monotonic() + SECONDS, threading.Event()
        while time.monotonic() < until_s:
            queue.put_all(exchange.trade())
            pause.wait(0.002)
        for symbol in SYMBOLS:  # the last of each comes, so that all holes are known
            its = exchange.trades[symbol]
            its.append(PastTrade(len(its) + 1, clock.now_ms(), 100.0, 1.0, len(its) + 1))
            queue.put(msgspec.json.encode([symbol, its[-1].event_ms, 100.0, its[-1].trade_id]))
        ends = {symbol: its[-1].event_ms // 1000 * 1000 for symbol, its in exchange.trades.items()}

        def due() -> list[tuple[str, int]]:
            return [
                (s, its[0].event_ms // 1000 * 1000 + n * 1000) for s, its in exchange.trades.items() for n in (2, 3)
            ]

        def is_whole() -> bool:
            with lock:
                begun = [k for k in klines.values() if k.timestamp >= exchange.trades[k.symbol][0].event_ms + 1000]
            return all(key in klines for key in due()) and all(
                k.complete for k in begun if k.timestamp < ends[k.symbol]
            )

        wait_until(is_whole, 20)
    finally:
        deadline = time.monotonic() + 5
        assert repairer.stop(deadline)
        assert aggregator.stop(deadline)
    assert exchange.lost > 10
    for (symbol, start_ms), kline in klines.items():
        inside = [t for t in exchange.trades[symbol] if start_ms <= t.event_ms < start_ms + 1000]
        if kline.complete:
            assert (kline.volume, kline.trade_count) == (len(inside), len(inside))
