"""Hours of faults in virtual time: is every closed candle true in the end, and does no incomplete one hide it?

    python -m benchmarks.soak --candles 100000 --seed 1 [--save]

The real aggregator, repair and resumption, joined as main.py joins them, driven by step(); one process, no socket.
"""

import argparse
import datetime
import heapq
import logging
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import structlog

from aggregation.aggregator import Aggregator
from aggregation.intervals import parse_interval
from aggregation.kline import Kline
from aggregation.mailbox import Correction, FeedDown, FeedUp, Outage, Overflow, Splice
from aggregation.repair import Repairer
from aggregation.resume import Resumption
from aggregation.table import Trades
from benchmarks.naive import NaiveAggregator
from benchmarks.soak_judge import SETTLED_MS, Judge, NaiveJudge
from benchmarks.soak_market import CANDLE_STEPS_MS, Candle, PastTrade, make_market

MARKET = "linear"
INTERVALS = ("1s", "1m", "3m", "5m", "1h")
BEGIN_MS = 1_700_002_800_000  # the exchange opens on a full hour
COLLECT_MS = BEGIN_MS + 1_234_567  # and the collector starts in the middle of everything
CONNECTIONS = 5
LATE_MS = 400  # longest way of a trade to us
TICK_MS = (20, 180)  # how often the threads get their turn
QUIET_MS = 300_000  # at the end nothing fails for so long, then it is judged
SWEEP_MS = 60_000
LOOK_MS = 1_000  # the repair thread's own beat

# Mean times between faults, and how long they last (ms).
FAULT_EVERY_MS, DOWN_MS, LONG_DOWN_MS, STALL_MS = 15_000, (200, 3_000), (20_000, 60_000), (2_000, 15_000)
OVERFLOW_EVERY_MS, OVERFLOW_MS = 600_000, (20, 2_000)
KILL_EVERY_MS, DEAD_MS, LONG_DEAD_MS = 240_000, (1_000, 20_000), (60_000, 400_000)
REST_DOWN_EVERY_MS, REST_DOWN_MS, REST_FAILS = 180_000, (1_000, 25_000), 0.05
ANSWER_MS = (0, 800)  # how long an answer is under way


class Killed(BaseException):
    """SIGKILL in the middle of publishing; no `except Exception` may survive it."""


@dataclass
class Connection:
    """One socket and its ten symbols."""

    symbols: tuple[str, ...]
    is_up: bool = False
    is_stalled: bool = False
    last_ms: int = 0
    turn: int = 0  # counts its ups and downs: what was planned for an earlier one does not happen
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=5))


