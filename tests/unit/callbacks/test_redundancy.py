"""Trades of two connections with the same symbols: each is passed on once, in order."""

import json
import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.pipeline import Pipeline
from callbacks import redundancy
from callbacks.redundancy import RedundantTrades
from exchanges.registry import VENUES
from model.records import FeedMarker
from tests.support.delivery import FakeDelivery
from tests.unit.exchanges.binance import recorded as binance
from tests.unit.exchanges.okx import recorded as okx


def keys_of(name):
    """How trades of an exchange are told apart."""
    keys = VENUES[name].trade_keys
    assert keys is not None
    return keys


BYBIT, BINANCE, OKX = map(keys_of, ("bybit", "binance", "okx"))


def message(*ids, symbol="BTCUSDT"):
    trades = ",".join(f'{{"T":1,"s":"{symbol}","S":"Buy","v":"1","p":"1","i":"{i}","BT":false,"seq":1}}' for i in ids)
    return f'{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":1,"data":[{trades}]}}'.encode()


@pytest.fixture
def seen():
    return []


@pytest.fixture
def merged(seen, clock):
    return RedundantTrades(Pipeline("linear", "trades", [seen.extend], [seen.append]), BYBIT, clock)


def test_a_message_goes_on_once(merged, seen):
    """The first payload of two is passed on, the same object; the second is counted."""
    first = message("a", "b")
    for payload in (first, message("c"), message("a", "b"), message("c"), message("d")):
        merged(payload)

    assert seen == [first, message("c"), message("d")]
    assert seen[0] is first
    assert (merged.merged, merged.partly_seen) == (2, 0)


def test_trades_cut_into_other_messages_go_on_whole(merged, seen):
    """A message with one new trade is passed on and counted; the aggregator drops its duplicates."""
    merged(message("a", "b"))
    merged(message("b", "c"))
    merged(message("c"))

    assert seen == [message("a", "b"), message("b", "c")]
    assert (merged.merged, merged.partly_seen) == (1, 1)


def test_ids_of_two_symbols_may_be_equal(merged, seen):
    """Spot's ids are numbers, which are not documented to be unique in the market."""
    merged(message("1"))
    merged(message("1", symbol="ETHUSDT"))

    assert len(seen) == 2


@pytest.mark.parametrize(
    "begin", ['{"topic":"%s",', '{"type":"snapshot","topic":"%s",', '{"id":"%s-7","topic":"%s",', '{ "topic" : "%s",']
)
def test_the_topic_counts_wherever_it_stands(merged, seen, begin):
    """The same id in two symbols is two trades, and twice in one is one."""
    bodies = [
        f'{begin.replace("%s", f"publicTrade.{symbol}")}"data":[{{"i":"1","s":"{symbol}"}}]}}'.encode()
        for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT", "ETHUSDT")
    ]
    for body in bodies:
        merged(body)

    assert seen == bodies[:2]


def test_ids_of_a_topic_with_many_symbols_are_kept_by_symbol(merged, seen):
    """All options of a coin share publicTrade.BTC."""
    put, call = (
        f'{{"topic":"publicTrade.BTC","data":[{{"i":"1","s":"BTC-25DEC26-67000-{right}"}}]}}'.encode() for right in "PC"
    )
    for payload in (put, call, put):
        merged(payload)

    assert seen == [put, call]


def recorded_trades(shared_data, name):
    """Every recorded trade message of an exchange, as it comes on its public streams."""
    if name == "okx":
        return okx.of_channel(shared_data, "trades")
    if name == "binance":
        combined = (binance.combined(frame) for _, frame in binance.frames(shared_data))
        return [frame for frame in combined if re.match(rb'{"stream":"[^"]+@trade"', frame)]
    files = sorted((shared_data / "ws").glob("*.jsonl"))
    frames = [line for path in files for line in path.read_bytes().splitlines()]
    return [frame for frame in frames if str(json.loads(frame).get("topic")).startswith("publicTrade.")]


@pytest.mark.parametrize(("name", "at_least"), [("bybit", 20), ("binance", 20), ("okx", 60)])
def test_every_recorded_trade_message_that_comes_twice_goes_on_once(shared_data, name, at_least):
    """Whatever the exchange calls its ids and topics; and messages of different trades all go on."""
    sent = list(dict.fromkeys(recorded_trades(shared_data, name)))
    seen: list[bytes] = []
    expected: list[bytes] = []
    known: set[object] = set()
    for payload in sent:  # by parsing them
        expected += [payload] if not (ids := ids_of(payload)) <= known else []
        known |= ids
    merged = RedundantTrades(Pipeline("linear", "trades", [seen.extend]), keys_of(name))
    for payload in (*sent, *sent):
        merged(payload)

    assert seen == expected
    assert len(seen) >= at_least
    assert merged.merged == 2 * len(sent) - len(seen)


