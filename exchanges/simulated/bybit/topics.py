"""Which topic names exist, per category (BYBIT_V5.md section 4).

Pure. Checks the shape alone: market.py checks whether the symbol is listed.
"""

import json
import re
from dataclasses import dataclass

from ..truth import MINUTE_MS, Interval

CATEGORIES = ("linear", "spot", "inverse", "option")
INTERVALS: dict[str, Interval] = {
    **{name: int(name) * MINUTE_MS for name in ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720")},
    "D": 86_400_000,
    "W": 604_800_000,
    "M": "M",
}
TOPIC_FIRST = re.compile(rb'\{\s*"topic"\s*:\s*"([^"\\]+)"')  # how Bybit writes them: no need to read the rest

DEPTHS = {
    "linear": (1, 50, 200, 1000),
    "inverse": (1, 50, 200, 1000),
    "spot": (1, 50, 200, 1000),
    "option": (25, 100),
}
KLINE_INTERVALS = tuple(INTERVALS)

MAX_ARGS_SPOT = 10  # args of one subscribe frame, spot only (D/ws/connect)
MAX_ARGS_OPTION = 2000  # topics of one connection, option only
MAX_ARGS_CHARACTERS = 21_000  # args text of one connection, all categories
QUOTES_AND_COMMA = 3  # characters a topic costs beside its name in the args text


@dataclass(frozen=True, slots=True)
class TopicName:
    """A well-formed topic: `detail` is the depth of a book or the interval of a kline, else empty."""

    kind: str
    symbol: str
    detail: str = ""


def parse_topic(category: str, name: str) -> TopicName | None:
    """Read a topic name as `category` reads it; None where Bybit answers `handler not found`."""
    head, _, rest = name.partition(".")
    if not rest:
        return None
    if head == "orderbook":
        return _with_detail("orderbook", rest, tuple(map(str, DEPTHS[category])))
    if head == "kline" and category != "option":
        return _with_detail("kline", rest, KLINE_INTERVALS)
    if head == "publicTrade":
        return TopicName("trades", rest)
    if head == "tickers":
        return TopicName("ticker", rest)
    if head == "allLiquidation" and category in ("linear", "inverse"):
        return TopicName("liquidation", rest)
    return None


def _with_detail(kind: str, rest: str, allowed: tuple[str, ...]) -> TopicName | None:
    detail, _, symbol = rest.partition(".")
    if not symbol or detail not in allowed:
        return None
    return TopicName(kind, symbol, detail)


KIND_OF_HEAD = {
    "publicTrade": "trades",
    "orderbook": "orderbook",
    "tickers": "ticker",
    "allLiquidation": "liquidation",
    "liquidation": "liquidation",
    "kline": "kline",
}


def kind_of_any(name: str) -> str:
    """The kind of a topic from a recording, where old and unknown names are accepted."""
    return KIND_OF_HEAD.get(name.partition(".")[0], "other")


def args_characters(names: list[str]) -> int:
    """The length of these topics by the limit of 21,000 characters: quotes and commas counted, the strict reading."""
    return sum(len(name) + QUOTES_AND_COMMA for name in names)


def topic_of(body: bytes) -> str | None:
    """The topic of a payload, None for control frames, REST answers and what is no JSON."""
    if found := TOPIC_FIRST.match(body):
        return found[1].decode(errors="replace")
    try:
        message = json.loads(body)
    except ValueError:
        return None
    topic = message.get("topic") if isinstance(message, dict) else None
    return topic if isinstance(topic, str) else None