class Soak:
    """The exchange, the line, the clock and the collector, which dies and lives again."""

    def __init__(self, seed: int, symbols: int = 50) -> None:
        self._rng = random.Random(seed)
        self.now = BEGIN_MS
        self._number, self._plans = count(), list[tuple[int, int, Callable[[], object]]]()
        self.market = make_market(symbols, self._rng, BEGIN_MS - 1)
        self.judge, self.naive_judge = Judge(self.market), NaiveJudge(self.market)
        names = list(self.market)
        self._connections = [Connection(tuple(names[i::CONNECTIONS])) for i in range(CONNECTIONS)]
        self._line = {name: connection for connection in self._connections for name in connection.symbols}
        self._published: dict[tuple[str, str, int], tuple[int, int, bool]] = {}
        self.faults: Counter[str] = Counter()
        self.is_faulty, self._is_alive, self._has_outages = True, False, False
        self._resumption: Resumption | None = None
        self._naive: NaiveAggregator
        self._life = self._rest_down_until = self._look_due = self._last_answer_ms = 0
        self._overflow_since: int | None = None
        self._dies_after: int | None = None
        for symbol in self.market.values():
            self._plan(symbol.wait_ms(), partial(self._trade, symbol.name))

    # -- time -----------------------------------------------------------------------------------------

    def run_until(self, end_ms: int) -> None:
        """Let time pass; what is planned happens at its own moment, the threads get their turn between."""
        while self.now < end_ms:
            turn_ms = min(self.now + self._span(TICK_MS), end_ms)
            while self._plans[0][0] <= turn_ms:
                at_ms, _, do = heapq.heappop(self._plans)
                self.now = max(self.now, at_ms)
                do()
            self.now = turn_ms
            if self._is_alive:
                self._step()

    def _plan(self, in_ms: float, do: Callable[[], object]) -> None:
        heapq.heappush(self._plans, (self.now + int(in_ms), next(self._number), do))

    def _span(self, limits: tuple[int, int]) -> int:
        return self._rng.randint(*limits)

    def _step(self) -> None:
        try:
            self.aggregator.step()
            if self.now >= self._look_due and self._resumption:
                self._resumption.step()
            if self.now >= self._look_due or self._has_outages:
                self._look_due, self._has_outages = self.now + LOOK_MS, False
                self._repairer.step()
        except Killed:
            self._die()
        else:
            self._naive.close(self.now)

    # -- the exchange and the line --------------------------------------------------------------------

    def _trade(self, name: str) -> None:
        symbol = self.market[name]
        for payload in symbol.burst(self.now):
            delay_ms = self._span((5, LATE_MS)) if self._rng.random() < 0.03 else self._span((5, 60))
            self._plan(delay_ms, partial(self._deliver, self._line[name], payload))
            if self._rng.random() < 0.01 and self.is_faulty:
                self.faults["duplicates"] += 1
                self._plan(delay_ms + self._span((0, 3_000)), partial(self._deliver, self._line[name], payload))
        self._plan(symbol.wait_ms(), partial(self._trade, name))

    def _deliver(self, line: Connection, payload: bytes) -> None:
        if not line.is_up or line.is_stalled:
            self.faults["trades lost"] += self._is_alive
            return
        line.last_ms = self.now
        line.recent.append(payload)
        if self._overflow_since is None:
            self._mailbox.put(payload)
            name, event_ms, price, size, *_ = payload.split(b"|")
            self._naive.add(name.decode(), int(event_ms), float(price), float(size))

    def _connect(self, line: Connection, turn: int) -> None:
        if turn != line.turn or not self._is_alive:
            return
        line.turn, line.is_up, line.is_stalled, line.last_ms = turn + 1, True, False, self.now
        self._mailbox.mark(FeedUp(line.symbols, self.now))
        for payload in list(line.recent):
            self._deliver(line, payload)
        self._plan(self._rng.expovariate(1 / FAULT_EVERY_MS), partial(self._fail, line, line.turn))

    def _fail(self, line: Connection, turn: int) -> None:
        if turn != line.turn or not self.is_faulty:
            return
        if self._rng.random() < 0.2:
            self.faults["stalls"] += 1
            line.is_stalled = True
            self._plan(self._span(STALL_MS), partial(self._disconnect, line, turn))
        else:
            self._disconnect(line, turn)

    def _disconnect(self, line: Connection, turn: int) -> None:
        if turn != line.turn:
            return
        self.faults["disconnects"] += 1
        line.turn, line.is_up = turn + 1, False
        self._mailbox.mark(FeedDown(line.symbols, line.last_ms))
        is_long = self._rng.random() < 0.05
        self._plan(self._span(LONG_DOWN_MS if is_long else DOWN_MS), partial(self._connect, line, line.turn))

    def _overflow(self) -> None:
        if self._is_alive and self.is_faulty:
            self.faults["overflows"] += 1
            self._overflow_since = self.now
            self._plan(self._span(OVERFLOW_MS), partial(self._end_overflow, self._life))
        self._plan(self._rng.expovariate(1 / OVERFLOW_EVERY_MS), self._overflow)

    def _end_overflow(self, life: int) -> None:
        if life == self._life and self._overflow_since is not None:
            self._mailbox.mark(Overflow(self._overflow_since, self.now))
            self._overflow_since = None

    # -- what REST answers ----------------------------------------------------------------------------

    def _rest_fails(self) -> bool:
        fails = self.is_faulty and (self.now < self._rest_down_until or self._rng.random() < REST_FAILS)
        self.faults["REST failures"] += fails
        return fails

    def _rest_down(self) -> None:
        self.faults["REST outages"] += self.is_faulty
        self._rest_down_until = self.now + self._span(REST_DOWN_MS)
        self._plan(self._rng.expovariate(1 / REST_DOWN_EVERY_MS), self._rest_down)

    def _candles(self, _market: str, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> Sequence[Candle] | None:
        return None if self._rest_fails() else self.market[symbol].candles(step_ms, start_ms, end_ms, self.now)

    def _recent_trades(self, _market: str, symbol: str) -> Sequence[PastTrade] | None:
        return None if self._rest_fails() else list(self.market[symbol].newest)

    # -- the collector, joined as in main.py ------------------------------------------------------------

    def start(self) -> None:
        """A process begins, knowing what was published last and nothing else."""
        self._life, self._is_alive, self._dies_after, self._overflow_since = self._life + 1, True, None, None
        intervals = [parse_interval(name) for name in INTERVALS]
        self.aggregator = Aggregator(
            [MARKET], intervals, decode, self._publish, on_outage=self._heal, now_ms=lambda: self.now
        )
        self._mailbox = self.aggregator.mailboxes[MARKET]
        give, now_ms = partial(self._give, self._life), lambda: self.now
        self._repairer = Repairer(self._candles, self._recent_trades, CANDLE_STEPS_MS, give, now_ms)
        self._has_outages, self._resumption = False, None
        if self._published:
            self._resumption = Resumption(
                dict(self._published), intervals, list(self.market), self._candles, CANDLE_STEPS_MS, self._send,
                now_ms, lambda: self.now / 1000,
            )  # fmt: skip
        steps_ms = [interval.step_ms for interval in intervals]
        self._naive = NaiveAggregator(steps_ms, self.naive_judge.take, self.now)
        for line in self._connections:
            self._plan(self._span((200, 1_500)), partial(self._connect, line, line.turn))
        self._plan(self._rng.expovariate(1 / KILL_EVERY_MS), partial(self._kill, self._life))

    def plan_faults(self) -> None:
        """What fails besides connections and the process."""
        self._plan(self._rng.expovariate(1 / OVERFLOW_EVERY_MS), self._overflow)
        self._plan(self._rng.expovariate(1 / REST_DOWN_EVERY_MS), self._rest_down)

    def _kill(self, life: int) -> None:
        """Between two steps, or after so many klines of the next that go out."""
        if life != self._life or not self.is_faulty:
            return
        if self._rng.random() < 0.5:
            self._die()
        else:
            self._dies_after = self._span((0, 100))

    def _die(self) -> None:
        self.faults["kills"] += 1
        self._count_failures()
        self._is_alive = False
        self.judge.restarted()
        if self._overflow_since is not None:
            self.judge.died_unnoticing(self.market, self._overflow_since - LATE_MS, self.now)
        for line in self._connections:
            if line.is_up and line.is_stalled:
                self.judge.died_unnoticing(line.symbols, line.last_ms - LATE_MS, self.now)
            line.turn, line.is_up = line.turn + 1, False
            line.recent.clear()
        self._plan(self._span(LONG_DEAD_MS if self._rng.random() < 0.1 else DEAD_MS), self.start)

    def _count_failures(self) -> None:
        stats = self.aggregator.stats()
        for name in ("duplicates", "spliced", "unspliced", "late_amended", "late_dropped"):
            self.faults[f"{name} (seen)"] += stats[name]
        if self._resumption:
            self.faults["filled after restart (seen)"] += self._resumption.filled
            self.faults["holes left (seen)"] += self._resumption.holes
        if stats["failures"] or stats["refused"]:
            self.judge.violate("failure inside", stats)

    def finish(self) -> None:
        """Nothing fails any more; then everything is judged."""
        self.is_faulty = False
        while not self._is_alive:
            self.run_until(self.now + SWEEP_MS)
        self.run_until(self.now + QUIET_MS)
        self._count_failures()
        self.judge.judge(self.now - QUIET_MS // 4, is_end=True)
        self.naive_judge.judge(self.now)

    def sweep(self) -> None:
        """Judge what is long over, so that memory stays small."""
        self.judge.judge(self.now - SETTLED_MS)
        self.naive_judge.judge(self.now)
        for symbol in self.market.values():
            symbol.seconds.forget(self.now - SETTLED_MS - 3 * SWEEP_MS)

    def _give(self, life: int, _market: str, found: Correction | Splice) -> None:
        """Answers come later than they were asked for, in their order."""
        self._last_answer_ms = max(self._last_answer_ms, self.now + self._span(ANSWER_MS))
        self._plan(self._last_answer_ms - self.now, partial(self._hand_over, life, found))

    def _hand_over(self, life: int, found: Correction | Splice) -> None:
        if life == self._life and self._is_alive:
            self._mailbox.mark(found)

    def _heal(self, market: str, outage: Outage) -> None:
        self._has_outages = True
        self._repairer.heal(market, outage)

    def _publish(self, market: str, klines: list[Kline]) -> None:
        self._repairer.offer(market, klines)
        self._send(market, self._resumption.admit(market, klines) if self._resumption else klines)

    def _send(self, market: str, klines: Sequence[Kline]) -> None:
        for kline in klines:
            if self._dies_after is not None:
                self._dies_after -= 1
                if self._dies_after < 0:
                    raise Killed
            self.judge.take(kline)
            key = (market, kline.symbol, kline.interval)
            if kline.timestamp >= self._published.get(key, (0, 0, False))[0]:
                self._published[key] = (kline.timestamp, kline.revision, kline.complete)


def decode(payloads: Sequence[bytes]) -> Trades:
    """The market's messages as the aggregator's columns."""
    names, times, prices, sizes, seqs, ids = zip(*(payload.decode().split("|") for payload in payloads), strict=True)
    return Trades(
        list(names), list(map(int, times)), list(map(float, prices)), list(map(float, sizes)),
        list(map(int, seqs)), list(ids),
    )  # fmt: skip


def soak(candles: int, seed: int, *, symbols: int = 50, say: Callable[[str], object] = lambda _: None) -> Soak:
    """Run until so many candles closed, then heal and judge."""
    run = Soak(seed, symbols)
    run.run_until(COLLECT_MS)
    run.start()
    run.plan_faults()
    while run.judge.candles < candles:
        run.run_until(run.now + SWEEP_MS)
        run.sweep()
        say(f"\r{(run.now - COLLECT_MS) / 3.6e6:.2f} h  {run.judge.candles:,} candles  {dict(run.judge.violations)}  ")
    run.finish()
    return run


# -- what is printed ------------------------------------------------------------------------------------------

UNNOTICED = "killed before a stall was noticed"
OURS = ("candles", "revisions", "repaired", "from exchange", "incomplete", "wrong", "wrong, said complete", UNNOTICED)
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


def report(run: Soak, seed: int, wall_s: float) -> str:
    """Everything that was seen, as Markdown."""
    hours, faults = (run.now - COLLECT_MS) / 3.6e6, ", ".join(f"{name} {n:,}" for name, n in run.faults.items())
    verdict = f"VIOLATIONS {dict(run.judge.violations)}" if run.judge.violations else "no violation"
    samples = "".join(f"\n    {sample}" for sample in run.judge.samples)
    return (
        f"seed {seed}, {len(run.market)} symbols, {hours:.1f} h of the market in {wall_s:.0f} s, "
        f"{run.judge.candles:,} closed candles: {verdict}\n\n{table(run)}\n\nFaults: {faults}\n{samples}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 on any violation."""
    parser = argparse.ArgumentParser(description="hours of faults in virtual time, every candle judged")
    parser.add_argument("--candles", type=int, default=100_000, help="closed candles at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/results")
    asked: Any = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    begin_s = time.monotonic()
    run = soak(asked.candles, asked.seed, say=lambda text: sys.stderr.write(text))
    text = report(run, asked.seed, time.monotonic() - begin_s)
    print(f"\n{text}")
    if asked.save:
        day = datetime.datetime.now(datetime.UTC).date()
        path = Path(__file__).parent / "results" / f"{day}-soak.md"
        path.write_text(f"# Soak, {day}\n\n    python -m benchmarks.soak --candles {asked.candles}\n\n{text}\n")
    return 1 if run.judge.violations else 0


if __name__ == "__main__":
    sys.exit(main())
