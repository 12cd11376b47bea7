"""An hour's end under load: 600 symbols x 12 intervals close together while 30,000 messages a second go on.

How long raw messages waited around the boundary, against the seconds before it. The clock is the machine's own, and the
trades are of now: the twelve intervals are chosen for a coming moment so that it ends a window of each, as a full hour
does for the usual ones, and no window of any ends in the ten seconds before it.
"""

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ages import timeline
from benchmarks.boundary import MINUTE_MS
from benchmarks.children import BenchmarkError, Child, make_certificate, make_progress
from benchmarks.contenders import KLINES, KLINES_TLS, Contender
from benchmarks.exchange_pool import BYBIT
from benchmarks.harness import Harness, Sample, counted, measure_load, note_counters, open_harness, running
from benchmarks.report import Options, Section, median, table
from benchmarks.subscriber import KLINES as KLINES_CHANNEL
from benchmarks.subscriber import klines_of, read

SYMBOLS, POOL_SIZE, POOL_MESSAGES = 600, "100", 60_000  # 24 connections
EXCHANGE = ("--exchange", BYBIT, "--linear", str(SYMBOLS), "--pool", str(POOL_MESSAGES))
RATE = 30_000
COUNT, UNIT_S, LONGEST_S = 12, 10, 86_400  # intervals, each of them a multiple of so many seconds
EXPECTED = SYMBOLS * COUNT
BEFORE_S, AFTER_S = 8.0, 4.0  # under load
SETTLE_S = 2.0  # of them, the first ones, are left out of the comparison
START_S = 15.0  # to start, subscribe and warm up a collector
REST_S = 3.0  # to read its counters
LIGHT_RATE = 2_000  # messages a second until then: it would take longer silence for a fault
AROUND_MS = (-1_000, 3_000)  # what is around the boundary: proofs, grace, and all that follows
LIMIT_MS = 8.0  # more than this a message may not wait because of the boundary
HEAD = (
    "", "most ms before", "p99.9 ms before", "most ms around", "p99.9 ms around", "over 8 ms before, a second",
    "over 8 ms around, a second", "klines", "the last after ms", "lost", "altered",
)  # fmt: skip


