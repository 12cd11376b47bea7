"""What the market sends, and that the truth is the truth."""

import json
from decimal import ROUND_DOWN, Decimal
from itertools import pairwise
from typing import Any

import pytest

from exchanges.simulated.hub import TopicFault
from exchanges.simulated.options import Options

from .conftest import START_MS, Harness, payloads


def reference(trades: list[dict[str, Any]], step_ms: int, close: Decimal, until_ms: int) -> list[tuple[Any, ...]]:
    """Candles by the rules of KLINE_RULES.md section 12, the short way."""
    out, start = [], START_MS
    while start + step_ms <= until_ms:
        own = [(Decimal(t["p"]), Decimal(t["v"])) for t in trades if start <= t["T"] < start + step_ms]
        prices = [close, *(p for p, _ in own)]
        volume, turnover = sum((v for _, v in own), Decimal(0)), sum((p * v for p, v in own), Decimal(0))
        out.append((start, prices[0], max(prices), min(prices), prices[-1], volume, turnover, len(own)))
        close, start = prices[-1], start + step_ms
    return out


@pytest.mark.parametrize("category", ["linear", "spot"])
@pytest.mark.parametrize("step_ms", [1000, 60_000, 180_000])
def test_truth_equals_a_reference_over_what_was_sent(harness: Harness, category: str, step_ms: int) -> None:
    """Every closed candle, to the last digit, from the payloads a client got."""
    session = harness.subscribe(category, "publicTrade.SOLUSDT")
    harness.run(6000, step_ms=700)
    trades = [trade for message in payloads(session) for trade in message["data"]]
    truth = harness.market.symbols[category, "SOLUSDT"].truth
    candles = [c for c in truth.closed(step_ms, harness.now_ms) if c.start >= START_MS]
    assert len(trades) > 100
    assert [tuple(c)[:8] for c in candles] == reference(trades, step_ms, candles[0].open, harness.now_ms)


def test_history_ends_at_the_first_price(harness: Harness) -> None:
    """So that the first open is the close before it."""
    minutes = harness.market.symbols["linear", "ETHUSDT"].truth.closed(60_000, START_MS + 60_000)
    assert len(minutes) == 201
    assert all(later.open == earlier.close for earlier, later in pairwise(minutes))
    assert minutes[-1].close == Decimal("3480.15")


def test_weeks_begin_on_monday_and_months_on_the_first(harness: Harness) -> None:
    """Not on the epoch's Thursday."""
    truth = harness.market.symbols["linear", "BTCUSDT"].truth
    assert truth.candles(604_800_000, START_MS)[-1].start == 1_759_708_800_000  # Monday 2025-10-06
    assert truth.candles("M", START_MS)[-1].start == 1_759_276_800_000  # 2025-10-01


def test_illiquid_symbols_have_empty_minutes() -> None:
    """Flat candles, volume zero, in between candles with trades."""
    harness = Harness(Options(categories=("linear",), symbols=4, illiquid=1, history_minutes=0))
    for _ in range(6000):
        harness.market.step_illiquid(0.5)
        harness.now_ms += 500
    candles = harness.market.symbols["linear", "PEPEUSDT"].truth.closed(60_000, harness.now_ms)
    assert len(candles) == 50
    assert 5 < sum(1 for c in candles if c.volume == 0) < 45


def test_inverse_turnover_is_in_base_coin(harness: Harness) -> None:
    """Volume counts dollars (trap T20); each trade's coins are cut to eight decimals before they are added."""
    session = harness.subscribe("inverse", "publicTrade.BTCUSD")
    harness.run(300)
    trades = [trade for message in payloads(session) for trade in message["data"]]
    candle = harness.market.symbols["inverse", "BTCUSD"].truth.candles(60_000, harness.now_ms)[-1]
    cut = [(Decimal(t["v"]) / Decimal(t["p"])).quantize(Decimal("1e-8"), ROUND_DOWN) for t in trades]
    assert candle.turnover == sum(cut) < sum(Decimal(t["v"]) / Decimal(t["p"]) for t in trades)


@pytest.mark.parametrize(("category", "symbol"), [("linear", "BTCUSDT"), ("spot", "PEPEUSDT"), ("inverse", "ETHUSD")])
def test_trades_never_go_back(category: str, symbol: str) -> None:
    """T and seq never fall, ids are new, some messages hold several trades, some share a seq."""
    harness = Harness(Options(categories=(category,), symbols=4, illiquid=0))
    session = harness.subscribe(category, f"publicTrade.{symbol}")
    harness.run(5000)
    messages = payloads(session)
    trades = [trade for message in messages for trade in message["data"]]
    assert [t["T"] for t in trades] == sorted(t["T"] for t in trades)
    assert [t["seq"] for t in trades] == sorted(t["seq"] for t in trades)
    assert len({t["i"] for t in trades}) == len(trades)
    assert any(len(message["data"]) > 1 for message in messages)
    assert any(a["data"][0]["seq"] == b["data"][0]["seq"] for a, b in pairwise(messages))
    assert all(Decimal(t["p"]) > 0 and Decimal(t["v"]) > 0 for t in trades)


