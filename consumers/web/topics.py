"""The topics of the collector's own protocol, and patterns of them: `kline.1m.BTCUSDT`, `ticker.*`, `spot:price.BTC*`.

Pure. `*` stands for anything, `?` for one character. A market and a colon before a topic narrow it to that market, an
exchange to that exchange: `okx:ticker.*`, `okx:spot:ticker.*`. A relay has several.
"""

import fnmatch
import re
from collections.abc import Iterator
from functools import cached_property

from model.envelope import Envelope
from model.intervals import interval_name, parse_interval, step_name
from model.records import Kline
from model.symbols import canonical, is_name_character

PATTERN_LENGTH = 80  # characters; the longest symbol has 40
PATTERNS_LIMIT = 1_000  # per client
WILD_LIMIT = 100  # of them with * or ?: one expression is made of these, in some milliseconds
WILD = re.compile(r"[*?]")
PATTERN = re.compile(r"(?:([a-z0-9*]+):)?(?:([a-z0-9*]+):)?([a-z*]+)(?:\.(.+))?")
MARKETS = frozenset({"linear", "inverse", "spot", "option"})  # another word alone before a topic is an exchange
TYPES = {"kline": "kline", "klines": "kline", "ticker": "ticker", "tickers": "ticker"}
TYPES |= {"price": "price", "trade": "trades", "trades": "trades", "status": "status", "*": "*"}
ALLOWED = (
    "kline.<interval>.<symbol>, ticker.<symbol>, price.<symbol>, trades.<symbol> or status.<event>, with * for anything"
)


def canonical_interval(text: str) -> str:
    """Return the name that topics have for an interval: 60m is 1h, 1D is 1d; what is no interval stays as it is."""
    try:
        return step_name(parse_interval(text).step_ms)
    except ValueError:
        return text


def topics_of(envelope: Envelope) -> Iterator[str]:
    """Name the topic of each item of an envelope, in order."""
    if envelope.data_type == "klines":
        for kline in envelope.data:
            yield kline_topic(envelope, kline)
        return
    detail_of = event_of if envelope.data_type == "status" else symbol_of
    head = f"{envelope.exchange}:{envelope.channel}:{envelope.data_type}."
    for item in envelope.data:
        yield head + detail_of(item)


def kline_topic(envelope: Envelope, kline: Kline) -> str:
    """Name the topic of one closed kline of an envelope."""
    return (
        f"{envelope.exchange}:{envelope.channel}:kline.{interval_name(kline.interval, kline.timestamp)}.{kline.symbol}"
    )


def symbol_of(item: object) -> str:
    """Return the symbol of an item: `symbol` in envelopes, `s` in the exchange's trades."""
    if isinstance(item, dict):
        return str(item.get("symbol") or item.get("s") or "")
    return str(getattr(item, "symbol", ""))


def event_of(item: object) -> str:
    """Return the name of a status event in capitals, as `canonical` writes what patterns name: status.sink_down."""
    return str(item.get("event", "")).upper() if isinstance(item, dict) else ""


class Patterns(frozenset[str]):
    """A set of patterns as one filter."""

    @cached_property
    def wild(self) -> list[str]:
        """The patterns with * or ?, but in the place of a whole exchange or market."""
        return sorted(pattern for pattern in self if WILD.search(_narrowed(pattern)))

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile("|".join(map(fnmatch.translate, self.wild)) or "(?!)")

    def matches(self, key: str) -> bool:
        """Return whether a topic, exchange and market first, matches one of the patterns."""
        exchange, market, topic = key.split(":", 2)
        if key in self or not self.isdisjoint((f"*:*:{topic}", f"*:{market}:{topic}", f"{exchange}:*:{topic}")):
            return True
        return self._expression.match(key) is not None


def parse_pattern(text: str) -> str:
    """Parse a client's pattern; returns it exchange and market first, with names as topics have them. ValueError."""
    match = PATTERN.fullmatch(text) if len(text) <= PATTERN_LENGTH else None
    detail, point, symbol = ((match and match[4]) or "*").rpartition(".")
    symbol = canonical(symbol)
    if match is None or match[3] not in TYPES or not all(map(_is_pattern_character, detail + symbol)):
        raise ValueError(f"not a topic: {text[:PATTERN_LENGTH]!r}; allowed: {ALLOWED}")
    exchange, market = match[1] or "*", match[2] or "*"
    if match[2] is None and (exchange in MARKETS or "*" in exchange):
        exchange, market = "*", exchange
    return f"{exchange}:{market}:{TYPES[match[3]]}.{canonical_interval(detail)}{point}{symbol}"


def shown(pattern: str) -> str:
    """Write a pattern as clients do: an exchange or a market stands before one only where it narrows."""
    return pattern.removeprefix("*:").removeprefix("*:")


def _narrowed(pattern: str) -> str:
    """Leave out * in the place of a whole exchange or market: `Patterns.matches` looks those up."""
    exchange, market, topic = pattern.split(":", 2)
    return ":".join([*(part for part in (exchange, market) if part != "*"), topic])


def _is_pattern_character(character: str) -> bool:
    return character in ".*?" or is_name_character(character)


EVERYTHING = Patterns(["*:*:*.*"])