def run(options: Options, folder: Path) -> Section:
    """As many boundaries as runs, plain, and in the long form TLS after it."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate = make_certificate(folder / "certificate.pem")
    contenders = [KLINES, *([KLINES_TLS] if certificate and options.is_long else [])]
    found: dict[str, list[dict[str, Any]]] = {one.key: [] for one in contenders}
    for number in range(options.runs):
        for one in contenders:
            here = folder / f"{number}-{one.key}"
            found[one.key].append(pass_hour(here, one, certificate if one.is_tls else None))
            print(f"  {one.key:10s} {found[one.key][-1]}", flush=True)
    return section(found)


def choose(now_s: float) -> tuple[int, list[int]]:
    """The first moment after `now_s` that ends a window of twelve lengths; it, and the shortest of them, seconds.

    It and every length are multiples of UNIT_S: there is none that ends a window within so many seconds before.
    """
    end_s = int(now_s // UNIT_S + 1) * UNIT_S
    while len(lengths := [n for n in range(UNIT_S, LONGEST_S + 1, UNIT_S) if end_s % n == 0]) < COUNT:
        end_s += UNIT_S
    return end_s, lengths[:COUNT]


def await_start(contender: Contender) -> tuple[int, Contender]:
    """Wait until it is time to start for the next boundary; it, and the contender with intervals that end there."""
    end_s, lengths = choose(time.time() + START_S + BEFORE_S)
    own = contender.but(SOCKET_POOL_SIZE=POOL_SIZE, KLINE_INTERVALS=",".join(f"{length}s" for length in lengths))
    time.sleep(max(0.0, end_s - BEFORE_S - START_S - time.time()))
    return end_s, replace(own, key=f"hour-{contender.key}")


def pass_hour(folder: Path, contender: Contender, certificate: Path | None) -> dict[str, Any]:
    """One boundary of a collector of its own; what was found around it."""
    with ExitStack() as stack:
        this = stack.enter_context(open_harness(folder, *EXCHANGE, certificate=certificate))
        # Klines are read by a process of their own: those of a boundary would keep raw messages waiting at the reader.
        progress = str(make_progress(folder / "klines-progress"))
        arguments = [str(this.redis_port), KLINES_CHANNEL, "--keep", KLINES_CHANNEL, "--progress", progress]
        klines = stack.enter_context(Child(["-m", "benchmarks.subscriber", *arguments], folder / "klines.log"))
        klines.answer()
        end_s, own = await_start(contender)
        process = stack.enter_context(running(this, folder, own, this.ready["topics"]))
        sample = load_over(this, process, own, end_s)
        this.subscriber.ask(30, do="timeline", path=str(folder / "ages.npy"))
        klines.ask(30, do="dump", path=str(folder / "klines"))
    sent_us, ages_us = timeline(folder / "ages.npy")
    closed = [
        (message.at_us, kline["symbol"], kline["interval"])
        for message in read(folder / "klines")
        if end_s * 1_000_000 <= message.at_us < end_s * 1_000_000 + MINUTE_MS * 1_000
        for kline in klines_of(message)
        if kline["timestamp"] + kline["interval"] == end_s * 1_000
    ]
    last_ms = max((at_us for at_us, *_ in closed), default=0) / 1_000 - end_s * 1_000
    return judge(sent_us / 1_000 - end_s * 1_000, ages_us / 1_000) | {
        "klines": len({(symbol, length) for _, symbol, length in closed}),
        "last_ms": last_ms,
        "lost": sample.lost,
        "is_unaltered": sample.is_unaltered,
        "notes": sample.notes,
        "intervals": own.environment["KLINE_INTERVALS"].split(","),
        "cpu_us": sample.cpu_us,
    }


def load_over(harness: Harness, process: Child, own: Contender, end_s: int) -> Sample:
    """The load from some seconds before the boundary to some after it, and a light one until then."""
    if (light_s := end_s - BEFORE_S - REST_S - time.time()) > 0:
        measure_load(harness, process, own, LIGHT_RATE, light_s)
    before = counted(process)
    if (early_s := end_s - BEFORE_S - time.time()) < -SETTLE_S:
        raise BenchmarkError("the collector was not ready in time for the boundary")
    time.sleep(max(0.0, early_s))
    sample = measure_load(harness, process, own, RATE, end_s + AFTER_S - time.time(), is_kept=True)
    note_counters(counted(process), before, [sample])
    return sample


def judge(sent_ms: "np.ndarray[Any, Any]", ages_ms: "np.ndarray[Any, Any]") -> dict[str, Any]:
    """Ages before and around the boundary; `sent_ms` is when each message was sent, after the boundary."""
    parts = {
        "before": ((-BEFORE_S + SETTLE_S) * 1_000, AROUND_MS[0]),
        "around": AROUND_MS,
    }
    found: dict[str, Any] = {}
    for name, (begin_ms, end_ms) in parts.items():
        ages = np.sort(ages_ms[(sent_ms >= begin_ms) & (sent_ms < end_ms)])
        found[f"{name}_messages"] = len(ages)
        found[f"{name}_most_ms"] = float(ages[-1]) if len(ages) else float("nan")
        found[f"{name}_p999_ms"] = float(ages[int(len(ages) * 0.999)]) if len(ages) else float("nan")
        found[f"{name}_over_s"] = float((ages > LIMIT_MS).sum() / (end_ms - begin_ms) * 1_000)
    return found


def section(found: dict[str, list[dict[str, Any]]]) -> Section:
    """The table, and what failed."""
    rows, problems = [], []
    for key, each in found.items():
        names = (
            "before_most_ms",
            "before_p999_ms",
            "around_most_ms",
            "around_p999_ms",
            "before_over_s",
            "around_over_s",
        )
        middle = [f"{median([one[name] for one in each]):.1f}" for name in names]
        rows.append(
            (
                "plain" if key == KLINES.key else "TLS",
                *middle,
                f"{sum(one['klines'] for one in each):,} of {EXPECTED * len(each):,}",
                f"{median([one['last_ms'] for one in each]):.0f}",
                str(sum(one["lost"] for one in each)),
                str(sum(not one["is_unaltered"] for one in each)),
            )
        )
        wrong = [
            one for one in each if one["klines"] != EXPECTED or one["lost"] or one["notes"] or not one["is_unaltered"]
        ]
        problems += [f"{key}: {one}" for one in wrong]
    intervals = "; ".join(dict.fromkeys(", ".join(one["intervals"]) for each in found.values() for one in each))
    text = (
        f"{SYMBOLS} symbols, four kinds, {RATE:,} messages a second without a pause, 24 connections; {EXPECTED:,} "
        f"klines end at one moment of the machine's clock. The twelve intervals ({intervals}) are chosen so that "
        "it ends a window of each, as a full hour does for 1m to 12h, and none ends in the "
        f"{UNIT_S} s before. Nothing but the market is simulated. Before: from {BEFORE_S - SETTLE_S:.0f} s to "
        f"{-AROUND_MS[0] / 1000:.0f} s before it; around: from there to {AROUND_MS[1] / 1000:.0f} s after it. "
        f"Medians of {len(next(iter(found.values())))} boundaries; no raw message may wait more than {LIMIT_MS:.0f} ms "
        "because of it.\n\n" + table(HEAD, rows)
    )
    return Section("An hour's end under load", text, found, problems)
