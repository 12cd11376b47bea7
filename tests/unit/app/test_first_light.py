"""The start as a person sees it."""

from collections import Counter

import pytest
from structlog.testing import capture_logs

from app.first_light import GATHER_DATA_S, GATHER_S, LOOK_MOST_S, FirstLight, Plan, StatusSentence, log_plan, log_source
from exchanges.registry import VENUES
from model.events import Connected, Disconnected
from tests.support.clock import FakeClock
from tests.support.settings import settings_of


@pytest.fixture
def lines():
    with capture_logs() as logs:
        yield logs


class Start:
    """A first light whose streams and klines a test counts by hand."""

    def __init__(self):
        self.clock, self.klines = FakeClock(), 0
        self.messages: Counter[str] = Counter()
        self.light = FirstLight(lambda: self.messages, lambda: self.klines, self.clock)

    def connect(self, *names, market="linear"):
        for name in names:
            kind = name.partition("_")[0].lower()
            self.light.emit(Connected(stream=name, market=market, kind=kind, symbols=("BTCUSDT", "ETHUSDT")))

    def tick(self, seconds=0.25):
        self.clock.now_s += seconds
        self.light.tick()


@pytest.fixture
def start():
    return Start()


def plan_of(symbols, **settings):
    return Plan.of(settings_of(**settings), VENUES["bybit"], symbols)


def test_five_lines_say_what_is_collected_from_where_and_to_where(lines):
    """In sentences for a terminal, in fields for a program."""
    log_source("bybit", {"stream.bybit.com": None, "api.bybit.com": None}, "/etc/ssl", is_testnet=False)
    plan = plan_of(
        {"linear": ("BTCUSDT", "ETHUSDT"), "spot": tuple("ABCDEFG")},
        ENABLE_SPOT_STREAM="true",
        RAW_STREAMS="trades,ticker",
        KLINE_INTERVALS="1m,1D",
        ENABLED_CONSUMERS="redis,file",
    )
    log_plan(plan, now_ms=90_000)
    assert [line["sentence"] for line in lines] == [
        "From bybit: stream.bybit.com and api.bybit.com, directly.",
        "Collecting linear trades, ticker of 2 symbols (BTCUSDT, ETHUSDT); "
        "spot trades, ticker of 7 symbols (A, B, C, D, E, ...).",
        "To Redis at localhost:6379: stream:bybit_trades, stream:bybit_ticker, stream:bybit_spot_trades, "
        "stream:bybit_spot_ticker, stream:bybit_klines, stream:bybit_status; files in output/file_consumer; "
        "candles in output/store.",
        "Klines of 1m, 1D; the first closes in 30 s.",
    ]
    assert [line["event"] for line in lines] == ["collecting_from", "collecting", "publishing_to", "closing_klines"]
    assert lines[1]["symbols"] == {"linear": 2, "spot": 7}
    assert "stream:bybit_klines" in lines[2]["channels"]


def test_a_proxy_and_a_test_network_are_named(lines):
    """Who is on the test network by mistake sees it."""
    hosts = {"stream.test": "http://proxy:3128", "api.test": None}
    log_source("bybit", hosts, "/etc/ssl", is_testnet=True)
    assert lines[0]["sentence"] == (
        "From bybit, its TEST network: stream.test and api.test, through the proxy http://proxy:3128."
    )
    assert (lines[0]["proxies"], lines[0]["testnet"]) == (hosts, True)


def test_no_output_and_no_klines_are_said(lines):
    """Instead of an empty list."""
    log_plan(plan_of({"linear": ()}, ENABLED_CONSUMERS="console", ENABLE_KLINES_STREAM="false"), now_ms=0)
    assert [line["sentence"] for line in lines[1:]] == ["To console.", "No klines."]


