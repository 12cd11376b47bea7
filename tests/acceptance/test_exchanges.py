"""What every exchange must do beside its data: settings, names, symbols that change, all outputs, restarts, bad input.

An exchange is one entry of EXCHANGES. What its data must be: test_exchange_data.py.
"""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis

from exchanges.contract import Endpoints, TradeRules
from exchanges.registry import VENUES
from tests.acceptance.harness import MAIN, CollectorProcess, Subscriber, completes, latest, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

AHEAD_MS = 6_000  # of a trade that is handed in, so that it is the newest


@dataclass(frozen=True)
class Exchange:
    """What differs between exchanges: names of symbols (`%s` is a coin) by market, topics, REST, payloads."""

    name: str
    symbols: dict[str, str]
    trades: str  # topic of trades; `%s` is a symbol
    book: str  # of the usual depth, or of `depth`
    candles: str  # of a minute
    market: str  # the market whose contracts have sizes
    listing: tuple[str, dict[str, str]]  # REST path and query of that market
    past_trades: str  # path that past trades are read at
    without_size: Callable[[Any], None] | None  # takes the size of its contract out of a row of the listing
    renumbered: Callable[[str, int], str] | None  # a payload of one trade, its id moved by so many, AHEAD_MS later
    beside: int = 0  # topics that are subscribed beside trades, on each connection
    renamed: dict[str, str] = field(default_factory=dict)  # symbols that are not named after their coin
    slow: int = 60  # messages a second, so few that REST's newest trades reach back over a restart
    depth: int | None = None  # of books whose messages follow one another; None: of the usual ones

    def symbol(self, coin: str, market: str = "linear") -> str:
        symbol = self.symbols[market] % coin
        return self.renamed.get(symbol, symbol)


def okx_renumbered(payload: str, step: int) -> str:
    message = json.loads(payload)
    row = message["data"][0]
    message["data"] = [{**row, "tradeId": str(int(row["tradeId"]) + step), "ts": str(int(row["ts"]) + AHEAD_MS)}]
    return json.dumps(message, separators=(",", ":"))


def binance_renumbered(payload: str, step: int) -> str:
    message = json.loads(payload)
    message["data"] |= {"t": message["data"]["t"] + step, "T": message["data"]["T"] + AHEAD_MS}
    return json.dumps(message, separators=(",", ":"))


def gate_renumbered(payload: str, step: int) -> str:
    message = json.loads(payload)
    row = message["result"][0]
    row |= {"id": row["id"] + step, "create_time_ms": row["create_time_ms"] + AHEAD_MS}
    return json.dumps({**message, "result": [row]}, separators=(",", ":"))


