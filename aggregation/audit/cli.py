"""The audit on demand: klines of a past range, read from the file output, against the exchange's own candles.

`python main.py audit --help`; app/cli.py hands over the exchange's REST API. Changes nothing.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aggregation.audit.compare import FIELDS, Tally, advice_on, compare, served_step
from aggregation.audit.files import FoundKlines, read_klines
from model import clock
from model.intervals import end_of_step, interval_name, parse_interval, step_name
from model.ports import HistoryError, MarketHistory
from model.records import Candle, Kline
from model.symbols import is_symbol, split_names

EQUAL, DIFFERENT, WRONG_ARGUMENTS = 0, 1, 2  # exit codes
SHOWN = 50  # differences that are written out
REDIS_HAS_NONE = (
    "--source redis: Redis keeps no klines to compare. Its channels keep nothing, and the hash <prefix>:last-published:"
    "<market> says which kline was published last per symbol and interval, without its values. "
    "Add file to ENABLED_CONSUMERS and use --source file."
)


@dataclass(frozen=True)
class Defaults:
    """Values of the settings where the command line has none.

    `fields_of` gives those that are compared of a market; `is_left_out(market, kline)`: the exchange has no candle of a
    kline that is right.
    """

    market: str
    path: Path
    fields_of: Callable[[str], Sequence[str]] = lambda _market: FIELDS
    is_left_out: Callable[[str, Kline], bool] = lambda _market, _kline: False


@dataclass
class Outcome:
    """Figures by step of the interval, and differences in words."""

    tallies: dict[int, Tally] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    not_served: dict[int, int] = field(default_factory=dict)


def run_audit(
    asked: argparse.Namespace,
    defaults: Defaults,
    history: Callable[[str], MarketHistory],
) -> int:
    """Audit what the arguments name and write the table to stdout; returns the exit code.

    `asked` has what `add_arguments` adds. 0: all complete klines equal the exchange's; 1: some do not, or there was
    nothing to compare; 2: wrong arguments. `history(market)` is the exchange's REST API.
    """
    try:
        asked = completed(asked, defaults)
        found = read_klines(asked.path, asked.market, asked.from_ms, asked.to_ms)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"audit: {error}\n")
        return WRONG_ARGUMENTS
    try:
        outcome = audit(found, history(asked.market), asked, defaults)
    except HistoryError as error:
        sys.stderr.write(f"audit: the exchange could not be asked: {error}\n")
        return DIFFERENT
    sys.stdout.write(report(asked, found, outcome))
    return EQUAL if is_sound(found, outcome) else DIFFERENT


# -- arguments ------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of an audit: from_ms, to_ms, source, path, market, symbols, intervals."""
    add = parser.add_argument
    add("--from", dest="from_ms", type=_moment, required=True, help="2026-01-31, 2026-01-31T12:00 (UTC), or ms")
    add("--to", dest="to_ms", type=_moment, help="the same; now, where not given")
    add("--source", choices=["file", "redis"], default="file", help="where the klines are")
    add("--path", type=Path, help="folder of the file output (FILE_CONSUMER_BASE_PATH)")
    add("--market", choices=["linear", "inverse", "spot"], help="CHANNEL_TYPE, where not given")
    add("--symbols", type=_listed, default=[], help="with commas between them; all that are found, where not given")
    add("--intervals", type=_steps, default=[], help="as in 1m,4h,1D; all that are found, where not given")


def completed(asked: argparse.Namespace, defaults: Defaults) -> argparse.Namespace:
    """Return the arguments, completed by the settings; ValueError for wrong ones."""
    now_ms = clock.now_ms()
    to_ms = min(asked.to_ms or now_ms, now_ms)
    if asked.source == "redis":
        raise ValueError(REDIS_HAS_NONE)
    if asked.from_ms >= to_ms:
        raise ValueError("--from must be before --to and before now")
    chosen = {"to_ms": to_ms, "path": asked.path or defaults.path, "market": asked.market or defaults.market}
    return argparse.Namespace(**(vars(asked) | chosen))


def _moment(text: str) -> int:
    if text.isdecimal() and len(text) > len("20260131"):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: 2026-01-31, 2026-01-31T12:00 (UTC), or ms") from None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def _listed(text: str) -> list[str]:
    names = split_names(text)
    if wrong := [name for name in names if not is_symbol(name)]:
        raise argparse.ArgumentTypeError(f"no symbol: {', '.join(map(repr, wrong))}")
    return list(names)


