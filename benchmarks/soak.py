"""The soak: hours of faults in virtual time; every closed candle must be true in the end or marked incomplete.

    python -m benchmarks.soak --candles 100000 --seed 1 [--clock-error-ms 2000] [--save]
    python -m benchmarks.soak --exchange okx [--market inverse] --hours 1 --seed 1

The collector's own kline packages, joined by the collector's own code, driven step by step; one process, no socket.
"""

import argparse
import datetime
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from aggregation.trade_queue import Overflow
from benchmarks.naive import NaiveAggregator
from benchmarks.soak_collector import INTERVALS, Causes, CollectorRun
from benchmarks.soak_connections import Collector, Connections
from benchmarks.soak_cuts import OrderedConnections
from benchmarks.soak_exchange import NAMES, Exchange
from benchmarks.soak_judge import HEALED_MS, KILLED, LEFT, NO_PROCESS, SETTLED_MS, START, Judge, NaiveJudge
from benchmarks.soak_market import make_market
from benchmarks.soak_redis import Killed, Redis
from benchmarks.soak_rest import NumberedRest, Rest
from benchmarks.soak_timeline import BEGIN_MS, Timeline
from model.intervals import parse_interval
from model.records import FeedMarker, Kline

COLLECT_MS = BEGIN_MS + 1_234_567  # the collector starts in the middle of everything
QUIET_MS = 180_000  # at the end nothing fails for so long, then it is judged
SWEEP_MS = 60_000
KILL_EVERY_MS, DEAD_MS, LONG_DEAD_MS = 240_000, (1_000, 20_000), (60_000, 400_000)
SEEN = ("duplicates", "spliced", "unspliced", "late_amended", "late_dropped")


