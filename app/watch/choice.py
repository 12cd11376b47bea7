"""What `main.py watch` is asked to show: its arguments, and the channels that they come to. Pure."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

from conf.settings import Settings
from consumers.redis.channels import klines_channel, raw_channel, status_channel, symbol_channel
from exchanges.universe.names import ListedNames
from model.intervals import parse_interval
from model.markets import MarketSpec
from model.pairs import Pair, pair_of_name
from model.records import Instrument, Kind
from model.symbols import canonical, is_symbol, split_names

TABLE = "prices and klines"
VIEWS = ("klines", "prices", "trades", "status", "raw")
OTHER_NAMES = MappingProxyType(
    {"kline": "klines", "candle": "klines", "candles": "klines", "price": "prices", "trade": "trades"}
)
KINDS: tuple[str, ...] = get_args(Kind)
COINS = MappingProxyType({"XBT": "BTC"})  # as KuCoin's futures call it
LASTING = "M"  # the end of their names: XBTUSDTM

Channels = Mapping[str, tuple[str, str]]
"""Each channel: what it has (klines, status, envelopes, or a kind of raw payloads), and its market, "" for all."""


@dataclass(frozen=True)
class Choice:
    """What is to be shown. `view`: one of VIEWS, or TABLE; `kind`: of raw. Empty `names` and `steps` are all.

    `markets` are those whose raw channels are read; `market` is the one that was asked for, "" for all. `steps`: of
    intervals (model.intervals).
    """

    view: str = TABLE
    kind: str = ""
    names: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()
    market: str = ""
    steps: frozenset[int] = frozenset()
    is_json: bool = False
    count: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a watch."""
    add = parser.add_argument
    what = f"{', '.join(VIEWS[:-1])}, or raw and a kind ({', '.join(KINDS)}); then symbols, named as in SYMBOLS"
    add("words", nargs="*", metavar="what", help=f"{what}; nothing: {TABLE} of all")
    add("--market", choices=("linear", "inverse", "spot"), help="of this market alone")
    add("--interval", default="", help="klines of these intervals alone, as in 1m,4h,1D")
    add("--json", action="store_true", help="JSON, a line per message")
    add("--env-file", metavar="FILE", default=argparse.SUPPRESS, help="as before the command")
    add("--count", type=int, metavar="N", help="end after so many lines")


def choice_of(asked: argparse.Namespace, settings: Settings, markets: Mapping[str, MarketSpec]) -> Choice:
    """Return what the arguments ask for, of an exchange with these markets; ValueError for what there is not."""
    words = list(asked.words)
    first = words[0].lower() if words else ""
    view, kind = OTHER_NAMES.get(first, first), ""
    if view in VIEWS:
        words.pop(0)
    else:
        view = TABLE
    if view == "raw":
        kind = words.pop(0).lower() if words else ""
        if kind not in KINDS:
            raise ValueError(f"raw needs a kind: one of {', '.join(KINDS)}")
    names = tuple(name for word in words for name in split_names(word))
    if wrong := [name for name in names if not is_symbol(name)]:
        raise ValueError(f"{wrong[0]!r} is no symbol: name them as in SYMBOLS, BTCUSDT or BTC")
    if asked.market and asked.market not in markets:
        raise ValueError(f"--market {asked.market}: {settings.exchange} has {', '.join(markets)}")
    if asked.count is not None and asked.count < 1:
        raise ValueError("--count needs a number from 1")
    intervals = [parse_interval(item) for item in asked.interval.split(",") if item.strip()]
    return Choice(
        view,
        kind,
        names,
        markets=(asked.market,) if asked.market else settings.markets,
        market=asked.market or "",
        steps=frozenset(interval.step_ms for interval in intervals),
        is_json=asked.json,
        count=asked.count,
    )


def channels_of(choice: Choice, settings: Settings) -> Channels:
    """Return the channels of a choice; ValueError where a view has none by these settings."""
    found: dict[str, tuple[str, str]] = {}
    if choice.view in (TABLE, "klines"):
        found[klines_channel(settings.exchange)] = "klines", ""
    if choice.view == "status":
        found[status_channel(settings.exchange)] = "status", ""
    if choice.view in (TABLE, "prices"):
        found |= _prices(choice, settings)
    if choice.view == "trades":
        found |= _raw("trades", choice, settings)
    if choice.view == "raw":
        found |= _raw(choice.kind, choice, settings)
    if not found:
        raise ValueError("no prices are published: RAW_STREAMS has neither trades nor ticker; klines are: watch klines")
    if settings.redis_cluster == "symbol":
        return _of_symbols(found, choice.names or settings.symbols)
    return found


def _prices(choice: Choice, settings: Settings) -> dict[str, tuple[str, str]]:
    """The channels that prices come from: envelopes of prices, else trades, else tickers."""
    if settings.redis_main_key and "price" in settings.envelope_types:
        return {settings.redis_main_key: ("envelopes", "")}
    kind = next((kind for kind in ("trades", "ticker") if kind in settings.raw_streams), None)
    return _raw(kind, choice, settings) if kind else {}


def _raw(kind: str, choice: Choice, settings: Settings) -> dict[str, tuple[str, str]]:
    main = settings.markets[0]
    beside = {market: None if market == main else market for market in choice.markets}
    return {raw_channel(settings.exchange, kind, name): (kind, market) for market, name in beside.items()}


def _of_symbols(channels: Channels, names: tuple[str, ...]) -> Channels:
    """The same of a cluster that has a channel per symbol, which cannot all be subscribed by a pattern."""
    return {
        symbol_channel(channel, name) if what != "status" else channel: (what, market)
        for channel, (what, market) in channels.items()
        for name in names
    }


class SymbolFilter:
    """Which symbols are those that a person named, as SYMBOLS would read the names, but without a listing. One thread.

    `seen` are all that were asked about, by market.
    """

    def __init__(self, names: tuple[str, ...], quote: str | None = None) -> None:
        self._names, self._quote = names, quote
        self._known: dict[tuple[str, str], bool] = {}

    @property
    def seen(self) -> list[tuple[str, str]]:
        """The markets and symbols that came."""
        return list(self._known)

    def __call__(self, market: str, symbol: str) -> bool:
        """Return whether a symbol of a market is to be shown."""
        key = market, symbol
        if (shown := self._known.get(key)) is None:
            shown = self._known[key] = not self._names or self._is_named(market, symbol)
        return shown

    def _is_named(self, market: str, symbol: str) -> bool:
        pair = pair_of_name(symbol) or pair_of_name(symbol.removesuffix(LASTING)) or Pair("", "")
        listed = Instrument(symbol, COINS.get(pair.base, pair.base), pair.quote, 0.0)
        names = ListedNames(market, [listed], self._quote)
        return any(names.symbol_of(name) == symbol or canonical(name) == canonical(symbol) for name in self._names)
