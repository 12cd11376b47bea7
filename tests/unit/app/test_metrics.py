"""The text of a scrape: what is in it, in both formats, and that its cost does not depend on symbols."""

import json
import re
import sys
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from app import VERSION
from app.metrics import FAMILIES, REASONS, Metrics, StreamTotals
from app.metrics_route import metrics_routes
from app.relay import OutputRelay
from consumers.web.http import HttpRequest
from model.events import Disconnected
from streams.supervisor import StreamStatus
from tests.support.collector import collector_of
from tests.support.klines import kline
from tests.support.settings import settings_of

REST = {"BYBIT_REST_URL": "http://127.0.0.1:9"}
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
TRADES = StreamStatus("Trades_linear_1", "live", 10, 1, 0, 0, 2.0, "linear", "trades")


def samples_of(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Name, values of labels in the order of their names -> value."""
    text = metrics.render()[0].decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


@pytest.fixture
def collector():
    return collector_of(settings_of(SYMBOLS="BTCUSDT,ETHUSDT", ENABLE_SPOT_STREAM="true", AUDIT_SAMPLE="1", **REST))


def test_a_scrape_has_zeros_before_anything_happened(collector):
    """A counter that begins to exist with its first event hides it from rate() and increase()."""
    collector.klines.aggregator.add_market("spot")
    found = samples_of(Metrics(collector, collector))

    assert found["collector_build_info", "bybit", VERSION] == 1
    assert found["collector_symbols", "linear"] == 2
    for market in ("linear", "spot"):
        for name in ("closed", "incomplete", "revised"):
            assert found[f"collector_klines_{name}_total", "1D", market] == 0
        assert found["collector_repairs_total", "candle", market] == 0
        assert found["collector_late_trades_total", market] == 0
        assert found["collector_audit_different_total", market] == 0
    assert [found["collector_problems", reason] for reason in REASONS] == [1] + [0] * (len(REASONS) - 1)
    assert (found["collector_ready",], found["collector_sink_up", "redis"]) == (0, 1)
    assert (found["collector_queue_depth", "aggregator"], found["collector_clock_known",]) == (0, 0)
    assert found["process_resident_memory_bytes",] > 1_000_000


def test_what_happened_shows(collector):
    """From events, klines, faults and trades, each where it is counted."""
    metrics = Metrics(collector, collector)
    collector.events.emit(Disconnected(market="linear", kind="trades", reason="reset"))
    collector.klines.publish("linear", [kline(0), kline(1, complete=False), kline(1, revision=1)])
    collector.faults.report("http_403")
    found = samples_of(metrics)

    assert found["collector_disconnects_total", "trades", "linear"] == 1
    assert found["collector_klines_closed_total", "1m", "linear"] == 2
    assert found["collector_klines_incomplete_total", "1m", "linear"] == 1
    assert found["collector_klines_revised_total", "1m", "linear"] == 1
    assert found["collector_kline_close_delay_seconds_count",] == 2
    assert found["collector_faults_total", "http_403"] == 1


def test_openmetrics_is_given_to_who_asks_for_it(collector):
    """Prometheus does; a browser gets text. Both parse, and have the same names."""
    answer: Any = metrics_routes(collector, collector)["/metrics"].handler
    plain = answer(HttpRequest("/metrics"))
    rich = answer(HttpRequest("/metrics", headers={"accept": OPENMETRICS}))
    names = [
        {family.name for family in parse(each.body.decode())}
        for parse, each in ((parse_text, plain), (parse_openmetrics, rich))
    ]

    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert rich.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert rich.body.endswith(b"# EOF\n")
    assert names[0] == names[1] > {"collector_ready", "process_cpu_seconds"}


def test_nothing_goes_into_the_library_s_global_registry(collector):
    """Two collectors of one process have metrics of their own."""
    before = {family.name for family in REGISTRY.collect()}
    other = collector_of(settings_of(SYMBOLS="BTCUSDT", **REST))
    collector.faults.report("http_403")
    key = "collector_faults_total", "http_403"
    counts = [samples_of(Metrics(each, each)).get(key) for each in (collector, other)]

    assert counts == [1, None]
    assert {family.name for family in REGISTRY.collect()} == before


def test_no_metric_has_a_symbol(collector):
    """A label of a thousand values makes a thousand series of each metric."""
    assert {label for family in FAMILIES for label in family.labels} == {
        *("version", "exchange", "market", "kind", "interval", "output", "reason", "how")
    }


def test_a_relay_has_what_it_has(tmp_path):
    """Outputs, threads, health; no streams."""
    settings = settings_of(ENABLED_CONSUMERS="file", FILE_CONSUMER_BASE_PATH=tmp_path, RELAY_EXCHANGES="bybit")
    found = samples_of(Metrics(OutputRelay(settings)))

    assert found["collector_sink_up", "file"] == 1
    assert ("collector_build_info", "bybit", VERSION) in found
    assert not [key for key in found if key[0].startswith(("collector_streams", "collector_klines"))]


def test_a_collector_without_klines_has_the_rest():
    """No candles, no audit, no lag: it decodes no trade."""
    collector = collector_of(settings_of(SYMBOLS="BTCUSDT", ENABLE_KLINES_STREAM="false", **REST))
    found = samples_of(Metrics(collector, collector))

    assert found["collector_symbols", "linear"] == 1
    assert not [key for key in found if re.match("collector_(kline|exchange_lag|late|audit)", key[0])]
    assert ("collector_queue_depth", "aggregator") not in found


def test_counts_of_streams_never_fall():
    """A stream that is removed, or made anew under its name, takes nothing of what was counted with it."""
    totals = StreamTotals()
    book = replace(TRADES, name="Orderbook_linear_1", kind="orderbook", messages=5, last_data_age_s=None)
    totals.of([TRADES, replace(TRADES, name="Trades_linear_2", state="backoff", messages=7, last_data_age_s=9.0), book])
    anew = totals.of([replace(TRADES, messages=3)])

    trades, books = anew["linear", "trades"], anew["linear", "orderbook"]
    assert (trades.streams, trades.connected, trades.messages, trades.connects, trades.age_s) == (1, 1, 20, 3, 2.0)
    assert (books.streams, books.messages, books.age_s) == (0, 5, None)


def test_a_stream_of_which_nothing_is_seen_is_no_class():
    """A function of the user's that connects by itself is never live in our sense, and would fire an alert for ever."""
    assert StreamTotals().of([replace(TRADES, market=None, kind=None, state="running")]) == {}


def calls_of_a_scrape(count: int) -> int:
    """How many functions a scrape calls of a collector that has closed klines of so many symbols."""
    symbols = [f"C{number}USDT" for number in range(count)]
    settings = settings_of(SYMBOLS=",".join(symbols), AUDIT_SAMPLE="1", KLINE_INTERVALS="1m,1h", **REST)
    collector = collector_of(settings)
    assert collector.klines
    queue = collector.klines.queue_for("linear")
    for number, symbol in enumerate(symbols):
        trade = {"T": 1_700_000_000_000, "s": symbol, "S": "Buy", "v": "1", "p": "2", "i": str(number), "seq": number}
        queue(
            [json.dumps({"topic": f"publicTrade.{symbol}", "ts": 1, "data": [trade]}, separators=(",", ":")).encode()]
        )
    collector.klines.aggregator.step()
    collector.klines.publish("linear", [kline(symbol=symbol) for symbol in symbols])
    metrics = Metrics(collector, collector)
    metrics.render()
    calls = 0

    def count_calls(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count_calls)
    metrics.render()
    sys.setprofile(None)
    assert samples_of(metrics)["collector_klines_closed_total", "1m", "linear"] == count
    return calls


def test_the_work_of_a_scrape_does_not_depend_on_symbols():
    """1,250 symbols cost what 10 cost; what grows is connections, markets, intervals and outputs."""
    few, many = calls_of_a_scrape(10), calls_of_a_scrape(1_250)

    assert few > 500
    assert many < few * 1.1  # descriptors of /proc and interpreter's own calls differ by a few