def ids_of(payload):
    """Symbols and ids of a message's trades."""
    message = json.loads(payload)
    rows = message["data"] if isinstance(message["data"], list) else [message["data"]]
    named = [(row.get("s") or row["instId"], row.get("i") or row.get("tradeId") or row["t"]) for row in rows]
    return {(message.get("topic"), symbol, number) for symbol, number in named}


def trade_of(keys, symbol, *ids):
    if keys is BINANCE:
        (number,) = ids
        return b'{"stream":"%s@trade","data":{"e":"trade","t":%d,"T":1}}' % (symbol.lower().encode(), number)
    rows = ",".join(f'{{"instId":"{symbol}","tradeId":"{number}"}}' for number in ids)
    return f'{{"arg":{{"channel":"trades","instId":"{symbol}"}},"data":[{rows}]}}'.encode()


@pytest.mark.parametrize("keys", [BINANCE, OKX])
def test_small_integers_of_two_symbols_are_two_trades(seen, keys):
    """Ids count from one in each symbol."""
    merged = RedundantTrades(Pipeline("linear", "trades", [seen.extend]), keys)
    new = [trade_of(keys, symbol, number) for number in (1, 2) for symbol in ("BTC-USDT", "ETH-USDT", "BTC-USDC")]
    for payload in (*new, *new):
        merged(payload)

    assert seen == new
    assert merged.merged == len(new)


def test_the_trade_that_is_repeated_on_subscribing_is_dropped_as_known(seen):
    """OKX sends the last trade again to a connection that subscribes; what follows it goes on."""
    merged = RedundantTrades(Pipeline("linear", "trades", [seen.extend]), OKX)
    before, repeated, after = (trade_of(OKX, "BTC-USDT", number) for number in (7, 8, 9))
    for payload in (before, repeated, repeated, after):
        merged(payload)

    assert seen == [before, repeated, after]


def test_a_message_of_another_channel_goes_on(seen):
    """What has the ids of no trade topic is no duplicate."""
    merged = RedundantTrades(Pipeline("linear", "trades", [seen.extend]), OKX)
    other = trade_of(OKX, "BTC-USDT", 7).replace(b'"trades"', b'"trades-all"')
    merged(other)
    merged(other)

    assert seen == [other, other]


@pytest.mark.parametrize("payload", [b"garbage", b"", message(), b'{"topic":"publicTrade.BTCUSDT","data":[{"i":1}]}'])
def test_what_has_no_ids_goes_on(merged, seen, payload):
    """A payload without ids cannot be proven a duplicate."""
    merged(payload)
    merged(payload)

    assert seen == [payload, payload]


class Leg:
    """A connection that marks when the test calls it."""

    def __init__(self, merged):
        self._merged = merged

    def mark(self, kind, at_ms, *symbols):
        self._merged.mark(FeedMarker(kind, "linear", symbols or ("BTCUSDT",), at_ms, id(self)))


@pytest.fixture
def connections(merged):
    return Leg(merged), Leg(merged)


def marks(seen):
    return [(item.kind, item.at_ms, item.symbols) for item in seen if isinstance(item, FeedMarker)]


def test_one_of_two_keeps_a_symbol_up(merged, seen, connections):
    """The other connection's markers, however many, are not passed on. Markers keep their place between the data."""
    first, second = connections
    merged(message("a"))
    first.mark("up", 1000)
    second.mark("up", 1001)
    merged(message("b"))
    for at_ms in range(2000, 9000, 1000):
        second.mark("down", at_ms)
        second.mark("up", at_ms + 50)
    second.mark("down", 9000)
    first.mark("down", 9500)
    merged(message("c"))

    assert [item if isinstance(item, bytes) else item.kind for item in seen] == [
        message("a"), "up", message("b"), "down", message("c")
    ]  # fmt: skip
    assert marks(seen) == [("up", 1000, ("BTCUSDT",)), ("down", 9500, ("BTCUSDT",))]


def test_the_other_takes_over_only_where_both_were_up_for_a_while(seen, connections):
    """One that came up too late may have missed what the first had not delivered: a gap up to then."""
    first, second = connections
    first.mark("up", 1000)
    second.mark("up", 5000)
    first.mark("down", 5000 + redundancy.OVERLAP_MS - 1)
    assert marks(seen)[1:] == [("down", 5249, ("BTCUSDT",)), ("up", 5000, ("BTCUSDT",))]
    first.mark("up", 6000)
    second.mark("down", 6000 + redundancy.OVERLAP_MS)
    assert len(marks(seen)) == 3


