"""Klines over connections that are replaced: the simulated OKX and Binance in, the aggregator's own klines out."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from aggregation.klines.arithmetic import Arithmetic
from aggregation.service import KlineOptions, KlineService
from app.pipeline import Pipeline
from callbacks.redundancy import RedundantTrades
from exchanges.binance.venue import VENUE as BINANCE
from exchanges.contract import Endpoints, TradeRules, Venue
from exchanges.okx.venue import VENUE as OKX
from model import clock
from model.ports import Link
from model.records import Kline, TradeBatch
from streams import ConnectBudget, Dialer, FeedOptions, HandoverTimes, Supervisor
from streams.feed import MarketFeed
from streams.reader import Reader
from tests.support.events import RecordedEvents
from tests.support.history import FakeHistory
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SYMBOLS = {
    "okx": {"linear": ("BTC-USDT-SWAP", "ETH-USDT-SWAP"), "spot": ("BTC-USDT", "ETH-USDT")},
    "binance": {"linear": ("BTCUSDT", "ETHUSDT"), "spot": ("BTCUSDT", "ETHUSDT")},
}
CONNECTIONS = {"linear": 2, "spot": 1}  # those of linear carry the same: REDUNDANCY
# An overlap is longer than a trade may take to come (aggregation/klines/table.py:IN_FLIGHT_MS).
TIMES = HandoverTimes(head_start_s=0.1, overlap_s=1.3, quiet_s=0.6, linger_s=0.3, least_age_s=0.0, spread_s=0.0)
LIFETIME_S = 0.8
FAST = FeedOptions(ping_interval_s=1.0, handover=TIMES)  # an age is looked at four times as often
STOP_S = 10.0
LIMIT_S = 60.0


class Collected:
    """A collector's way of trades, from the feed to klines, whose connections are replaced all the time."""

    def __init__(self, venue: Venue, sim: SimulatorProcess) -> None:
        self.klines: list[tuple[str, Kline]] = []
        self.events, self.dials = RecordedEvents(), Counter[str]()
        self.faults: list[str] = []
        self._venue, self._sim = venue, sim
        self._decoders = {market: venue.decoder(market, TradeRules(), self.report) for market in CONNECTIONS}
        self._sizes: dict[str, Decimal] = {}
        if venue is OKX:
            rows = sim.get("/api/v5/public/instruments", instType="SWAP").json()["data"]
            self._sizes = {row["instId"]: Decimal(row["ctVal"]) * Decimal(row["ctMult"]) for row in rows}
        self._service = KlineService(
            KlineOptions(
                tuple(CONNECTIONS),
                ("1s", "5s"),
                {market: Arithmetic.of(venue.markets[market]) for market in CONNECTIONS},
                repairs=False,
                consecutive_ids=True,
            ),
            self._decode,
            self,
            FakeHistory(now_ms=clock.now_ms),
            report=self.report,
            contract_sizes=lambda _market, symbol: self._sizes.get(symbol),
            events=self.events,
        )
        self._reader = Reader(reads=self._service.aggregator.reads)
        self._budget = ConnectBudget(venue.connects.most, venue.connects.per_s)
        entries = [entry for market in CONNECTIONS for entry in self._streams(market)]
        self._supervisor = Supervisor(entries, reconnect_delay_s=0.05, reconnect_cap_s=0.1)

    def report(self, cause: str, _sample: bytes) -> None:
        self.faults.append(cause)

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Take closed klines: the service's output."""
        self.klines += [(market, kline) for kline in klines]

    def _decode(self, market: str, payloads: Sequence[bytes]) -> TradeBatch:
        return self._decoders[market](payloads)

    def _streams(self, market: str) -> list[dict[str, Any]]:
        protocol: Any = self._venue.protocol(market, Endpoints(ws_url=self._sim.ws_base))
        protocol.lifetime_s = LIFETIME_S
        dialer = Dialer(self._budget, connect_timeout_s=5.0, reader=self._reader)

        def dial(url: str) -> Link | None:
            self.dials[market] += 1
            return dialer.open(url)

        parts: dict[str, Any] = {"dial": dial, "report": self.report, "events": self.events}
        assert self._venue.trade_keys is not None
        feed = MarketFeed(protocol, FAST, **parts, trade_keys=self._venue.trade_keys)
        sink: Any = Pipeline(market, "trades", [self._service.queue_for(market)], [self._service.mark])
        if CONNECTIONS[market] > 1:
            sink = RedundantTrades(sink, self._venue.trade_keys)
        args = ("trades", SYMBOLS[self._venue.name][market], sink)
        return [{"name": f"{market}-{i}", "func": feed.run, "args": args} for i in range(CONNECTIONS[market])]

    def run_until(self, dials: int, complete: Mapping[int, int]) -> None:
        """Collect until each stream has opened so many connections, on average, and each series has enough klines.

        `complete`: how many of an interval (ms) must be complete.
        """
        symbols = SYMBOLS[self._venue.name]

        def is_done() -> bool:
            is_replaced = all(self.dials[market] >= dials * count for market, count in CONNECTIONS.items())
            found = Counter((market, k.symbol, k.interval) for market, k in list(self.klines) if k.complete)
            return is_replaced and all(
                found[market, symbol, step_ms] >= most
                for market, names in symbols.items()
                for symbol in names
                for step_ms, most in complete.items()
            )

        self._service.start()
        self._supervisor.start()
        try:
            wait_until(is_done, LIMIT_S)
        finally:
            assert self._supervisor.stop(STOP_S) == []
            self._reader.stop()
            self._service.aggregator.stop(STOP_S)
        wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("stream-")])


@pytest.mark.parametrize("venue", [OKX, BINANCE], ids=lambda venue: venue.name)
def test_klines_stay_complete_and_right_while_connections_are_replaced(venue: Venue) -> None:
    """At least twice each, under load, also of streams of two connections: no gap, no duplicate, no trade missing."""
    args = ("--symbols", 2, "--illiquid", 0, "--rate", 1500, "--true-seconds", "--categories", "linear,spot")
    with SimulatorProcess(*args, exchange=venue.name) as sim:
        collected = Collected(venue, sim)
        collected.run_until(dials=4, complete={1000: 8, 5000: 2})
        truths = {
            (market, symbol, step_ms): {row["start"]: row for row in sim.klines(symbol, step_ms, category=market)}
            for market, symbols in SYMBOLS[venue.name].items()
            for symbol in symbols
            for step_ms in (1000, 5000)
        }
    assert collected.events.of("gap") == []
    assert {event["reason"] for event in collected.events.of("disconnected")} == {"stopped"}
    assert collected.faults == []
    series: dict[tuple[str, str, int], list[Kline]] = {}
    for market, kline in collected.klines:
        series.setdefault((market, kline.symbol, kline.interval), []).append(kline)
    assert set(series) == set(truths)
    for (market, symbol, step_ms), klines in series.items():
        first = next(i for i, kline in enumerate(klines) if kline.complete)
        ours = klines[first:-2] if step_ms == 1000 else klines[first:-1]  # the stop may be within the last ones
        assert len(ours) >= 5 or step_ms > 1000
        assert [each.timestamp for each in ours] == [ours[0].timestamp + i * step_ms for i in range(len(ours))]
        for kline in ours:
            truth = truths[market, symbol, step_ms][kline.timestamp]
            assert kline.complete, kline
            assert kline.trade_count == truth["trade_count"]
            for name in ("open", "high", "low", "close", "volume"):
                assert getattr(kline, name) == Decimal(truth[name]), (name, kline, truth)
