"""The boundary benchmark: 600 symbols x 12 intervals close at one moment; time from due to the last on Redis.

The intervals are the twelve that divide a minute, so that all of them close together on every full one. The exchange
is silent then: no trade proves a window over, all wait for the grace.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.contenders import KLINES
from benchmarks.harness import Harness, open_harness, running
from benchmarks.report import Options, Section, median, spread
from benchmarks.subscriber import KLINES as KLINES_CHANNEL
from benchmarks.subscriber import klines_of, read

SYMBOLS, POOL_SIZE = 600, "40"  # 15 streams
INTERVALS = "1s,2s,3s,4s,5s,6s,10s,12s,15s,20s,30s,1m"
EXPECTED = SYMBOLS * 12
GRACE_MS = 300
MINUTE_MS = 60_000
RATE, SEND_S = 10_000, 2.0  # before the boundary, so that every symbol has traded
NEEDED_S = 6.0  # to send, and be quiet, before a boundary
LATE_S = 1.5  # how long after it is due the last kline may be looked for
LIMIT_MS = 60.0
SLOW_MACHINE = 10  # times the limit: a busy machine is not a failure, something that hangs is


def run(options: Options, folder: Path) -> Section:
    """Measure as many boundaries as runs, of one collector."""
    own = KLINES.but(
        SOCKET_POOL_SIZE=POOL_SIZE,
        RAW_STREAMS="trades",
        KLINE_INTERVALS=INTERVALS,
        KLINE_CLOSE_GRACE_MS=str(GRACE_MS),
    )
    own = replace(own, key="boundary", kinds=("trades",))
    sizes = ["--linear", str(SYMBOLS), "--kinds", "trades"]
    with open_harness(folder, *sizes, kept=(KLINES_CHANNEL,)) as this, running(this, folder, own, SYMBOLS):
        ends_ms = [pass_boundary(this) for _ in range(options.runs)]
        this.subscriber.ask(60, do="dump", path=str(folder / "kept"))
    found = [judge(folder / "kept", end_ms) for end_ms in ends_ms]
    for one in found:
        print(f"  {one}", flush=True)
    late_ms = [one["last_ms"] for one in found]
    text = (
        f"{SYMBOLS} symbols x 12 intervals ({INTERVALS}), {EXPECTED:,} klines due together {GRACE_MS} ms after the "
        f"minute. The last one reached the subscriber {spread(late_ms, 1)} ms after that, the first "
        f"{spread([one['first_ms'] for one in found], 1)} ms; the limit is {LIMIT_MS:.0f} ms. "
        f"{len(found)} boundaries; medians."
    )
    problems = [f"{one['klines']} of {EXPECTED} klines" for one in found if one["klines"] != EXPECTED]
    problems += [f"{median(late_ms):.0f} ms"] if median(late_ms) > LIMIT_MS * SLOW_MACHINE else []
    return Section("Boundary", text, found, problems)


def pass_boundary(harness: Harness) -> int:
    """Send trades for all symbols, then nothing until a full minute has passed; returns its time."""
    now_s = time.time()
    end_s = (int(now_s + NEEDED_S) // 60 + 1) * 60
    time.sleep(max(0.0, end_s - now_s - NEEDED_S))
    harness.flooder.ask(SEND_S + 30, do="send", rate=RATE, seconds=SEND_S, is_whole=True)
    time.sleep(max(0.0, end_s - time.time()) + GRACE_MS / 1000 + LATE_S)
    return end_s * 1000


def judge(path: Path, end_ms: int) -> dict[str, Any]:
    """How many klines ended at `end_ms`, and when the first and the last came, after they were due."""
    due_us = (end_ms + GRACE_MS) * 1000
    keys, times = set(), []
    for message in read(path):
        if not end_ms * 1000 <= message.at_us < (end_ms + MINUTE_MS) * 1000:
            continue
        ended = [kline for kline in klines_of(message) if kline["timestamp"] + kline["interval"] == end_ms]
        keys |= {(kline["symbol"], kline["interval"]) for kline in ended}
        times += [(message.at_us - due_us) / 1000] * bool(ended)
    nothing = float("nan")
    return {"klines": len(keys), "first_ms": min(times, default=nothing), "last_ms": max(times, default=nothing)}
