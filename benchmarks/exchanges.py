"""What a message of each exchange costs and waits: `python -m benchmarks.exchanges [okx ...] [--save NAME]`.

600 symbols, four kinds, klines on; 2,000 and 20,000 messages a second and a flood, plain and TLS, beside the floor of
the same exchange. The exchanges take turns within a round, each with processes of its own, in rotated order; medians
over rounds, ratios within a round. Ends with 1 where a message, a trade or an id is missing, or the collector emits a
gap.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.ages import HEAD as AGES_HEAD
from benchmarks.ages import PERCENTILES
from benchmarks.children import Child, make_certificate
from benchmarks.contenders import FLOOR, FLOOR_TLS, KLINES, KLINES_TLS, Contender
from benchmarks.exchange_pool import BYBIT, EXCHANGES, SHARES
from benchmarks.floor_plan import MARKS
from benchmarks.harness import Sample, measure, open_harness
from benchmarks.path import line, load_name
from benchmarks.report import Section, as_markdown, median, save, spread, table, today
from benchmarks.subscriber import read

SYMBOLS = 600
POOL_MESSAGES = 60_000
LOADS = (2_000, 20_000, 0)  # messages a second; 0 is a flood
CONTENDERS = (KLINES, KLINES_TLS, FLOOR, FLOOR_TLS)
LIMIT = 1.2  # times Bybit's cost of a message
WAKE_UPS = 2_000  # messages a second at which the cost is that of waking threads: the limit is not of this load
SETTINGS = {
    "SOCKET_POOL_SIZE": "100",  # the usual one
    "KLINE_REPAIR": "false",  # what REST has is of another market: it is there for the list and the contract sizes
    "AUDIT_SAMPLE": "0",
}
HEAD = (
    "load", "exchange", "contender", "CPU us/message", "times Bybit's", "times its floor", "messages/s", *AGES_HEAD,
    "missing", "bytes/message", "trades/message",
)  # fmt: skip

Facts = dict[str, Any]
Round = dict[tuple[str, str], list[Sample]]
"""The samples of each exchange and contender (its key), in the order of the loads."""


def run_exchange(
    name: str, contenders: Sequence[Contender], folder: Path, loads: Sequence[int], seconds: float
) -> tuple[Round, Facts]:
    """The contenders of an exchange through all loads, everything around them new; facts about the messages."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate = make_certificate(folder / "certificate.pem")
    status = f"stream:{name}_status"
    flood = ["--exchange", name, "--linear", str(SYMBOLS), "--pool", str(POOL_MESSAGES)]
    listing = ["--exchange", name, "--categories", "linear", "--symbols", str(SYMBOLS), "--illiquid", "0"]
    quiet = ["-m", "exchanges.simulated", *listing, "--rate", "0", "--history-minutes", "0"]
    found: Round = {}
    with (
        open_harness(folder, *flood, certificate=certificate, kept=(status,)) as this,
        Child(quiet, folder / "listing.log") as rest,
    ):
        address = f"http://127.0.0.1:{rest.answer()['rest_port']}"
        for one in contenders:
            own = one if one.is_floor else one.but(EXCHANGE=name, REST_URL=address, **SETTINGS)
            found[name, one.key] = measure(this, folder / one.key, own, loads, seconds, this.ready["topics"])
            path = folder / one.key / "kept"
            this.subscriber.ask(10, do="dump", path=str(path))
            note_events(path, found[name, one.key])
            for sample in found[name, one.key]:
                print(f"  {name:8s} {line(sample)}", flush=True)
        facts = {fact: this.ready[fact] for fact in ("topics", "mean_bytes", "trades_per_message", "mix")}
    return found, facts


def note_events(path: Path, samples: Sequence[Sample]) -> None:
    """Record the events of the status channel that may not be: a dump is of the last contender alone."""
    events = Counter(json.loads(message.payload)["event"] for message in read(path))
    for sample in samples:
        sample.notes.update({event: count for event, count in events.items() if event in ("gap", "stale", "repaired")})


