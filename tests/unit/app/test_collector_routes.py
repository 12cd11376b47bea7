"""Where payloads, markers and klines of a collector go. Nothing here connects to anything."""

import json
from typing import Any, ClassVar, cast

import pytest
from structlog.testing import capture_logs

import main
from aggregation.aggregator import Aggregator
from app.exits import Exit
from callbacks.trades import handle_spot_trades, handle_trades
from consumers.base import BaseConsumer
from model.envelope import Envelope
from model.events import Connected
from model.records import FeedMarker
from streams import MarketFeed, Reader
from tests.support.collector import published_by, stream_of
from tests.support.klines import kline
from tests.support.markers import feed_down, feed_up
from tests.support.settings import settings_of


def test_payloads_go_to_the_channel_of_their_kind_and_market(collect):
    """The market collected beside the main one carries its name."""
    collector, _ = collect(ENABLE_SPOT_STREAM="true")
    for kind in ("trades", "orderbook", "ticker", "liquidations", "spot_trades", "spot_orderbook", "spot_ticker"):
        getattr(main, f"handle_{kind}")(b"{}")

    assert [channel for channel, _ in published_by(collector)] == [
        "stream:bybit_trades",
        "stream:bybit_orderbook",
        "stream:bybit_ticker",
        "stream:bybit_liquidations",
        "stream:bybit_spot_trades",
        "stream:bybit_spot_orderbook",
        "stream:bybit_spot_ticker",
    ]


def test_spot_trades_are_aggregated_apart(collect):
    """BTCUSDT of spot is not BTCUSDT of linear."""
    collector, _ = collect(ENABLE_SPOT_STREAM="true", RAW_STREAMS="ticker")
    handle_trades(b"linear")
    handle_spot_trades(b"spot")

    assert {market: queue.take(9) for market, queue in collector.klines.aggregator.queues.items()} == {
        "linear": [b"linear"],
        "spot": [b"spot"],
    }


def test_markers_reach_the_aggregator_as_marks(collect):
    """Up and down, symbols and time, between the payloads."""
    collector, _ = collect(RAW_STREAMS="ticker", KLINE_REPAIR="false")
    handle_trades.mark(FeedMarker("up", "linear", ("BTCUSDT",), 5))
    handle_trades(b"1")
    handle_trades.mark(FeedMarker("down", "linear", ("BTCUSDT",), 7))

    assert collector.klines.aggregator.queues["linear"].take(9) == [
        feed_up(("BTCUSDT",), 5),
        b"1",
        feed_down(("BTCUSDT",), 7),
    ]


def test_markers_of_tickers_alone_reach_the_decoder(collect):
    """What a ticker was before a hole is not known any more; records of trades need no state."""
    collector, _ = collect(ENABLE_TICKER_STREAM="true", ENABLE_TRADES_STREAM="true", ENABLE_KLINES_STREAM="false")
    for kind, queued in (("trades", 0), ("ticker", 1)):
        collector.pipelines.of("linear", kind).mark(FeedMarker("down", "linear", ("BTCUSDT",), 7))
        assert collector.decoder.stats()["queued"] == queued


def test_the_raw_channel_is_served_first_and_the_aggregator_last(collect, monkeypatch):
    """A taker that raised would keep a payload from those after it."""
    collector, _ = collect(ENABLE_TRADES_STREAM="true")
    order: list[str] = []
    monkeypatch.setattr(collector.outputs, "takers", lambda *_, **__: [lambda _payloads: order.append("raw")])
    monkeypatch.setattr(collector.decoder, "sink", lambda *_: lambda _payload: order.append("records"))
    monkeypatch.setattr(collector.klines, "queue_for", lambda _market: lambda _payloads: order.append("klines"))
    handle_trades(b"1")

    assert order == ["raw", "records", "klines"]


def test_rounds_of_reads_end_with_the_publisher_and_both_threads_wait_for_that(make_collector, monkeypatch):
    """What a round brought is sent before the threads that count it and write klines want the interpreter."""
    made: list[tuple[object, ...]] = []

    def reader(listeners, *, reads):
        made.append((*listeners, reads))
        return Reader(listeners, reads=reads)

    monkeypatch.setattr("app.collector.Reader", reader)
    collector = make_collector(settings_of(ENABLED_CONSUMERS="redis"))
    make_collector(settings_of(ENABLED_CONSUMERS="console", ENABLE_KLINES_STREAM="false"))

    publisher, reads = collector.outputs.manager.redis, collector.klines.aggregator.reads
    assert (made[0], publisher.reads, len(made[1])) == ((publisher, reads), reads, 1)


