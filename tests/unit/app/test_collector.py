"""What main makes of STREAMS and the settings, and which code it ends with. Nothing here connects to anything."""

import functools
import re
import signal
import threading
from collections.abc import Callable
from typing import Any, ClassVar, cast

import pytest
import structlog
from structlog.testing import capture_logs

import main
from app import cli
from app.collector import lost_thread
from app.exits import Exit
from app.relay import OutputRelay
from callbacks.trades import handle_spot_trades, handle_trades
from consumers.base import BaseConsumer
from model.context import StreamContext, current, set_current
from model.envelope import Envelope
from model.records import FeedMarker, Kind
from streams.registry import read_entries
from tests.support.collector import follow, idle, venue_of
from tests.support.markers import feed_down, feed_up
from tests.support.settings import settings_of
from tests.support.waiting import wait_until

# As it stands in the seed and in DESIGN section 3.
SNIPPET = """
STREAMS.append({
    "name": "Trades_ETHUSDT",
    "func": subscribe_trades,
    "args": ("ETHUSDT", handle_trades)
})
"""


def settings(**environ):
    return settings_of(**{"ENABLED_CONSUMERS": "redis", **environ})


@pytest.fixture(autouse=True)
def leave_no_trace(monkeypatch):
    """Each test has a STREAMS of its own and leaves its thread without a collector."""
    monkeypatch.setattr(main, "STREAMS", [])
    yield
    set_current(None)


@pytest.fixture
def collect(make_collector):
    """Build a collector from settings by name, beside the entries given; not started, and this thread is a stream's.

    `run` is what its feeds do in the place of a connection.
    """

    def build(*own, run=idle, **environ):
        streams = list(own)
        collector = make_collector(settings(**environ), streams, venue_of(run))
        set_current(StreamContext("test", collector=collector))
        return collector, streams

    return build


def wanted(streams):
    """(function, symbols, market) of each entry."""
    return [(entry["func"], entry["args"][0], entry["args"][2]) for entry in streams]


def stream_nothing(*_request, **_options):
    """End at once."""


def symbols_of(streams, func):
    return [symbol for entry in streams if entry["func"] is func for symbol in entry["args"][0]]


def published_by(collector):
    """(channel, payload) of what waits to be published since this was last asked."""
    batches = collector.outputs.manager.redis.raw.take(1_000_000)
    return [(channel.decode(), payload) for channel, payloads, _ in batches for payload in payloads]


# -- STREAMS ----------------------------------------------------------------------------------------------------


def test_the_snippet_works_verbatim_in_main():
    """The seed's own words, in main's own namespace: a good entry, with the real function and callback."""
    namespace = dict(vars(main))
    exec(SNIPPET, namespace)
    (entry,), bad = read_entries(namespace["STREAMS"])

    assert bad == []
    assert (entry.name, entry.func, entry.args) == ("Trades_ETHUSDT", main.subscribe_trades, ("ETHUSDT", handle_trades))


def test_the_snippet_works_from_a_script_of_ones_own():
    """`from main import *` or by name: the list is the one that run reads."""
    namespace: dict[str, Any] = {}
    exec("from main import STREAMS, subscribe_trades, handle_trades\n" + SNIPPET, namespace)

    assert [entry["name"] for entry in main.STREAMS] == ["Trades_ETHUSDT"]


@pytest.mark.parametrize("kind", ["trades", "orderbook", "ticker", "liquidations"])
def test_every_kind_has_its_function_and_its_callback(kind):
    """subscribe_<kind> and handle_<kind> are names of main."""
    subscribe, handle = getattr(main, f"subscribe_{kind}"), getattr(main, f"handle_{kind}")

    assert (main.SUBSCRIBE[kind], handle.kind, handle.market) == (subscribe, kind, None)


def test_subscribing_without_a_collector_says_what_to_do():
    """Called by hand, outside a STREAMS entry."""
    with pytest.raises(RuntimeError, match="STREAMS entry"):
        main.subscribe_ticker("BTCUSDT", print)