EXCHANGES = [
    Exchange(
        name="okx",
        symbols={"linear": "%s-USDT-SWAP", "inverse": "%s-USD-SWAP", "spot": "%s-USDT"},
        trades="trades:%s",
        book="books:%s",
        candles="candle1m:%s",
        market="linear",
        listing=("/api/v5/public/instruments", {"instType": "SWAP"}),
        past_trades="/api/v5/market/history-trades",
        without_size=lambda row: row.update(ctVal=""),
        renumbered=okx_renumbered,
    ),
    Exchange(
        name="binance",
        symbols={"linear": "%sUSDT", "inverse": "%sUSD_PERP", "spot": "%sUSDT"},
        trades="%s@trade",
        book="%s@depth@100ms",
        candles="%s@kline_1m",
        market="inverse",
        listing=("/dapi/v1/exchangeInfo", {}),
        past_trades="/fapi/v1/",
        without_size=lambda row: row.pop("contractSize"),
        renumbered=binance_renumbered,
    ),
    Exchange(
        name="gate",
        symbols={"linear": "%s_USDT", "spot": "%s_USDT"},
        trades="futures.trades:%s",
        book="futures.obu:ob.%s.50",
        candles="futures.candlesticks:1m,%s",
        market="linear",
        listing=("/api/v4/futures/usdt/contracts", {}),
        past_trades="/api/v4/futures/usdt/trades",
        without_size=lambda row: row.update(quanto_multiplier=""),
        renumbered=gate_renumbered,
        beside=1,
    ),
    Exchange(
        name="kucoin",
        symbols={"linear": "%sUSDTM", "spot": "%s-USDT"},
        renamed={"BTCUSDTM": "XBTUSDTM"},
        trades="/contractMarket/execution:%s",
        book="/contractMarket/level2:%s",
        depth=1000,
        slow=15,  # 100 trades are the most
        candles="/contractMarket/limitCandle:%s_1min",
        market="linear",
        listing=("/api/v1/contracts/active", {}),
        past_trades="/api/v1/trade/history",
        without_size=lambda row: row.update(multiplier=None),
        renumbered=None,
    ),
    Exchange(
        name="bitget",
        symbols={"linear": "%sUSDT", "spot": "%sUSDT"},
        trades="USDT-FUTURES:trade:%s",
        book="USDT-FUTURES:books:%s",
        candles="candle1m:%s",
        market="linear",
        listing=("/api/v2/mix/market/contracts", {"productType": "USDT-FUTURES"}),
        past_trades="/api/v2/mix/market/",
        without_size=None,  # sizes are in coins
        slow=15,  # 100 trades are the most
        renumbered=None,  # ids do not follow one another
    ),
    Exchange(
        name="bingx",
        symbols={"linear": "%s-USDT", "spot": "%s-USDT"},
        trades="%s@trade",
        book="%s@depth20@200ms",
        candles="%s@kline_1m",
        market="linear",
        listing=("/openApi/swap/v2/quote/contracts", {}),
        past_trades="/openApi/swap/",
        without_size=None,
        renumbered=None,  # there are no ids
    ),
]


@pytest.fixture(params=EXCHANGES, ids=lambda each: each.name)
def exchange(request: pytest.FixtureRequest) -> Exchange:
    return request.param


@pytest.fixture
def settings(exchange: Exchange, valkey: Any) -> dict[str, Any]:
    """Settings that most tests start from; streams come back fast. SYMBOLS are the default."""
    return {"EXCHANGE": exchange.name, "REDIS_PORT": valkey.port, "RECONNECT_DELAY": 0.1, "STATUS_INTERVAL": 1}


def simulator(exchange: Exchange, *args: object) -> SimulatorProcess:
    return SimulatorProcess("--symbols", 5, "--illiquid", 0, "--true-seconds", *args, exchange=exchange.name)


def urls(sim: SimulatorProcess) -> dict[str, str]:
    return {"WS_URL": sim.ws_base, "REST_URL": sim.rest_url}


def topic(pattern: str, symbol: str) -> str:
    """Names are in small letters where a topic begins with its symbol, but for those with a dash."""
    return pattern % (symbol.lower() if pattern.startswith("%s") and "-" not in symbol else symbol)


def status_events(subscriber: Subscriber, exchange: Exchange, event: str) -> list[dict[str, Any]]:
    found = [json.loads(message) for message in list(subscriber.received[f"stream:{exchange.name}_status"])]
    return [message for message in found if message["event"] == event]


def foreign_words(collector: CollectorProcess, exchange: Exchange) -> list[str]:
    """Lines in which another exchange is named than the one that is collected."""
    others = {"bybit", *(each.name for each in EXCHANGES)} - {exchange.name}
    lines = [json.dumps(entry) for entry in collector.logs] + collector.output
    words = re.compile(rf"(?<![a-z])({'|'.join(others)})(?![a-z])", re.IGNORECASE)  # a gateway is no Gate
    return [line for line in lines if words.search(line)]


# -- before anything is opened -----------------------------------------------------------------------------------


