"""app.health: the verdict of a collector and of a relay. Nothing here connects to anything."""

import threading
import time

import pytest

from app import health as module
from app.health import UnknownSeriesError, health_routes
from app.relay import OutputRelay
from consumers.health import SinkOutage
from consumers.web.http import HttpAnswer, HttpRequest
from exchanges.clock import ExchangeClock
from exchanges.registry import VENUES
from streams.supervisor import StreamStatus
from tests.support.collector import collector_of
from tests.support.settings import settings_of


def live(kind, market="linear"):
    return StreamStatus(f"{kind}_{market}_1", "live", 10, 1, 0, 0, 0.1, market, kind)


@pytest.fixture
def collector(collect, monkeypatch):
    """A collector whose start is over, and of which all is well."""
    collector, _ = collect(KLINE_INTERVALS="1m,1h,1D", SYMBOLS="BTCUSDT,ETHUSDT")
    monkeypatch.setattr(collector.streams.supervisor, "status", lambda: [live("trades"), live("ticker")])
    monkeypatch.setattr(ExchangeClock, "is_known", True)
    collector.health.tick()
    return collector


def reasons(collector):
    return [each["reason"] for each in collector.health.readyz()[1]["reasons"]]


def status_of(collector, path, query=None):
    answer = health_routes(collector.health)[path].handler(HttpRequest(path, query or {}))
    assert isinstance(answer, HttpAnswer)
    return answer.status


def test_a_collector_is_starting_until_its_start_is_over(collect):
    """It lives, and says why it is not ready."""
    collector, _ = collect()
    is_ready, answer = collector.health.readyz()
    assert (is_ready, answer["ready"], reasons(collector)) == (False, False, ["starting"])
    assert answer["reasons"][0]["since"] <= time.time() * 1000
    assert collector.health.livez()[0]


def test_a_collector_of_which_all_is_well_is_ready(collector):
    """Without reasons."""
    assert collector.health.readyz() == (True, {"ready": True, "reasons": []})


def test_a_hung_main_thread_and_a_dead_one_are_no_life(collector, monkeypatch):
    """A process that only answers is restarted."""
    monkeypatch.setattr(module, "MAIN_LATE_S", -1.0)
    is_live, answer = collector.health.livez()
    assert (is_live, answer["lost"]) == (False, ["the thread main hangs"])
    monkeypatch.undo()
    ended = threading.Thread(target=lambda: None, name="aggregator")
    ended.start()
    ended.join()
    monkeypatch.setattr(collector, "threads", lambda: [ended])
    assert collector.health.livez()[1]["lost"] == ["the thread aggregator has ended"]
    assert "thread_lost" in reasons(collector)


def test_an_output_that_is_down_is_a_reason(collector, monkeypatch):
    """With what it said, and since when."""
    outage = SinkOutage("redis", "ConnectionError: refused", 1_700_000_000_000)
    monkeypatch.setattr(collector.outputs, "outages", lambda: [outage])
    assert collector.health.readyz()[1]["reasons"] == [
        {"reason": "sink_down", "what": "redis: ConnectionError: refused", "since": 1_700_000_000_000}
    ]


def test_a_stream_that_is_down_is_a_reason(collector, monkeypatch):
    """After some seconds."""
    away = StreamStatus("Trades_linear_1", "backoff", 10, 1, 3, 0, 9.0, "linear", "trades")
    monkeypatch.setattr(collector.streams.supervisor, "status", lambda: [away, live("ticker")])
    collector.health.tick()
    assert reasons(collector) == []
    later_s = time.monotonic() + 6
    collector.health.monotonic = lambda: later_s
    assert reasons(collector) == ["stream_down"]


def test_a_steady_kind_is_silent_after_silence_timeout_by_what_the_exchange_declares(collector, monkeypatch):
    """Bybit's tickers always come, its liquidations do not."""
    begun_s, silence_s = time.monotonic(), collector.settings.silence_timeout
    kinds = ("ticker", "liquidations")
    old = [StreamStatus(kind, "live", 10, 1, 0, 0, silence_s + 1, "linear", kind) for kind in kinds]
    monkeypatch.setattr(collector.streams.supervisor, "status", lambda: old)
    collector.health.reasons()
    collector.health.monotonic = lambda: begun_s + silence_s + 2
    collector.health.tick()
    (only,) = collector.health.reasons()
    assert (only["reason"], only["what"].startswith("linear ticker")) == ("stream_silent", True)


@pytest.mark.parametrize("exchange", VENUES)
def test_each_exchange_says_which_kinds_are_steady(exchange, monkeypatch):
    """Of all markets and kinds; trades are of none, books of some market of nearly all."""
    venue, steady = VENUES[exchange], set()
    for market in {"linear", "spot"} & venue.markets.keys():
        collector = collector_of(settings_of(EXCHANGE=exchange, CHANNEL_TYPE=market, ENABLE_WEB="false"), venue=venue)
        kinds = venue.markets[market].kinds
        steady |= {kind for kind in kinds if collector.is_steady(market, kind)}
    assert steady <= {"orderbook", "ticker"}
    assert ("orderbook" in steady) is (exchange != "bingx")