def test_subscribing_runs_the_feed_of_its_market(collect):
    """Kind, symbols and callback as given; depth from the settings unless given; market None is the main one.

    While it runs, the thread knows the market: what a callback of the user's hands on goes there.
    """
    calls = []

    def run(market, *request, **options):
        calls.append((market, current().market, *request, options))

    collector, _ = collect(run=run, ORDERBOOK_DEPTH="200")
    main.subscribe_orderbook("BTCUSDT", print)
    main.subscribe_orderbook(["ETHUSDT"], print, "spot", 50)

    assert collector.streams.feed().market == "linear"
    assert calls == [
        ("linear", "linear", "orderbook", "BTCUSDT", print, {"depth": 200}),
        ("spot", "spot", "orderbook", ["ETHUSDT"], print, {"depth": 50}),
    ]
    assert current().market is None


def test_feed_of_a_market_nobody_set_is_made_once(collect):
    """A user may stream inverse beside linear; every entry of it shares one feed."""
    collector, _ = collect()

    assert collector.streams.feed("inverse") is collector.streams.feed("inverse")
    assert collector.streams.feed("inverse").market == "inverse"


def test_symbol_streamed_twice_is_said(collect):
    """An entry appended to the running list may double a channel: the user is told which symbol."""
    _, streams = collect(run=stream_nothing, SYMBOLS="ETHUSDT", RAW_STREAMS="trades")
    streams.append({"name": "again", "func": main.subscribe_trades, "args": ("ETHUSDT", handle_trades)})
    with capture_logs() as logs:
        main.subscribe_trades("ETHUSDT", handle_trades)

    assert [(entry["event"], entry["symbols"]) for entry in logs] == [("duplicate_stream", ["ETHUSDT"])]


# -- entries the settings ask for -------------------------------------------------------------------------------


def test_settings_become_entries_of_every_kind(collect):
    """Symbols times kinds, all good entries, named apart."""
    _, streams = collect(SYMBOLS="BTCUSDT,ETHUSDT")
    good, bad = read_entries(streams)

    assert (len(good), bad) == (4, [])
    kinds: tuple[Kind, ...] = ("trades", "orderbook", "ticker", "liquidations")
    assert wanted(streams) == [(main.SUBSCRIBE[kind], ["BTCUSDT", "ETHUSDT"], "linear") for kind in kinds]


def test_symbols_are_pooled_by_socket_pool_size(collect):
    """No connection has more; every symbol is on exactly one."""
    names = [f"S{i}USDT" for i in range(7)]
    _, streams = collect(SYMBOLS=",".join(names), SOCKET_POOL_SIZE="3", RAW_STREAMS="trades")

    assert [entry["args"][0] for entry in streams] == [names[:3], names[3:6], names[6:]]
    assert len({entry["name"] for entry in streams}) == 3


def test_spot_beside_linear_has_no_liquidations(collect):
    """Spot knows none; its other kinds come on callbacks of their own."""
    _, streams = collect(ENABLE_SPOT_STREAM="true")
    spot = [entry for entry in streams if entry["args"][2] == "spot"]

    assert [entry["func"] for entry in spot] == [main.subscribe_trades, main.subscribe_orderbook, main.subscribe_ticker]
    assert [(entry["args"][1].market, entry["args"][1].kind) for entry in spot] == [
        ("spot", kind) for kind in ("trades", "orderbook", "ticker")
    ]


def test_spot_as_the_main_market_has_no_liquidations_either(collect):
    """CHANNEL_TYPE=spot: its payloads go out as the main market's."""
    _, streams = collect(CHANNEL_TYPE="spot")

    assert main.subscribe_liquidations not in [entry["func"] for entry in streams]
    assert "<pipeline of spot trades>" in [repr(entry["args"][1]) for entry in streams]


