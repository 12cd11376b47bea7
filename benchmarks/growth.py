"""What a message costs against the number of streams, symbols and intervals, and against its size. Floods.

One thing changes at a time; nothing may grow faster than its work.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.contenders import KLINES, Contender
from benchmarks.harness import Sample, measure, open_harness
from benchmarks.klines import MINUTES
from benchmarks.plot import Panel, draw
from benchmarks.pool import topics_of
from benchmarks.report import Options, Section, median, spread, table

STREAMS = (1, 4, 16, 64)
SYMBOLS = (10, 30, 100, 300, 1000)
INTERVALS = (1, 3, 6, 12)
BYTES = (200, 1_000, 5_000, 20_000, 50_000)
LONG_RUNS = 3  # of the 17 points
BASE_SYMBOLS, BASE_STREAMS = 64, 16
POOL_BYTES = 20_000_000  # frames prepared; also what may be on its way, so that no queue overflows
POOL_MESSAGES, WINDOW = 20_000, 10_000
GROWTH_LIMITS = {"streams": 3.0, "symbols": 3.0, "intervals": 2.0, "bytes": 250.0}  # most from the first to the last


class Point(NamedTuple):
    """One configuration."""

    axis: str
    value: int
    symbols: int
    streams: int
    intervals: int
    payload_bytes: int
    kind: str


@dataclass
class Found:
    """A point and its costs, microseconds of CPU per message."""

    point: Point
    cpu_us: list[float]


def points() -> Iterator[Point]:
    """All points. Trades with klines, but for the size: a ticker, whose bytes are only passed on."""
    for value in STREAMS:
        yield Point("streams", value, BASE_SYMBOLS, value, 6, 0, "trades")
    for value in SYMBOLS:
        yield Point("symbols", value, value, 10, 6, 0, "trades")
    for value in INTERVALS:
        yield Point("intervals", value, BASE_SYMBOLS, BASE_STREAMS, value, 0, "trades")
    for value in BYTES:
        yield Point("bytes", value, BASE_STREAMS, BASE_STREAMS, 0, value, "ticker")


def run(options: Options, folder: Path) -> Section:
    """Measure each point on a harness of its own; in the short form only the ends of each axis."""
    chosen = list(points())
    if not options.is_long:
        by_axis = {point.axis: [p for p in chosen if p.axis == point.axis] for point in chosen}
        chosen = [found[i] for found in by_axis.values() for i in (0, -1)]
    found = [Found(point, []) for point in chosen]
    problems = []
    for number in range(min(options.runs, LONG_RUNS)):
        for one in found:
            sample = measure_point(one.point, folder / f"{number}-{one.point.axis}-{one.point.value}", options.seconds)
            one.cpu_us.append(sample.cpu_us)
            print(
                f"  {one.point.axis:9s} {one.point.value:6,d} {sample.cpu_us:7.2f} us {sample.notes or ''}", flush=True
            )
            if sample.is_wrong():
                problems.append(f"{one.point}: lost {sample.lost}, {sample.notes}, same {sample.is_unaltered}")
    return section(found, problems)


def measure_point(point: Point, folder: Path, seconds: float) -> Sample:
    """Measure a flood at one point."""
    own = contender(point)
    most = POOL_BYTES // max(point.payload_bytes, 1_000)
    arguments = {
        "linear": point.symbols, "kinds": point.kind, "payload-bytes": point.payload_bytes,
        "pool": min(POOL_MESSAGES, most), "window": min(WINDOW, most),
    }  # fmt: skip
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    with open_harness(folder, *words) as this:
        topics = len(topics_of(this.ready["symbols"]["linear"], kinds=(point.kind,)))
        (sample,) = measure(this, folder, own, [0], seconds, topics)
    return sample


def contender(point: Point) -> Contender:
    """The collector, set to a point."""
    intervals = [f"{m}m" if m < 60 else f"{m // 60}h" if m < 1440 else "1D" for m in MINUTES[: point.intervals]]
    own = KLINES.but(SOCKET_POOL_SIZE=str(-(-point.symbols // point.streams)), RAW_STREAMS=point.kind)
    own = own.but(KLINE_INTERVALS=",".join(intervals)) if intervals else own.but(ENABLE_KLINES_STREAM="false")
    return replace(own, key=f"{point.axis}-{point.value}", kinds=(point.kind,))


def section(found: list[Found], problems: list[str]) -> Section:
    """The table, the chart, and what grew too much."""
    rows = [(one.point.axis, f"{one.point.value:,}", spread(one.cpu_us)) for one in found]
    text = (
        "CPU microseconds per message of the collector in a flood, one thing changed at a time. Streams, symbols and "
        "intervals: trades with klines; bytes: tickers, passed on.\n\n"
        + table(("against", "number", "us a message"), rows)
    )
    panels = []
    for axis, limit in GROWTH_LIMITS.items():
        line = [(float(one.point.value), median(one.cpu_us)) for one in found if one.point.axis == axis]
        panels.append(Panel(f"us a message against {axis}", {"collector": line}, is_log_y=axis == "bytes"))
        if line[-1][1] > limit * line[0][1]:
            problems.append(f"{axis}: from {line[0][1]:.2f} to {line[-1][1]:.2f} us")
    data = [{**one.point._asdict(), "cpu_us": one.cpu_us} for one in found]
    return Section("Growth", text, data, problems, {"growth": draw(panels)})
