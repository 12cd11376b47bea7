"""The endurance run: an hour of faults on the real process; memory must not grow and every kline must be right.

    python -m benchmarks.endure --minutes 65 [--seed 1] [--kill] [--save] [--folder PATH]

Simulator, Valkey and `main.py` as processes; seeded faults every few seconds. Exit code 1 where the answer is no.
"""

import argparse
import datetime
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import endure_watch as watch
from benchmarks.endure_harness import INTERVALS, INTERVALS_MS, RATE, SYMBOLS, Faults, Harness
from benchmarks.pool import symbols_of
from benchmarks.report import machine

CALM_S = 15.0  # nothing fails before, so that the first connections stand
QUIET_S = 90.0  # nothing fails at the end, so that everything can heal; then it is judged
REST_S = 25.0  # no fault for so long, at ten minutes and at the end: threads and files are counted at rest
LOOKS = 9  # and their median taken: an answer under way is a file too
BANNED_FROM_MIN = 40  # a run so long has time for the ten minutes without REST that a ban costs, after its first third
UNSETTLED_MS = 20_000  # what ended later may still be on its way
RESULTS = Path(__file__).resolve().parent / "results"


def endure(harness: Harness, minutes: float, faults: Faults, show: Callable[[str], object]) -> dict[str, Any]:
    """Make faults for so many minutes, then none; returns all observations."""
    downstream = watch.Downstream(harness.redis_port)
    downstream.start()
    began_ms, begin_s = int(time.time() * 1000), time.monotonic()
    sampler = watch.Sampler(harness.collector.pid, begin_s)
    sampler.start()
    cpu = harness.collector.cpu()
    time.sleep(CALM_S)
    rest_at_s = min(600.0, minutes * 20)
    rests: list[watch.Sample] = []
    while (passed_s := time.monotonic() - begin_s) < minutes * 60:
        if not rests and passed_s > rest_at_s:
            rests.append(_rest(harness, faults))
        is_ban_due = minutes >= BANNED_FROM_MIN and passed_s > minutes * 20 and not faults.counts["REST 403"]
        harness.note("fault", faults.ban_rest() if is_ban_due else faults.happen())
        show(f"\r{passed_s / 60:5.1f} min  {downstream.counts['klines']:,} klines  {faults.counts.total()} faults  ")
        time.sleep(faults.pause_s())
    rests.append(_rest(harness, faults))
    time.sleep(max(0.0, QUIET_S - REST_S))
    until_ms = int(time.time() * 1000) - UNSETTLED_MS
    examples: list[Any] = []
    used_s = harness.collector.cpu().since(cpu).total_s / (time.monotonic() - begin_s)
    names, klines = symbols_of(SYMBOLS), dict(downstream.klines)
    figures = watch.judge(klines, harness.exchange.truths, names, INTERVALS_MS, began_ms, until_ms, examples)
    harness.note("wrong", examples)
    sampler.stop()
    downstream.stop()
    return {"samples": sampler.samples, "rests": rests, "figures": figures, "counts": downstream.counts, "cpu": used_s}


def _rest(harness: Harness, faults: Faults) -> watch.Sample:
    """Threads and files where nothing is just being lost or regained."""
    faults.cease()
    time.sleep(REST_S)
    looks = []
    for _ in range(LOOKS):
        looks.append(watch.sample(harness.collector.pid, 0.0))
        time.sleep(1.0)
    return watch.middle(looks)


def verdict(seen: Mapping[str, Any], minutes: float, *, may_kill: bool) -> list[str]:
    """The faults found, in sentences; empty where there is none."""
    problems = [f"klines {name}: {count}" for name, count in watch.failings(seen["figures"]).items() if count]
    if seen["counts"]["contradictions"]:
        problems.append(f"klines with two values in one revision: {seen['counts']['contradictions']}")
    if may_kill:
        return problems  # a new process has not the memory of the old one
    spans = watch.windows(minutes)
    before, after, is_same = watch.grown_mb(*(watch.within(seen["samples"], span) for span in spans))
    if not is_same:
        problems.append(f"memory went from {before:.1f} to {after:.1f} MB")
    early, late = seen["rests"]
    if (early.threads, early.files) != (late.threads, late.files):
        problems.append(f"threads, files at rest: {early.threads}, {early.files}, then {late.threads}, {late.files}")
    return problems


def report(harness: Harness, seen: Mapping[str, Any], faults: Faults, asked: Any, problems: Sequence[str]) -> str:
    """All observations, as Markdown."""
    minutes, counts, spans = asked.minutes, seen["counts"], watch.windows(asked.minutes)
    before, after, _ = watch.grown_mb(*(watch.within(seen["samples"], span) for span in spans))
    early, late = seen["rests"]
    return "\n\n".join(
        [
            f"{minutes:g} minutes, seed {asked.seed}, {SYMBOLS} symbols, {RATE} market events a second, {INTERVALS}, "
            f"{faults.counts.total()} faults: **{'; '.join(problems) or 'all as it must be'}**.",
            f"Resident memory, median: minutes {spans.early[0]:g} to {spans.early[1]:g} {before:.1f} MB, minutes "
            f"{spans.late[0]:g} to {spans.late[1]:g} {after:.1f} MB ({after - before:+.1f}). At rest: {early.threads} "
            f"threads and {early.files} files, at the end {late.threads} and {late.files}. CPU: {seen['cpu']:.1%} of "
            "one core.",
            watch.memory_table(seen["samples"], minutes),
            f"Last revision of every kline against the exchange's own; {counts['klines']:,} received, "
            f"{counts['revisions']:,} of them revisions, {counts['twice']:,} twice, {counts['contradictions']:,} with "
            "another value under the same revision.",
            watch.kline_table(seen["figures"]),
            "Faults: " + ", ".join(f"{name} {count}" for name, count in faults.counts.most_common()) + ".",
            "The collector warned: " + ", ".join(f"{n} {c}" for n, c in harness.log_counts().most_common()) + ".",
            f"Its own figures at the end: `{json.dumps(harness.status())}`",
            f"Machine: {machine()}.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; exit code 1 where a fault was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endure", description=__doc__)
    parser.add_argument("--minutes", type=float, default=65.0, help="of faults; two more to heal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill", action="store_true", help="kill the collector now and then; memory is not judged")
    parser.add_argument("--save", action="store_true", help="keep the tables in benchmarks/results")
    parser.add_argument("--folder", type=Path, help="where the processes' logs stay")
    asked: Any = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before its time"))  # and the processes with it
    with tempfile.TemporaryDirectory() as temporary, Harness(asked.folder or Path(temporary)) as harness:
        faults = Faults(harness, asked.seed, may_kill=asked.kill)
        seen = endure(harness, asked.minutes, faults, lambda text: sys.stderr.write(text))
        problems = verdict(seen, asked.minutes, may_kill=asked.kill)
        text = report(harness, seen, faults, asked, problems)
    print(f"\n{text}")
    if asked.save:
        day = datetime.datetime.now(datetime.UTC).date()
        head = f"# An hour of faults, {day}\n\n    python -m benchmarks.endure --minutes {asked.minutes:g}\n\n"
        (RESULTS / f"{day}-endure.md").write_text(f"{head}{text}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