def test_an_aggregator_that_is_behind_is_a_reason(collector, monkeypatch):
    """A step that takes seconds."""
    monkeypatch.setattr(collector.klines.aggregator, "behind_s", lambda _now_s: 12.0)
    assert reasons(collector) == ["aggregator_behind"]


def test_an_unknown_clock_is_a_reason_where_klines_are_compared_with_the_exchange(collect, monkeypatch):
    """Not where nothing asks for it."""
    for environ, expected in (({}, ["clock_unknown"]), ({"ENABLE_KLINES_STREAM": "false"}, [])):
        collector, _ = collect(**environ)
        monkeypatch.setattr(collector.streams.supervisor, "status", lambda: [live("trades")])
        collector.health.tick()
        assert reasons(collector) == expected


@pytest.mark.parametrize("symbol", ["BTCUSDT", "btcusdt"])
def test_the_age_of_the_last_closed_candle(collector, monkeypatch, symbol):
    """As fresh as its interval lets one expect, or not."""
    ends = {60_000: 30_000, 3_600_000: 4_000_000}

    def last_close_ms(_market, _symbol, step_ms):
        return collector.rest.clock.now_ms() - ends[step_ms]

    monkeypatch.setattr(collector.klines.aggregator, "last_close_ms", last_close_ms)
    is_fresh, answer = collector.health.readyz(symbol=symbol, interval="1m")
    assert (is_fresh, answer["is_fresh"], answer["market"], answer["symbol"]) == (True, True, "linear", "BTCUSDT")
    assert answer["age_s"] == pytest.approx(30, abs=2)
    is_fresh, answer = collector.health.readyz("linear", symbol, "60m")
    assert (is_fresh, answer["is_fresh"], answer["expected_s"]) == (False, False, 3_610)


def test_before_the_first_candle_was_due_its_absence_is_no_fault(collector):
    """A day's first one closes in hours."""
    assert collector.health.readyz(symbol="BTCUSDT", interval="1D")[1]["age_s"] is None
    assert collector.health.readyz(symbol="BTCUSDT", interval="1D")[0]
    collector.health._begun_ms -= 3 * 60_000 + 20_000
    assert not collector.health.readyz(symbol="BTCUSDT", interval="1m")[0]


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ({"symbol": "NOPEUSDT", "interval": "1m"}, {"symbols_total": 2, "intervals": ["1m", "1h", "1D"]}),
        ({"symbol": "BTCUSDT", "interval": "2m"}, {"intervals": ["1m", "1h", "1D"]}),
        ({"symbol": "BTCUSDT", "interval": "soon"}, {"intervals": ["1m", "1h", "1D"]}),
        ({"symbol": "BTCUSDT"}, {"intervals": ["1m", "1h", "1D"]}),
        ({"interval": "1m"}, {"markets": ["linear"]}),
        ({"market": "spot", "symbol": "BTCUSDT", "interval": "1m"}, {"markets": ["linear"]}),
    ],
)
def test_what_is_not_collected_is_answered_by_what_is(collector, asked, known):
    """404, so that a typing error is not taken for an outage."""
    assert status_of(collector, "/readyz", asked) == 404
    with pytest.raises(UnknownSeriesError) as caught:
        collector.health.readyz(**asked)
    answer = {name: list(value) if isinstance(value, tuple) else value for name, value in caught.value.answer.items()}
    assert known.items() <= answer.items()


def test_the_routes_answer_200_and_503_without_a_login(collector, monkeypatch):
    """As probes ask for them."""
    routes = health_routes(collector.health)
    assert all(route.is_open for route in routes.values())
    assert [status_of(collector, path) for path in routes] == [200, 200]
    monkeypatch.setattr(module, "MAIN_LATE_S", -1.0)
    assert [status_of(collector, path) for path in routes] == [503, 503]


def test_a_relay_is_ready_while_its_source_is_connected():
    """Candles are the collectors' to answer for."""
    relay = OutputRelay(settings_of(ENABLED_CONSUMERS="console"))
    assert [each["reason"] for each in relay.health.readyz()[1]["reasons"]] == ["starting"]
    relay.health.tick()
    assert [each["reason"] for each in relay.health.readyz()[1]["reasons"]] == ["starting"]
    relay.source.down_since_s, relay.source.connects = None, 1
    assert relay.health.readyz()[0]
    relay.source.down_since_s = time.monotonic()
    assert [each["reason"] for each in relay.health.readyz()[1]["reasons"]] == ["stream_down"]
    with pytest.raises(UnknownSeriesError):
        relay.health.readyz(symbol="BTCUSDT", interval="1m")
