"""What a message of each exchange costs beside Bybit's: `python -m benchmarks.exchanges [okx ...] [--save NAME]`.

600 symbols, four kinds, klines on; 20,000 messages a second and a flood. The exchanges take turns within a round, each
with processes of its own, in rotated order; medians over rounds, ratios within a round. Ends with 1 where a message,
a trade or an id is missing, or the collector emits a gap.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.children import Child
from benchmarks.contenders import KLINES
from benchmarks.exchange_pool import BYBIT, EXCHANGES, SHARES
from benchmarks.harness import Sample, measure, open_harness
from benchmarks.path import line, load_name
from benchmarks.report import Section, as_markdown, median, save, spread, table, today
from benchmarks.subscriber import read

SYMBOLS = 600
POOL_MESSAGES = 60_000
LOADS = (20_000, 0)  # messages a second; 0 is a flood
LIMIT = 1.2  # times Bybit's cost of a message
SETTINGS = {
    "SOCKET_POOL_SIZE": "100",  # the usual one
    "KLINE_REPAIR": "false",  # what REST has is of another market: it is there for the list and the contract sizes
    "AUDIT_SAMPLE": "0",
}
HEAD = (
    "load", "exchange", "CPU us/message", "times Bybit's", "messages/s", "age p50 ms", "age p99 ms", "missing",
    "bytes/message", "trades/message",
)  # fmt: skip

Facts = dict[str, Any]
Round = dict[str, list[Sample]]
"""The samples of each exchange, in the order of the loads."""


def run_exchange(name: str, folder: Path, loads: Sequence[int], seconds: float) -> tuple[list[Sample], Facts]:
    """One collector of an exchange through all loads, everything around it new; facts about the messages."""
    folder.mkdir(parents=True, exist_ok=True)
    status = f"stream:{name}_status"
    flood = ["--exchange", name, "--linear", str(SYMBOLS), "--pool", str(POOL_MESSAGES)]
    listing = ["--exchange", name, "--categories", "linear", "--symbols", str(SYMBOLS), "--illiquid", "0"]
    quiet = ["-m", "exchanges.simulated", *listing, "--rate", "0", "--history-minutes", "0"]
    with open_harness(folder, *flood, kept=(status,)) as this, Child(quiet, folder / "listing.log") as rest:
        own = KLINES.but(EXCHANGE=name, REST_URL=f"http://127.0.0.1:{rest.answer()['rest_port']}", **SETTINGS)
        samples = measure(this, folder, replace(own, key=name), loads, seconds, this.ready["topics"])
        this.subscriber.ask(10, do="dump", path=str(folder / "kept"))
        facts = {fact: this.ready[fact] for fact in ("topics", "mean_bytes", "trades_per_message", "mix")}
    events = Counter(json.loads(message.payload)["event"] for message in read(folder / "kept"))
    for sample in samples:
        sample.notes.update({event: count for event, count in events.items() if event in ("gap", "stale", "repaired")})
        print(f"  {line(sample)}", flush=True)
    return samples, facts


def run(names: Sequence[str], rounds: int, seconds: float, folder: Path) -> Section:
    """All rounds of all exchanges."""
    found: list[Round] = []
    facts: dict[str, Facts] = {}
    for number in range(rounds):
        turned = number % len(names)
        samples: Round = {}
        for name in (*names[turned:], *names[:turned]):
            samples[name], facts[name] = run_exchange(name, folder / f"{number}-{name}", LOADS, seconds)
        found.append(samples)
    return section(found, facts, seconds)


def section(rounds: Sequence[Round], facts: dict[str, Facts], seconds: float) -> Section:
    """The table, and what failed."""
    rows, problems = [], []
    for position, rate in enumerate(LOADS):
        for name in facts:
            samples = [samples[name][position] for samples in rounds]
            ratios = [samples[name][position].cpu_us / samples[BYBIT][position].cpu_us for samples in rounds]
            rows.append(_cells(load_name(rate), name, samples, ratios, facts[name]))
            if median(ratios) > LIMIT:
                problems.append(f"{name} {load_name(rate)}: {median(ratios):.2f} times Bybit's, the limit is {LIMIT}")
            wrong = [one for one in samples if one.is_wrong()]
            problems += [f"{name} {load_name(rate)}: {one.lost} missing, {one.notes}" for one in wrong]
    mix = ", ".join(f"{kind} {share:.0%}" for kind, share in SHARES.items())
    intervals, most = KLINES.environment["KLINE_INTERVALS"], SETTINGS["SOCKET_POOL_SIZE"]
    text = (
        f"{SYMBOLS} symbols of the linear market, four kinds ({mix}), klines at {intervals}, "
        f"{most} symbols a connection. {len(rounds)} rounds of {seconds:g} s per load; medians, "
        "least and most. Missing: messages that did not arrive. Ids go on without a hole; a gap event is a failure.\n\n"
        + table(HEAD, rows, texts=2)
    )
    data = {"facts": facts, "rounds": [{k: [asdict(one) for one in v] for k, v in each.items()} for each in rounds]}
    return Section("Exchanges beside Bybit", text, data, problems)


def _cells(load: str, name: str, samples: Sequence[Sample], ratios: Sequence[float], facts: Facts) -> tuple[str, ...]:
    return (
        load,
        name,
        spread([one.cpu_us for one in samples]),
        spread(ratios),
        f"{median([one.per_s for one in samples]):,.0f}",
        f"{median([one.p50_ms for one in samples]):.2f}",
        f"{median([one.p99_ms for one in samples]):.2f}",
        f"{sum(one.lost for one in samples):,} of {sum(one.sent for one in samples):,}",
        f"{facts['mean_bytes']:.0f}",
        f"{facts['trades_per_message']:.2f}",
    )


def main() -> int:
    """Run, print the table, keep it where that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exchanges", description=__doc__)
    parser.add_argument("exchanges", nargs="*", metavar="exchange", help=f"of {', '.join(EXCHANGES)}; all without any")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--save", metavar="NAME", help="write results/<date>-NAME.md and .json")
    options = parser.parse_args()
    if unknown := set(options.exchanges) - EXCHANGES.keys():
        parser.error(f"no such exchange: {', '.join(unknown)}; there are {', '.join(EXCHANGES)}")
    names = [*dict.fromkeys([BYBIT, *(options.exchanges or EXCHANGES)])]
    begin_s, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        found = run(names, options.rounds, options.seconds, Path(folder))
    command = f"python -m benchmarks.exchanges {' '.join(sys.argv[1:])}".strip()
    print("\n" + as_markdown([found], command, today()))
    print(f"{time.monotonic() - begin_s:.0f} s; load average at the beginning {load:.1f}")
    if options.save:
        print(f"saved {save([found], command, options.save).name}")
    return int(bool(found.problems))


if __name__ == "__main__":
    sys.exit(main())
