"""The observations of an endurance run: the collector's memory, threads and files, and every kline it sends.

Two threads, one for each; the judging is pure. Linux only. Nothing here does harm: the faults are in endure.py.
"""

import contextlib
import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SAMPLE_S = 10.0
MINUTE_MS = 60_000
RSS_SHARE, RSS_MB = 0.05, 8.0  # what the last minutes may differ from the early ones: the larger of both
RETRY_S = 0.05  # the subscriber's, while the server restarts: klines wait two seconds for it
EXAMPLES = 200  # of wrong klines, for the log
CHANNEL = "stream:bybit_klines"
FIELDS = ("open", "high", "low", "close", "volume", "turnover")

Key = tuple[str, int, int]  # symbol, interval and start in ms
Truths = Callable[[str, int], Mapping[int, Mapping[str, str]]]


class Sample(NamedTuple):
    """A process at one moment; memory in MB, `at_s` since the run's start."""

    at_s: float
    rss: float
    private: float
    threads: int
    files: int


def sample(pid: int, at_s: float) -> Sample:
    """Read a living process; OSError where it is gone."""
    folder = Path(f"/proc/{pid}")
    status, maps = _kilobytes(folder / "status"), _kilobytes(folder / "smaps_rollup")
    private = maps["Private_Clean"] + maps["Private_Dirty"]
    files = len(list((folder / "fd").iterdir()))
    return Sample(at_s, status["VmRSS"] / 1024, private / 1024, status["Threads"], files)


def _kilobytes(path: Path) -> dict[str, int]:
    """Every `Name:   number` of a file of the kernel's."""
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return {name: int(value.split()[0]) for name, _, value in lines if value.split() and value.split()[0].isdigit()}


def middle(samples: Sequence[Sample]) -> Sample:
    """The median of each figure."""
    return Sample(*(statistics.median_low(column) for column in zip(*samples, strict=True)))


class Sampler(threading.Thread):
    """Samples until stopped, or until the process is gone."""

    def __init__(self, pid: int, begin_s: float) -> None:
        super().__init__(name="endure-sampler", daemon=True)
        self._pid, self._begin_s, self._stop_asked = pid, begin_s, threading.Event()
        self.samples: list[Sample] = []

    def run(self) -> None:
        """Sample every `SAMPLE_S`."""
        with contextlib.suppress(OSError):
            while not self._stop_asked.wait(SAMPLE_S):
                self.samples.append(sample(self._pid, time.monotonic() - self._begin_s))

    def stop(self) -> None:
        """Stop sampling."""
        self._stop_asked.set()


class Downstream(threading.Thread):
    """A subscriber that keeps the last revision of every kline, and comes back whenever the server does."""

    def __init__(self, port: int) -> None:
        super().__init__(name="endure-subscriber", daemon=True)
        self.klines: dict[Key, dict[str, Any]] = {}
        self.counts: Counter[str] = Counter()
        self._stop_asked = threading.Event()
        client = redis.Redis(port=port, retry=Retry(NoBackoff(), 0))  # the library's own pauses are seconds long
        self._pubsub: Any = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._pubsub.subscribe(CHANNEL)

    def run(self) -> None:
        """Read until stopped."""
        while not self._stop_asked.is_set():
            try:
                message = self._pubsub.get_message(timeout=0.5)
            except (redis.RedisError, OSError):
                self.counts["reconnects"] += 1
                self._stop_asked.wait(RETRY_S)
                continue
            if message:
                self.keep(json.loads(message["data"], parse_float=Decimal)["data"])

    def stop(self) -> None:
        """Stop reading."""
        self._stop_asked.set()

    def keep(self, klines: Iterable[dict[str, Any]]) -> None:
        """Keep the highest revision of a kline; one revision with two values is a contradiction."""
        for kline in klines:
            key = kline["symbol"], kline["interval"], kline["timestamp"]
            known = self.klines.get(key)
            self.counts["klines"] += 1
            if known is None or kline["revision"] > known["revision"]:
                self.klines[key] = kline
                self.counts["revisions"] += known is not None
            elif kline["revision"] == known["revision"]:
                self.counts["twice"] += 1
                self.counts["contradictions"] += kline != known