def test_klines_need_trades_though_nobody_wants_them_raw(collect):
    """RAW_STREAMS without trades: they are streamed for the klines, and not published."""
    collector, streams = collect(RAW_STREAMS="ticker")
    for entry in streams:
        entry["args"][1](b"payload")

    assert [entry["func"] for entry in streams] == [main.subscribe_ticker, main.subscribe_trades]
    assert published_by(collector) == [("stream:bybit_ticker", b"payload")]
    assert collector.klines.aggregator.queues["linear"].take(9) == [b"payload"]


@pytest.mark.parametrize("raw_streams", ["none", "ticker", "trades"])
def test_a_users_entry_is_published_whatever_raw_streams_says(collect, raw_streams):
    """The other symbols of its kind are not, and the symbol's trades reach the klines once."""
    own = {"name": "mine", "func": main.subscribe_trades, "args": ("ETHUSDT", handle_trades)}
    collector, streams = collect(own, SYMBOLS="BTCUSDT,ETHUSDT", RAW_STREAMS=raw_streams)
    for entry in [each for each in streams if each["func"] is main.subscribe_trades]:
        entry["args"][1](str(entry["args"][0]).encode())

    others = [] if raw_streams != "trades" else [("stream:bybit_trades", b"['BTCUSDT']")]
    assert published_by(collector) == [("stream:bybit_trades", b"ETHUSDT"), *others]
    assert collector.klines.aggregator.queues["linear"].take(9) == [b"ETHUSDT", b"['BTCUSDT']"]


def test_no_kind_of_all_is_published_where_none_is_asked_for(collect):
    """RAW_STREAMS=none: trades for the klines, and nothing else."""
    assert [entry["func"] for entry in collect(RAW_STREAMS="none")[1]] == [main.subscribe_trades]
    assert collect(RAW_STREAMS="none", ENABLE_KLINES_STREAM="false")[1] == []


def test_without_klines_trades_are_what_was_asked_for(collect):
    """ENABLE_KLINES_STREAM=false: no aggregator, no trades nobody asked for."""
    collector, streams = collect(RAW_STREAMS="ticker", ENABLE_KLINES_STREAM="false")

    assert collector.klines is None
    assert [entry["func"] for entry in streams] == [main.subscribe_ticker]


@pytest.mark.parametrize("symbols", ["ETHUSDT", ["ETHUSDT", "SOLUSDT"], ("ETHUSDT",)])
def test_a_users_entry_takes_its_symbols_from_the_pools(collect, symbols):
    """The same symbol twice on one channel would be every trade twice; other kinds keep it."""
    own = {"name": "mine", "func": main.subscribe_trades, "args": (symbols, handle_trades)}
    _, streams = collect(own, SYMBOLS="BTCUSDT,ETHUSDT")

    assert streams[0] is own
    assert symbols_of(streams[1:], main.subscribe_trades) == ["BTCUSDT"]
    assert symbols_of(streams[1:], main.subscribe_ticker) == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (main.subscribe_topics, (["publicTrade.btcusdt"], handle_trades)),
        (functools.partial(main.subscribe_trades, "BTCUSDT"), (handle_trades,)),
        (functools.partial(main.subscribe_topics, callback=handle_trades), ("publicTrade.BTCUSDT",)),
    ],
)
def test_trades_by_another_name_take_their_symbol_too(collect, func, args):
    """And are streamed, watched and gone on with as trades."""
    asked = []
    own = {"name": "own", "func": func, "args": args}
    collector, streams = collect(own, run=lambda *request, **_: asked.append(request[:2]), SYMBOLS="BTCUSDT,ETHUSDT")
    assert symbols_of(streams[1:], main.subscribe_trades) == ["ETHUSDT"]
    assert collector.streams.collected() == {("linear", "BTCUSDT"), ("linear", "ETHUSDT")}

    func(*args)
    assert asked == [("linear", "trades")]


