"""The live table of the console: the figures of a running collector as lines of a given width.

Pure; `consumer-console` thread. Reads the fields of the status line, and shows those that are there.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

OUTPUTS_MOST = 9  # lines; more are counted in one
HEAD_SHARE = 3  # of the lines left, streams have one in so many; the klines have the rest
OUTPUT_COLUMNS = f"{'output':<14}{'queued':>9}{'delivered':>13}{'/s':>9}{'dropped':>10}{'errors':>8}{'lag s':>8}"
STREAM_COLUMNS = f"{'stream':<34}{'state':<14}{'messages':>12}{'/s':>9}{'silent s':>10}"


class Rates:
    """Turns counts into rates per second, between one drawing and the next."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def of(self, key: str, count: float, now_s: float) -> float | None:
        """Return the growth of the count `key` per second since the last call; None at the first."""
        before_s, before = self._last.get(key, (now_s, count))
        self._last[key] = now_s, count
        return (count - before) / (now_s - before_s) if now_s > before_s else None


def table(
    status: Mapping[str, Any], klines: Sequence[str], prices: Mapping[str, str], rates: Rates, now_s: float,
    size: tuple[int, int],
) -> list[str]:  # fmt: skip
    """Lay everything out in at most (columns, lines); `klines` are lines, newest last; `now_s` is monotonic."""
    width, height = size
    lines = [_head(status), *_totals(status, rates, now_s), "", *_outputs(status, rates, now_s)]
    lines += _streams(status, rates, now_s, (height - len(lines)) // HEAD_SHARE)
    if prices:
        lines += ["", "  ".join(f"{coin} {price}" for coin, price in sorted(prices.items()))]
    room = height - len(lines) - 2
    if klines and room > 0:
        lines += ["", "last klines", *reversed(klines[-room:])]
    return [fit(line, width) for line in lines[:height]]


def _head(status: Mapping[str, Any]) -> str:
    symbols = ", ".join(f"{market} {count}" for market, count in status.get("symbols", {}).items())
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z   symbols: {symbols or 'none'}"


def _totals(status: Mapping[str, Any], rates: Rates, now_s: float) -> list[str]:
    if "streams" not in status:
        return []
    messages = status.get("messages", 0)
    faults = "  ".join(f"{cause} {count}" for cause, count in status.get("faults", {}).items())
    return [
        f"streams {status.get('live', 0)} of {status['streams']} live   messages {messages:,}"
        f" ({_rate(rates.of('messages', messages, now_s))}/s)   connects {status.get('connects', 0)}",
        f"faults: {faults or 'none'}",
    ]


def _outputs(status: Mapping[str, Any], rates: Rates, now_s: float) -> list[str]:
    rows = dict(status.get("consumers", {}))
    if recorder := status.get("recorder"):
        rows["recorder"] = {**recorder, "delivered": recorder["recorded"], "errors": recorder["write_errors"]}
    if envelopes := status.get("envelopes"):
        rows["envelopes"] = {**envelopes, "delivered": envelopes["envelopes"], "errors": envelopes["failures"]}
    lines = [
        f"{name[:13]:<14}{row['queued']:>9,}{row['delivered']:>13,}"
        f"{_rate(rates.of(f'output {name}', row['delivered'], now_s)):>9}"
        f"{row['dropped']:>10,}{row['errors']:>8,}{row.get('lag_s', 0.0):>8.1f}"
        for name, row in rows.items()
    ]
    return [OUTPUT_COLUMNS, *at_most(lines, OUTPUTS_MOST)] if lines else []


def _streams(status: Mapping[str, Any], rates: Rates, now_s: float, most: int) -> list[str]:
    """Return the lines of the streams: those that are not live first, then the busiest."""
    rows = [
        (row, rates.of(f"stream {row['name']}", row["messages"], now_s) or 0.0) for row in status.get("each_stream", ())
    ]
    rows.sort(key=lambda pair: (pair[0]["state"] == "live", -pair[1], pair[0]["name"]))
    lines = [
        f"{row['name'][:33]:<34}{row['state']:<14}{row['messages']:>12,}{_rate(rate):>9}{_age(row):>10}"
        for row, rate in rows
    ]
    return ["", STREAM_COLUMNS, *at_most(lines, max(1, most))] if lines else []


def at_most(lines: list[str], most: int) -> list[str]:
    """Return the first lines, and in the place of the last how many more there are."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"... {len(lines) - most + 1} more"]


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.0f}"


def _age(row: Mapping[str, Any]) -> str:
    age_s = row.get("last_data_age_s")
    return "-" if age_s is None else f"{age_s:.1f}"


def fit(line: str, width: int) -> str:
    """Cut a line to the width; characters that would move the cursor become `?`."""
    return "".join(character if character.isprintable() else "?" for character in line[:width])