def judge(
    klines: Mapping[Key, Mapping[str, Any]],
    truths: Truths,
    symbols: Iterable[str],
    intervals: Iterable[int],
    since_ms: int,
    until_ms: int,
    examples: list[Any],
) -> dict[int, Counter[str]]:
    """Per interval (ms): klines that ended between both moments, and what is wrong with them.

    Missing, wrong and incomplete ones count against a run from a minute up; below, only those marked complete and
    are wrong: `examples` gets the first of those. Klines that the exchange itself no longer has are not judged.
    """
    figures: dict[int, Counter[str]] = {interval: Counter() for interval in intervals}
    first_ms: dict[tuple[str, int], int] = {}
    for symbol, interval, start_ms in klines:
        first_ms[symbol, interval] = min(start_ms, first_ms.get((symbol, interval), start_ms))
    for symbol in symbols:
        for interval, found in figures.items():
            for start_ms, truth in truths(symbol, interval).items():
                if since_ms <= start_ms + interval - 1 and start_ms + interval <= until_ms:
                    is_early = start_ms < first_ms.get((symbol, interval), 0)
                    kline = klines.get((symbol, interval, start_ms))
                    is_bad = _count(found, kline, truth, is_early=is_early)
                    if is_bad and len(examples) < EXAMPLES:
                        examples.append({"symbol": symbol, "interval": interval, "truth": truth, "seen": kline})
    return figures


def _count(found: Counter[str], kline: Mapping[str, Any] | None, truth: Mapping[str, str], *, is_early: bool) -> bool:
    found["due"] += 1
    if kline is None:
        found["before the first trade" if is_early else "missing"] += 1
        return False
    is_true = all(Decimal(kline[name]) == Decimal(truth[name]) for name in FIELDS)
    found["from the exchange"] += kline["source"] == "exchange"
    found["incomplete"] += not kline["complete"]
    found["wrong"] += not is_true
    found["wrong, said complete"] += kline["complete"] and not is_true
    return bool(kline["complete"] and not is_true)


def failings(figures: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    """The sum of the counts that must be zero."""
    total: Counter[str] = Counter()
    for interval, found in figures.items():
        names = ("missing", "wrong", "incomplete") if interval >= MINUTE_MS else ("wrong, said complete",)
        total.update({name: found.get(name, 0) for name in names})
    return dict(total)


class Windows(NamedTuple):
    """Which minutes are compared: of an hour, 8 to 12 with the last four."""

    early: tuple[float, float]
    late: tuple[float, float]


def windows(minutes: float) -> Windows:
    """For a run of so many minutes; a short one compares its second quarter with its last."""
    if minutes >= 20:
        return Windows((8, 12), (minutes - 4, minutes))
    return Windows((minutes / 4, minutes / 2), (minutes * 3 / 4, minutes))


def within(samples: Iterable[Sample], span_min: tuple[float, float]) -> list[Sample]:
    """The samples of some minutes."""
    return [each for each in samples if span_min[0] * 60 <= each.at_s < span_min[1] * 60]


def grown_mb(early: Sequence[Sample], late: Sequence[Sample]) -> tuple[float, float, bool]:
    """Median resident memory of both, and whether they are the same."""
    before, after = (statistics.median(each.rss for each in part) for part in (early, late))
    return before, after, abs(after - before) <= max(RSS_MB, before * RSS_SHARE)


def memory_table(samples: Sequence[Sample], minutes: float, every_min: float = 5) -> str:
    """Medians and the most of every five minutes, as Markdown."""
    rows = [
        "| minutes | RSS MB, median | most | private MB, median | threads, median (range) | files, median (range) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    begin = 0.0
    while begin < minutes:
        part = within(samples, (begin, begin + every_min))
        if part:
            rows.append(f"| {begin:g} to {min(begin + every_min, minutes):g} | {_cells(part)} |")
        begin += every_min
    return "\n".join(rows)


def _cells(part: Sequence[Sample]) -> str:
    rss, private = [each.rss for each in part], [each.private for each in part]
    counts = ([each.threads for each in part], [each.files for each in part])
    spans = (f"{statistics.median(c):g} ({min(c)} to {max(c)})" for c in counts)
    return " | ".join([f"{statistics.median(rss):.1f}", f"{max(rss):.1f}", f"{statistics.median(private):.1f}", *spans])


def kline_table(figures: Mapping[int, Mapping[str, int]]) -> str:
    """One line per interval, as Markdown."""
    names = (
        "due", "before the first trade", "missing", "wrong", "wrong, said complete", "incomplete", "from the exchange",
    )  # fmt: skip
    rows = ["| interval | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for interval, found in sorted(figures.items()):
        rows.append(f"| {interval // 1000} s | " + " | ".join(f"{found.get(name, 0):,}" for name in names) + " |")
    return "\n".join(rows)