def test_what_is_not_offered_is_told_at_once(tmp_path: Path, exchange: Exchange) -> None:
    """A market, a depth, an interval, kinds, connections: a line each, with what is allowed there; exit code 2."""
    wrong = {"CHANNEL_TYPE": "option", "ORDERBOOK_DEPTH": 77, "KLINE_INTERVALS": "1m,7x", "REDUNDANCY": 3}
    wrong |= {"RAW_STREAMS": "trades,rumours"}
    with CollectorProcess(tmp_path, MAIN, "--check-config", EXCHANGE=exchange.name, **wrong) as collector:
        assert collector.wait() == 2
    lines = {line.split("=")[0].strip(): line for line in collector.output if "=" in line}

    assert lines.keys() == wrong.keys()
    assert all("allowed: " in line for line in lines.values())
    assert f"{exchange.name} has no books of this depth; allowed: " in lines["ORDERBOOK_DEPTH"]
    assert "'7x'" in lines["KLINE_INTERVALS"]
    assert not foreign_words(collector, exchange)


def test_two_connections_are_refused_with_a_reason_where_trades_have_no_ids(tmp_path: Path) -> None:
    """Nothing tells their trades apart: a line that says so, and exit code 2."""
    without = [name for name, venue in VENUES.items() if venue.trade_keys is None]
    for name in without:
        with CollectorProcess(tmp_path, MAIN, "--check-config", EXCHANGE=name, REDUNDANCY=2) as collector:
            assert collector.wait() == 2
        (line,) = (each for each in collector.output if "REDUNDANCY" in each)
        assert f"messages of {name} name no ids" in line
        assert "allowed: 1" in line
    assert without == ["bingx"]


def test_names_of_all_forms_are_found_and_nothing_is_opened(
    tmp_path: Path, exchange: Exchange, settings: dict[str, Any]
) -> None:
    """A coin, coin and quote, the exchange's own; the unknown with the nearest; the most traded, up to a limit."""
    (tmp_path / "dot.env").write_text(
        "SYMBOLS=BTC,eth/usdt,{},XRPUSTD,币安人生USDT,BTCUSDT\n".format(exchange.symbol("SOL"))
    )
    with simulator(exchange, "--rate", 100) as sim:
        plan = {**settings, **urls(sim), "RAW_STREAMS": "trades"}
        with CollectorProcess(tmp_path, MAIN, "--dry-run", ENV_FILE="dot.env", **plan) as collector:
            assert collector.wait() == 0, collector.newest_output()
        assert "1 sockets, 3 topics, 1 threads" in "\n".join(collector.output)
        (unknown,) = collector.events("symbols_unknown")
        assert unknown["symbols"] == ["XRPUSTD", "币安人生USDT"]
        assert unknown["nearest"] == {"XRPUSTD": exchange.symbol("XRP")}
        assert not foreign_words(collector, exchange)

        wait_until(lambda: sim.stats()["trades"] > 100)
        plan |= {"LOAD_ALL_SYMBOLS": True, "SYMBOLS_LIMIT": 2, "SYMBOLS_QUOTE": "USDT", "ENABLE_SPOT_STREAM": True}
        with CollectorProcess(tmp_path, MAIN, "--dry-run", **plan) as collector:
            assert collector.wait() == 0, collector.newest_output()
        assert "2 sockets, 4 topics, 2 threads" in "\n".join(collector.output)
        assert sim.stats()["connects"] == 0


# -- what goes out -----------------------------------------------------------------------------------------------


def kinds_of(exchange: Exchange, market: str) -> Sequence[str]:
    """What a market streams."""
    return VENUES[exchange.name].markets[market].kinds


STREAMS = """
import os
from main import STREAMS, handle_trades, run, subscribe_topics, subscribe_trades

candles = open("candles.txt", "ab", 0)
STREAMS.append({"name": "Candles", "func": subscribe_topics, "args": (os.environ["CANDLES"], candles.write)})
if os.environ["HAS_INVERSE"]:
    STREAMS.append({"name": "Coin", "func": subscribe_trades, "args": ("BTC", handle_trades, "inverse")})
STREAMS.append({"name": "Unknown", "func": subscribe_trades, "args": (["币安人生", "XRPUSTD"], print, "spot")})
raise SystemExit(run())
"""
MAIN_KEY = "stream:all"
TYPES = ("ticker", "price", "trades", "klines")