def test_topics_that_no_kind_has_go_to_the_callback_that_is_named(collect):
    """Such as those of another time, liquidation.X; a book of a depth that was withdrawn."""
    topics = {
        "handle_liquidations": "liquidation.X",
        "handle_orderbook": "orderbook.500.X",
        "handle_ticker": "kline.1.X",
    }
    own = [
        {"name": name, "func": main.subscribe_topics, "args": (topic, getattr(main, name))}
        for name, topic in topics.items()
    ]
    _, streams = collect(*own)
    assert streams[:3] == own


def test_a_users_entry_with_a_callback_of_his_own_takes_nothing(collect):
    """It goes elsewhere: the channel still needs the symbol."""
    own = {"name": "mine", "func": main.subscribe_trades, "args": ("ETHUSDT", print)}
    _, streams = collect(own, SYMBOLS="BTCUSDT,ETHUSDT")

    assert symbols_of(streams[1:], main.subscribe_trades) == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize("odd", [{}, {"name": "x", "args": ()}, "no entry", {"func": main.subscribe_trades}])
def test_an_odd_entry_is_left_to_the_supervisor(collect, odd):
    """Appended while it runs: reading the list for doubles does not trip over what is wrong in it."""
    collector, streams = collect(RAW_STREAMS="trades")
    streams.insert(0, odd)
    follow(collector, linear=("BTCUSDT", "SOLUSDT"))

    assert symbols_of(streams[1:], main.subscribe_trades) == ["BTCUSDT", "SOLUSDT"]


def test_a_users_entry_with_every_symbol_leaves_no_empty_pool(collect):
    """A connection without a topic would be refused."""
    own = {"name": "mine", "func": main.subscribe_trades, "args": (["BTCUSDT", "ETHUSDT"], handle_trades)}
    _, streams = collect(own, SYMBOLS="BTCUSDT,ETHUSDT", RAW_STREAMS="trades")

    assert streams == [own]


def test_redundant_symbols_have_two_connections_into_one_merger(collect):
    """REDUNDANCY=2: the pair carries the chosen symbols alone; the others and other kinds stay as they are."""
    _, streams = collect(
        SYMBOLS="BTCUSDT,ETHUSDT,SOLUSDT", REDUNDANCY="2", REDUNDANT_SYMBOLS="ETHUSDT", RAW_STREAMS="trades,ticker"
    )
    pair, others = streams[:2], streams[2:]

    assert [entry["name"] for entry in streams] == [
        "Trades_linear_1",
        "Trades_linear_1b",
        "Trades_linear_2",
        "Ticker_linear_1",
    ]
    assert [entry["args"][0] for entry in streams[:3]] == [["ETHUSDT"], ["ETHUSDT"], ["BTCUSDT", "SOLUSDT"]]
    assert pair[0]["args"][1] is pair[1]["args"][1]
    assert repr(pair[0]["args"][1]) == "<merged <pipeline of linear trades>>"
    assert repr(others[0]["args"][1]) == "<pipeline of linear trades>"


def test_redundancy_of_all_is_of_every_market(collect):
    """Spot beside linear has a merger of its own: ids of two markets must not meet."""
    collector, streams = collect(
        SYMBOLS="BTCUSDT", REDUNDANCY="2", REDUNDANT_SYMBOLS="all", RAW_STREAMS="trades", ENABLE_SPOT_STREAM="true"
    )

    assert [entry["name"] for entry in streams] == [
        "Trades_linear_1",
        "Trades_linear_1b",
        "Trades_spot_1",
        "Trades_spot_1b",
    ]
    assert [pair.into.market for pair in collector.streams.plan.combined] == ["linear", "spot"]


def test_a_redundant_pair_is_not_streamed_twice_by_mistake(collect):
    """It is what was asked for; a third entry is not."""
    redundant = {"REDUNDANCY": "2", "REDUNDANT_SYMBOLS": "all", "RAW_STREAMS": "trades"}
    _, streams = collect(run=stream_nothing, SYMBOLS="BTCUSDT", **redundant)
    with capture_logs() as logs:
        main.subscribe_trades(*streams[0]["args"])
    assert logs == []
    streams.append({**streams[0], "name": "third"})
    with capture_logs() as logs:
        main.subscribe_trades(*streams[0]["args"])
    assert [entry["event"] for entry in logs] == ["duplicate_stream"]