def test_a_feed_has_the_clock_and_the_events_of_its_collector(make_collector):
    """Times in messages feed the clock of all markets; events get the stream's name on their way."""
    given: dict[str, Any] = {}

    def made(protocol, options, **ports):
        given.update(ports)
        return MarketFeed(protocol, options, **ports)

    collector = make_collector(settings_of(), [], None, made)
    collector.streams.feed("linear")
    with stream_of(collector):
        given["events"].emit(Connected(market="linear"))
    ((channel, payload),) = published_by(collector)

    assert given["observe"] == collector.rest.clock.observe
    assert (channel, json.loads(payload)["stream"]) == ("stream:bybit_status", "test")


@pytest.mark.parametrize(("paths", "every_s"), [("off", []), ("open", [2.5])])
def test_open_klines_go_to_the_clients_of_the_exchanges_protocol(collect, monkeypatch, paths, every_s):
    """So often; without these paths nobody has them."""
    shared: list[float] = []
    monkeypatch.setattr(
        Aggregator, "share_open_klines", lambda _self, _wanted, _offer, every_s, _asked: shared.append(every_s)
    )
    login = {"ENABLED_CONSUMERS": "websocket", "WSS_AUTH_USER": "me", "WSS_AUTH_KEY": "key"}
    collect(**login, WEBSOCKET_EXCHANGE_PATHS=paths, WEBSOCKET_OPEN_KLINES_INTERVAL="2.5")

    assert shared == every_s


class Keeping(BaseConsumer):
    """An output that keeps its envelopes."""

    kept: ClassVar[list[Envelope]] = []

    def __init__(self) -> None:
        super().__init__("keeping")

    def deliver(self, envelopes: list[Envelope]) -> None:
        """Keep them."""
        Keeping.kept += envelopes


def test_klines_leave_in_envelopes_of_bounded_size(collect):
    """A boundary of the whole market is many messages, none huge, in order."""
    collector, _ = collect(KLINE_REPAIR="false", ENABLED_CONSUMERS=f"{__name__}:Keeping")
    Keeping.kept.clear()
    assert collector.outputs.start()
    klines = [kline(number) for number in range(250)]
    collector.klines.publish("linear", klines)
    assert collector.stop() == Exit.ASKED

    assert [len(envelope.data) for envelope in Keeping.kept] == [100, 100, 50]
    assert [k for envelope in Keeping.kept for k in envelope.data] == klines
    assert {(e.exchange, e.channel, e.data_type) for e in Keeping.kept} == {("bybit", "linear", "klines")}


async def never_awaited(_payload):
    """Stand in for a callback that asyncio would have to run."""


def never_run(payload):
    """Stand in for one that somebody would have to iterate over."""
    yield payload


@pytest.mark.parametrize(
    ("callback", "market", "expected"),
    [
        (handle_trades, None, "linear"),
        (handle_trades, "spot", "spot"),
        (handle_trades, "inverse", "inverse"),
        (handle_spot_trades, "linear", "linear"),
        (handle_spot_trades, None, "spot"),
    ],
)
def test_what_a_callback_is_given_goes_to_the_streams_market(collect, callback, market, expected):
    """Channel, klines and marks; handle_spot_trades alone means spot, and the market that is named wins."""

    def run(_market, _kind, _symbols, take, **_options):
        take.mark(FeedMarker("up", expected, ("BTCUSDT",), 5))
        take.put_all([b"1"])
        take(b"2")

    collector, _ = collect(run=run, KLINE_REPAIR="false")
    main.subscribe_trades("BTCUSDT", callback, market)
    beside = "" if expected == "linear" else f"{expected}_"
    boxes = {market: box.take(9) for market, box in collector.klines.aggregator.queues.items()}

    assert published_by(collector) == [(f"stream:bybit_{beside}trades", payload) for payload in (b"1", b"2")]
    assert {market: items for market, items in boxes.items() if items} == {
        expected: [feed_up(("BTCUSDT",), 5, market=expected), b"1", b"2"]
    }


