"""Binance's streams as they are served: their paths, their names, and their messages, made of what is collected. Pure.

What is collected is a message of a combined stream, `{"stream":"btcusdt@trade","data":{...}}`: it goes on byte for byte
to combined streams of the same name, and its data byte for byte to raw ones (documentation page: web-socket-streams).
"""

import functools
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from exchanges.binance.protocol import WHOLE_BOOK, is_stream
from model.dialect import DialectOptions, passed_on

PATH = re.compile(r"/(?P<split>(?:public|market)/)?(?P<framing>ws|stream)(?:/(?P<names>.*))?", re.DOTALL)
FRAME = re.compile(rb'\s*\{\s*"stream"\s*:\s*"([^"]*)"\s*,\s*"data"\s*:\s*')
NAME = re.compile(
    r"(?P<symbol>[^@!/]+)@(?:(?P<kind>trade|ticker|miniTicker|forceOrder)|depth(?P<levels>5|10|20|)(?:@(?:0|100|250|500|1000)ms)?)"
)
COIN_M = re.compile(r"[^@!]+usd(?:_[^@]+)?@.*")  # BTCUSD_PERP, and pairs as BTCUSD; nothing else is quoted in USD
NAME_CHARACTERS = 60
KINDS: Mapping[str, str] = MappingProxyType(
    {"trade": "trades", "ticker": "ticker", "miniTicker": "ticker", "forceOrder": "liquidations"}
)
SIDES = ("b", "a", "bids", "asks")
MINI = ("E", "s", "ps", "c", "o", "h", "l", "v", "q", "st")
"""The fields of a mini ticker after its event, in their order: those of the ticker, with the same values."""


class Paths:
    """/ws and /stream, of USD-M below /public or /market as well; names of streams may follow."""

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and PATH.fullmatch(path) is not None


def markets_of(path: str) -> tuple[str, ...]:
    """Return the markets of a path: USD-M's have been below /public and /market alone since 2026-04.

    COIN-M has a host of its own at Binance, and names that spot and USD-M do not have: it is on all.
    """
    found = PATH.fullmatch(path)
    return ("linear", "inverse") if found and found["split"] else ("spot", "inverse")


class Stream(NamedTuple):
    """One stream that is served: its market, the topic of the messages it is made of, what makes its data of theirs.

    `is_passed_on`: it is not collected, but streamed for clients alone.
    """

    market: str
    topic: str
    cut: Callable[[bytes], bytes] | None = None
    is_passed_on: bool = False

    @property
    def source(self) -> tuple[str, str]:
        """Market and topic of the payloads."""
        return (passed_on(self.market) if self.is_passed_on else self.market), self.topic


class Streams:
    """The streams that clients may subscribe, by the options of a collector."""

    def __init__(self, options: DialectOptions) -> None:
        self._options = options

    def find(self, markets: tuple[str, ...], name: str) -> Stream | None:
        """Return what a stream of one of these markets is made of; None where there is none such."""
        found = NAME.fullmatch(name)
        if found and (symbol := found["symbol"]) == symbol.lower():
            for market in markets:
                if market in self._options.markets and symbol.upper() in self._options.symbols(market):
                    if stream := self._made_of(market, symbol, found):
                        return stream
                    break
        if self._options.pass_on is None or len(name) > NAME_CHARACTERS or not is_stream(name):
            return None
        market = next((each for each in markets if (each == "inverse") == bool(COIN_M.fullmatch(name))), markets[0])
        return Stream(market, name, is_passed_on=True)

    def _made_of(self, market: str, symbol: str, found: re.Match[str]) -> Stream | None:
        options = self._options
        if kind := found["kind"]:
            if KINDS[kind] not in options.kinds or (kind == "forceOrder" and market == "spot"):
                return None
            if kind == "miniTicker":
                return Stream(market, f"{symbol}@ticker", mini_ticker)
            return Stream(market, f"{symbol}@{kind}")
        if "orderbook" not in options.kinds:
            return None
        if options.depth == WHOLE_BOOK:
            return None if found["levels"] else Stream(market, f"{symbol}@depth@100ms")
        levels = int(found["levels"] or WHOLE_BOOK)
        if levels > options.depth:
            return None
        cut = functools.partial(shallow, levels=levels) if levels < options.depth else None
        return Stream(market, f"{symbol}@depth{options.depth}@100ms", cut)


class Form(NamedTuple):
    """How the messages of a topic go to those who subscribed to a stream by its name, combined or raw."""

    stream: Stream
    name: str
    is_combined: bool

    def __call__(self, payload: bytes) -> bytes:
        """Return the message; ValueError where the payload cannot be read."""
        if self.is_combined and self.name == self.stream.topic:
            return payload
        data = data_of(payload)
        if self.stream.cut is not None:
            data = self.stream.cut(data)
        return combined(self.name, data) if self.is_combined else data


def topic_of(payload: bytes) -> str:
    """Return the name of the stream of a message; "" where it has none."""
    found = FRAME.match(payload)
    return found[1].decode("utf-8", "replace") if found else ""


def data_of(payload: bytes) -> bytes:
    """Return the data of a message as a raw stream has it."""
    found, end = FRAME.match(payload), payload.rfind(b"}")
    if found is None or end < found.end():
        raise ValueError("no message of a combined stream")
    return payload[found.end() : end].rstrip()


def combined(name: str, data: bytes) -> bytes:
    """Return the message of a combined stream."""
    return b'{"stream":"%b","data":%b}' % (name.encode(), data)


def shallow(data: bytes, levels: int) -> bytes:
    """Cut a whole book to its best levels."""
    fields = _read_fields(data)
    for side in SIDES:
        if side in fields:
            fields[side] = msgspec.Raw(_write(_read_levels(fields[side])[:levels]))
    return _write(fields)


def mini_ticker(data: bytes) -> bytes:
    """Return the mini ticker of a ticker."""
    fields = _read_fields(data)
    return _write({"e": "24hrMiniTicker", **{name: fields[name] for name in MINI if name in fields}})


_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_levels = msgspec.json.Decoder(list[msgspec.Raw]).decode
_write = msgspec.json.Encoder().encode
