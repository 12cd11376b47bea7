"""Quiet minutes of the simulated KuCoin, on a clock of its own: spot writes them late, futures leave them out."""

import itertools
import json

import pytest

from exchanges.simulated.hub import Hub
from exchanges.simulated.kucoin.dialect import DIALECT, id_of
from exchanges.simulated.kucoin.market_api import MarketApi
from exchanges.simulated.market import Market
from exchanges.simulated.options import Options

MINUTE_MS = 60_000
START_MS = 1_790_000_000_000 // MINUTE_MS * MINUTE_MS
SYMBOLS = {"spot": "BTC-USDT", "linear": "XBTUSDTM"}
CHANNELS = {"spot": "/market/candles", "linear": "/contractMarket/limitCandle"}


class Clock:
    now_ms = START_MS

    def __call__(self):
        return self.now_ms * 1000


class Exchange:
    """A market without a history, its REST, and the messages of a candle topic."""

    def __init__(self, market):
        self.clock, self.hub = Clock(), Hub()
        options = Options(symbols=1, illiquid=0, history_minutes=0)
        self.market = Market(options, self.hub, self.clock, DIALECT)
        self.symbol = self.market.symbols[market, SYMBOLS[market]]
        topic = self.market.find("public", f"{CHANNELS[market]}:{SYMBOLS[market]}_1min")
        assert topic is not None
        self.session = self.hub.open("public", "conn")
        self.session.wrap = bytes
        self.session.reframe = lambda _topic, body: body
        self.hub.join(self.session, topic)
        self._rest = MarketApi(self.market)

    def trade_in(self, minute):
        self.clock.now_ms = START_MS + minute * MINUTE_MS + 1000
        self.symbol.trade_event(self.clock.now_ms)
        self.market.fold()

    def told(self):
        """Subject, minute and volume of each candle since the last look."""
        self.market.push_klines()
        messages = [json.loads(body) for body in self.session.pending]
        self.session.pending.clear()
        rows = [(message["subject"], message["data"]["candles"]) for message in messages]
        return [(subject, (int(row[0]) * 1000 - START_MS) // MINUTE_MS, float(row[5]) > 0) for subject, row in rows]

    def written(self, market):
        """Minutes of REST since the start, oldest first, and whether something traded."""
        if market == "spot":
            query = {"symbol": SYMBOLS[market], "type": "1min", "startAt": str(START_MS // 1000)}
            rows = [(int(row[0]) * 1000, row[5]) for row in self._rest.endpoints["/api/v1/market/candles"].work(query)]
            rows.reverse()
        else:
            query = {"symbol": SYMBOLS[market], "granularity": "1", "from": str(START_MS)}
            rows = [(row[0], row[5]) for row in json.loads(self._rest.endpoints["/api/v1/kline/query"].work(query))]
        return [((start - START_MS) // MINUTE_MS, float(volume) > 0) for start, volume in rows]


def test_quiet_minutes_of_spot_are_written_with_the_next_trade():
    """REST lacks them until then; the socket adds those that are past, then the new one."""
    exchange = Exchange("spot")
    exchange.trade_in(0)
    assert exchange.told() == [("trade.candles.add", 0, True)]
    exchange.clock.now_ms += MINUTE_MS
    assert exchange.told() == []
    assert exchange.written("spot") == [(0, True)]
    exchange.clock.now_ms += MINUTE_MS
    assert exchange.told() == []
    assert exchange.written("spot") == [(0, True)]

    exchange.trade_in(3)

    assert exchange.told() == [
        ("trade.candles.add", 1, False),
        ("trade.candles.add", 2, False),
        ("trade.candles.add", 3, True),
    ]
    assert exchange.written("spot") == [(0, True), (1, False), (2, False), (3, True)]
    exchange.trade_in(3)
    assert exchange.told() == [("trade.candles.update", 3, True)]


def test_quiet_minutes_of_futures_are_nowhere():
    """Nor after the next trade."""
    exchange = Exchange("linear")
    exchange.trade_in(0)
    exchange.told()
    exchange.clock.now_ms += 2 * MINUTE_MS
    assert exchange.told() == []

    exchange.trade_in(3)

    assert exchange.told() == [("candle.stick", 3, True)]
    assert exchange.written("linear") == [(0, True), (3, True)]


@pytest.mark.parametrize("step", [3, 6007])
def test_ids_grow_never_repeat_and_are_not_consecutive(step):
    """Those of a restarted exchange are above all before."""
    ids = [int(id_of(number, step)) for number in range(1_790_000_000_000, 1_790_000_001_000)]

    assert ids == sorted(set(ids))
    assert len({b - a for a, b in itertools.pairwise(ids)}) > 1
