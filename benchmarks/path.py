"""What a message costs and waits from the exchange's socket to PUBLISH: a flood, and paced loads; ws and wss.

Each contender anew in every run, in rotated order, beside the floor; medians over runs, ratios within a run.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.ages import HEAD as AGES_HEAD
from benchmarks.ages import PERCENTILES
from benchmarks.children import make_certificate
from benchmarks.contenders import (
    CONTENDERS,
    CRYPTOFEED,
    FLOOR,
    FLOOR_TLS,
    KLINE_INTERVALS,
    KLINES,
    KLINES_TLS,
    SCRIPT,
    Contender,
)  # fmt: skip
from benchmarks.exchange_pool import BYBIT
from benchmarks.harness import Harness, Sample, measure, open_harness
from benchmarks.plot import bars
from benchmarks.pool import topics_of
from benchmarks.report import Options, Section, median, table

SYMBOLS = 4  # with four kinds each: 16 streams
STEADY_POOL = 40_000  # messages, more than a second of them
TWELVE = "1m,3m,5m,15m,30m,1h,2h,4h,6h,8h,12h,1D"
BEHIND_SHARE = 0.97  # of the asked rate: below it a contender has not kept up
LABELS = {contender.key: contender.label for contender in CONTENDERS}
TABLED = ((KLINES, FLOOR, ""), (KLINES_TLS, FLOOR_TLS, ", TLS"))  # rows of the summary, and what stands in brackets
HEAD = (
    "load", "contender", "CPU us/message", "least to most", "user", "system", "messages/s", *AGES_HEAD, "lost",
    "altered", "costs x times the collector",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """A table: symbols, connections, loads in messages a second (0 is a flood), rising, as one process takes them all.

    `short` are the loads of the short form. The floor has one connection, or as many as the collector.
    """

    symbols: int
    connections: int
    loads: tuple[int, ...]
    short: tuple[int, ...]
    intervals: str = KLINE_INTERVALS
    is_of_all: bool = False
    """Whether all contenders take part in the long form, not only collector and floor; and the floor has as many.

    If not, only what a new subscriber gets first has snapshots: the messages are those of a steady market.
    """

    @property
    def name(self) -> str:
        """How the table is called."""
        return f"{self.symbols} symbols, {self.connections} connections"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the collector."""
        return {"SOCKET_POOL_SIZE": str(self.symbols * 4 // self.connections), "KLINE_INTERVALS": self.intervals}

    @property
    def exchange(self) -> tuple[str, ...]:
        """The arguments of the flooder."""
        steady = () if self.is_of_all else ("--exchange", BYBIT, "--pool", str(STEADY_POOL))
        return (*steady, "--linear", str(self.symbols))

    def contenders(self, *, is_long: bool, has_tls: bool) -> list[Contender]:
        """Those that can be started here."""
        chosen = CONTENDERS if self.is_of_all and is_long else (KLINES, KLINES_TLS, FLOOR, FLOOR_TLS)
        return [
            replace(one.but(**self.settings), floor_connections=self.connections if self.is_of_all else 1)
            for one in chosen
            if one.is_there and (has_tls or not one.is_tls)
        ]


LAYOUTS = (
    Layout(100, 4, (2_000, 20_000), (2_000, 20_000)),
    Layout(400, 16, (30_000,), (30_000,), TWELVE),
    Layout(SYMBOLS, 16, (2_000, 5_000, 20_000, 0), (0,), is_of_all=True),
)

Run = Sequence[Sample]


def run(options: Options, folder: Path) -> Section:
    """All layouts, all contenders that can be started here, all loads."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate = make_certificate(folder / "certificate.pem")
    runs: list[list[Run]] = [[] for _ in LAYOUTS]
    facts: list[dict[str, Any]] = [{} for _ in LAYOUTS]
    for number in range(options.runs):
        for index, layout in enumerate(LAYOUTS):
            contenders = layout.contenders(is_long=options.is_long, has_tls=certificate is not None)
            turned = number % len(contenders)
            order = contenders[turned:] + contenders[:turned]
            loads = layout.loads if options.is_long else layout.short
            print(f"  {layout.name}", flush=True)
            samples, facts[index] = run_once(folder, order, loads, options.seconds, certificate, layout)
            runs[index].append(samples)
    return joined(list(zip(LAYOUTS, runs, facts, strict=True)), options.seconds)


def run_once(
    folder: Path,
    contenders: Sequence[Contender],
    loads: Sequence[int],
    seconds: float,
    certificate: Path | None,
    layout: Layout = LAYOUTS[-1],
) -> tuple[list[Sample], dict[str, Any]]:
    """All contenders, one after another, on a fresh harness; returns samples and facts about the messages."""
    samples = []
    with open_harness(folder, *layout.exchange, certificate=certificate) as this:
        for contender in contenders:
            found = measure(this, folder / contender.key, contender, loads, seconds, topics_asked(this, contender))
            samples += found
            for sample in found:
                print(f"  {line(sample)}", flush=True)
        return samples, {name: this.ready[name] for name in ("topics", "mean_bytes", "mix")}


def topics_asked(harness: Harness, contender: Contender) -> int:
    """How many topics a contender subscribes."""
    return len(topics_of(harness.ready["symbols"]["linear"], kinds=contender.kinds))


def line(sample: Sample) -> str:
    """For the terminal, while it runs."""
    others = " ".join(f"{name} {us:.1f}" for name, us in sample.others_us.items())
    ages = " / ".join(f"{getattr(sample, name):.2f}" for name in PERCENTILES)
    return (
        f"{sample.contender:10s} {load_name(sample.rate):9s} {sample.cpu_us:7.2f} us  {sample.per_s:9,.0f}/s  "
        f"age {ages} ms  sent {sample.sent:,} lost {sample.lost:,}  ({others}) {sample.notes or ''}"
    )


def load_name(rate: int) -> str:
    """How a load is called in tables."""
    return f"{rate:,}/s" if rate else "flood"


def joined(found: Sequence[tuple[Layout, Sequence[Run], dict[str, Any]]], seconds: float) -> Section:
    """The summary, which is README's table, and a table for each layout."""
    sections = [section(runs, facts, seconds, layout) for layout, runs, facts in found]
    brief = [row for layout, runs, _ in found if not layout.is_of_all for row in summary(layout, medians(runs))]
    head = ("four kinds, klines on", "CPU us a message (floor)", *(f"{name} (floor)" for name in AGES_HEAD))
    text = (
        "In brackets the floor in the same run: one thread and one connection for all symbols, without klines, "
        "supervision or checks. Times from the exchange's send to the subscriber.\n\n" + table(head, brief)
    )
    return Section(
        "Path: exchange socket to PUBLISH",
        "\n\n".join([text, *(one.text for one in sections)]),
        {layout.name: one.data for (layout, *_), one in zip(found, sections, strict=True)},
        [problem for one in sections for problem in one.problems],
        {name: plot for one in sections for name, plot in one.plots.items()},
    )


def summary(layout: Layout, rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """A row for each load, plain and TLS: cost and percentiles, the floor's in brackets where it was measured."""
    found = {(row["rate"], row["contender"]): row for row in rows}
    lines = []
    for rate in dict.fromkeys(row["rate"] for row in rows):
        for one, floor, suffix in TABLED:
            own, other = found.get((rate, one.key)), found.get((rate, floor.key))
            if own is None:
                continue
            cells = [
                f"{own[name]:.2f}" + (f" ({other[name]:.2f})" if other else "") for name in ("cpu_us", *PERCENTILES)
            ]
            lines.append((f"{load_name(rate)}, {layout.name}{suffix}", *cells))
    return lines


def section(runs: Sequence[Run], facts: dict[str, Any], seconds: float, layout: Layout = LAYOUTS[-1]) -> Section:
    """The table of a layout, and what failed."""
    rows = medians(runs)
    mix = ", ".join(f"{kind} {share:.0%}" for kind, share in facts["mix"].items())
    floors = layout.connections if layout.is_of_all else 1
    text = (
        f"### {layout.name}\n\n"
        f"{facts['topics']} topics, {facts['mean_bytes']:.0f} bytes a message in the mean ({mix}); klines at "
        f"{layout.intervals}. The floor has {floors} connection{'s' * (floors > 1)}. "
        f"Medians of {len(runs)} runs of {seconds:g} s per load; ratios are taken within a run.\n\n"
        + table(HEAD, [_cells(row) for row in rows], texts=2)
        + f"\n\n{CRYPTOFEED.label}: it publishes records of its own, over one connection."
        * any(row["contender"] == CRYPTOFEED.key for row in rows)
        + "\n\nThe floor is left out: it needs benchmarks/requirements-floor.txt in .venv-bench."
        * (FLOOR.key not in {row["contender"] for row in rows})
    )
    checked = {one.key for one in CONTENDERS if one.is_checked}
    wrong = [s for run in runs for s in run if s.contender in checked and s.is_wrong()]
    problems = [
        f"{layout.name}, {s.contender} {load_name(s.rate)}: lost {s.lost}, {s.notes}, same {s.is_unaltered}"
        for s in wrong
    ]
    data = {"messages": facts, "medians": rows, "runs": [[asdict(sample) for sample in run] for run in runs]}
    costs = {LABELS[row["contender"]]: row["cpu_us"] for row in rows if not row["rate"]}
    plots = {"path": bars("CPU per message in a flood (logarithmic)", costs, "us")} if costs else {}
    return Section(layout.name, text, data, problems, plots)


def medians(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row per load and contender, in the order of the first run's loads and of CONTENDERS."""
    rows = []
    for rate in dict.fromkeys(sample.rate for sample in runs[0]):
        for key in LABELS:
            found = [_find(run, rate, key) for run in runs]
            samples = [sample for sample in found if sample is not None]
            if samples:
                rows.append(_row(samples, ratios(runs, rate, key)))
    return rows


def ratios(runs: Iterable[Run], rate: int, key: str) -> list[float]:
    """How many times as much CPU as the collector with klines it takes per message, run by run."""
    found = []
    for run in runs:
        other, own = _find(run, rate, key), _find(run, rate, KLINES.key)
        if own is not None and other is not None and own.cpu_us:
            found.append(other.cpu_us / own.cpu_us)
    return found


def _find(run: Iterable[Sample], rate: int, key: str) -> Sample | None:
    return next((sample for sample in run if sample.rate == rate and sample.contender == key), None)


def _row(samples: Sequence[Sample], times: Sequence[float]) -> dict[str, Any]:
    first = samples[0]
    values = {name: median([getattr(s, name) for s in samples]) for name in ("cpu_us", "per_s", *PERCENTILES)}
    return {
        "contender": first.contender,
        "rate": first.rate,
        **values,
        "least_us": min(sample.cpu_us for sample in samples),
        "most_us": max(sample.cpu_us for sample in samples),
        "user_us": median([s.cpu_us * (1 - s.system_share) for s in samples]),
        "system_us": median([s.cpu_us * s.system_share for s in samples]),
        "sent": sum(sample.sent for sample in samples),
        "lost": sum(sample.lost for sample in samples),
        "altered": sum(not sample.is_unaltered for sample in samples),
        "times": statistics.median(times) if times else None,
        "others_us": {name: median([sample.others_us[name] for sample in samples]) for name in first.others_us},
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    behind = row["rate"] and row["per_s"] < row["rate"] * BEHIND_SHARE
    is_other = row["contender"] in (SCRIPT.key, CRYPTOFEED.key)
    return (
        load_name(row["rate"]),
        LABELS[row["contender"]],
        f"{row['cpu_us']:.2f}",
        f"{row['least_us']:.2f} to {row['most_us']:.2f}",
        f"{row['user_us']:.2f}",
        f"{row['system_us']:.2f}",
        f"{row['per_s']:,.0f}" + (" (behind)" if behind else ""),
        *(f"{row[name]:.2f}" for name in PERCENTILES),
        f"{row['lost']:,} of {row['sent']:,}",
        "(other bytes)" if is_other else "yes" if row["altered"] else "0",
        f"{row['times']:.1f}" if row["times"] and row["contender"] != KLINES.key else "",
    )
