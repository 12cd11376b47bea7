"""A scrape on one thread while others count: it neither fails nor shows a count that falls."""

import itertools
import threading
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from app.metrics import Metrics
from model.events import Gap
from tests.support.collector import collector_of
from tests.support.klines import kline
from tests.support.settings import settings_of

SCRAPES = 30


def idle(*_: Any, **__: Any) -> None:
    """Stream nothing until the stream is removed."""
    threading.current_thread().context.stop.wait()  # type: ignore[attr-defined]


def counters(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every counter, and every part of a histogram, of a scrape."""
    families = text_string_to_metric_families(metrics.render()[0].decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }


def test_a_scrape_while_everything_is_counted_and_streams_come_and_go():
    """The web server's thread reads what the aggregator's, the streams' and main change."""
    streams: list[dict[str, Any]] = []
    collector = collector_of(settings_of(SYMBOLS="BTCUSDT", BYBIT_REST_URL="http://127.0.0.1:9"), streams)
    klines = collector.klines
    assert klines
    supervisor, is_over = collector.streams.supervisor, threading.Event()

    def count_all() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            collector.events.emit(Gap(market="linear", kind=f"kind{number % 50}"))
            klines.publish("linear", [kline(number % 9, interval=60_000 * (1 + number % 40))])
            collector.faults.report(f"cause{number % 30}")
            klines.aggregator.add_market(f"market{number % 20}")

    def stream_and_remove() -> None:
        while not is_over.is_set():
            streams.append({"name": f"S{len(streams)}", "func": idle, "args": ()})
            supervisor.tick()
            if len(streams) > 5:
                del streams[-5:]

    threads = [threading.Thread(target=work, name=work.__name__) for work in (count_all, stream_and_remove)]
    for thread in threads:
        thread.start()
    metrics = Metrics(collector, collector)
    scrapes = [counters(metrics) for _ in range(SCRAPES)]
    is_over.set()
    for thread in threads:
        thread.join()
    supervisor.stop(5.0)

    for before, after in itertools.pairwise(scrapes):
        assert [key for key, value in before.items() if after[key] < value] == []
    assert sum(scrapes[-1].values()) > sum(scrapes[0].values())
