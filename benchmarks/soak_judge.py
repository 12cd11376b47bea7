"""The judgement of the soak: every candle and revision compared with the true ones. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field

from benchmarks.naive import Bucket
from benchmarks.soak_market import MINUTE_MS, Symbol, Values
from model.records import Kline

SETTLED_MS = 900_000  # a second that is complete is judged so long after its end, and forgotten: nothing revises it
HEALED_MS = 4_500_000  # one that is not may still be healed for an hour, by a later run too
# Why a candle is incomplete. No process was there, and the newest trades of REST did not reach so far; a process had
# begun so lately, and they did not reach back before its first trade; its process was killed before it was proven, or
# so soon after it, while it waited for a repair; a process that went on has left it so.
NO_PROCESS, START, KILLED, LEFT = "no process", "at a start", "killed", "left"
START_MS, KILLED_MS = 30_000, 90_000
SAMPLES = 20  # violations written in full; the others are counted


@dataclass
class Window:
    """All issues of one candle: the last one, and what each revision claimed."""

    last: Kline
    revisions: dict[int, Values] = field(default_factory=dict)
    was_incomplete: bool = False
    how: str = "at once"  # it became complete
    left: str = ""  # why it is incomplete


class Judge:
    """Takes klines as they are published; `figures[interval]` counts, `violations` lists broken rules.

    `cause_of` says what an issue comes from. `lacks_turnover`: the exchange's candles have none that is exact.
    """

    def __init__(
        self,
        market: Mapping[str, Symbol],
        cause_of: Callable[[Kline], str | None] = lambda _kline: None,
        *,
        lacks_turnover: bool = False,
    ) -> None:
        self._market, self._cause_of, self._lacks_turnover = market, cause_of, lacks_turnover
        self.unnoticed: Sequence[
            tuple[str, int, int]
        ] = ()  # symbol, begin, end: holes at whose kill none had shown them
        self.lives: list[list[int]] = []  # begin, and end where it was killed, of each process
        self._windows: dict[tuple[str, int], dict[int, Window]] = defaultdict(dict)
        self._newest: dict[tuple[str, int], int] = {}
        self._judged: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._began: dict[str, int] = {}
        self.figures: dict[int, Counter[str]] = defaultdict(Counter)
        self.violations: Counter[str] = Counter()
        self.samples: list[str] = []

    @property
    def candles(self) -> int:
        """Closed candles so far, revisions not counted."""
        return sum(figures["candles"] for figures in self.figures.values())

    def violate(self, rule: str, what: object) -> None:
        """Count a broken rule."""
        self.violations[rule] += 1
        if self.violations[rule] <= SAMPLES:
            self.samples.append(f"{rule}: {what}")

    def take(self, kline: Kline) -> None:
        """One kline, as downstream gets it."""
        key = (kline.symbol, kline.interval)
        window = self._windows[key].get(kline.timestamp)
        if kline.timestamp in self._judged[key]:
            self.violate("revised very late", kline)
        elif window is None:
            self._first(key, kline)
        else:
            self._again(window, kline)

    def _first(self, key: tuple[str, int], kline: Kline) -> None:
        newest = self._newest.get(key)
        if newest is not None and kline.timestamp <= newest:
            self.violate("out of order", kline)
        elif newest is not None and kline.timestamp != newest + kline.interval:
            self.violate("missing", (newest, kline))
            self.figures[kline.interval]["missing"] += (kline.timestamp - newest) // kline.interval - 1
        elif newest is None and kline.timestamp > self._began.setdefault(kline.symbol, kline.timestamp):
            self.violate("missing at the start", (self._began[kline.symbol], kline))
        self._newest[key] = max(kline.timestamp, newest or 0)
        is_from_restart = self._cause_of(kline) is None
        self._windows[key][kline.timestamp] = Window(
            kline,
            {kline.revision: values_of(kline)},
            was_incomplete=not kline.complete,
            how="restart" if is_from_restart else "at once",
            left=NO_PROCESS if is_from_restart else LEFT,
        )
        self.figures[kline.interval]["candles"] += 1

    def _again(self, window: Window, kline: Kline) -> None:
        if kline.revision <= window.last.revision:
            known = window.revisions.get(kline.revision)
            self.violate("revision twice" if known == values_of(kline) else "two values of a revision", kline)
        window.revisions[kline.revision] = values_of(kline)
        cause = self._cause_of(kline) or "restart"
        if not kline.complete and window.left != NO_PROCESS:
            window.left = KILLED if cause == "restart" else LEFT
        if kline.complete and not window.last.complete:
            window.how = cause
        self.figures[kline.interval]["taken back"] += window.last.complete and not kline.complete
        window.last, window.was_incomplete = kline, window.was_incomplete or not kline.complete
        self.figures[kline.interval]["revisions"] += 1

    def judge(self, until_ms: int, *, is_end: bool = False) -> None:
        """Compare the last issues of windows that ended by `until_ms`; longer ones only at the end."""
        for key, windows in self._windows.items():
            if is_end or key[1] < MINUTE_MS:
                for start_ms in [start for start, w in windows.items() if is_end or self._is_due(w.last, until_ms)]:
                    if start_ms + key[1] <= until_ms:
                        self._judge_one(windows.pop(start_ms))
                        self._judged[key].add(start_ms)
            if is_end and key[1] >= MINUTE_MS and self._newest[key] + 2 * key[1] <= until_ms:
                self.violate("missing at the end", (key, self._newest[key]))
                self.figures[key[1]]["missing"] += (until_ms - self._newest[key]) // key[1] - 1

    @staticmethod
    def _is_due(kline: Kline, until_ms: int) -> bool:
        patience_ms = 0 if kline.complete else HEALED_MS - SETTLED_MS
        return kline.timestamp + kline.interval + patience_ms <= until_ms

    def _judge_one(self, window: Window) -> None:
        kline, figures = window.last, self.figures[window.last.interval]
        truth = self._market[kline.symbol].truth(kline.timestamp, kline.interval)
        is_ours = kline.source != "exchange"
        count = 6 if is_ours or not self._lacks_turnover else 5
        is_true = values_of(kline)[:count] == truth[:count] and (not is_ours or kline.trade_count == truth[6])
        figures["repaired"] += window.was_incomplete and kline.complete
        figures["from exchange"] += kline.source == "exchange"
        figures["incomplete"] += not kline.complete
        figures[self._reason(window)] += not kline.complete
        figures["judged"] += 1
        figures[window.how] += kline.complete
        figures["wrong"] += not is_true
        if kline.complete and not is_true and self._is_unnoticed(kline):
            figures["unnoticed"] += 1
        elif kline.complete and not is_true:
            figures["wrong, said complete"] += 1
            self.violate("complete and wrong", (kline, truth))
        elif not kline.complete and kline.interval >= MINUTE_MS:
            self.violate("incomplete at the end", (kline, truth))

    def _reason(self, window: Window) -> str:
        """Why a candle is incomplete."""
        begin_ms, end_ms = window.last.timestamp, window.last.timestamp + window.last.interval
        if window.left == LEFT and any(-1_000 < begin_ms - life[0] < START_MS for life in self.lives):
            return START
        is_killed = any(begin_ms <= life[-1] < end_ms + KILLED_MS for life in self.lives if life[1:])
        return KILLED if window.left == LEFT and is_killed else window.left

    def _is_unnoticed(self, kline: Kline) -> bool:
        """Whether a short candle went out over a hole, and its process was killed before a later trade showed that."""
        start_ms, end_ms = kline.timestamp, kline.timestamp + kline.interval
        holes = (each for each in self.unnoticed if each[0] == kline.symbol)
        return kline.interval < MINUTE_MS and any(start_ms < until and end_ms > since for _, since, until in holes)


class NaiveJudge:
    """The same for the naive aggregator, whose floats may be off by what floats are off."""

    def __init__(self, market: Mapping[str, Symbol]) -> None:
        self._market = market
        self._waiting: list[tuple[str, int, int, Bucket]] = []
        self._newest: dict[tuple[str, int], int] = {}
        self.figures: dict[int, Counter[str]] = defaultdict(Counter)

    def take(self, symbol: str, step_ms: int, start_ms: int, bucket: Bucket) -> None:
        """One candle, as it is emitted."""
        key, figures = (symbol, step_ms), self.figures[step_ms]
        newest = self._newest.get(key, start_ms - step_ms)
        if start_ms <= newest:
            figures["twice"] += 1
            return
        self._newest[key] = start_ms
        figures["candles"] += 1
        figures["missing"] += (start_ms - newest) // step_ms - 1
        self._waiting.append((symbol, step_ms, start_ms, bucket))

    def judge(self, until_ms: int) -> None:
        """Compare what ended by `until_ms`."""
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            symbol, step_ms, start_ms, bucket = entry
            if start_ms + step_ms > until_ms:
                self._waiting.append(entry)
            elif not is_close(astuple(bucket), self._market[symbol].truth(start_ms, step_ms)):
                self.figures[step_ms]["wrong"] += 1


def is_close(floats: Iterable[float], truth: Values) -> bool:
    """Whether floats are the true values, up to what summing floats costs."""
    return all(math.isclose(a, float(b), rel_tol=1e-9, abs_tol=1e-12) for a, b in zip(floats, truth[:6], strict=True))


def values_of(kline: Kline) -> Values:
    """What two issues of one revision must share."""
    return (kline.open, kline.high, kline.low, kline.close, kline.volume, kline.turnover, kline.trade_count)