def run(names: Sequence[str], rounds: int, seconds: float, folder: Path) -> Section:
    """All rounds of all exchanges, with the contenders that can be started here."""
    has_tls = shutil.which("openssl") is not None
    contenders = [one for one in CONTENDERS if one.is_there and (has_tls or not one.is_tls)]
    found: list[Round] = []
    facts: dict[str, Facts] = {}
    for number in range(rounds):
        turned = number % len(names)
        samples: Round = {}
        for name in (*names[turned:], *names[:turned]):
            there = [one for one in contenders if not one.is_floor or name in MARKS]
            order = there[number % len(there) :] + there[: number % len(there)]
            found_here, facts[name] = run_exchange(name, order, folder / f"{number}-{name}", LOADS, seconds)
            samples |= found_here
        found.append(samples)
    return section(found, facts, seconds)


def section(rounds: Sequence[Round], facts: dict[str, Facts], seconds: float) -> Section:
    """The table, and what failed."""
    rows, problems = [], []
    for position, rate in enumerate(LOADS):
        for name, contender in [(n, one) for n in facts for one in CONTENDERS if (n, one.key) in rounds[0]]:
            samples = [each[name, contender.key][position] for each in rounds]
            ratios = _ratios(rounds, position, (name, contender.key), (BYBIT, contender.key))
            floor = (name, (FLOOR_TLS if contender.is_tls else FLOOR).key)
            floors = [] if contender.is_floor else _ratios(rounds, position, (name, contender.key), floor)
            rows.append(_cells(load_name(rate), name, contender, samples, ratios, floors, facts[name]))
            what = f"{name} {contender.key} {load_name(rate)}"
            if rate != WAKE_UPS and not contender.is_floor and median(ratios) > LIMIT:
                problems.append(f"{what}: {median(ratios):.2f} times Bybit's, the limit is {LIMIT}")
            problems += [f"{what}: {one.lost} missing, {one.notes}" for one in samples if one.is_wrong()]
    mix = ", ".join(f"{kind} {share:.0%}" for kind, share in SHARES.items())
    intervals, most = KLINES.environment["KLINE_INTERVALS"], SETTINGS["SOCKET_POOL_SIZE"]
    text = (
        f"{SYMBOLS} symbols of the linear market, four kinds ({mix}), klines at {intervals}, "
        f"{most} symbols a connection. {len(rounds)} rounds of {seconds:g} s per load; medians, "
        "least and most. Missing: messages that did not arrive. Ids go on without a hole; a gap event is a failure. "
        + _about_floors(rounds, facts)
        + table(HEAD, rows, texts=3)
    )
    data = {
        "facts": facts,
        "rounds": [{" ".join(k): [asdict(one) for one in v] for k, v in each.items()} for each in rounds],
    }
    return Section("Exchanges beside Bybit", text, data, problems)


def _ratios(rounds: Sequence[Round], position: int, one: tuple[str, str], other: tuple[str, str]) -> list[float]:
    """The cost of one to that of another in the same round; nothing where the other was not measured."""
    return [each[one][position].cpu_us / each[other][position].cpu_us for each in rounds if other in each]


def _about_floors(rounds: Sequence[Round], facts: Facts) -> str:
    without = [name for name in facts if (name, FLOOR.key) not in rounds[0]]
    if without == list(facts):
        return "The floor is left out: it needs benchmarks/requirements-floor.txt in .venv-bench.\n\n"
    return (
        "The floor reads the same exchange over one connection on one thread, without klines, supervision or checks"
        + (f"; it does not know {', '.join(without)}.\n\n" if without else ".\n\n")
    )


def _cells(
    load: str,
    name: str,
    contender: Contender,
    samples: Sequence[Sample],
    ratios: Sequence[float],
    floors: Sequence[float],
    facts: Facts,
) -> tuple[str, ...]:
    return (
        load,
        name,
        contender.key,
        spread([one.cpu_us for one in samples]),
        spread(ratios),
        f"{median(floors):.2f}" if floors else "",
        f"{median([one.per_s for one in samples]):,.0f}",
        *(f"{median([getattr(one, age) for one in samples]):.2f}" for age in PERCENTILES),
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
