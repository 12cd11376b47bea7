"""Lists in pages: Bybit's limits, cursors and time windows.

Pure. Newest first; a cursor names the last row it showed, so that new rows neither shift nor double a page.
"""

from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from .rules import OrderError

DAY_MS = 86_400_000
WINDOW_MS = 7 * DAY_MS  # the longest span of one request
Item = TypeVar("Item")


def whole(query: dict[str, Any], name: str, default: int | None, low: int = 0, high: int = 1 << 62) -> Any:
    """Read a whole number within its bounds, or the default; OrderError 10001 otherwise."""
    text = str(query.get(name) or "")
    if not text:
        return default
    if not text.isdigit() or not low <= int(text) <= high:
        raise OrderError(10001, f"params error: {name} invalid")
    return int(text)


def first_of(text: str) -> int:
    """Read a cursor, which comes back as it was given or decoded once more by the client."""
    number = text.replace("%3D", "=").removeprefix("first=")
    if text and not number.isdigit():
        raise OrderError(10001, "params error: cursor invalid")
    return int(number or 0)


def window(query: dict[str, Any], now_ms: int, usual_ms: int = WINDOW_MS) -> tuple[int, int]:
    """Read startTime and endTime, or the `usual_ms` that follow or precede the one given; at most seven days apart."""
    start, end = whole(query, "startTime", -1), whole(query, "endTime", -1)
    if start < 0 and end < 0:
        return now_ms - usual_ms, now_ms + DAY_MS
    if end < 0:
        return start, start + usual_ms
    if start < 0:
        return end - usual_ms, end
    if start > end:
        raise OrderError(10001, "The start time cannot be later than the end time")
    if end - start > WINDOW_MS:
        raise OrderError(10001, "The time range between startTime and endTime cannot exceed 7 days")
    return start, end


def page(items: Sequence[tuple[int, Item]], query: dict[str, Any], usual: int, most: int) -> tuple[list[Item], str]:
    """One page of items that are numbered upwards, oldest first; returns it newest first, and the next cursor."""
    limit = whole(query, "limit", usual, 1, most)
    cursor = str(query.get("cursor") or "")
    before = _number_of(cursor) if cursor else 1 << 62
    older = [pair for pair in items if pair[0] < before]
    shown = older[-limit:][::-1]
    is_last = len(older) <= limit
    next_cursor = "" if is_last or not shown else quote(f"page_token={shown[-1][0]}&", safe="")
    return [item for _, item in shown], next_cursor


def _number_of(cursor: str) -> int:
    """Read the number in a cursor, which comes back as it was given or decoded."""
    text = unquote(cursor).removeprefix("page_token=").removesuffix("&")
    if not text.isdigit():
        raise OrderError(10001, "params error: cursor invalid")
    return int(text)