def test_streams_that_connect_together_are_one_line(start, lines):
    """And one that connects again is none: its outage is logged elsewhere."""
    start.connect("Trades_linear_1", "Ticker_linear_1")
    start.tick()
    start.connect("Orderbook_linear_1")
    for _ in range(int(GATHER_S / 0.25) + 1):
        start.tick()
    start.light.emit(Disconnected(stream="Trades_linear_1", market="linear", kind="trades", reason="gone"))
    start.connect("Trades_linear_1")
    start.tick(GATHER_S)
    start.tick(GATHER_S)
    (line,) = lines
    assert line["sentence"] == "Connected 3 streams: Orderbook_linear_1, Ticker_linear_1, Trades_linear_1."
    assert line["event"] == "streams_connected"


def test_streams_that_wait_for_their_turn_are_a_few_lines(start, lines):
    """A connect budget lets forty connect within a minute or two; one of an hour later is told at once."""
    for number in range(40):
        start.connect(f"Trades_linear_{number}")
        for _ in range(12):
            start.tick()
    start.tick(60)
    assert len(lines) <= 7
    assert sum(len(line["streams"]) for line in lines) == 40
    start.tick(3600)
    start.connect("Ticker_linear_1")
    start.tick()
    start.tick(GATHER_S)
    assert lines[-1]["streams"] == ["Ticker_linear_1"]


def test_the_first_data_of_all_is_told_at_once(start, lines):
    """When every market and kind delivers."""
    start.light.expect([("linear", "trades"), ("linear", "ticker")])
    start.connect("Trades_linear_1", "Trades_linear_2")
    start.messages.update(Trades_linear_2=1, Ticker_linear_1=5)
    start.tick()
    start.connect("Ticker_linear_1")  # later: an exchange may allow three connects a second
    start.tick()
    start.tick(10)
    assert [line["sentence"] for line in lines if line["event"] == "streams_delivering"] == [
        "First data of linear ticker, trades."
    ]


def test_what_is_silent_is_named_and_told_when_it_comes(start, lines):
    """Liquidations of a quiet symbol may take hours."""
    start.connect("Trades_linear_1", "Liquidations_linear_1")
    start.messages["Trades_linear_1"] = 1
    start.tick()
    start.tick(GATHER_DATA_S)
    start.tick(3600)
    start.messages["Liquidations_linear_1"] = 1
    start.tick(LOOK_MOST_S)
    assert [line["sentence"] for line in lines if line["event"] == "streams_delivering"] == [
        "First data of linear trades; nothing yet of linear liquidations.",
        "First data of linear liquidations.",
    ]


def test_the_first_closed_klines_are_told_once(start, lines):
    """With how long it took."""
    start.tick(59)
    start.klines = 8
    start.tick(1)
    start.klines = 16
    start.tick(1)
    (line,) = lines
    assert line["sentence"] == "The first klines have closed (8), 60 s after the start."


def test_nothing_is_counted_any_more_once_all_was_seen(start):
    """It runs for months."""
    start.connect("Trades_linear_1")
    start.messages["Trades_linear_1"] = start.klines = 1
    start.tick()
    start.tick(GATHER_S)
    start.light._messages = start.light._klines = None  # calling them would raise
    start.tick()


STATUS = {
    "symbols": {"linear": 2},
    "streams": 4,
    "live": 3,
    "messages": 1_000,
    "faults": {},
    "consumers": {"redis": {"delivered": 1_100, "dropped": 0, "lag_s": 0.0}},
    "klines": {"klines": 12},
    "repair": {"repaired": 2},
}


def test_the_status_in_a_sentence():
    """What a person wants to know, and how fast it goes."""
    clock = FakeClock()
    sentence = StatusSentence(clock)
    assert sentence.of(STATUS) == (
        "3 of 4 streams live; 1,000 messages; 12 klines closed, 2 repaired; redis 1,100 sent."
    )
    clock.now_s += 60
    bad = {"faults": {"bad_trade": 3}, "consumers": {"redis": {"delivered": 5, "dropped": 7, "lag_s": 12.0}}}
    assert sentence.of({**STATUS, **bad, "messages": 13_000, "klines": None}) == (
        "3 of 4 streams live; 13,000 messages, 200/s; redis 5 sent, 7 dropped, 12 s behind; faults: bad_trade 3."
    )