# -- what goes where --------------------------------------------------------------------------------------------


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
    collector.klines.publish("linear", list(range(250)))
    assert collector.stop() == Exit.ASKED

    assert [len(envelope.data) for envelope in Keeping.kept] == [100, 100, 50]
    assert [k for envelope in Keeping.kept for k in envelope.data] == list(range(250))
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
    """Channel, klines and marks; handle_spot_trades alone says spot, and the market that is named wins."""

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
        (main.subscribe_trades, ("BTC/USDT", handle_trades), "symbol is 'BTC/USDT'"),
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
def test_what_the_exchange_does_not_have_is_told_by_the_entrys_name(collect, func, args, problem):
    """It ends the start; on the running list it is told once, and the others go on."""
    own = {"name": "wrong", "func": func, "args": args}
    with pytest.raises(ValueError, match=f"STREAMS 'wrong': .*{problem}"):
        collect(own)
    collector, streams = collect(ENABLED_CONSUMERS="console", ENABLE_KLINES_STREAM="false")
    streams[:] = [own]
    with capture_logs() as logs:
        collector.streams.supervisor.tick()
        collector.streams.supervisor.tick()
    assert [entry["event"] for entry in logs] == ["stream_entry_wrong"]


# -- exit codes -------------------------------------------------------------------------------------------------


