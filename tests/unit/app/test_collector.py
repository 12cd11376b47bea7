"""What main makes of STREAMS and the settings: entries and pools. Nothing here connects to anything."""

import functools
from typing import Any

import pytest
from structlog.testing import capture_logs

import main
from callbacks.trades import handle_trades
from model.context import current
from model.records import Kind
from streams.registry import read_entries
from tests.support.collector import follow, published_by, stream_nothing

# As the legacy system has it.
SNIPPET = """
STREAMS.append({
    "name": "Trades_ETHUSDT",
    "func": subscribe_trades,
    "args": ("ETHUSDT", handle_trades)
})
"""


def wanted(streams):
    """(function, symbols, market) of each entry."""
    return [(entry["func"], entry["args"][0], entry["args"][2]) for entry in streams]


def symbols_of(streams, func):
    return [symbol for entry in streams if entry["func"] is func for symbol in entry["args"][0]]


# -- STREAMS ----------------------------------------------------------------------------------------------------


def test_the_snippet_works_verbatim_in_main():
    """The legacy system's own text, in main's own namespace: a good entry, with the real function and callback."""
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


def test_subscribing_without_a_collector_names_the_remedy():
    """Called by hand, outside a STREAMS entry."""
    with pytest.raises(RuntimeError, match="STREAMS entry"):
        main.subscribe_ticker("BTCUSDT", print)


def test_subscribing_runs_the_feed_of_its_market(collect):
    """Kind, symbols and callback as given; depth from the settings unless given; market None is the main one.

    While it runs, the thread's context has the market: what a callback of the user's hands on goes there.
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


def test_symbol_streamed_twice_is_logged(collect):
    """An entry appended to the running list may double a channel: the log names the symbol."""
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
    """Spot has none; its other kinds come on callbacks of their own."""
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
def test_a_users_entry_is_published_whatever_raw_streams_has(collect, raw_streams):
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
