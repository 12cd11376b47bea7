"""What main makes of symbols that change, of shards, and of a dry run. Nothing here connects to anything."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

import main
from aggregation.trade_queue import DropSymbols
from app import cli
from app.exits import Exit
from app.options import symbol_rules
from callbacks.trades import handle_trades
from exchanges.bybit.rest import BybitRest
from exchanges.bybit.venue import VENUE
from exchanges.universe import follower
from exchanges.universe.follower import follow_symbols
from model.problems import Problem
from model.records import Instrument
from streams import StreamRequest
from tests.support.collector import follow, stream_of
from tests.support.settings import settings_of

LISTED = {
    "linear": [Instrument("BTCUSDT", "BTC", "USDT", 2), Instrument("ETHUSDT", "ETH", "USDT", 1)],
    "inverse": [Instrument("BTCUSD", "BTC", "USD", 1)],
}
NAMES = [f"S{number}USDT" for number in range(40)]


def settings(**environ):
    plain = {"REDIS_EMBEDDED": "never", "ENABLE_WEB": "false", "RAW_STREAMS": "trades", "KLINE_STORE": "false"}
    return settings_of(**plain | environ)


def dry_run(settings):
    return cli.dry_run(main.STREAMS, main.SUBSCRIBE, settings)


def streamed(streams):
    """Every symbol of the trades entries, the user's and the plan's."""
    names = [entry["args"][0] for entry in streams]
    return [symbol for name in names for symbol in ([name] if isinstance(name, str) else name)]


def test_a_coins_file_takes_the_place_of_symbols(make_collector, tmp_path):
    """From the first moment on."""
    path = tmp_path / "coins.json"
    path.write_text(json.dumps({"coins": ["SOL", "BTCUSDT"]}))
    streams: list[dict[str, Any]] = []
    make_collector(settings(SYMBOLS="ETHUSDT", COINS_FILE=str(path)), streams)

    assert streamed(streams) == ["SOLUSDT", "BTCUSDT"]


def test_a_wrong_coins_file_ends_with_2(tmp_path, capsys):
    """And is named, with the line."""
    path = tmp_path / "coins.json"
    path.write_text('{"coins": ["BTC"')

    assert main.run(settings(COINS_FILE=str(path))) == Exit.SETTINGS
    assert "coins.json': line 1" in capsys.readouterr().err


def test_another_choice_changes_entries_in_place_and_retires_what_went(make_collector):
    """The entry is the same object; the aggregator gets what is not wanted, and what is anew."""
    streams: list[dict[str, Any]] = []
    collector = make_collector(settings(SYMBOLS="BTCUSDT,ETHUSDT"), streams)
    (entry,) = streams
    follow(collector, linear=("ETHUSDT", "SOLUSDT"))

    assert streams == [entry]
    assert streamed(streams) == ["ETHUSDT", "SOLUSDT"]
    assert collector.klines
    assert collector.klines.aggregator.queues["linear"].take(9) == [DropSymbols(("BTCUSDT",), ("SOLUSDT",))]


def test_a_choice_leaves_the_users_own_entries_alone(make_collector):
    """Their symbols stay theirs, whatever is chosen."""
    own = {"name": "mine", "func": main.subscribe_trades, "args": ("BTCUSDT", handle_trades)}
    streams = [own]
    collector = make_collector(settings(SYMBOLS="BTCUSDT"), streams)
    assert streams == [own]
    follow(collector, linear=("BTCUSDT", "SOLUSDT"))

    assert streams[0] is own
    assert streamed(streams[1:]) == ["SOLUSDT"]


def test_what_an_entry_of_the_users_still_brings_is_not_retired(make_collector):
    """Nor what the settings still want, where the entry goes; what neither brings is, of whatever market."""
    own = {"name": "mine", "func": main.subscribe_trades, "args": (["BTCUSDT", "XRPUSDT"], handle_trades)}
    spot = {"name": "spot", "func": main.subscribe_trades, "args": ("BTCUSDT", handle_trades, "spot")}
    streams = [own, spot]
    collector = make_collector(settings(SYMBOLS="BTCUSDT,ETHUSDT"), streams)
    assert collector.klines
    queues = collector.klines.aggregator.queues
    follow(collector, linear=("SOLUSDT",))
    assert queues["linear"].take(9) == [DropSymbols(("ETHUSDT",), ("SOLUSDT",))]
    follow(collector, linear=("SOLUSDT", "BTCUSDT"))
    assert queues["linear"].take(9) == []
    del streams[:2]
    follow(collector, linear=("SOLUSDT", "BTCUSDT"))
    assert queues["linear"].take(9) == [DropSymbols(("XRPUSDT",), ())]
    assert queues["spot"].take(9) == [DropSymbols(("BTCUSDT",), ())]
    assert streamed(streams) == ["SOLUSDT", "BTCUSDT"]


def test_klines_go_with_their_trades(make_collector):
    """A ticker that an entry of the user's still brings does not keep them."""
    own = {"name": "mine", "func": main.subscribe_ticker, "args": ("BTCUSDT", main.handle_ticker)}
    collector = make_collector(settings(SYMBOLS="BTCUSDT,ETHUSDT"), [own])
    assert collector.klines
    follow(collector, linear=("ETHUSDT",))

    assert collector.klines.aggregator.queues["linear"].take(9) == [DropSymbols(("BTCUSDT",), ())]