def test_wrong_settings_end_with_2_and_name_every_one(monkeypatch, capsys, tmp_path):
    """From the environment, as `python main.py` reads them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KLINE_INTERVALS", "1x")
    monkeypatch.setenv("REDIS_PORT", "zero")

    assert main.run() == Exit.SETTINGS
    error = capsys.readouterr().err
    assert "KLINE_INTERVALS" in error
    assert "REDIS_PORT" in error


def test_unknown_output_ends_with_2(capsys):
    """What the outputs themselves find wrong with their settings ends the same way."""
    assert main.run(settings(ENABLED_CONSUMERS="no.such.module:Consumer")) == Exit.SETTINGS
    assert "no.such.module" in capsys.readouterr().err


def test_every_mistake_is_told_in_one_go(monkeypatch, capsys, tmp_path):
    """Settings, outputs, list of coins and STREAMS, though each is looked at elsewhere; nothing is started."""
    coins = tmp_path / "coins.json"
    coins.write_text('{"coins": ["BTC/USDT"]}')
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("HTTPS_PROXY=https://proxy:1\n")
    monkeypatch.delenv("ENV_FILE")
    monkeypatch.setenv("HTTPS_PROXY", "")  # so that what is read of the file goes with the test
    monkeypatch.delenv("HTTPS_PROXY")
    for name, value in {
        "SHARD": "4/3",
        "KLINE_INTERVALS": "1x",
        "LOG_FORMAT": "%(asctme)s",
        "STREAMER_REDIS_PORT": "zero",
        "ENABLED_CONSUMERS": "redis,websocket,no.such:Module",
        "COINS_FILE": str(coins),
        "SSL_CERT_FILE": "/no/such.pem",
    }.items():
        monkeypatch.setenv(name, value)
    main.STREAMS += [
        {"name": "x"},
        {"name": "pair", "func": main.subscribe_trades, "args": ("BTC/USDT", handle_trades)},
        {"name": "market", "func": main.subscribe_ticker, "args": ("BTCUSDT", print, "linaer")},
        {"name": "levels", "func": main.subscribe_orderbook, "args": ("BTCUSDT", print, None, 500)},
        {"name": "number", "func": main.subscribe_trades, "args": (5, print)},
    ]

    assert main.run() == Exit.SETTINGS
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()[1:]]
    begins = [line.split("=")[0].split(":")[0] for line in lines]
    assert set(begins) == {
        "LOG_FORMAT",
        "KLINE_INTERVALS",
        "STREAMER_REDIS_PORT",
        "SHARD",
        "WSS_AUTH_USER is not set",
        "WSS_AUTH_KEY is not set",
        "ENABLED_CONSUMERS",
        "COINS_FILE",
        "SSL_CERT_FILE",
        "HTTPS_PROXY is https",
        "STREAMS[0] 'x'",
        "STREAMS 'pair'",
        "STREAMS 'market'",
        "STREAMS 'levels'",
        "STREAMS 'number'",
    }
    assert len(begins) == len(set(begins))


@pytest.fixture
def collect_into_nothing(collect, tmp_path):
    """Build a collector whose only output cannot make its folder."""

    def build():
        path = tmp_path / "out"
        collector, _ = collect(ENABLED_CONSUMERS="file", FILE_CONSUMER_BASE_PATH=str(path))
        path.write_text("in the way")
        return collector

    return build


def test_unreachable_output_ends_with_3(collect_into_nothing):
    """Where an output is required at start, no stream is opened for it."""
    collector = collect_into_nothing()
    with structlog.testing.capture_logs() as logs:
        assert collector.start() == Exit.OUTPUT_UNREACHABLE
        assert collector.stop() == Exit.ASKED

    (unreachable,) = [entry for entry in logs if entry["event"] == "outputs_unreachable"]
    assert list(unreachable["outputs"]) == ["file"]
    assert "FileExistsError" in unreachable["outputs"]["file"]
    assert not any(thread.is_alive() for thread in collector.klines.threads())


def test_failed_embedded_server_ends_with_3(collect, monkeypatch, tmp_path):
    """It was to be the output."""
    collector, _ = collect(REDIS_PORT="1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))  # no room for its configuration
    with structlog.testing.capture_logs() as logs:
        assert collector.start() == Exit.OUTPUT_UNREACHABLE
    assert "embedded_server_failed" in [entry["event"] for entry in logs]


def test_an_embedded_server_that_cannot_be_kept_ends_with_3(collect, monkeypatch):
    """Nobody hears what is published: a supervisor starts both again."""
    collector, _ = collect()
    monkeypatch.setattr(collector.outputs, "tick", lambda: False)

    assert collector.tick() is Exit.OUTPUT_UNREACHABLE


EVERY_OUTPUT = {
    "ENABLED_CONSUMERS": "redis,console,file",
    "STORAGE_ENABLED": "true",
    "REDIS_STREAMS": "true",
    "RAW_RECORD": "true",
    "ENABLE_TICKER_STREAM": "true",
    "AUDIT_SAMPLE": "1",
}
THREADS = {
    *("aggregator", "repair", "audit", "envelopes", "coins", "recorder", "redis-files"),
    *(f"consumer-{name}" for name in ("redis", "console", "file", "storage", "history")),
}


@pytest.fixture
def with_every_output(collect):
    """A collector that would have every thread there is, and none of them yet."""
    return collect(**EVERY_OUTPUT)[0]


def test_every_thread_but_the_streams_is_looked_after(with_every_output):
    """What ends for good while the process lives on would only look alive."""
    assert {thread.name for thread in with_every_output.threads()} == THREADS


@pytest.mark.parametrize("name", sorted(THREADS))
def test_a_lost_thread_ends_with_4(with_every_output, monkeypatch, name):
    """It died: something would be missing from now on, which a restart mends."""
    collector = with_every_output
    assert collector.tick() is None
    (thread,) = [thread for thread in collector.threads() if thread.name == name]
    monkeypatch.setattr(thread, "run", lambda: None)
    thread.start()
    thread.join()
    with structlog.testing.capture_logs() as logs:
        assert collector.tick() == Exit.THREAD_LOST

    assert [(entry["event"], entry["threads"]) for entry in logs] == [("threads_lost", [name])]


def test_only_what_was_started_and_has_ended_is_lost() -> None:
    """What is still to be started is not missed."""
    asked = threading.Event()
    alive, dead, unborn = (threading.Thread(target=asked.wait, name=name) for name in ("alive", "dead", "unborn"))
    dead.run = lambda: None  # type: ignore[method-assign]
    for thread in (alive, dead):
        thread.start()
    dead.join()
    with capture_logs() as logs:
        assert lost_thread([alive, dead, unborn]) == Exit.THREAD_LOST
    assert [(entry["event"], entry["threads"]) for entry in logs] == [("threads_lost", ["dead"])]
    assert lost_thread([alive, unborn]) is None
    asked.set()
    alive.join()


def test_a_relay_looks_after_its_threads(monkeypatch):
    """Its source and its outputs."""
    relay = OutputRelay(settings(ENABLED_CONSUMERS="console"))
    assert relay.tick() is None
    (thread,) = [thread for thread in relay.threads() if thread.name == "relay"]
    monkeypatch.setattr(thread, "run", lambda: None)
    thread.start()
    thread.join()
    with structlog.testing.capture_logs() as logs:
        assert relay.tick() == Exit.THREAD_LOST
    assert logs[0]["threads"] == ["relay"]


def test_a_stream_given_up_ends_with_6_and_says_so_before(collect):
    """A critical line that names it, and a status line; what is no longer in the list was not given up."""
    own = {"name": "mine", "func": main.subscribe_trades, "args": ("ETHUSDT", handle_trades)}
    no_others = {"RAW_STREAMS": "none", "ENABLE_KLINES_STREAM": "false"}
    collector, streams = collect(
        own, run=stream_nothing, RECONNECT_MAX_ATTEMPTS="1", RECONNECT_DELAY="0.1", **no_others
    )
    assert collector.tick() is None
    wait_until(lambda: collector.streams.supervisor.gave_up)
    with structlog.testing.capture_logs() as logs:
        assert collector.tick() == Exit.STREAM_GIVEN_UP
    assert [entry["event"] for entry in logs] == ["streams_given_up", "status"]
    assert (logs[0]["streams"], logs[0]["attempts"], logs[0]["log_level"]) == (["mine"], 1, "critical")
    assert logs[1]["given_up"] == 1
    streams.remove(own)
    with structlog.testing.capture_logs():
        assert collector.tick() is None


def test_passed_deadline_ends_with_5(collect):
    """A thread that does not end is named."""
    is_over = threading.Event()
    own = {"name": "stuck", "func": is_over.wait, "args": ()}
    collector, _ = collect(own, RAW_STREAMS="none", ENABLE_KLINES_STREAM="false", STOP_TIMEOUT="1")
    assert collector.tick() is None
    with structlog.testing.capture_logs() as logs:
        assert collector.stop() == Exit.STOP_DEADLINE
    is_over.set()

    assert [entry["threads"] for entry in logs if entry["event"] == "stop_deadline_passed"] == [["stuck"]]


class Ending(BaseConsumer):
    """An output that notes, when it ends, what still runs."""

    still_runs: ClassVar[Callable[[], dict[str, bool]]]
    seen: ClassVar[list[tuple[str, dict[str, bool]]]] = []

    def __init__(self) -> None:
        super().__init__("ending")

    def consume(self, data: dict[str, Any]) -> None:
        """Take nothing."""

    def stop(self) -> None:
        """Note it."""
        Ending.seen.append(("outputs", Ending.still_runs()))


def test_stop_ends_in_order_and_leaves_the_users_entries(collect):
    """Streams, then the aggregator, then the outputs; a second run finds STREAMS as the user left it."""

    def end_last():
        current().stop.wait()
        Ending.seen.append(("streams", still_runs()))  # what is still to end may subscribe once more

    own = {"name": "mine", "func": end_last, "args": ()}
    collector, streams = collect(own, ENABLED_CONSUMERS=f"{__name__}:Ending", KLINE_REPAIR="false")

    def still_runs():
        return {"collector": collector.is_running, "aggregator": collector.klines.threads()[0].is_alive()}

    Ending.still_runs, Ending.seen = staticmethod(still_runs), []
    with capture_logs():
        assert collector.start() is None
        assert collector.stop() == Exit.ASKED
    assert Ending.seen == [
        ("streams", {"collector": True, "aggregator": True}),
        ("outputs", {"collector": True, "aggregator": False}),
    ]
    assert streams == [own]
    with pytest.raises(RuntimeError, match="no collector runs"):
        handle_trades(b"{}")


def test_a_relays_outputs_are_stopped_though_its_source_hangs(monkeypatch):
    """What they hold is written, within the deadline; what hung is logged, and the exit code says it."""
    relay = OutputRelay(settings(ENABLED_CONSUMERS="console"))
    stopped = []
    monkeypatch.setattr(relay.source, "stop", lambda deadline_s: stopped.append(deadline_s))
    monkeypatch.setattr(relay.outputs.manager, "stop", lambda deadline_s: stopped.append(deadline_s) or [])
    with capture_logs() as logs:
        assert relay.stop() == Exit.STOP_DEADLINE
    of_source, of_outputs = stopped
    assert of_source < of_outputs
    assert logs[0]["threads"] == ["relay"]


class Terminating(Ending):
    """An output with which the process is asked to stop."""

    def setup(self) -> None:
        """Ask for it."""
        signal.raise_signal(signal.SIGTERM)


def test_a_relay_says_what_is_odd_and_how_it_ended():
    """Like the collector; paths that speak Bybit are not served there, whatever the settings say of them."""
    Ending.still_runs = dict
    enabled = {"ENABLED_CONSUMERS": f"redis,websocket,{__name__}:Terminating", "REDIS_PORT": "1"}
    wss = {"WSS_AUTH_USER": "u", "WSS_AUTH_KEY": "k", "WEBSOCKET_PORT": "0", "WEBSOCKET_BYBIT_PATHS": "open"}
    with capture_logs() as logs:
        assert cli.relay(settings(RAW_RECORD="true", **enabled, **wss)) == Exit.ASKED
    odd = [entry["name"] for entry in logs if entry["event"] == "setting_suspicious"]

    assert odd == ["WEBSOCKET_BYBIT_PATHS"]
    assert (logs[-1]["event"], logs[-1]["code"], logs[-1]["reason"]) == ("ended", 0, Exit.ASKED.reason)


def test_a_relay_without_an_output_ends_with_2(capsys):
    """What is in Redis already needs none."""
    assert cli.relay(settings(STORAGE_ENABLED="true")) == Exit.SETTINGS
    assert "a relay needs an output" in capsys.readouterr().err


# -- the network ------------------------------------------------------------------------------------------------


def test_the_start_names_proxies_and_certificates(collect_into_nothing, monkeypatch):
    """One line, without a password; what is reached without a proxy is told, too."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    monkeypatch.setenv("NO_PROXY", "api.bybit.com")
    collector = collect_into_nothing()
    with structlog.testing.capture_logs() as logs:
        collector.start()
        collector.stop()

    (line,) = [line for line in logs if line["event"] == "network"]
    assert line["proxies"] == {"stream.bybit.com": "http://proxy:3128", "api.bybit.com": None}
    assert line["certificates"]
    assert "secret" not in str(line)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("HTTPS_PROXY", "https://proxy:1", "HTTPS_PROXY is https://..., must begin with http://"),
        ("REQUESTS_CA_BUNDLE", "/no/such.pem", "REQUESTS_CA_BUNDLE=/no/such.pem: there is no such file or folder"),
    ],
)
def test_what_cannot_be_used_of_the_network_is_refused(collect, monkeypatch, name, text, problem):
    """At the start, by name, instead of failing for ever."""
    monkeypatch.setenv(name, text)
    with pytest.raises(ValueError, match=re.escape(problem)):
        collect(ENABLED_CONSUMERS="console")
