"""The whole market: 750 linear and 500 spot symbols, four kinds, 45,000 messages a second, 12 intervals.

CPU in cores, memory over time, and every byte compared. Messages come in bursts, as feeds have them.
"""

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.ages import HEAD
from benchmarks.children import Child, rss_mb
from benchmarks.contenders import KLINES, Contender
from benchmarks.harness import Harness, Sample, ages_of, counted, measure_load, note_counters, open_harness, running
from benchmarks.report import Options, Section, table

LINEAR, SPOT = 750, 500
RATE, TICK_MS = 45_000, 15  # messages a second; Bybit sends books every 20 ms, all at once
POOL_MESSAGES = 60_000
POOL_SIZE = "100"  # symbols per connection: 47 of them
INTERVALS = "1m,3m,5m,15m,30m,1h,2h,4h,6h,8h,12h,1D"
CORES_LIMIT, RSS_LIMIT_MB, SLOPE_LIMIT_MB = 1.0, 400.0, 1.0  # the last a minute, over the second half
MIN_SLOPE_S = 120.0  # a shorter run proves nothing about memory: windows and trade ids are still filling
RSS_EVERY_S = 1.0


@dataclass
class Memory:
    """Resident memory of a process, sampled once a second on a thread of its own."""

    pid: int
    seen: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        begin_s = time.monotonic()
        while not self._stop.wait(RSS_EVERY_S):
            self.seen.append((time.monotonic() - begin_s, rss_mb(self.pid)))

    def stop(self) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join(5)

    def slope_mb(self) -> float:
        """Megabytes a minute over the second half; nan where that is too short."""
        half = self.seen[len(self.seen) // 2 :]
        if not half or half[-1][0] < MIN_SLOPE_S:
            return float("nan")
        times, sizes = zip(*half, strict=True)
        return float(np.polyfit(times, sizes, 1)[0]) * 60


def collector(symbols: dict[str, list[str]]) -> Contender:
    """The collector on both markets; those of linear that spot has not are appended."""
    more = [symbol for symbol in symbols["linear"] if symbol not in symbols["spot"]]
    both = [symbol for symbol in symbols["linear"] if symbol in symbols["spot"]]
    settings = {"SOCKET_POOL_SIZE": POOL_SIZE, "ENABLE_SPOT_STREAM": "true", "KLINE_INTERVALS": INTERVALS}
    own = KLINES.but(**settings, LINEAR_ONLY=",".join(more), SYMBOLS=",".join(both))
    return replace(own, key="market", script="benchmarks/whole_market.py")


def run(options: Options, folder: Path) -> Section:
    """One run; the ten minutes of the long form are not repeated."""
    sizes = ["--linear", str(LINEAR), "--spot", str(SPOT), "--pool", str(POOL_MESSAGES)]
    with open_harness(folder, *sizes) as this:
        own = collector(this.ready["symbols"])
        with running(this, folder, own, this.ready["topics"]) as process:
            sample, memory, used_s = measure_market(this, process, own, options.market_s)
    return section(sample, memory, used_s, options.market_s, this.ready["mean_bytes"])


def measure_market(harness: Harness, process: Child, own: Contender, seconds: float) -> tuple[Sample, Memory, float]:
    """The load, the memory over it, and the CPU seconds used."""
    before = counted(process)
    memory, begin = Memory(process.pid), process.cpu()
    sample = measure_load(harness, process, own, RATE, seconds, TICK_MS)
    used_s = process.cpu().since(begin).total_s
    memory.stop()
    note_counters(counted(process), before, [sample])
    print(f"  {sample.per_s:,.0f}/s, {used_s / seconds:.2f} cores, lost {sample.lost}, {sample.notes}", flush=True)
    return sample, memory, used_s


def section(sample: Sample, memory: Memory, used_s: float, seconds: float, mean_bytes: float) -> Section:
    """One table, and what is beyond its limit."""
    cores, most_mb, slope = used_s / seconds, max((mb for _, mb in memory.seen), default=0.0), memory.slope_mb()
    others = {name: us * sample.per_s / 1e6 for name, us in sample.others_us.items()}
    rows = [
        ("messages sent", f"{sample.sent:,}", ""),
        ("messages a second", f"{sample.per_s:,.0f}", f"{RATE:,}"),
        ("lost", f"{sample.lost:,}", "0"),
        ("altered", "no" if sample.is_unaltered else "yes", "no"),
        ("left out of klines, dropped, refused", str(sample.notes or 0), "0"),
        ("collector, cores", f"{cores:.2f}", f"{CORES_LIMIT}"),
        ("collector, us a message", f"{sample.cpu_us:.2f}", ""),
        ("memory, most, MB", f"{most_mb:.0f}", f"{RSS_LIMIT_MB:.0f}"),
        ("memory, MB a minute in the second half", f"{slope:+.2f}", f"{SLOPE_LIMIT_MB}"),
        *((f"age {name.replace(' ', ', ')}", age, "") for name, age in zip(HEAD, ages_of(sample), strict=True)),
        *((f"{name}, cores", f"{used:.2f}", "") for name, used in others.items()),
    ]
    text = (
        f"{LINEAR} linear and {SPOT} spot symbols, four kinds, {mean_bytes:.0f} bytes a message in the mean, "
        f"klines at {INTERVALS}, {seconds:g} s. A message leaves the exchange within {TICK_MS} ms of its time.\n\n"
        + table(("", "", "limit"), rows)
    )
    problems = [f"{name}: {found}" for name, found, limit in rows[2:5] if found != limit]
    data = {"sample": vars(sample) | {"notes": sample.notes}, "cores": cores, "slope_mb": slope, "rss": memory.seen}
    return Section("Whole market", text, data, problems)
