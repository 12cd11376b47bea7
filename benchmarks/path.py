"""What a message costs from the exchange's socket to PUBLISH: a flood, and paced loads; ws and wss; and idle.

Each contender anew in every run, in rotated order; medians over runs, ratios within a run.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.children import make_certificate
from benchmarks.contenders import CONTENDERS, CRYPTOFEED, KLINES, KLINES_TLS, RAW, SCRIPT, Contender
from benchmarks.harness import Harness, Sample, measure, open_harness
from benchmarks.plot import bars
from benchmarks.pool import topics_of
from benchmarks.report import Options, Section, median, table

SYMBOLS = 4  # with four kinds each: 16 streams
LOADS = (2_000, 5_000, 20_000, 0)  # messages a second; 0 is a flood. Rising, because one process takes them all
SHORT_LOADS = (2_000, 20_000, 0)
BEHIND_SHARE = 0.97  # of the asked rate: below it a contender has not kept up
LABELS = {contender.key: contender.label for contender in CONTENDERS}
HEAD = (
    "load", "contender", "CPU us/message", "least to most", "user", "system", "messages/s", "age p50 ms",
    "age p99 ms", "lost", "altered", "costs x times the collector",
)  # fmt: skip


def run(options: Options, folder: Path) -> Section:
    """All contenders that can be started here, all loads."""
    folder.mkdir(parents=True, exist_ok=True)
    loads = LOADS if options.is_long else SHORT_LOADS
    contenders = [one for one in CONTENDERS if one.is_there and (options.is_long or one is not RAW)]
    certificate = make_certificate(folder / "certificate.pem")
    if certificate is None:
        contenders.remove(KLINES_TLS)
    runs = []
    facts: dict[str, Any] = {}
    for number in range(options.runs):
        turned = number % len(contenders)
        order = contenders[turned:] + contenders[:turned]
        samples, facts = run_once(folder, order, loads, options.seconds, certificate)
        runs.append(samples)
    return section(runs, facts, options.seconds)


def run_once(
    folder: Path, contenders: Sequence[Contender], loads: Sequence[int], seconds: float, certificate: Path | None
) -> tuple[list[Sample], dict[str, Any]]:
    """All contenders, one after another, on a fresh harness; returns samples and facts about the messages."""
    samples = []
    with open_harness(folder, "--linear", str(SYMBOLS), certificate=certificate) as this:
        for contender in contenders:
            found = measure(this, folder, contender, loads, seconds, topics_asked(this, contender))
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
    return (
        f"{sample.contender:10s} {load_name(sample.rate):9s} {sample.cpu_us:7.2f} us  {sample.per_s:9,.0f}/s  "
        f"age {sample.p50_ms:.2f} / {sample.p99_ms:.2f} ms  sent {sample.sent:,} lost {sample.lost:,}  ({others}) "
        f"{sample.notes or ''}"
    )


def load_name(rate: int) -> str:
    """How a load is called in tables."""
    return f"{rate:,}/s" if rate else "flood"


def section(runs: Sequence[Sequence[Sample]], facts: dict[str, Any], seconds: float) -> Section:
    """The tables, and what failed."""
    rows = medians(runs)
    mix = ", ".join(f"{kind} {share:.0%}" for kind, share in facts["mix"].items())
    text = (
        f"{facts['topics']} streams, {facts['mean_bytes']:.0f} bytes a message in the mean ({mix}). "
        f"Medians of {len(runs)} runs of {seconds:g} s per load; ratios are taken within a run.\n\n"
        + table(HEAD, [_cells(row) for row in rows], texts=2)
        + f"\n\n{CRYPTOFEED.label}: it publishes records of its own, over one connection."
        * any(row["contender"] == CRYPTOFEED.key for row in rows)
    )
    checked = {one.key for one in CONTENDERS if one.is_checked}
    wrong = [s for run in runs for s in run if s.contender in checked and s.is_wrong()]
    problems = [f"{s.contender} {load_name(s.rate)}: lost {s.lost}, {s.notes}, same {s.is_unaltered}" for s in wrong]
    data = {"messages": facts, "medians": rows, "runs": [[asdict(sample) for sample in run] for run in runs]}
    costs = {LABELS[row["contender"]]: row["cpu_us"] for row in rows if not row["rate"]}
    plots = {"path": bars("CPU per message in a flood (logarithmic)", costs, "us")} if costs else {}
    return Section("Path: exchange socket to PUBLISH", text, data, problems, plots)


def medians(runs: Sequence[Sequence[Sample]]) -> list[dict[str, Any]]:
    """One row per load and contender, in the order of the first run's loads and of CONTENDERS."""
    rows = []
    for rate in dict.fromkeys(sample.rate for sample in runs[0]):
        for key in LABELS:
            found = [_find(run, rate, key) for run in runs]
            samples = [sample for sample in found if sample is not None]
            if samples:
                rows.append(_row(samples, ratios(runs, rate, key)))
    return rows


def ratios(runs: Iterable[Sequence[Sample]], rate: int, key: str) -> list[float]:
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
    values = {name: median([getattr(s, name) for s in samples]) for name in ("cpu_us", "per_s", "p50_ms", "p99_ms")}
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
        f"{row['p50_ms']:.2f}",
        f"{row['p99_ms']:.2f}",
        f"{row['lost']:,} of {row['sent']:,}",
        "(other bytes)" if is_other else "yes" if row["altered"] else "0",
        f"{row['times']:.1f}" if row["times"] and row["contender"] != KLINES.key else "",
    )