def test_everything_goes_out_of_all_markets(
    tmp_path: Path, exchange: Exchange, settings: dict[str, Any], valkey: Any
) -> None:
    """Raw, envelopes, storage, files, status; STREAMS of the user's own; one of two connections lost; a hole in a book.

    Nobody is told of another exchange, and every kline that says so is the exchange's own.
    """
    (tmp_path / "mine.py").write_text(STREAMS)
    settings |= {"ENABLE_SPOT_STREAM": True, "KLINE_INTERVALS": "1s,5s", "REDIS_MAIN_KEY": MAIN_KEY}
    settings |= {f"ENABLE_{name}_STREAM": True for name in ("TICKER", "PRICE", "TRADES", "STATUS")}
    settings |= {"STORAGE_ENABLED": True, "ENABLED_CONSUMERS": "redis,file,parquet,console"}
    venue = VENUES[exchange.name]
    has_ids = venue.trade_keys is not None
    has_numbered_books = venue.protocol("linear", Endpoints()).frames("orderbook", ()).sequence is not None
    settings |= {"REDUNDANCY": 2, "REDUNDANT_SYMBOLS": "all"} if has_ids else {}
    btc, channel = exchange.symbol("BTC"), f"stream:{exchange.name}"
    has_inverse = "inverse" in exchange.symbols
    settings |= {"CANDLES": topic(exchange.candles, btc), "HAS_INVERSE": "yes" if has_inverse else ""}
    settings |= {"ORDERBOOK_DEPTH": exchange.depth} if exchange.depth else {}
    with (
        simulator(exchange, "--rate", 400) as sim,
        Subscriber(valkey.port, exchange.name) as subscriber,
        redis.Redis(port=valkey.port, decode_responses=True) as client,
    ):
        with CollectorProcess(tmp_path, tmp_path / "mine.py", **settings, **urls(sim)) as collector:
            raw = [f"_{kind}" for kind in kinds_of(exchange, "linear")]
            raw += [f"_spot_{kind}" for kind in kinds_of(exchange, "spot")] + ["_inverse_trades"] * has_inverse
            wait_until(lambda: all(subscriber.received[channel + name] for name in raw), 40)
            assert sim.command("drop", topic=topic(exchange.trades, btc), connections=1) == {"connections": 1}
            sim.command("reorder", topic=topic(exchange.book, btc), count=1)
            if has_ids:
                wait_until(lambda: status_events(subscriber, exchange, "repaired"), 40)
            if has_numbered_books:
                wait_until(
                    lambda: any(e.get("kind") == "orderbook" for e in status_events(subscriber, exchange, "repaired"))
                )
            wait_until(lambda: all(completes(subscriber, market) > 16 for market in exchange.symbols), 40)
            kinds = [(market, kind) for market in ("linear", "spot") for kind in TYPES]
            wait_until(lambda: all(envelopes(subscriber).get(kind) for kind in kinds))
            names = [f"{exchange.name}_{market}:{coin}" for market in ("spot", "futures") for coin in ("BTC", "ETH")]
            wait_until(lambda: client.exists(*names) == len(names))
            stored = {name: client.hgetall(name) for name in names}
            faults = collector.wait_for("status", count=len(collector.events("status")) + 1)["faults"]
            assert collector.stop() == 0, collector.newest_output()
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 8 * len(exchange.symbols), wrong) == (True, [])
    assert faults.keys() <= {"book_gap", "ticker_gap", "history_unreadable", "history_unreached"}, faults
    assert not foreign_words(collector, exchange)
    assert stored[f"{exchange.name}_spot:BTC"]["original_symbol"] == exchange.symbol("BTC", "spot")
    assert stored[f"{exchange.name}_futures:BTC"]["original_symbol"] == btc
    assert Decimal(stored[f"{exchange.name}_futures:ETH"]["ltp"]) > 0
    found = envelopes(subscriber)
    assert {item["symbol"] for item in found["spot", "price"]} == {exchange.symbol(c, "spot") for c in ("BTC", "ETH")}
    assert all(set(item) == {"symbol", "price"} for item in found["linear", "price"])
    assert {item["symbol"] for item in found["linear", "ticker"]} == {exchange.symbol(c) for c in ("BTC", "ETH")}
    inverse = {item["symbol"] for item in found.get(("inverse", "klines"), ())}
    assert inverse == ({exchange.symbol("BTC", "inverse")} if has_inverse else set())

    connected = status_events(subscriber, exchange, "connected")
    by_kind = {(each["market"], each["kind"]): each["symbols"] for each in connected if each["stream"] != "Unknown"}
    both = [exchange.symbol(coin) for coin in ("BTC", "ETH")]
    assert all(by_kind["linear", kind] == both for kind in kinds_of(exchange, "linear"))
    gaps = [each for each in status_events(subscriber, exchange, "gap") if each.get("kind") == "orderbook"]
    assert {(each["topic"], *each["symbols"]) for each in gaps if each["market"] == "linear"} == {
        (topic(exchange.book, btc), btc)
    } or not has_numbered_books
    (unknown,) = collector.events("symbols_unknown")
    assert (unknown["market"], unknown["symbols"]) == ("spot", ["币安人生", "XRPUSTD"])
    assert unknown["nearest"] == {"XRPUSTD": exchange.symbol("XRP", "spot")}

    assert btc.encode() in (tmp_path / "candles.txt").read_bytes().upper()
    assert any(re.match(r"BTC\|[0-9.]+\|", line) for line in collector.output)
    kept = {path.relative_to(tmp_path / "output").parts[:2] for path in (tmp_path / "output").rglob("*.*")}
    assert {("file_consumer", exchange.name), ("parquet", exchange.name)} <= kept