def test_a_connection_that_was_long_dead_leaves_a_gap_from_then_on(seen, connections):
    """One connection stalled unseen while the other was replaced: what came between is not proven."""
    stalled, other = connections
    stalled.mark("up", 1000)
    other.mark("up", 1000)
    other.mark("down", 5000)
    other.mark("up", 6000)
    stalled.mark("down", 4000)

    assert marks(seen)[1:] == [("down", 4000, ("BTCUSDT",)), ("up", 6000, ("BTCUSDT",))]


def test_symbols_are_kept_apart(seen, connections):
    """One refused on the second connection is lost with the first, its neighbour is not."""
    first, second = connections
    first.mark("up", 1000, "BTCUSDT", "ETHUSDT")
    second.mark("up", 1000, "ETHUSDT")
    first.mark("down", 5000, "BTCUSDT", "ETHUSDT")

    assert marks(seen)[1:] == [("down", 5000, ("BTCUSDT",))]


def test_ids_are_forgotten_by_number_and_age(seen, clock):
    """Two generations: a duplicate is known for a minute at least, and memory has a bound in any flood."""
    pipeline = Pipeline("linear", "trades", [seen.extend])
    merged = RedundantTrades(pipeline, BYBIT, clock, generation_ids=10, generation_limit_ids=100)
    for number in range(50):
        merged(message(number))
    for number in range(50):
        merged(message(number))
    assert (len(seen), merged.merged) == (50, 50), "recent enough"
    clock.now_s = redundancy.GENERATION_S + 1
    merged(message("rotates"))
    merged(message(7))
    assert merged.merged == 51, "the previous generation is known as well"
    for number in range(1000, 1400):
        merged(message(number))
    assert merged.remembered <= 2 * 101


@pytest.mark.parametrize("seed", range(3))
def test_two_threads_lose_and_duplicate_nothing(merged, seen, seed):
    """Each thread misses other stretches, never both the same; every message is passed on once."""
    sent = [message(f"{number}-0", f"{number}-1") for number in range(4000)]
    rng = random.Random(seed)
    start = threading.Barrier(2)

    def stream(missing):
        start.wait(5)
        for number, payload in enumerate(sent):
            if number not in missing:
                merged(payload)
            if rng.random() < 0.001:
                threading.Event().wait(0.0005)

    threads = [
        threading.Thread(target=stream, args=(missing,)) for missing in ({*range(500, 600)}, {*range(2000, 2300)})
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(seen) == sorted(sent)
    assert merged.merged == 2 * len(sent) - 400 - len(sent)


def test_a_duplicate_waits_until_the_first_was_passed_on():
    """If the duplicate were dropped before, what follows it on its connection would overtake the first."""
    seen, entered, may_go = [], threading.Event(), threading.Event()

    def publish(payloads):
        if message("a") in payloads:
            entered.set()
            may_go.wait(5)
        seen.extend(payloads)

    merged = RedundantTrades(Pipeline("linear", "trades", [publish]), BYBIT)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(merged, message("a"))
        assert entered.wait(5)
        quick = pool.submit(lambda: (merged(message("a")), merged(message("b"))))
        assert not quick.done()
        threading.Timer(0.1, may_go.set).start()
        quick.result(5)
        slow.result(5)

    assert seen == [message("a"), message("b")]


def test_what_either_connection_proves_is_proven(merged, seen):
    """A symbol of one connection alone is proven by that one; probes go to both connections."""
    first, second = FakeDelivery(1_000), FakeDelivery(2_000)
    merged.mark(FeedMarker("up", "linear", ("BTCUSDT", "ETHUSDT"), 1, 1, first))
    assert seen[-1].delivery is merged
    assert merged.watermark_ms(9_000) == 1_000
    merged.mark(FeedMarker("up", "linear", ("ETHUSDT",), 1, 2, second))
    assert merged.watermark_ms(9_000) == 1_000
    merged.mark(FeedMarker("up", "linear", ("BTCUSDT",), 1, 2, second))
    assert merged.watermark_ms(9_000) == 2_000
    merged.probe(7)
    merged.recover("BTCUSDT")
    assert first.probed == second.probed == [7]
    assert first.recovered == second.recovered == ["BTCUSDT"]
    merged.mark(FeedMarker("down", "linear", ("BTCUSDT", "ETHUSDT"), 5_000, 2, second))
    assert merged.watermark_ms(9_000) == 1_000
    merged.mark(FeedMarker("down", "linear", ("BTCUSDT", "ETHUSDT"), 5_000, 1, first))
    assert (merged.watermark_ms(9_000), seen[-1].kind, seen[-1].delivery) == (0, "down", merged)
    merged.probe(8)
    assert first.probed == [7], "what is over is let go"
