"""The page's socket, over real ones: what a page gets, and when."""

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from consumers.web.klines import KlineFeed
from consumers.web.live import hub as module
from consumers.web.live.history import CANDLES, Past
from consumers.web.live.hub import PageHub
from consumers.web.live.options import Book, PageMarket, PageOptions, Trade
from consumers.web.options import WebOptions
from consumers.web.server import WebServer
from consumers.worker import Worker
from model.events import Disconnected, Gap, Repaired
from model.intervals import Interval, parse_interval
from model.records import Candle, Kline
from tests.support.page import PageClient
from tests.support.waiting import wait_until
from tests.unit.consumers.web.live.test_rows import kline

MINUTE_MS = 60_000
NOW_MS = 1_760_000_070_000
OPEN_MS = NOW_MS - 30_000
SYMBOLS = ("ETHUSDT", "BTCUSDT", "XRPUSDT")
INTERVALS = [parse_interval("1m"), parse_interval("1h")]


class Feed:
    """A book of one level, and the trades that the test puts in."""

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self.is_closed = False

    def states(self) -> tuple[str, str, str]:
        return "live", "live", ""

    def book(self, levels: int, *, changed: bool) -> Book | None:
        return Book(NOW_MS, [("9.5", "1")], [("10", "2")])

    def take_trades(self, most: int) -> tuple[list[Trade], int]:
        taken, self.trades = self.trades, []
        return taken, 0

    def recent_trades(self) -> list[Trade]:
        return []

    def close(self) -> None:
        self.is_closed = True


class Collector:
    """What the page needs of one, and the server that serves it."""

    def __init__(self) -> None:
        self.feeds: dict[str, Feed] = {}
        self.refused: set[str] = set()
        self.reads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.past: Past | None = None
        self.markets = {"linear": self.market(SYMBOLS)}
        self.klines = KlineFeed()
        options = PageOptions(
            exchange="toy",
            version="1.2.3",
            markets=lambda: self.markets,
            watch=self.watch,
            read_candles=self.read,
            strip=lambda: {"ready": True, "reasons": []},
            now_ms=lambda: NOW_MS,
        )
        self.hub = PageHub(options, self.klines)
        sessions = {"/live": self.hub.session}
        self.server = WebServer(WebOptions(port=0, serves_envelopes=False, sessions=sessions, klines=self.klines))
        self.worker = Worker(self.server, "web")
        self.worker.start()
        assert self.worker.wait_settled(time.monotonic() + 5) is None

    def market(self, symbols: tuple[str, ...]) -> PageMarket:
        return PageMarket(symbols, INTERVALS, ("trades",), klines=True, has_book=True, has_tape=True)

    def watch(self, _market: str, symbol: str) -> Feed:
        if symbol in self.refused:
            raise ValueError(f"no feed of {symbol}")
        return self.feeds.setdefault(symbol, Feed())

    def read(self, _market: str, symbol: str, interval: Interval, from_ms: int, until_ms: int) -> Past:
        self.reads.append(symbol)
        self.gate.wait(5)
        one = Decimal("1.50")
        starts = range(from_ms, until_ms, interval.step_ms)
        return self.past or Past([Candle(start, one, one, one, one, one, one) for start in starts])

    def page(self, **options: Any) -> PageClient:
        assert self.server.url is not None
        return PageClient(self.server.url, **options)

    def stop(self) -> None:
        self.gate.set()
        self.hub.stop()
        self.worker.begin_stop(time.monotonic() + 3)
        self.worker.join(time.monotonic() + 5)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.stop()