def envelopes(subscriber: Subscriber) -> dict[tuple[str, str], list[Any]]:
    """The data of all envelopes by market and type."""
    found: dict[tuple[str, str], list[Any]] = {}
    for message in list(subscriber.received[MAIN_KEY]):
        envelope = json.loads(message, parse_float=Decimal)
        found.setdefault((envelope["channel"], envelope["data_type"]), []).extend(envelope["data"])
    return found


# -- symbols that change -----------------------------------------------------------------------------------------


def test_lists_and_listings_are_followed(tmp_path: Path, exchange: Exchange, settings: dict[str, Any]) -> None:
    """A coins file while it runs, on the connections that are there; then all symbols, through one new and one gone."""
    coins = tmp_path / "coins.json"
    coins.write_text('{"coins": ["BTC", "ETHUSDT"]}')
    settings |= {"RAW_STREAMS": "trades", "SYMBOLS_REFRESH": 0.5, "ENABLE_KLINES_STREAM": False}
    with simulator(exchange, "--rate", 50) as sim:
        with CollectorProcess(tmp_path, COINS_FILE=coins, **settings, **urls(sim)) as collector:
            wait_until(lambda: sim.stats()["subscriptions"] == 2 + exchange.beside)
            coins.write_text(json.dumps({"coins": ["BTC", exchange.symbol("SOL"), "币安人生", "ETHUSDT"]}))
            wait_until(lambda: sim.stats()["subscriptions"] == 3 + exchange.beside)
            wait_until(lambda: collector.events("symbols_unknown"))
            assert collector.events("symbols_unknown")[-1]["symbols"] == ["币安人生"]
            coins.write_text('{"coins": ["SOL"]}')
            wait_until(lambda: sim.stats()["subscriptions"] == 1 + exchange.beside)
            assert sim.stats()["connects"] == 1
            assert collector.stop() == 0
        with CollectorProcess(
            tmp_path, LOAD_ALL_SYMBOLS=True, SYMBOLS_QUOTE="USDT", **settings, **urls(sim)
        ) as collector:
            wait_until(lambda: sim.stats()["subscriptions"] == 5 + exchange.beside)
            new = sim.command("list", category="linear")["symbol"]
            wait_until(lambda: sim.stats()["subscriptions"] == 6 + exchange.beside)
            assert collector.wait_for("symbols_followed")["came"] == [new]
            sim.command("delist", category="linear", symbol=exchange.symbol("ETH"))
            wait_until(lambda: collector.events("symbols_followed")[-1]["went"] == [exchange.symbol("ETH")])
            wait_until(lambda: sim.stats()["subscriptions"] == 5 + exchange.beside)
            assert sim.stats()["connects"] == 2
            assert collector.stop() == 0
            assert not foreign_words(collector, exchange)


