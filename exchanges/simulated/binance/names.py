"""Binance's names of streams, what they mean, and where they are. Pure."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..truth import MINUTE_MS, Interval

HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
INTERVALS: Mapping[str, Interval] = MappingProxyType(
    {
        "1s": 1000,  # spot alone
        **{f"{minutes}m": minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30)},
        **{f"{hours}h": hours * HOUR_MS for hours in (1, 2, 4, 6, 8, 12)},
        "1d": DAY_MS,
        "3d": 3 * DAY_MS,  # from the epoch on, which no documentation says
        "1w": 7 * DAY_MS,
        "1M": "M",
    }
)

PATH = re.compile(r"(?:/(public|market))?/(ws|stream)(?:/.*)?")
DEPTH = re.compile(r"depth(5|10|20)?(?:@(?:0|100|250|500|1000)ms)?")
MARK_PRICE = re.compile(r"markPrice(?:@1s)?")
ALL = re.compile(r"!(forceOrder@arr|bookTicker|miniTicker@arr|ticker@arr|markPrice@arr(?:@1s)?)")
FUTURES = ("linear", "inverse")


class Name(NamedTuple):
    """A stream's name. `symbol` as REST writes it, "" for streams of the whole market.

    `what`: trade, aggTrade, depth, bookTicker, ticker, miniTicker, markPrice, forceOrder or kline; `detail`: levels of
    a partial book, the interval of klines.
    """

    symbol: str
    what: str
    detail: str = ""

    @property
    def kind(self) -> str:
        """As the engine calls it."""
        return KINDS[self.what]

    @property
    def is_public(self) -> bool:
        """Whether USD-M has it on /public; all else is on /market (trap T1)."""
        return self.what in PUBLIC


KINDS: Mapping[str, str] = MappingProxyType(
    {
        "trade": "trades",
        "aggTrade": "trades",
        "depth": "orderbook",
        "bookTicker": "orderbook",
        "ticker": "ticker",
        "miniTicker": "ticker",
        "markPrice": "ticker",
        "forceOrder": "liquidation",
        "kline": "kline",
    }
)
PUBLIC = ("trade", "depth", "bookTicker")
FUTURES_ONLY = ("markPrice", "forceOrder")


def read_name(text: str) -> Name | None:
    """What a name means; None where there is no such stream, as for one in capitals (trap T2)."""
    if found := ALL.fullmatch(text):
        return Name("", found[1].partition("@")[0])
    symbol, _, stream = text.partition("@")
    if not symbol or symbol != symbol.lower():
        return None
    name = symbol.upper()
    if found := DEPTH.fullmatch(stream):
        return Name(name, "depth", found[1] or "")
    if MARK_PRICE.fullmatch(stream):
        return Name(name, "markPrice")
    what, _, interval = stream.partition("_")
    if what == "kline":
        return Name(name, what, interval) if interval in INTERVALS else None
    return Name(name, stream) if stream in KINDS and stream not in ("depth", "kline") else None


def categories_of(channel: str) -> tuple[str, ...]:
    """The categories of a path, which the stream's name chooses from: spot and COIN-M share no name.

    As one address stands for the three hosts, paths without /public or /market are those of spot and COIN-M.
    """
    return ("linear", "inverse") if "/" in channel else ("spot", "inverse")


def categories_of_all(channel: str, what: str) -> tuple[str, ...]:
    """The categories of a stream of the whole market: USD-M and COIN-M together since 2026-06-30 (trap T10)."""
    return ("spot",) if "/" not in channel and what == "miniTicker" else FUTURES


def is_here(name: Name, category: str, channel: str) -> bool:
    """Whether a path has a stream of a category: klines and mark prices of both products are on both futures hosts."""
    if name.what in FUTURES_ONLY and category == "spot":
        return False
    path = channel.partition("/")[0] if "/" in channel else ""
    if path and category == "inverse" and name.symbol and name.what not in ("kline", "markPrice"):
        return False
    return not path or name.is_public == (path == "public")


def recorded_name(event: Mapping[str, object]) -> str | None:
    """The stream that a raw payload is of, by its event; None where it does not tell."""
    what = event.get("e")
    order = event.get("o")
    symbol = order.get("s") if what == "forceOrder" and isinstance(order, dict) else event.get("s")
    if not isinstance(symbol, str):
        return None
    if what is None and "u" in event and "b" in event:  # of spot
        return f"{symbol.lower()}@bookTicker"
    if what == "kline" and isinstance(candle := event.get("k"), dict):
        return f"{symbol.lower()}@kline_{candle.get('i')}"
    stream = STREAM_OF_EVENT.get(str(what))
    return f"{symbol.lower()}@{stream}" if stream else None


STREAM_OF_EVENT: Mapping[str, str] = MappingProxyType(
    {
        "trade": "trade",
        "aggTrade": "aggTrade",
        "depthUpdate": "depth@100ms",
        "bookTicker": "bookTicker",
        "24hrTicker": "ticker",
        "24hrMiniTicker": "miniTicker",
        "markPriceUpdate": "markPrice",
        "forceOrder": "forceOrder",
    }
)
