"""The collector's klines in process: JSON bytes in, closed klines out, as the aggregator thread does it.

A process of its own: `klines_own FILE INTERVAL,...` prints CPU and whether every candle equals the slow, true one.
"""

import gc
import json
import sys
import time
from typing import Any

from aggregation.aggregator import BATCH_PAYLOADS, Aggregator
from benchmarks.klines_trades import CLOSED_MS, read
from benchmarks.truth import candles_of, differences
from exchanges.bybit.trades import trade_decoder
from exchanges.contract import TradeRules
from model.intervals import parse_interval
from model.records import Kline

MARKET = "linear"


def main() -> None:
    """Print `{"cpu_s", "klines", "right", "wrong"}`."""
    path, intervals = sys.argv[1:]
    messages = read(path)
    cpu_s, klines, stats = aggregate(messages, intervals.split(","))
    if stats["duplicates"] == 0 or stats["late_amended"] == 0:
        raise SystemExit(f"these trades were to hold duplicates and late ones: {stats}")
    right, wrong = judge(messages, klines)
    print(json.dumps({"cpu_s": cpu_s, "klines": len(klines), "right": right, "wrong": wrong[:5], "stats": stats}))


def aggregate(messages: list[tuple[int, bytes]], intervals: list[str]) -> tuple[float, list[Kline], dict[str, int]]:
    """CPU seconds of it all, what was published, and the counters."""
    published: list[Kline] = []
    now = [messages[0][0]]
    decode = trade_decoder(TradeRules(), refuse)
    aggregator = Aggregator(
        [MARKET],
        [parse_interval(text) for text in intervals],
        lambda _market, payloads: decode(payloads),
        lambda _market, klines: published.extend(klines),
        now_ms=lambda: now[0],
    )
    queue = aggregator.queues[MARKET]
    gc.collect()
    gc.freeze()  # as main.py does
    begin_s = time.process_time()
    for begin in range(0, len(messages), BATCH_PAYLOADS):
        batch = messages[begin : begin + BATCH_PAYLOADS]
        for _, payload in batch:
            queue.put(payload)
        now[0] = batch[-1][0]
        aggregator.step()
    now[0] += CLOSED_MS
    aggregator.step()
    return time.process_time() - begin_s, published, aggregator.stats()


def refuse(cause: str, sample: bytes) -> None:
    """Raise for an unreadable trade: there is none."""
    raise ValueError(f"{cause}: {sample!r}")


def judge(messages: list[tuple[int, bytes]], klines: list[Kline]) -> tuple[int, list[str]]:
    """Compare the last revisions with the true candles, which have no open windows."""
    end_ms = messages[-1][0] + CLOSED_MS
    records: list[dict[str, Any]] = [
        {name: getattr(kline, name) for name in kline.__struct_fields__} for kline in klines
    ]
    truth = candles_of([payload for _, payload in messages], {kline.interval for kline in klines})
    return differences(records, {key: candle for key, candle in truth.items() if key[1] + key[2] <= end_ms - 1_000})


if __name__ == "__main__":
    main()