def test_what_is_stored_is_kept_for_as_long_as_anybody_brings_it(make_collector, monkeypatch):
    """A ticker of an entry's is no less there than one of the settings'; it comes back with whoever brings it."""
    ticker = {"name": "mine", "func": main.subscribe_ticker, "args": ("ETHUSDT", main.handle_ticker)}
    streams = [ticker]
    collector = make_collector(settings(SYMBOLS="BTCUSDT,ETHUSDT,SOLUSDT"), streams)
    changes: list[object] = []
    monkeypatch.setattr(collector.outputs.manager, "change_stored_symbols", lambda *change: changes.append(change))
    follow(collector, linear=("BTCUSDT", "SOLUSDT"))
    assert changes == []
    follow(collector, linear=("BTCUSDT",))
    assert changes == [("linear", ["SOLUSDT"], [])]
    streams.append({"name": "spot", "func": main.subscribe_ticker, "args": ("SOLUSDT", main.handle_ticker, "spot")})
    streams.append({"name": "linear", "func": main.subscribe_ticker, "args": ("SOLUSDT", main.handle_ticker)})
    streams.remove(ticker)
    follow(collector, linear=("BTCUSDT",))
    assert changes[1:] == [("linear", ["ETHUSDT"], ["SOLUSDT"]), ("spot", [], ["SOLUSDT"])]


def test_a_start_goes_on_with_what_the_users_entries_bring(make_collector, monkeypatch, tmp_path):
    """What an earlier run published of them too, in their own market."""
    own = {"name": "mine", "func": main.subscribe_trades, "args": ("BTCUSD", handle_trades, "inverse")}
    outputs = {"ENABLED_CONSUMERS": "redis,file", "REDIS_PORT": "1", "FILE_CONSUMER_BASE_PATH": str(tmp_path / "out")}
    collector = make_collector(settings(SYMBOLS="BTCUSDT", **outputs), [own])
    (tmp_path / "out").write_text("in the way")  # the start ends there, before any stream is opened
    asked = []
    monkeypatch.setattr(collector.outputs.manager.redis, "load_checkpoint", lambda some, _store: asked.append(some))
    monkeypatch.setattr(collector.klines, "resume", lambda _published, collected: asked.append(collected))
    with capture_logs():
        assert collector.start() is Exit.OUTPUT_UNREACHABLE
        collector.stop()

    assert asked == [{"linear", "inverse"}, {("linear", "BTCUSDT"), ("inverse", "BTCUSD")}]


@pytest.mark.parametrize("count", [2, 3])
def test_shards_share_symbols_without_overlap_or_hole(make_collector, count):
    """The settings' symbols, in every market."""
    parts = []
    for index in range(1, count + 1):
        streams: list[dict[str, Any]] = []
        make_collector(settings(SYMBOLS=",".join(NAMES), SHARD=f"{index}/{count}", ENABLE_SPOT_STREAM="true"), streams)
        parts += [(entry["args"][2], symbol) for entry in streams for symbol in entry["args"][0]]

    assert sorted(parts) == sorted((market, name) for market in ("linear", "spot") for name in NAMES)


def test_shards_share_the_users_entries_by_name(make_collector):
    """Each runs in exactly one process, and its symbol in no pool of any."""
    own = [{"name": f"mine{n}", "func": main.subscribe_trades, "args": (NAMES[n], handle_trades)} for n in range(12)]
    ran, pooled = [], []
    for index in (1, 2, 3):
        collector = make_collector(settings(SYMBOLS=",".join(NAMES), SHARD=f"{index}/3"), streams := [*own])
        ran += [entry.name for entry in collector.streams.supervisor.check() if entry.source in own]
        pooled += streamed(streams[12:])

    assert sorted(ran) == sorted(f"mine{n}" for n in range(12))
    assert sorted(pooled) == sorted(NAMES[12:])


def test_shards_share_the_connects_of_their_address(make_collector):
    """Bybit counts per address, whatever the client."""
    collector = make_collector(settings(SHARD="1/3"), [])

    assert "150 are allowed per 300 s" in collector.streams.text()


def test_a_dry_run_prints_the_plan_and_ends_with_0(capsys):
    """Nothing is left in STREAMS, and nothing was started."""
    main.STREAMS.append({"name": "mine", "func": print, "args": ()})
    with capture_logs():
        assert dry_run(settings(SYMBOLS=",".join(NAMES), SOCKET_POOL_SIZE="15")) == Exit.ASKED
    said = capsys.readouterr().out

    assert "3 sockets, 40 topics, 4 threads" in said
    assert "entries of your own, a thread each: mine" in said
    assert [entry["name"] for entry in main.STREAMS] == ["mine"]