# -- restarts ----------------------------------------------------------------------------------------------------


def test_restarts_leave_no_hole(tmp_path: Path, exchange: Exchange, settings: dict[str, Any], valkey: Any) -> None:
    """SIGTERM, then SIGKILL: every second between is there, complete and true."""
    settings |= {"KLINE_INTERVALS": "1s", "RAW_STREAMS": "trades", "REDIS_EMBEDDED": "never"}
    symbols = [exchange.symbol(coin) for coin in ("BTC", "ETH")]
    with (
        simulator(exchange, "--rate", exchange.slow, "--categories", "linear") as sim,
        Subscriber(valkey.port, exchange.name) as subscriber,
    ):
        wait_until(lambda: sim.stats()["trades"] > 60)  # the exchange has traded before
        ended_ms: list[int] = []
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
                begun_ms = int(time.time() * 1000)
                wait_until(lambda since=begun_ms: all(newest(subscriber, each) > since + 2_000 for each in symbols))  # type: ignore[misc]
                if number == signal.SIGTERM and ended_ms:
                    wait_until(lambda: all(each["complete"] for each in before(subscriber, ended_ms[-1] + 2_000)), 60)
                ended_ms.append(int(time.time() * 1000))
                collector.stop(number)
        klines = list(latest(subscriber.klines()).values())
        compared, wrong = wrong_klines(klines, sim)

    assert (compared > 10, wrong) == (True, [])
    assert not foreign_words(collector, exchange)
    for symbol in symbols:
        starts = sorted(kline["timestamp"] for kline in klines if kline["symbol"] == symbol)
        assert starts == list(range(starts[0], starts[-1] + 1000, 1000))
        first_whole_ms = starts[0] + 2_000
        assert all(k["complete"] for k in before(subscriber, ended_ms[-1] - 2_000) if k["timestamp"] > first_whole_ms)


def test_minutes_since_the_last_run_are_sent_and_pass_the_audit(
    tmp_path: Path, exchange: Exchange, settings: dict[str, Any], valkey: Any
) -> None:
    """A checkpoint in Redis is where the last run ended: the exchange's candles since then go out; the audit agrees."""
    last_ms = int(time.time()) // 60 * 60_000 - 5 * 60_000
    symbols = [exchange.symbol(coin) for coin in ("BTC", "ETH")]
    with valkey.client() as client:
        fields = {f"{symbol}:60000": f"{last_ms},0,1" for symbol in symbols}
        client.hset(f"{exchange.name}-streamer:last-published:linear", mapping=fields)
    settings |= {"KLINE_INTERVALS": "1m", "RAW_STREAMS": "trades", "ENABLED_CONSUMERS": "redis,file"}
    with simulator(exchange, "--rate", 100) as sim, Subscriber(valkey.port, exchange.name) as subscriber:
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            wait_until(lambda: len(subscriber.klines()) >= 2 * 4)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)
        begin = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(last_ms / 1000))
        with CollectorProcess(tmp_path, MAIN, "audit", "--from", begin, EXCHANGE=exchange.name, **urls(sim)) as audit:
            assert audit.wait() == 0, audit.newest_output()

    assert (compared >= 2 * 4, wrong) == (True, [])
    assert "all complete klines are equal" in "\n".join(audit.output)
    assert not foreign_words(audit, exchange)
    for symbol in symbols:
        starts = [kline["timestamp"] for kline in subscriber.klines() if kline["symbol"] == symbol]
        assert starts == [last_ms + (number + 1) * 60_000 for number in range(len(starts))]


