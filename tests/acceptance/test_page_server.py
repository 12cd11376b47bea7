"""The server side of the page, on a collector and a simulated exchange: what is shown is what is true."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.acceptance.harness import CollectorProcess, Subscriber
from tests.support.page import Message, PageClient
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

INCOMPLETE, REPAIRED, REVISED, OPEN = 1, 2, 4, 8
CUTS = 4
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@dataclass
class Running:
    """A collector, its exchange, what it publishes, and where its page is."""

    sim: SimulatorProcess
    subscriber: Subscriber
    collector: CollectorProcess
    url: str

    def published(self, symbol: str, interval_ms: int = 1_000) -> dict[int, list[dict[str, Any]]]:
        """The klines of the channel by their start in seconds, every revision."""
        found: dict[int, list[dict[str, Any]]] = {}
        for kline in self.subscriber.klines():
            if (kline["symbol"], kline["interval"]) == (symbol, interval_ms):
                found.setdefault(kline["timestamp"] // 1000, []).append(kline)
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, valkey: Any) -> Iterator[Running]:
    """Candles of seconds, which are hatched and healed within seconds, and of minutes, which the exchange has."""
    args = ("--rate", 150, "--symbols", 3, "--illiquid", 0, "--true-seconds", "--categories", "linear")
    settings = {"SYMBOLS": ",".join(SYMBOLS), "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s,1m"}
    settings |= {"RAW_STREAMS": "trades", "RECONNECT_DELAY": 0.2, "WEBSOCKET_PORT": 0}
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        with CollectorProcess(tmp_path_factory.mktemp("page"), **settings) as collector:
            url = collector.wait_for("web_listening")["url"]
            wait_until(lambda: any(each["complete"] for each in subscriber.klines()))
            yield Running(sim, subscriber, collector, url)
            assert collector.stop() == 0, collector.newest_output()


@pytest.fixture
def page(running: Running) -> Iterator[PageClient]:
    with PageClient(running.url) as client:
        yield client


def as_shown(kline: dict[str, Any]) -> list[Any]:
    """A kline of the channel as a row of the page, without its flags."""
    prices = [kline[name] for name in ("open", "high", "low", "close", "volume")]
    return [kline["timestamp"] // 1000, *map(Decimal, map(str, prices)), kline["revision"], kline["source"]]


def as_read(row: list[Any]) -> list[Any]:
    return [row[0], *map(Decimal, row[1:6]), row[7], row[8]]


def test_history_equals_the_exchanges_candles(running: Running, page: PageClient) -> None:
    """To the last digit; those that this collector saw incomplete are marked."""
    shown = page.view("BTCUSDT", "1m")
    query = {"category": "linear", "symbol": "BTCUSDT", "interval": "1", "limit": "1000"}
    rows = requests.get(f"{running.sim.rest_url}/v5/market/kline", query, timeout=10).json()["result"]["list"]
    true = {int(row[0]) // 1000: row[1:6] for row in rows}
    history = {row[0]: row[1:6] for row in shown["rows"] if row[8] == "history" and not row[6] & OPEN}
    assert len(history) >= 150
    assert {start: true[start] for start in history} == history
    assert shown["note"] == ""
    ages = [time.time() - row[0] for row in shown["rows"] if row[6] & OPEN]
    assert len(ages) == 1
    assert ages[0] < 62


def test_closed_candles_are_those_of_the_channel(running: Running, page: PageClient) -> None:
    """Each that comes while the page is open, in the same digits; between them the open one moves."""
    page.view("ETHUSDT", "1s")
    begun = time.time()
    wait_until(lambda: sum(row[0] > begun and not row[6] & OPEN for row in page.rows().values()) >= 4)
    opened = [each["row"] for each in page.of("candle") if each["row"][6] & OPEN]
    closed = [each["row"] for each in page.of("candle") if not each["row"][6] & OPEN]
    wait_until(lambda: max(row[0] for row in closed) in running.published("ETHUSDT"))
    channel = running.published("ETHUSDT")
    for row in closed:
        assert as_read(row) in [as_shown(kline) for kline in channel[row[0]]]
    assert opened
    assert {row[8] for row in opened} == {"trades"}


def test_the_book_and_the_tape_are_of_this_moment(running: Running, page: PageClient) -> None:
    """From a subscription of the page's own, for the collector streams no books here; the plan does not know of it."""
    page.view("SOLUSDT", "1s")
    page.wait_for("feed", lambda each: (each["book"], each["tape"]) == ("live", "live"))
    seen = len(page.messages)
    book = page.wait_for("book", since=seen)
    bids, asks = ([float(price) for price, _ in book[side]] for side in ("bids", "asks"))
    assert (len(bids), len(asks)) == (15, 15)
    assert [*reversed(bids), *asks] == sorted({*bids, *asks})
    trades = page.wait_for("trades", lambda each: each["rows"] and not each["is_first"], seen)
    assert {row[3] for row in trades["rows"]} <= {"buy", "sell"}
    assert abs(time.time() * 1000 - trades["rows"][-1][0]) < 60_000
    strip = page.wait_for("strip", since=len(page.messages))
    assert [(row["market"], row["kind"]) for row in strip["streams"]] == [("linear", "trades")]
    assert strip["streams"][0]["live"] == strip["streams"][0]["total"] == 1