def at(number: int, **of: Any) -> Kline:
    """The kline of a minute, of the symbol of most tests; 0 is the open one."""
    return kline(OPEN_MS // MINUTE_MS + number, **of)


def test_a_page_is_told_first_what_there_is(collector: Collector) -> None:
    """Markets with their symbols, a view to begin with, the events of before, the strip."""
    collector.hub.emit(Disconnected(market="linear", kind="trades", symbols=SYMBOLS * 10, reason="gone"))
    with collector.page() as page:
        hello = page.wait_for("hello")
        page.wait_for("strip")
        assert [message["type"] for message in page.messages[:2]] == ["hello", "strip"]
    assert (hello["protocol"], hello["exchange"], hello["version"]) == (1, "toy", "1.2.3")
    assert hello["markets"]["linear"]["symbols"] == list(SYMBOLS)
    assert hello["markets"]["linear"]["intervals"] == ["1m", "1h"]
    assert hello["view"] == {"market": "linear", "symbol": "BTCUSDT", "interval": "1m"}
    (event,) = hello["events"]
    assert (event["event"], len(event["symbols"]), event["symbols_total"]) == ("disconnected", 20, 30)


def test_a_view_shows_what_is_known_then_its_history_then_what_comes(collector: Collector) -> None:
    """Candles, the book and the tape; the open candle moves, a closed one comes at once."""
    collector.gate.clear()
    with collector.page() as page:
        page.wait_for("hello")
        page.send(op="view", market="linear", symbol="BTCUSDT", interval="1m")
        first = page.wait_for("candles")
        assert (first["rows"], first["is_loading"]) == ([], True)
        order = [message["type"] for message in page.messages if message["type"] not in ("hello", "strip")]
        assert order[:5] == ["view", "feed", "book", "trades", "candles"]
        collector.gate.set()
        shown = page.wait_for("candles", lambda each: not each["is_loading"])
        assert len(shown["rows"]) == CANDLES + 1
        assert (shown["price_decimals"], shown["volume_decimals"]) == (2, 2)
        assert set(collector.klines.viewed) == {"linear"}
        collector.klines.offer_open("linear", [at(0, volume=Decimal("1.701")), at(0, symbol="ETHUSDT")])
        page.wait_for("candle", lambda each: each["row"][5:7] == ["1.701", 8])
        collector.klines.put("linear", [at(0, symbol="ETHUSDT"), at(0)])
        closed = page.wait_for("candle", lambda each: each["row"][6] == 0)
        assert closed["row"] == [OPEN_MS // 1000, *["64000.10"] * 4, "100", 0, 0, "trades"]
        assert {message["symbol"] for message in page.of("candle")} == {"BTCUSDT"}
        collector.feeds["BTCUSDT"].trades = [[NOW_MS, "9.5", "1", "buy"]]
        trades = page.wait_for("trades", lambda each: each["rows"])
        assert (trades["rows"], trades["is_first"]) == ([[NOW_MS, "9.5", "1", "buy"]], False)


def test_an_incomplete_candle_and_its_repair_come_with_their_reasons(collector: Collector) -> None:
    """And are remembered for pages that open later."""
    of: Any = {"market": "linear", "symbols": ("BTCUSDT",)}
    span: Any = {"from_ms": OPEN_MS + 1_000, "until_ms": OPEN_MS + 4_000}
    with collector.page() as page:
        page.view("BTCUSDT")
        collector.klines.put("linear", [at(0, complete=False)])
        row = page.wait_for("candle", lambda each: each["row"][6] == 1)["row"]
        assert row[9] == "Not proven that every trade of it arrived"
        collector.hub.emit(Gap(**of, **span, kind="trades", reason="reset"))
        page.wait_for("event", lambda each: each["event"]["event"] == "gap")
        page.wait_for("candle", lambda each: each["row"][9:] == ["Trades missing 08:54:01 to 08:54:04 UTC (reset)"])
        collector.hub.emit(Repaired(**of, **span, how="ids"))
        collector.klines.put("linear", [at(0, revision=1)])
        row = page.wait_for("candle", lambda each: each["row"][6] == 2)["row"]
        assert row[7:9] == [1, "trades"]
        assert "filled from the exchange's trades by their ids" in row[9]
    with collector.page() as page:
        rows = {row[0]: row for row in page.view("BTCUSDT")["rows"]}
        assert rows[OPEN_MS // 1000] == row


def test_pages_of_one_view_share_its_history_its_feed_and_every_byte(collector: Collector) -> None:
    """Twenty of them ask the exchange once."""
    pages = [collector.page() for _ in range(5)]
    shown = [page.view("BTCUSDT") for page in pages]
    assert shown[1:] == shown[:-1]
    assert collector.reads == ["BTCUSDT"]
    assert list(collector.feeds) == ["BTCUSDT"]
    collector.klines.put("linear", [at(0)])
    for page in pages:
        page.wait_for("candle", lambda each: each["row"][6] == 0)
        page.close()
    wait_until(lambda: len(collector.hub) == 0)
    assert collector.klines.viewed == {}


def test_another_view_takes_the_place_of_the_one_before(collector: Collector) -> None:
    """Nothing of that comes any more, and what is wrong changes nothing."""
    with collector.page() as page:
        page.view("BTCUSDT")
        page.view("ETHUSDT", "1h")
        for name, wrong in (("symbol", "NONESUCH"), ("market", "spot"), ("interval", "7m")):
            page.send(**{"op": "view", "market": "linear", "symbol": "BTCUSDT", "interval": "1m", name: wrong})
            page.wait_for("error", lambda each, wrong=wrong: wrong in each["text"])  # type: ignore[misc]
        seen = len(page.messages)
        hour_ms = OPEN_MS - OPEN_MS % (60 * MINUTE_MS)
        collector.klines.put("linear", [at(0), at(0, symbol="ETHUSDT")])
        one = kline(0, symbol="ETHUSDT")
        collector.klines.put("linear", [msgspec.structs.replace(one, interval=60 * MINUTE_MS, timestamp=hour_ms)])
        page.wait_for("candle", since=seen)
        assert [(each["symbol"], each["interval"]) for each in page.of("candle", seen)] == [("ETHUSDT", "1h")]


def test_a_symbol_whose_feed_cannot_be_opened_is_said_and_leaves_nothing_behind(collector: Collector) -> None:
    """The page goes on with what it had, and is forgotten when it is closed."""
    collector.refused = {"XRPUSDT"}
    with collector.page() as page:
        page.view("BTCUSDT")
        page.send(op="view", market="linear", symbol="XRPUSDT", interval="1m")
        page.wait_for("error", lambda each: each["text"] == "no feed of XRPUSDT")
        seen = len(page.messages)
        collector.klines.put("linear", [at(0), at(0, symbol="XRPUSDT")])
        page.wait_for("candle", lambda each: each["symbol"] == "BTCUSDT", seen)
    wait_until(lambda: not len(collector.hub) and not collector.server.counters()["clients"])
    assert collector.klines.viewed == {}


@pytest.mark.parametrize("message", ["", "{", "[]", "1", '{"op":7}', '{"op":"view","market":[]}', "[" * 5_000])
def test_what_is_not_understood_is_said_and_costs_nothing(collector: Collector, message: str) -> None:
    """The page goes on."""
    with collector.page() as page:
        page.socket.send(message)
        page.wait_for("error", lambda each: each["text"] == "not understood")
        page.send(op="nonsense")
        page.wait_for("error", lambda each: "view, symbols and ping" in each["text"])
        page.send(op="ping")
        page.wait_for("pong")


def test_symbols_that_are_listed_later_are_told(collector: Collector) -> None:
    """Within a second, and to those who ask."""
    with collector.page() as page:
        page.wait_for("hello")
        collector.markets = {"linear": collector.market((*SYMBOLS, "NEWUSDT"))}
        news = page.wait_for("symbols")
        assert news["view"] == {"market": "linear", "symbol": "BTCUSDT", "interval": "1m"}
        assert news["markets"]["linear"]["symbols"][-1] == "NEWUSDT"
        page.view("NEWUSDT")
        page.send(op="symbols")
        wait_until(lambda: len(page.of("symbols")) == 2)


def test_more_pages_than_may_be_open_are_closed_with_a_reason(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which a page can show."""
    monkeypatch.setattr(module, "PAGES", 1)
    with collector.page() as page, collector.page() as late:
        page.wait_for("strip")
        wait_until(lambda: late.end is not None)
        assert late.end == (1013, "1 pages are open already: close one of them")
        page.send(op="ping")
        page.wait_for("pong")


def test_a_history_that_cannot_be_read_is_said_and_asked_for_again(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the candles that come are shown."""
    monkeypatch.setattr(module, "RETRY_S", 0.1)
    collector.past = Past(note="cannot be read", is_final=False)
    with collector.page() as page:
        assert page.view("BTCUSDT")["note"] == "cannot be read"
        collector.klines.put("linear", [at(-1)])
        page.wait_for("candle")
        collector.past = None
        shown = page.wait_for("candles", lambda each: len(each["rows"]) > CANDLES)
        assert shown["note"] == ""
        assert {row[0]: row[8] for row in shown["rows"]}[OPEN_MS // 1000 - 60] == "trades"


def test_without_a_page_nothing_runs(collector: Collector) -> None:
    """No thread, no timer, no feed; of klines only what is special stays."""
    collector.klines.put("linear", [at(number) for number in range(-10, 0)] + [at(0, complete=False)])
    wait_until(lambda: collector.hub._memory.closed == 11)
    assert len(collector.hub._memory) == 1
    assert collector.hub._timer is None
    assert collector.feeds == {}
    assert collector.hub._history._thread is None
    assert collector.reads == []
