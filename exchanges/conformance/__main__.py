"""`python -m exchanges.conformance okx`, or `all`: print what each check proved.

Exit code 0: all passed; 1: something failed; 2: wrong arguments; 3: nothing failed, but a part could not run (no
recordings, no simulated exchange).
"""

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from exchanges.conformance import declaration, protocol, recorded, rest, sockets
from exchanges.conformance.process import simulated
from exchanges.conformance.recordings import SHARED, folder_of, read_folder
from exchanges.conformance.report import Failed, NotRun, Result, run
from exchanges.conformance.table import table
from exchanges.contract import Venue
from exchanges.registry import VENUES

ALL = "all"
BUSY = (
    "--true-seconds",
    "--symbols",
    4,
    "--illiquid",
    0,
    "--rate",
    400,
    "--mix",
    "trades=50,orderbook=30,ticker=10,liquidation=10",
)


def results_of(venue: Venue, folder: Path) -> Iterator[Result]:
    """Run every check of a venue; its recordings are in `folder`."""
    for part, module in (("declaration", declaration), ("protocol", protocol)):
        yield from (run(part, check, venue) for check in module.CHECKS)
    if folder.is_dir():
        found = read_folder(venue, folder)
        yield from (run("recorded", check, found) for check in recorded.CHECKS)
    else:
        yield Result("recorded", "all", "Recorded frames are read as declared.", "not run", f"{folder} is not there")
    yield from _simulated(venue)


def _simulated(venue: Venue) -> Iterator[Result]:
    everything = "Its simulated exchange is collected over real sockets and HTTP."
    try:
        with simulated(venue, *BUSY) as exchange:
            for part, module in (("rest", rest), ("streams", sockets)):
                yield from (run(part, check, venue, exchange) for check in module.CHECKS)
    except NotRun as reason:
        yield Result("simulated", "all", everything, "not run", str(reason))
    except Failed as failure:
        yield Result("simulated", "all", everything, "failed", str(failure))


def code_of(results: Sequence[Result]) -> int:
    """The exit code of what was found."""
    if any(result.outcome == "failed" for result in results):
        return 1
    return 3 if any(result.outcome == "not run" and result.name == "all" for result in results) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print results as they come, then a summary; of all venues their table, too."""
    parser = argparse.ArgumentParser(prog="python -m exchanges.conformance", description=__doc__)
    parser.add_argument("exchange", choices=[*VENUES, ALL])
    parser.add_argument("--data", type=Path, help="folder of recorded frames; of all: with a folder for each exchange")
    options = parser.parse_args(arguments)
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}  # all of it is on this machine
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found: list[Result] = []
    names = list(VENUES) if options.exchange == ALL else [options.exchange]
    for name in names:
        folder = (
            folder_of(name, options.data or SHARED) if options.exchange == ALL or not options.data else options.data
        )
        for result in results_of(VENUES[name], folder):
            print(f"{name}: {result.lines()}", flush=True)
            found.append(result)
    counts = Counter(result.outcome for result in found)
    print(f"{', '.join(names)}: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")
    if options.exchange == ALL:
        print("\n".join(table(VENUES.values())))
    return code_of(found)


if __name__ == "__main__":
    sys.exit(main())