def test_a_users_function_hands_on_to_the_market_of_its_stream(collect):
    """It calls handle_trades on the thread of a stream of spot, with bytes, with what it parsed, or with a mistake."""
    collector, _ = collect(run=lambda _market, _kind, _symbols, take, **_: take(b'{"a":1}'), KLINE_REPAIR="false")
    main.subscribe_trades("BTCUSDT", lambda payload: handle_trades.put_all([payload, {"b": 2}]), "spot")
    main.subscribe_trades("BTCUSDT", lambda _payload: handle_trades(cast(bytes, None)), "spot")
    handle_trades(b"elsewhere")

    assert published_by(collector) == [
        ("stream:bybit_spot_trades", b'{"a":1}'),
        ("stream:bybit_spot_trades", b'{"b":2}'),
        ("stream:bybit_trades", b"elsewhere"),
    ]
    assert collector.faults.counts() == {"not_a_message": 1}


def test_the_main_market_has_one_channel_whoever_names_it(collect):
    """CHANNEL_TYPE=spot: handle_spot_trades and handle_trades are the same."""
    collector, _ = collect(CHANNEL_TYPE="spot")

    assert collector.pipelines.of("spot", "trades") is collector.pipelines.of(None, "trades")
    assert collector.klines.aggregator.queues.keys() == {"spot"}


def test_options_have_a_channel_and_no_klines(collect):
    """The exchange has no candles of them to be equal to."""
    collector, _ = collect()
    collector.pipelines.of("option", "trades")(b"1")

    assert published_by(collector) == [("stream:bybit_option_trades", b"1")]
    assert "option" not in collector.klines.aggregator.queues


@pytest.mark.parametrize(
    ("func", "args", "problem"),
    [
        (main.subscribe_trades, ("BTCUSDT", handle_trades, "futures"), "market is 'futures', must be one of linear"),
        (main.subscribe_liquidations, ("BTCUSDT", main.handle_liquidations, "spot"), "no liquidations for spot"),
        (main.subscribe_orderbook, ("BTCUSDT", handle_trades), "callback takes trades, not orderbook"),
        (main.subscribe_trades, ("BTC#USDT", handle_trades), "symbol is 'BTC#USDT'"),
        (main.subscribe_trades, ("BTCUSDT", None), "callback is None, must be a function"),
        (main.subscribe_orderbook, ("BTCUSDT", print, "linear", 7), "orderbook depth is 7, linear has 1, 50"),
        (main.subscribe_trades, ("BTCUSDT", never_awaited), "is async or a generator, must be a plain function"),
        (main.subscribe_trades, ("BTCUSDT", never_run), "is async or a generator, must be a plain function"),
        (main.subscribe_trades, (iter(["BTCUSDT"]), handle_trades), "can be read only once"),
        (main.subscribe_topics, ("tickers.BTCUSDT", handle_trades), "callback takes trades, not ticker"),
        (main.subscribe_topics, (["publicTrade.X", "kline.1.X"], handle_trades), "takes trades, not kline.1.X: give"),
        (main.subscribe_topics, (["tickers.X", "publicTrade.X"], main.handle_ticker), "not publicTrade.X: give"),
        (main.subscribe_orderbook, ("BTCUSDT", print, "linear", True), "orderbook depth is True, linear has 1, 50"),
        (main.subscribe_orderbook, ("BTCUSDT", print, "linear", 50.0), "orderbook depth is 50.0, linear has 1, 50"),
        (main.subscribe_topics, (5, handle_trades), "topic is 5, must be a text or a list"),
        (main.subscribe_topics, ([5], main.handle_ticker), "topic is 5, must be parts joined"),
    ],
)
def test_what_the_exchange_does_not_have_is_an_error_with_the_entrys_name(collect, func, args, problem):
    """It ends the start; on the running list it is logged once, and the others go on."""
    own = {"name": "wrong", "func": func, "args": args}
    with pytest.raises(ValueError, match=f"STREAMS 'wrong': .*{problem}"):
        collect(own)
    collector, streams = collect(ENABLED_CONSUMERS="console", ENABLE_KLINES_STREAM="false")
    streams[:] = [own]
    with capture_logs() as logs:
        collector.streams.supervisor.tick()
        collector.streams.supervisor.tick()
    assert [entry["event"] for entry in logs] == ["stream_entry_wrong"]
