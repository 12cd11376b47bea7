"""The benchmarks: `python -m benchmarks [parts] [--long] [--save]`, `make bench`, `make bench BENCH=long`.

Each part starts its own processes, checks what came out, and gives a section of the result. Ends with 1 where
something was lost, altered or wrong.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import boundary, burst, growth, hour, idle, klines, market, pages, path, scrape
from benchmarks.report import Options, Section, as_markdown, save, today

PARTS: dict[str, Callable[[Options, Path], Section]] = {
    "path": path.run,  # a message from the exchange's socket to PUBLISH: flood, and 2,000 to 20,000 a second
    "idle": idle.run,  # 50 silent streams
    "market": market.run,  # 750 linear and 500 spot symbols, 45,000 messages a second
    "burst": burst.run,  # 100,000 trades within a second
    "klines": klines.run,  # trades to closed klines, in process
    "boundary": boundary.run,  # 600 symbols x 12 intervals closing together
    "hour": hour.run,  # the same within 30,000 messages a second: what those waited
    "scrape": scrape.run,  # GET /metrics of 1,250 symbols
    "pages": pages.run,  # 20 open pages
    "growth": growth.run,  # cost against streams, symbols, intervals and message size
}
SHORT = Options(is_long=False, runs=1, seconds=2.0, market_s=12.0)
LONG = Options(is_long=True, runs=5, seconds=3.0, market_s=600.0)
QUIET_LOAD = 0.5  # one-minute load average; above it somebody else uses the cores


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all without any")
    parser.add_argument("--long", action="store_true", help="five runs, ten minutes of the whole market, all points")
    parser.add_argument("--runs", type=int, help="instead of 1, or 5 with --long")
    parser.add_argument("--seconds", type=float, help="of each load")
    parser.add_argument("--market-seconds", type=float, help="of the whole market")
    parser.add_argument("--save", metavar="NAME", help="write results/<date>-NAME.md, .json and plots")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


def main() -> int:
    """Run the parts, print the result."""
    wanted = parse()
    base = LONG if wanted.long else SHORT
    options = Options(
        is_long=base.is_long,
        runs=wanted.runs or base.runs,
        seconds=wanted.seconds or base.seconds,
        market_s=wanted.market_seconds or base.market_s,
    )
    if os.getloadavg()[0] > QUIET_LOAD:
        print(f"this machine is busy (load {os.getloadavg()[0]:.1f}): figures are worth little", file=sys.stderr)
    sections = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        for part in wanted.parts or PARTS:
            begin_s = time.monotonic()
            print(f"{part} ...", flush=True)
            sections.append(PARTS[part](options, Path(name) / part))
            print(f"{part}: {time.monotonic() - begin_s:.0f} s", flush=True)
    command = "python -m benchmarks " + " ".join(sys.argv[1:])
    print("\n" + as_markdown(sections, command.strip(), today()))
    if wanted.save:
        print(f"saved {save(sections, command.strip(), wanted.save).name}")
    return int(any(section.problems for section in sections))


if __name__ == "__main__":
    sys.exit(main())