def test_same_seed_gives_the_same_market() -> None:
    """Prices and sizes repeat; ids may not, they start at the clock."""
    sent = []
    for _ in range(2):
        harness = Harness(Options(seed=7, symbols=3, illiquid=0))
        session = harness.subscribe("linear", "publicTrade.ETHUSDT")
        harness.run(500)
        sent.append(payloads(session))
    assert sent[0] == sent[1]


def test_restarted_simulator_repeats_no_trade_id() -> None:
    """Else a collector would take new trades for duplicates."""
    ids: list[set[str]] = []
    for start_ms in (START_MS, START_MS + 2000):
        harness = Harness(Options(symbols=1, illiquid=0, categories=("spot", "linear")), now_ms=start_ms)
        sessions = [harness.subscribe(category, "publicTrade.BTCUSDT") for category in ("spot", "linear")]
        harness.run(1000)
        ids.append({t["i"] for s in sessions for message in payloads(s) for t in message["data"]})
    assert not ids[0] & ids[1]


def test_linear_ticker_deltas_merge_into_the_state(harness: Harness) -> None:
    """A delta carries what changed and nothing else (trap T13)."""
    session = harness.client("linear")
    state = harness.ask(session, op="subscribe", args=["tickers.BTCUSDT"])[0]["data"]
    harness.run(3000)
    deltas = payloads(session)
    for delta in deltas:
        assert delta["type"] == "delta"
        assert all(state[key] != value for key, value in delta["data"].items() if key != "symbol")
        state |= delta["data"]
    assert len({tuple(delta["data"]) for delta in deltas}) > 2
    assert state == harness.market.symbols["linear", "BTCUSDT"].own.ticker.state


def test_spot_ticker_has_no_best_bid(harness: Harness) -> None:
    """Snapshots only."""
    session = harness.subscribe("spot", "tickers.BTCUSDT")
    harness.run(1000)
    messages = payloads(session)
    assert {message["type"] for message in messages} == {"snapshot"}
    assert not any("bid1Price" in message["data"] for message in messages)


def test_limit_stops_after_exactly_so_many_messages(harness: Harness) -> None:
    """Even where one event would make several."""
    session = harness.subscribe("linear", "publicTrade.BTCUSDT", "orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT")
    for count in range(1, 80):
        harness.hub.limit = harness.hub.generated + count
        while not harness.hub.is_full:
            harness.run(100)
        assert len(payloads(session)) == count


def test_rate_of_a_kind_can_be_zero(harness: Harness) -> None:
    """The other kinds go on."""
    session = harness.subscribe("linear", "publicTrade.BTCUSDT", "orderbook.1.BTCUSDT")
    harness.market.set_rates({"trades": 0})
    harness.run(500)
    assert {message["topic"] for message in payloads(session)} == {"orderbook.1.BTCUSDT"}


def test_duplicates_and_swaps_do_not_change_the_truth(harness: Harness) -> None:
    """What happened once happened once, in order."""
    session = harness.subscribe("linear", "publicTrade.BTCUSDT")
    topic = session.topics["publicTrade.BTCUSDT"]
    topic.fault = TopicFault()
    topic.fault.duplicates, topic.fault.swaps = 3, 2
    harness.run(500)
    trades = [json.dumps(t) for message in payloads(session) for t in message["data"]]
    ids = [json.loads(t)["i"] for t in trades]
    unique = list(dict.fromkeys(trades))
    assert len(trades) > len(unique)
    assert ids != sorted(ids)
    candle = harness.market.symbols["linear", "BTCUSDT"].truth.candles(60_000, harness.now_ms)[-1]
    assert candle.trade_count == len(unique)
    assert candle.volume == sum(Decimal(json.loads(t)["v"]) for t in unique)


def test_kline_topic_confirms_each_candle_once(harness: Harness) -> None:
    """Then goes on with the open one."""
    session = harness.subscribe("linear", "kline.1.BTCUSDT")
    for _ in range(180):
        harness.run(20, step_ms=500)
        harness.market.push_klines()
    rows = [message["data"][0] for message in payloads(session)]
    confirmed = [row["start"] for row in rows if row["confirm"]]
    assert confirmed == [START_MS, START_MS + 60_000, START_MS + 120_000]
    assert len(rows) > 100