def test_the_strip_says_that_all_is_well(running: Running, page: PageClient) -> None:
    """With figures of all parts."""
    strip = page.wait_for("strip", lambda each: each["ready"] and each["messages_s"] > 0 and each["klines"]["closed"])
    assert strip["reasons"] == []
    assert strip["clock"]["known"]
    assert {"name": "redis", "up": True} in [{"name": each["name"], "up": each["up"]} for each in strip["outputs"]]
    assert strip["aggregator"]["queue"] >= 0
    assert strip["pages"] == 1


@pytest.mark.timeout(300)  # several cuts where one does not heal
def test_a_cut_connection_hatches_candles_and_the_repair_heals_them(running: Running, page: PageClient) -> None:
    """Each with its reason, and the events of both in the log."""
    page.view("BTCUSDT", "1s")
    healed = cut_until_healed(running, page)
    start = healed["row"][0]
    page.wait_for("candle", lambda each: _says_both(each, start))
    page.wait_for("event", lambda each: each["event"]["event"] == "repaired")
    with PageClient(running.url) as late:
        rows = {row[0]: row for row in late.view("BTCUSDT", "1s")["rows"]}
        assert rows[start][6:8] == healed["row"][6:8]
        assert "filled from the exchange's" in rows[start][9]
        kinds = [event["event"] for event in late.of("hello")[0]["events"]]
        assert "disconnected" in kinds
        assert "repaired" in kinds


def cut_until_healed(running: Running, page: PageClient) -> Message:
    """Cut the connection until a second is hatched and healed: one stays as it is where REST has not all its trades."""
    for _ in range(CUTS):
        seen = len(page.messages)
        running.sim.command("outage", s=2)
        cut = page.wait_for("event", lambda each: each["event"]["event"] == "disconnected", seen)["event"]
        assert (cut["market"], cut["kind"]) == ("linear", "trades")
        hatched: set[int] = set()

        def is_healed(each: Message, hatched: set[int] = hatched) -> bool:
            hatched |= {each["row"][0]} if each["row"][6] & INCOMPLETE else set()
            return each["row"][6] == REPAIRED and each["row"][7] > 0 and each["row"][0] in hatched

        with contextlib.suppress(AssertionError):
            return page.wait_for("candle", is_healed, seen)
    raise AssertionError(f"nothing was hatched and healed in {CUTS} cuts")


def _says_both(message: Message, start: int) -> bool:
    row = message["row"]
    return row[0] == start and len(row) > 9 and "missing" in row[9].lower() and "filled" in row[9]
