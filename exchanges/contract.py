"""The contract of an exchange: what its folder declares as VENUE, and the options that it is given. Pure.

A venue is declared, not wired: what is here is all that the collector needs of an exchange, and a session in streams/
drives its protocol. How to add one: docs/CONTRIBUTING.md; `python -m exchanges.conformance <name>` checks it.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

from exchanges.books import SidesOf, usual_sides
from exchanges.upstream import PassageOf
from model.dialect import Dialect, DialectOptions
from model.market_api import MarketApi, MarketApiOptions
from model.markets import MarketSpec
from model.ports import Listing, MarketHistory, RecordReader, Report
from model.protocol import Refusal as Refusal
from model.protocol import StreamProtocol, TradeKeys
from model.records import Kind, TradeBatch


@dataclass(frozen=True)
class Endpoints:
    """Where the exchange is reached. `ws_url` and `rest_url` (scheme, host, port) replace those of its addresses.

    `stream` is a whole WebSocket endpoint in the place of the market's (BYBIT_WS_URL).
    """

    ws_url: str | None = None
    rest_url: str | None = None
    stream: str | None = None
    testnet: bool = False


OWN = Endpoints()
"""The exchange's own addresses."""


@dataclass(frozen=True)
class TradeRules:
    """Which trades count in klines beside ordinary ones, where the exchange leaves it to us."""

    count_block_trades: bool = True
    count_rpi_trades: bool = True


class MarketRest(MarketHistory, Listing, Protocol):
    """The REST API of one market."""


DecodeTrades = Callable[[Sequence[bytes]], TradeBatch]
"""Decodes trade payloads; what cannot be read is reported and left out. One thread.

Turns round a message that has the newest trade first. Times are ms, whatever the exchange counts in; sizes have no
sign, and stay in contracts where MarketSpec.has_contracts: what a contract is, Instrument.contract_size says.
"""

Ids = Literal["consecutive", "unique", "none"]
"""none: the decoder numbers the trades itself, each with a text of its own ("" means that no trade came before), and
`recent_trades` of REST have "": two trades that are equal in all else are two, one of before its subscription may have
been counted and is left out, and a gap is repaired by candles."""


@dataclass(frozen=True)
class ConnectLimits:
    """So many connects are allowed per `per_s` seconds and address; `refusals` by HTTP status.

    `headers` are sent with each handshake, beside those that WebSocket asks for.
    """

    most: int
    per_s: float
    refusals: Mapping[int, Refusal] = field(default_factory=lambda: MappingProxyType({}))
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Venue:
    """The declaration of an exchange.

    `protocol(market, endpoints)` and `rest(market, endpoints, rules, stop)` open nothing; `stop`, once set, ends every
    request with HistoryError. `decoder(market, rules, report)` decodes trades. `reader(market, kind, report, types)`
    makes records of payloads for envelopes, None where a kind has none of `types`; `record_names` says how the fields
    of these are called, by type and common name. `ids`: consecutive ids prove by themselves that no trade is missing;
    unique ones only tell trades apart. `trade_keys`: how they are found in a payload; None: there are none, and
    REDUNDANCY is refused. `book_sides`: where the levels of an order book stand in its messages. For README:
    `rest_limit`, how often REST is read; `recorded` and `documented`, what rests on recordings of the exchange and what
    on its documentation alone; `unverified`, what only a live run can show.
    """

    name: str
    markets: Mapping[str, MarketSpec]
    connects: ConnectLimits
    protocol: Callable[[str, Endpoints], StreamProtocol]
    rest: Callable[[str, Endpoints, TradeRules, threading.Event], MarketRest]
    decoder: Callable[[str, TradeRules, Report], DecodeTrades]
    reader: Callable[[str, str, Report, Collection[str]], RecordReader | None]
    ids: Ids
    trade_keys: TradeKeys | None
    refuses_unknown: bool | Collection[Kind] = True  # what is not listed, or that of some kinds; else it is silent
    has_testnet: bool = True  # else USE_TESTNET is refused
    joins_coins: bool = False  # without a listing, the symbol of a coin is coin and quote: BTC is BTCUSDT
    book_sides: SidesOf = usual_sides
    record_names: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    rest_limit: str = ""
    recorded: str = ""
    documented: str = ""
    unverified: Sequence[str] = ()
    dialect: Callable[[DialectOptions], Dialect] | None = None  # its public protocol, which the web server serves
    market_api: Callable[[MarketApiOptions], MarketApi] | None = None  # its public REST, which the web server serves
    passage: Callable[[Endpoints, threading.Event], PassageOf] | None = None  # and how its requests are passed on
