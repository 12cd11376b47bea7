"""What the engine does for any exchange: candle rules, odd prints, contracts, listings, holes. A bent Bybit."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from exchanges.simulated.bybit.dialect import Bybit
from exchanges.simulated.commands import printed_candle
from exchanges.simulated.dialect import Found, Symbols
from exchanges.simulated.hub import Hub, Session, Topic, TopicFault
from exchanges.simulated.instruments import Instrument
from exchanges.simulated.klines import Klines
from exchanges.simulated.limits import Weights
from exchanges.simulated.market import Market
from exchanges.simulated.options import Options
from exchanges.simulated.rest import Answer, Request
from exchanges.simulated.rest_faults import RestFaults
from exchanges.simulated.symbol_market import Stream, SymbolMarket
from exchanges.simulated.trades import Liquidation, Mark, Trade, TradeIds
from exchanges.simulated.truth import CandleRule

START_MS = 1_760_000_040_000
MINUTE_MS = 60_000
SIZE = Decimal(10)


class Bent(Bybit):
    """An exchange with ids in a row, placeholders, contracts of ten, candles that open at the first trade."""

    def rule(self, category: str) -> CandleRule:
        return CandleRule("first_trade", is_inverse=category == "inverse", cuts_each=False)

    def marks(self, category: str) -> tuple[Mark, ...]:
        return (Mark("NA", 0.1, is_counted=False, is_blank=True),)

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:
        return TradeIds(1000, str)

    def instrument(self, category: str, index: int) -> Instrument:
        plain = super().instrument(category, index)
        return Instrument(
            category, plain.symbol, plain.base, plain.quote, plain.tick, plain.lot, plain.first_price, False, SIZE
        )

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        if name == "allLiquidation.*":
            symbols_of_it = [symbol for (category, _), symbol in symbols.items() if category == channel]
            return Found(channel, "liquidation", "", symbols_of_it, categories=(channel,))
        return super().find(symbols, channel, name)

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:
        return Plain(topic, symbol) if found.kind in ("trades", "liquidation") else super().stream(found, topic, symbol)


class Plain(Stream):
    """A message per trade: its id. A message per liquidation: its symbol."""

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        return [trade.id for trade in trades]

    def liquidation(self, event: Liquidation, now_ms: int) -> Iterable[str]:
        return [self.symbol.instrument.symbol]


Row = tuple[Any, ...]


class World:
    """A market on a clock that is turned by hand."""

    def __init__(self, **options: Any) -> None:
        self.now_ms, self.hub = START_MS, Hub()
        usual: dict[str, Any] = {"symbols": 2, "illiquid": 0, "categories": ("linear", "inverse"), "true_seconds": True}
        self.market = Market(Options(**(usual | options)), self.hub, lambda: self.now_ms * 1000, Bent())

    def subscribe(self, category: str, name: str) -> Session:
        session = self.hub.open(category, "c")
        topic = self.market.find(category, name)
        assert topic is not None
        self.hub.join(session, topic)
        return session

    def run(self, events: int, step_ms: int) -> None:
        for _ in range(events):
            self.market.step(1)
            self.now_ms += step_ms


def shortened(value: Decimal) -> Decimal:
    """Quotients are added in another order here and there: the last digits of 28 differ."""
    return round(value, 12)


def reference(trades: list[Trade], is_inverse: bool, step_ms: int, close: Decimal, until_ms: int) -> list[Row]:
    """The rule of the first trade, the short way."""
    buckets: defaultdict[int, list[Trade]] = defaultdict(list)
    for trade in trades:
        if trade.is_counted:
            buckets[trade.event_ms // step_ms * step_ms].append(trade)
    out = []
    for start in range(START_MS // step_ms * step_ms, until_ms - step_ms + 1, step_ms):
        own = [(Decimal(t.price), Decimal(t.size)) for t in buckets[start]]
        prices = [p for p, _ in own] or [close]
        close = prices[-1]
        turnover = sum((s * SIZE / p if is_inverse else s * SIZE * p for p, s in own), Decimal(0))
        volume = sum((s for _, s in own), Decimal(0))
        ids = [t.number for t in buckets[start]] or [-1]
        out.append(
            (start, prices[0], max(prices), min(prices), close, volume, shortened(turnover), len(own), ids[0], ids[-1])
        )
    return out


@pytest.mark.parametrize("category", ["linear", "inverse"])
@pytest.mark.parametrize("step_ms", [1000, 5000, 60_000, 180_000])
def test_candles_that_open_at_the_first_trade_equal_a_reference(category: str, step_ms: int) -> None:
    """Flat fillers give no open, high or low to longer candles; placeholders count nowhere."""
    world = World(trades_kept=100_000)
    world.run(1500, step_ms=700)
    symbol = next(s for (c, _), s in world.market.symbols.items() if c == category)
    trades = list(symbol.recent)
    first_close = Decimal(symbol.price_text(int(symbol.instrument.first_price / symbol.instrument.tick)))
    wanted = reference(trades, category == "inverse", step_ms, first_close, world.now_ms)
    found = [
        (c.start, c.open, c.high, c.low, c.close, c.volume, shortened(c.turnover), c.trade_count, c.first_id, c.last_id)
        for c in symbol.truth.closed(step_ms, world.now_ms)
        if c.start >= START_MS
    ]
    assert len(found) > 3
    assert any(c[7] == 0 for c in found) or step_ms > 5000
    assert found == [row for row in wanted if row[0] >= START_MS]
    assert any(not t.is_counted for t in trades)
    assert any(c[1] != before[4] for before, c in pairwise(found))


def test_ids_are_in_a_row_and_placeholders_take_theirs() -> None:
    """A placeholder has neither price nor size."""
    world = World()
    world.run(300, step_ms=10)
    trades = list(world.market.symbols["linear", "BTCUSDT"].recent)
    assert [t.number for t in trades] == list(range(1001, 1001 + len(trades)))
    assert {(t.price, t.size, t.mark) for t in trades if not t.is_counted} == {("0", "0", "NA")}


def test_printed_truth_is_in_base_units_and_rounds_the_sum() -> None:
    """Contracts times their size; eight decimals of the coin."""
    world = World()
    world.run(500, step_ms=500)
    truth = world.market.symbols["inverse", "BTCUSD"].truth
    candle = next(c for c in truth.closed(MINUTE_MS, world.now_ms) if c.trade_count > 3 and c.start >= START_MS)
    printed = printed_candle(candle, truth)
    assert Decimal(printed["volume"]) == candle.volume * SIZE
    assert Decimal(printed["turnover"]) == candle.turnover.quantize(Decimal("1e-8"), ROUND_HALF_UP) != candle.turnover


def test_rest_candles_reach_back_before_the_market() -> None:
    """Newest first, without a hole."""
    world = World()
    world.run(100, step_ms=500)
    symbol = world.market.symbols["linear", "BTCUSDT"]
    found = Klines().candles(symbol, MINUTE_MS, None, None, 500, world.now_ms)
    assert [c.start for c in found] == [found[0].start - i * MINUTE_MS for i in range(500)]
    texts = Klines().rows(symbol, MINUTE_MS, None, None, 500, world.now_ms)
    assert [[str(c.start), format(c.close, "f")] for c in found] == [[row[0], row[4]] for row in texts]


def test_hole_drops_messages_of_chosen_connections_alone() -> None:
    """What is dropped happened: the truth has it, and the ids show the hole."""
    world = World()
    first, second = (world.subscribe("linear", "publicTrade.BTCUSDT") for _ in range(2))
    first.topics["publicTrade.BTCUSDT"].fault = TopicFault(holes=3, holes_for=frozenset((first,)))
    world.run(200, step_ms=10)
    assert len(second.pending) - len(first.pending) == 3
    assert int(first.pending[0][2:]) == int(second.pending[0][2:]) + 3
    assert first.pending == second.pending[3:]
    assert first.topics["publicTrade.BTCUSDT"].fault is None


def test_delisted_symbol_is_silent_and_a_new_one_joins_the_topics_of_all() -> None:
    """Its topic is unknown to who comes later; relisted, it goes on."""
    world = World(symbols=1, categories=("linear",))
    trades, everything = world.subscribe("linear", "publicTrade.BTCUSDT"), world.subscribe("linear", "allLiquidation.*")
    new = world.market.list_symbol("linear")
    world.market.delist("linear", "BTCUSDT")
    world.run(500, step_ms=10)
    assert new.instrument.symbol == "ETHUSDT"
    assert trades.pending == []
    assert everything.pending
    assert all(b"ETHUSDT" in frame for frame in everything.pending)
    assert world.market.find("linear", "publicTrade.BTCUSDT") is None
    world.market.list_symbol("linear", "BTCUSDT")
    world.run(500, step_ms=10)
    assert trades.pending


def test_connection_may_get_another_wrapping_of_a_payload() -> None:
    """Of a replayed one too, as the exchange would have sent it there."""
    world = World()
    plain, wrapped = (world.subscribe("linear", "publicTrade.BTCUSDT") for _ in range(2))
    wrapped.reframe = lambda topic, body: topic.name.encode() + body
    topic = plain.topics["publicTrade.BTCUSDT"]
    world.hub.publish(topic, "x")
    topic.is_replayed = True
    world.hub.publish(topic, "y")
    assert [frame[2:] for frame in plain.pending] == [b"x", b"y"]
    assert [frame[2:] for frame in wrapped.pending] == [b"publicTrade.BTCUSDTx", b"publicTrade.BTCUSDTy"]


def test_weights_are_counted_per_window_and_key() -> None:
    """Whatever the outcome; a new window begins at zero."""
    weights = Weights(100, 60.0)
    assert [weights.take("a", 60, second).is_over for second in (0.0, 1.0, 60.0)] == [False, True, False]
    assert weights.take("b", 60, 61.0).used == 60
    assert weights.take("b", 60, 90.0) == (120, 100, 30.0)


@pytest.mark.parametrize("status", [403, 418, 429, 451, 503])
def test_http_fault_has_a_status_and_a_wait(status: int) -> None:
    """The request is not carried out."""
    faults = RestFaults(lambda: START_MS, "/api/")
    faults.add({"what": "http", "status": status, "retry_after": 3, "body": {"code": -1003}})
    request = Request("GET", "/api/v3/time", {}, {}, "127.0.0.1")
    work: list[int] = []

    def answered() -> Answer:
        work.append(1)
        return Answer(200, {})

    refused = faults.answer(request, answered)
    assert (refused.status, refused.body, dict(refused.headers)) == (status, {"code": -1003}, {"Retry-After": "3"})
    assert faults.answer(request, answered).status == 200
    assert work == [1]