def newest(subscriber: Subscriber, symbol: str) -> int:
    """The start of the newest kline."""
    return max((kline["timestamp"] for kline in subscriber.klines() if kline["symbol"] == symbol), default=0)


def before(subscriber: Subscriber, until_ms: int) -> Iterator[dict[str, Any]]:
    """The newest issues of klines that begin before a time."""
    return (kline for kline in latest(subscriber.klines()).values() if kline["timestamp"] < until_ms)


# -- bad input ---------------------------------------------------------------------------------------------------

REPLAYED = """
import os, pathlib, time
from main import STREAMS, handle_trades, run
from streams import current

def hand_in():
    while not current().stop.wait(0.1):
        if (file := pathlib.Path("payload.json")).exists():
            handle_trades(file.read_bytes())
            file.unlink()

STREAMS.append({"name": "Mine", "func": hand_in, "args": ()})
raise SystemExit(run())
"""
GARBAGE = (
    "malformed_json",
    "not_an_object",
    "not_utf8",
    "binary",
    "unknown_topic",
    "negative_size",
    "bad_price",
    "rsv1",
)
CAUSES = {"malformed_json", "unknown_message", "not_text", "bad_trade", "malformed_trades", "compressed_frame"}
REFUSALS = {418: "run fewer collectors", 451: "another exchange", 403: "send fewer requests"}  # and what to do


@pytest.mark.timeout(360)  # it waits for pauses that double
def test_bad_input_is_counted_told_and_costs_nothing(
    tmp_path: Path, exchange: Exchange, settings: dict[str, Any], valkey: Any
) -> None:
    """Frames that cannot be read, ids that go back, refusals of REST and of a handshake: klines are all true after.

    Where ids show no hole a lost connection has REST read; and where its answers do not reach back, seconds stay open.
    """
    (tmp_path / "mine.py").write_text(REPLAYED)
    btc = exchange.symbol("BTC")
    settings |= {"KLINE_INTERVALS": "1s", "RAW_STREAMS": "trades", "SYMBOLS": "BTC", "LOG_LEVEL": "debug"}
    with (
        simulator(exchange, "--rate", 60) as sim,  # so slow that REST reaches over all pauses on a busy machine too
        Subscriber(valkey.port, exchange.name) as subscriber,
        CollectorProcess(tmp_path, tmp_path / "mine.py", **settings, **urls(sim)) as collector,
    ):
        raw = subscriber.received[f"stream:{exchange.name}_trades"]
        wait_until(lambda: completes(subscriber) > 2, 40)
        begun_ms = max(kline["timestamp"] for kline in subscriber.klines())  # the start is over
        for what in GARBAGE:
            sim.command("garbage", what=what, topic=topic(exchange.trades, btc))
        is_inflated = VENUES[exchange.name].protocol("linear", Endpoints()).inflate is not None
        causes = CAUSES ^ {"not_text", "not_inflated"} if is_inflated else CAUSES
        wait_until(lambda: faults_of(collector).keys() >= causes)
        if exchange.renumbered:
            own = (message for message in reversed(list(raw)) if is_counted(exchange, message))
            (tmp_path / "aside").write_text(exchange.renumbered(next(own).decode(), -1_000_000))
            (tmp_path / "aside").rename(tmp_path / "payload.json")
            wait_until(lambda: "trade_id_backwards" in faults_of(collector))
        ended = collector.events("stream_ended")
        for status in (429, *REFUSALS):
            sim.command("rest_fault", what="http", status=status, retry_after=1, path=exchange.past_trades)
            if exchange.renumbered:
                sim.command("hole", category="linear", symbol=btc, count=2)
                wait_until(lambda code=status: told(collector, code))  # type: ignore[misc]
                continue
            lost = topic(exchange.trades, btc)  # again: what a ban holds back is not sent later
            wait_until(lambda code=status: told(collector, code) or not sim.command("drop", topic=lost), poll_s=2)  # type: ignore[misc]  # noqa: B023
        wait_until(lambda: completes(subscriber) > 12, 60)
        until_ms = sim.stats()["now_ms"]
        wait_until(lambda: newest(subscriber, btc) > until_ms)
        if exchange.renumbered:  # the pauses between two requests for the trades of a hole have doubled by now
            wait_until(
                lambda: all(k["complete"] for k in before(subscriber, until_ms) if k["timestamp"] > begun_ms), 200
            )
        faults = faults_of(collector)
        assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 10, wrong) == (True, [])
    assert (collector.events("stream_ended") if exchange.renumbered else ended) == [], (
        "one bad message must not cost the connection"
    )
    assert all(entry["remedy"] for entry in collector.events("fault")), "what is to be done"
    assert {f"http_{status}" for status in REFUSALS} <= faults.keys()
    assert not foreign_words(collector, exchange)