def test_a_dry_run_ends_with_2_as_a_start_would(capsys):
    """A wrong entry, and a symbol that no stream can carry."""
    main.STREAMS.append({"name": "mine"})
    with capture_logs():
        assert dry_run(settings()) == Exit.SETTINGS
    assert "STREAMS[0] 'mine'" in capsys.readouterr().err
    main.STREAMS[:] = [{"name": "odd", "func": main.subscribe_trades, "args": ("b.t.c", print)}]
    with capture_logs():
        assert dry_run(settings()) == Exit.SETTINGS
    assert "b.t.c" in capsys.readouterr().err


@pytest.mark.parametrize(("is_known", "code"), [(True, Exit.SETTINGS), (False, Exit.OUTPUT_UNREACHABLE)])
def test_a_start_without_any_symbol_ends_with_a_clear_code(make_collector, is_known, code):
    """Nothing listed as asked for is a mistake of ours; a list that cannot be read is an exchange to be reached."""
    collector = make_collector(settings(LOAD_ALL_SYMBOLS="true"), [])
    follower = SimpleNamespace(
        start=lambda: None,
        wait=lambda **_: is_known,
        choice={"linear": ()},
        stop=lambda: None,
        needs_listing=True,
    )
    collector.symbols = follower
    collector.outages.failed("REST linear", Problem("http_451", "api.test", status=451))
    with capture_logs() as logs:
        assert collector.start() == code
    assert logs[-1]["event"] == "no_symbols"
    why = "none is listed" if is_known else "api.test may not serve the country of this address (HTTP 451). What to do:"
    assert why in logs[-1]["sentence"]


def test_entries_name_symbols_as_settings_do(make_collector, monkeypatch):
    """By base and quote of the listing, of the market that an entry names; known when the first stream runs."""
    monkeypatch.setattr(BybitRest, "listed", lambda self, **_: LISTED[self.market])
    own: list[dict[str, Any]] = [
        {"name": "mine", "func": main.subscribe_trades, "args": ("btc/usdt", handle_trades)},
        {"name": "inverse", "func": main.subscribe_trades, "args": (["BTC", "NO"], handle_trades, "inverse")},
    ]
    collector = make_collector(settings(SYMBOLS="ETH,BTC-USDT"), own)
    run: list[StreamRequest] = []
    monkeypatch.setattr(collector.streams, "run", run.append)
    with capture_logs() as logs, stream_of(collector):
        assert collector.choose_symbols() is None
        for entry in own[:2]:
            entry["func"](*entry["args"])

    assert [request.symbols for request in run] == ["BTCUSDT", ["BTCUSD", "NO"]]
    assert collector.streams.collected() == {
        ("linear", "BTCUSDT"),
        ("linear", "ETHUSDT"),
        ("inverse", "BTCUSD"),
        ("inverse", "NO"),
    }
    assert streamed(own[2:]) == ["ETHUSDT"]
    assert [(entry["symbols"], entry["market"]) for entry in logs if entry["event"] == "symbols_unknown"] == [
        (["NO"], "inverse")
    ]


def test_redundant_symbols_are_named_as_symbols_are(make_collector, monkeypatch):
    """Each by its own spelling; another symbol has one connection."""
    monkeypatch.setattr(BybitRest, "listed", lambda self, **_: LISTED[self.market])
    streams: list[dict[str, Any]] = []
    names = {"SYMBOLS": "ETH,BTC/USDT", "REDUNDANCY": "2", "REDUNDANT_SYMBOLS": "BTC_USDT"}
    collector = make_collector(settings(**names), streams)
    with capture_logs():
        assert collector.choose_symbols() is None
    assert sorted(streamed(streams)) == ["BTCUSDT", "BTCUSDT", "ETHUSDT"]


def test_a_start_with_unknown_names_alone_ends_with_2(make_collector, monkeypatch):
    """An exchange may acknowledge what it does not have."""
    monkeypatch.setattr(BybitRest, "listed", lambda self, **_: LISTED[self.market])
    collector = make_collector(settings(SYMBOLS="BTCUSTD"), [])
    with capture_logs() as logs:
        assert collector.choose_symbols() is Exit.SETTINGS
    (unknown,) = (entry for entry in logs if entry["event"] == "symbols_unknown")
    assert unknown["nearest"] == {"BTCUSTD": "BTCUSDT"}


def test_a_start_ends_where_the_sizes_of_contracts_cannot_be_read(make_collector, monkeypatch):
    """Klines of a wrong size would be worse than none."""
    collector = make_collector(settings(SYMBOLS="BTCUSDT"), [])
    collector.symbols.stop()
    rules = dataclasses.replace(symbol_rules(collector.settings, VENUE), needs_sizes=True)
    names = SimpleNamespace(load=tuple, changed=lambda: None)
    collector.symbols = follow_symbols(collector._rest_of, ("linear",), rules, names)
    monkeypatch.setattr(follower, "ALL_LIMIT_S", 0.3)
    with capture_logs() as logs:
        assert collector.choose_symbols() is Exit.OUTPUT_UNREACHABLE
    assert "cannot be read" in logs[-1]["problem"]
