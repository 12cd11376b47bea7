"""100,000 trades within one second, then quiet: all delivered, all in the right candles, the backlog gone soon.

The candles are held against those made, in Decimal, of the very messages that the subscriber got.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contenders import KLINES
from benchmarks.harness import (
    SEND_EXTRA_S,
    Harness,
    counted,
    is_unaltered,
    lost_of,
    note_counters,
    open_harness,
    running,
    wait_received,
)
from benchmarks.harness import Sample as PathSample
from benchmarks.report import Options, Section, spread, table
from benchmarks.subscriber import KLINES as KLINES_CHANNEL
from benchmarks.subscriber import TRADES, klines_of, read
from benchmarks.truth import candles_of, differences

TRADES_WANTED = 100_000
SYMBOLS, POOL_SIZE = 100, "7"  # 15 streams
INTERVALS, INTERVALS_MS = "1s,5s", (1_000, 5_000)
CLOSED_AFTER_S = 2.0  # the grace, and then some
BACKLOG_LIMIT_S = 2.0


@dataclass(frozen=True)
class Burst:
    """One burst. `backlog_s`: from the exchange's last byte to the last message at the subscriber."""

    trades: int
    messages: int
    sent_s: float
    lost: int
    is_unaltered: bool
    backlog_s: float
    candles: int
    wrong: list[str]
    notes: dict[str, int]


def run(options: Options, folder: Path) -> Section:
    """Measure as many bursts as runs, each on a fresh collector."""
    bursts = [run_once(folder / str(number)) for number in range(options.runs)]
    rows = [
        ("trades", spread([burst.trades for burst in bursts], 0), f"{TRADES_WANTED:,}"),
        ("messages", spread([burst.messages for burst in bursts], 0), ""),
        ("sent within, s", spread([burst.sent_s for burst in bursts]), "1"),
        ("lost", str(sum(burst.lost for burst in bursts)), "0"),
        ("altered", str(sum(not burst.is_unaltered for burst in bursts)), "0"),
        ("backlog gone after, s", spread([burst.backlog_s for burst in bursts]), f"{BACKLOG_LIMIT_S:g}"),
        ("candles right", str(sum(burst.candles for burst in bursts)), ""),
        ("candles wrong or missing", str(sum(len(burst.wrong) for burst in bursts)), "0"),
    ]
    text = (
        f"{SYMBOLS} symbols over 15 streams, klines at {INTERVALS}; candles compared with Decimal ones of the "
        f"messages received. Medians of {len(bursts)}.\n\n" + table(("", "", "limit"), rows)
    )
    return Section("Burst", text, [vars(burst) for burst in bursts], [p for burst in bursts for p in problems(burst)])


def problems(burst: Burst) -> list[str]:
    """The faults of a burst, in sentences."""
    found = [f"{burst.lost} lost"] if burst.lost else []
    found += [] if burst.is_unaltered else ["altered"]
    found += [f"candle {wrong}" for wrong in burst.wrong[:5]]
    found += [f"{name}: {count}" for name, count in burst.notes.items()]
    return found


def run_once(folder: Path) -> Burst:
    """Measure one burst on one collector."""
    own = KLINES.but(SOCKET_POOL_SIZE=POOL_SIZE, RAW_STREAMS="trades", KLINE_INTERVALS=INTERVALS)
    own = replace(own, key="burst", kinds=("trades",))
    sizes = ["--linear", str(SYMBOLS), "--kinds", "trades"]
    with (
        open_harness(folder, *sizes, kept=(TRADES, KLINES_CHANNEL)) as this,
        running(this, folder, own, SYMBOLS) as process,
    ):
        before = counted(process)
        this.subscriber.ask(10, do="reset")
        rate = 1.01 * TRADES_WANTED / this.ready["trades_per_message"]
        sending = this.flooder.ask(1 + SEND_EXTRA_S, do="send", rate=rate, seconds=1.0, is_whole=True)
        received = wait_received(this, sum(sending["messages"].values()))
        wait_closed()
        candles, wrong = compare(this, folder / "kept")
        notes: dict[str, int] = {}
        sample = PathSample(own.key, int(rate), 0, 0, True, 0, 0, 0, {}, sum(sending["trades"].values()), notes=notes)
        note_counters(counted(process), before, [sample])
    burst = Burst(
        trades=sample.trades,
        messages=sum(sending["messages"].values()),
        sent_s=sending["seconds"],
        lost=lost_of(sending, received),
        is_unaltered=is_unaltered(sending, received),
        backlog_s=(received["last_us"] - sending["end_us"]) / 1e6,
        candles=candles,
        wrong=wrong,
        notes=notes,
    )
    print(f"  {burst}"[:300], flush=True)
    return burst


def wait_closed() -> None:
    """Wait until the windows that were open when the burst ended are closed and sent."""
    longest_s = max(INTERVALS_MS) / 1000
    now_s = time.time()
    time.sleep(longest_s - now_s % longest_s + CLOSED_AFTER_S)


def compare(harness: Harness, path: Path) -> tuple[int, list[str]]:
    """Count candles that equal the true ones, and list wrong ones."""
    harness.subscriber.ask(60, do="dump", path=str(path))
    messages = list(read(path))
    trades = (message.payload for message in messages if message.channel == TRADES)
    klines = [kline for message in messages if message.channel == KLINES_CHANNEL for kline in klines_of(message)]
    return differences(klines, candles_of(trades, INTERVALS_MS))