def is_counted(exchange: Exchange, message: bytes) -> bool:
    """Whether every trade of a message counts: garbage is published as it came, and has no id that is looked at."""
    batch = VENUES[exchange.name].decoder("linear", TradeRules(), lambda *_: None)([message])
    return min([*batch.prices, *batch.sizes], default=0) > 0 and not batch.uncounted and not batch.broken


def told(collector: CollectorProcess, status: int) -> bool:
    """Whether the log has said what a refusal means."""
    texts = [f"{entry['detail']} {entry['remedy']}" for entry in collector.events("outage_began")]
    texts += [entry["error"] for entry in collector.events("rest_retried")]
    return any(f"HTTP {status}" in text and REFUSALS.get(status, "") in text for text in texts)


def faults_of(collector: CollectorProcess) -> dict[str, int]:
    """The newest counts of faults by cause."""
    return dict(collector.status["faults"])


def test_a_listing_without_a_contract_size_costs_its_klines_until_it_is_there(
    tmp_path: Path, exchange: Exchange, settings: dict[str, Any], valkey: Any
) -> None:
    """Raw payloads go out, other symbols have klines, a sentence names it; then all its klines come, and are true."""
    if (without_size := exchange.without_size) is None:
        pytest.skip("its sizes are in coins")
    btc, eth = (exchange.symbol(coin, exchange.market) for coin in ("BTC", "ETH"))
    settings |= {"CHANNEL_TYPE": exchange.market, "KLINE_INTERVALS": "1s", "RAW_STREAMS": "trades"}
    settings |= {"SYMBOLS_REFRESH": 0.5}
    path, query = exchange.listing
    with simulator(exchange, "--rate", 200) as sim, Subscriber(valkey.port, exchange.name) as subscriber:
        body = sim.get(path, **query).json()
        for row in body if isinstance(body, list) else body.get("data") or body["symbols"]:
            if eth in row.values():
                without_size(row)
        sim.command("rest_fault", what="http", status=200, count=None, path=path, body=body)
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            wait_until(lambda: completes(subscriber) > 3, 40)
            wait_until(lambda: any(entry["cause"] == "contract_size_unknown" for entry in collector.events("fault")))
            raw = list(subscriber.received[f"stream:{exchange.name}_trades"])
            assert any(eth.encode() in message for message in raw)
            assert {kline["symbol"] for kline in subscriber.klines()} == {btc}
            sim.command("rest_clear")
            wait_until(lambda: newest(subscriber, eth) > 0)
            wait_until(lambda: completes(subscriber) > 10)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)
    firsts = {
        symbol: min(k["timestamp"] for k in subscriber.klines() if k["symbol"] == symbol) for symbol in (btc, eth)
    }
    (told_of,) = {entry["sample"] for entry in collector.events("fault") if entry["cause"] == "contract_size_unknown"}

    assert (compared > 5, wrong) == (True, [])
    assert abs(firsts[btc] - firsts[eth]) <= 2_000, "what was held back came"
    assert eth in told_of