class Soak:
    """The exchange, its connections, clock and REST, Redis, and the collector, which is killed and restarted."""

    def __init__(self, seed: int, symbols: int, clock_error_ms: int, folder: Path, exchange: Exchange) -> None:
        self.timeline = timeline = Timeline(seed)
        self.exchange = exchange
        self.market = market = make_market(symbols, timeline.rng, BEGIN_MS - 1, exchange.make_symbol, exchange.every_ms)
        self._causes: Causes = {}
        self.judge, self.naive_judge = (
            Judge(market, self._cause_of, lacks_turnover=exchange.lacks_turnover),
            NaiveJudge(market),
        )
        self._connections: Connections
        self._rest: Rest
        if exchange.is_numbered:
            self._connections = ordered = OrderedConnections(timeline, market, replays_last=exchange.replays_last)
            self.judge.unnoticed = ordered.unnoticed
            self._rest = NumberedRest(timeline, market, exchange)
        else:
            self._connections = Connections(timeline, market, doubles=exchange.has_ids)
            self._rest = Rest(timeline, market, exchange.steps_ms)
        self._redis = Redis(timeline, exchange.market, self.judge.take, folder)
        self._error_ms = clock_error_ms
        self._run: CollectorRun | None = None
        self._naive: NaiveAggregator

    @property
    def hours(self) -> float:
        """How long the market has been collected."""
        return (self.timeline.now - COLLECT_MS) / 3.6e6

    def _cause_of(self, kline: Kline) -> str | None:
        """What an issue comes from; None: from the backfill after a restart."""
        return self._causes.pop((kline.symbol, kline.interval, kline.timestamp, kline.revision), None)

    def run(self, candles: int, hours: float, show: Callable[[str], object]) -> None:
        """Run until so many candles closed and so many hours are over; then heal and judge."""
        self._run_until(COLLECT_MS)
        self._start()
        for faulty in (self._connections, self._rest, self._redis):
            faulty.begin()
        while self.judge.candles < candles or self.hours < hours:
            self._run_until(self.timeline.now + SWEEP_MS)
            self._sweep()
            show(f"\r{self.hours:.2f} h  {self.judge.candles:,} candles  {dict(self.judge.violations)}  ")
        self._finish()

    def _run_until(self, end_ms: int) -> None:
        self.timeline.run_until(end_ms, self._step)

    def _step(self) -> None:
        if self._run is None:
            return
        try:
            self._run.step()
            self._redis.step()
        except Killed:
            self._die()
        else:
            self._naive.close(self.timeline.now + self._error_ms)

    def _start(self) -> None:
        """Start a collector, which has the last published klines and nothing else."""
        published = self._redis.load()
        exchange, market = self.exchange, self.exchange.market
        self._rest.begin_run()
        self.judge.lives.append([self.timeline.now])
        self._run = run = CollectorRun(self.timeline, self._rest, self._redis, self._error_ms, exchange, self._causes)
        run.resume(published, [(market, symbol) for symbol in self.market])
        queue = run.aggregator.queues[market]
        steps_ms = [parse_interval(name).step_ms for name in INTERVALS]
        self._naive = NaiveAggregator(
            steps_ms,
            self.naive_judge.take,
            self.timeline.now + self._error_ms,
            opens_at_close=exchange.arithmetic.prev_close_opens,
            is_inverse=exchange.arithmetic.is_inverse,
        )
        self._connections.attach(
            Collector(
                queue.put,
                lambda kind, symbols, at_ms: run.mark(FeedMarker(kind, market, symbols, at_ms + self._error_ms)),
                lambda from_ms, until_ms: queue.put_control(Overflow(from_ms, until_ms)),
                self._feed_naive,
            )
        )
        self.timeline.plan(self.timeline.wait_ms(KILL_EVERY_MS), partial(self._kill, run))

    def _feed_naive(self, payload: bytes) -> None:
        batch, sizes = self.exchange.decode([payload]), self.exchange.sizes
        for name, event_ms, price, size in zip(batch.symbols, batch.event_ms, batch.prices, batch.sizes, strict=True):
            self._naive.add(name, event_ms, price, size * float(sizes[name]) if sizes else size)

    def _kill(self, run: CollectorRun) -> None:
        """Kill the collector between two steps, or in the middle of publishing."""
        if run is not self._run or not self.timeline.is_faulty:
            return
        if self.timeline.chance(0.5):
            self._die()
        else:
            self._redis.dies_after = self.timeline.span((0, 100))

    def _die(self) -> None:
        self.timeline.faults["kills"] += 1
        self.judge.lives[-1].append(self.timeline.now)
        self._count()
        assert self._run
        self._run.is_alive_now = False
        self._run = None
        self._connections.die()
        self._redis.die()
        self.timeline.plan(self.timeline.span(LONG_DEAD_MS if self.timeline.chance(0.1) else DEAD_MS), self._start)

    def _count(self) -> None:
        assert self._run
        stats, backfill = self._run.aggregator.stats(), self._run.backfill
        for name in SEEN:
            self.timeline.faults[f"{name} (seen)"] += stats[name]
        if backfill:
            self.timeline.faults["filled after restart (seen)"] += backfill.filled
            self.timeline.faults["issued again after restart (seen)"] += backfill.reissued
            self.timeline.faults["not read in time after restart (seen)"] += backfill.holes
        if stats["failures"] or stats["refused"]:
            self.judge.violate("failure inside", stats)

    def _finish(self) -> None:
        """End all faults, run on, and judge all candles."""
        self.timeline.is_faulty = False
        self._redis.settle()
        self._connections.settle()
        while self._run is None:
            self._run_until(self.timeline.now + SWEEP_MS)
        self._run_until(self.timeline.now + QUIET_MS)
        self._count()
        self.judge.judge(self.timeline.now - QUIET_MS // 4, is_end=True)
        self.naive_judge.judge(self.timeline.now)

    def _sweep(self) -> None:
        """Judge windows that ended long ago, so that memory stays small."""
        now = self.timeline.now
        self.judge.judge(now - SETTLED_MS)
        self.naive_judge.judge(now)
        for symbol in self.market.values():
            symbol.seconds.forget(now - HEALED_MS - 3 * SWEEP_MS)


def soak(
    candles: int,
    seed: int,
    *,
    symbols: int = 50,
    clock_error_ms: int = 0,
    exchange: str = "bybit",
    market: str = "linear",
    hours: float = 0.0,
    show: Callable[[str], object] = lambda _: None,
) -> Soak:
    """Run until so many candles closed and so many hours are over, then heal and judge."""
    with tempfile.TemporaryDirectory() as folder:
        run = Soak(seed, symbols, clock_error_ms, Path(folder), Exchange(exchange, market))
        run.run(candles, hours, show)
    return run


# -- what is printed ------------------------------------------------------------------------------------------

OURS = ("candles", "revisions", "repaired", "from exchange", "incomplete", "wrong", "wrong, said complete")
THEIRS = ("candles", "missing", "wrong")


def table(run: Soak) -> str:
    """Both contenders beside each other, per interval."""
    head = ["interval", *OURS, *(f"naive: {name}" for name in THEIRS)]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in INTERVALS:
        step_ms = parse_interval(name).step_ms
        ours, theirs = run.judge.figures[step_ms], run.naive_judge.figures[step_ms]
        rows.append([name, *(f"{ours[column]:,}" for column in OURS), *(f"{theirs[column]:,}" for column in THEIRS)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


NUMBERED = ("at once", "ids", "trades", "candle", "late", "restart", "incomplete")
REASONS = (NO_PROCESS, START, KILLED, LEFT)  # of what is incomplete
APART = ("unnoticed", "wrong, said complete")


def numbered_table(run: Soak) -> str:
    """Both contenders beside each other, and how each candle became complete."""
    reasons = (f"of these: {reason}" for reason in REASONS)
    head = [
        "interval",
        "due",
        "missing",
        *NUMBERED,
        *reasons,
        *APART,
        "taken back",
        *(f"naive: {name}" for name in THEIRS),
    ]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in INTERVALS:
        ours, theirs = (each.figures[parse_interval(name).step_ms] for each in (run.judge, run.naive_judge))
        due = (ours["judged"] + ours["missing"], ours["missing"])
        figures = (
            *due,
            *(ours[column] for column in (*NUMBERED, *REASONS, *APART, "taken back")),
            *(theirs[column] for column in THEIRS),
        )
        rows.append([name, *(f"{figure:,}" for figure in figures)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def report(run: Soak, seed: int, clock_error_ms: int, wall_s: float) -> str:
    """All observations, as Markdown."""
    faults = ", ".join(f"{name} {n:,}" for name, n in run.timeline.faults.items())
    verdict = f"VIOLATIONS {dict(run.judge.violations)}" if run.judge.violations else "no violation"
    samples = "".join(f"\n    {sample}" for sample in run.judge.samples)
    head = f"seed {seed}, host clock {clock_error_ms:+d} ms, {len(run.market)} symbols, {run.hours:.1f} h of the market"
    head += f" in {wall_s:.0f} s, {run.judge.candles:,} closed candles: {verdict}"
    if run.exchange.name != "bybit":
        head = f"{run.exchange.name} {run.exchange.market}, {head}"
    shown = numbered_table(run) if run.exchange.is_numbered else table(run)
    return f"{head}\n\n{shown}\n\nFaults: {faults}\n{samples}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; exit code 1 on any violation."""
    parser = argparse.ArgumentParser(description="hours of faults in virtual time, every candle judged")
    parser.add_argument("--exchange", choices=NAMES, default="bybit")
    parser.add_argument("--market", choices=("linear", "inverse", "spot"), default="linear")
    parser.add_argument("--candles", type=int, help="closed candles at least; 100,000 where no hours are given")
    parser.add_argument("--hours", type=float, default=0.0, help="of the market, at least")
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clock-error-ms", type=int, default=0, help="how far the host's clock is fast (2000) or slow")
    parser.add_argument("--save", action="store_true", help="add the table to today's file in benchmarks/results")
    asked: Any = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    begin_s = time.monotonic()
    run = soak(
        asked.candles or (0 if asked.hours else 100_000),
        asked.seed,
        symbols=asked.symbols,
        clock_error_ms=asked.clock_error_ms,
        exchange=asked.exchange,
        market=asked.market,
        hours=asked.hours,
        show=lambda text: sys.stderr.write(text),
    )
    text = report(run, asked.seed, asked.clock_error_ms, time.monotonic() - begin_s)
    print(f"\n{text}")
    if asked.save:
        save(text)
    return 1 if run.judge.violations else 0


def save(text: str) -> None:
    """Append one run to the day's file."""
    day = datetime.datetime.now(datetime.UTC).date()
    path = Path(__file__).parent / "results" / f"{day}-soak.md"
    before = path.read_text() if path.exists() else f"# Soak, {day}\n\n    python -m benchmarks.soak\n"
    path.write_text(f"{before}\n{text.rstrip()}\n")


if __name__ == "__main__":
    sys.exit(main())