def _steps(text: str) -> list[int]:
    try:
        return [parse_interval(item).step_ms for item in text.split(",") if item.strip()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# -- comparing ------------------------------------------------------------------------------------------------

Groups = dict[tuple[str, int], dict[int, Kline]]
"""Symbol and step -> our klines by start."""


def audit(found: FoundKlines, history: MarketHistory, asked: argparse.Namespace, defaults: Defaults) -> Outcome:
    """Compare what was found with the exchange's candles, one read per symbol and interval."""
    outcome = Outcome()
    groups = _grouped(found, history.candle_steps_ms, asked, outcome)
    for (symbol, step_ms), ours in sorted(groups.items(), key=lambda group: (group[0][1], group[0][0])):
        if step_ms in history.candle_steps_ms:
            theirs = {c.start_ms: c for c in history.candles(symbol, step_ms, asked.from_ms, asked.to_ms)}
            tally = outcome.tallies.setdefault(step_ms, Tally())
            tally.missing += sum(end_of_step(step_ms, start) <= asked.to_ms for start in theirs.keys() - ours.keys())
            outcome.differences += _differences(ours, theirs, defaults, asked.market, tally)
    return outcome


def _grouped(found: FoundKlines, steps_ms: Sequence[int], asked: argparse.Namespace, outcome: Outcome) -> Groups:
    """The requested klines by symbol and step; those of steps that the exchange does not serve are counted."""
    groups: Groups = {(symbol, step_ms): {} for symbol in asked.symbols for step_ms in asked.intervals}
    for kline in found.klines.values():
        if asked.symbols and kline.symbol not in asked.symbols:
            continue
        step_ms = served_step(kline, steps_ms)
        if step_ms is None:
            if not asked.intervals or kline.interval in asked.intervals:
                outcome.not_served[kline.interval] = outcome.not_served.get(kline.interval, 0) + 1
        elif not asked.intervals or step_ms in asked.intervals:
            groups.setdefault((kline.symbol, step_ms), {})[kline.timestamp] = kline
    return groups


def _differences(
    ours: dict[int, Kline], theirs: dict[int, Candle], defaults: Defaults, market: str, tally: Tally
) -> Iterator[str]:
    """Compare the klines of one symbol and interval, count them, and put in words what differs."""
    fields = defaults.fields_of(market)
    for start, kline in sorted(ours.items()):
        interval, candle = interval_name(kline.interval, start), theirs.get(start)
        title = f"{kline.symbol} {interval} {_time(start)} revision {kline.revision}"
        if not kline.complete:
            tally.incomplete += 1
        elif candle is None and defaults.is_left_out(market, kline):
            tally.agree()
        elif candle is None:
            tally.unknown += 1
            yield f"{title}: the exchange has no such candle"
        else:
            differing = compare(kline, candle, fields)
            tally.count(kline, candle, differing)
            values = [
                f"{name} {getattr(kline, name):f}, the exchange's {getattr(candle, name):f}" for name in differing
            ]
            if values:
                yield f"{title}: {', '.join(values)}"


def is_sound(found: FoundKlines, outcome: Outcome) -> bool:
    """Whether something was compared, and all of it was equal."""
    tallies = outcome.tallies.values()
    is_equal = not any(tally.different or tally.unknown for tally in tallies)
    return is_equal and any(tally.compared for tally in tallies) and not found.contradictions


# -- the report -----------------------------------------------------------------------------------------------

COLUMNS = ("interval", "compared", "equal", "different", *FIELDS, "missing", "incomplete")


def report(asked: argparse.Namespace, found: FoundKlines, outcome: Outcome) -> str:
    """The table per interval, and in words what is not in it."""
    lines = [
        f"{asked.market} klines from {_time(asked.from_ms)} to {_time(asked.to_ms)}, "
        f"{found.files} files below {asked.path}"
    ]
    steps_ms = sorted(outcome.tallies, key=lambda step_ms: step_ms or float("inf"))  # months last
    lines += _table([_row(step_ms, outcome.tallies[step_ms]) for step_ms in steps_ms])
    lines += outcome.differences[:SHOWN]
    if len(outcome.differences) > SHOWN:
        lines.append(f"... and {len(outcome.differences) - SHOWN} more")
    lines += [f"sent twice with one revision: {_text(a)} and {_text(b)}" for a, b in found.contradictions[:SHOWN]]
    if found.unreadable:
        lines.append(f"{found.unreadable} lines could not be read")
    for interval_ms, count in sorted(outcome.not_served.items()):
        lines.append(f"{count} klines of {step_name(interval_ms)} not compared: the exchange has no such candles")
    if advice := advice_on(outcome.tallies.values()):
        lines.append(advice)
    is_compared = any(tally.compared for tally in outcome.tallies.values())
    verdict = "all complete klines are equal" if is_sound(found, outcome) else "NOT all are equal"
    lines.append(verdict if is_compared else "nothing was compared")
    return "\n".join(lines) + "\n"


def _row(step_ms: int, tally: Tally) -> list[str]:
    fields = [tally.fields[name] for name in FIELDS]
    figures = [tally.compared, tally.equal, tally.different + tally.unknown, *fields, tally.missing, tally.incomplete]
    return [step_name(step_ms), *(f"{figure:,}" for figure in figures)]


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [COLUMNS, *rows]]


def _text(kline: Kline) -> str:
    values = " ".join(f"{name} {getattr(kline, name):f}" for name in FIELDS)
    return f"{kline.symbol} {step_name(kline.interval)} {_time(kline.timestamp)} {values}"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
