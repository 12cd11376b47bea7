"""The newest value per key and field that Redis should hold, and which of them are still to be written.

Pure; one thread. Bounded by symbols times kinds: an outage of hours costs no more memory than a second.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from consumers.redis.storage.keys import (
    coin_key,
    coins_key,
    last_closed_key,
    last_closed_ttl_s,
    price_key,
    tickers_key,
)
from model.clock import iso_ms
from model.envelope import Envelope, json_of, plain_text
from model.pairs import PairOf, rank_of, unlisted
from model.records import Kline, Record

FIELDS_PER_WRITE = 100  # of one command: 70 kB of tickers, so that no command keeps Redis from its other clients

HashField = tuple[str, str]
"""A key, and the name of a field in its hash; an empty name is the whole key."""


class Coin(NamedTuple):
    """The coin of a symbol: where its price is kept, the symbol's rank for it, whether the listing has both."""

    key: str
    rank: int
    is_listed: bool


@dataclass
class Write:
    """One command's worth: fields of one hash; `ttl_s` is set anew where it is not 0; `coins` is the set to name it."""

    key: str
    fields: dict[str, bytes | str] = field(default_factory=dict)
    ttl_s: int = 0
    coins: str = ""

    @property
    def hash_fields(self) -> list[HashField]:
        """The fields of the values."""
        return [(self.key, name) for name in self.fields]


class StorageState:
    """The newest of everything. `take` hands out what is due; `give_back` what Redis did not take."""

    def __init__(self, main_key: str, pair_of: PairOf = unlisted) -> None:
        self._main_key, self._pair_of = main_key, pair_of
        self._values: dict[str, dict[str, Any]] = {}
        self._kline_ms: dict[str, int] = {}  # interval of a key of klines
        self._coin_sets: dict[str, str] = {}  # key of a coin -> the set that names it
        self._coins: dict[HashField, Coin] = {}  # by market and symbol
        self._coin_ranks: dict[str, int] = {}
        self._absent: set[HashField] = set()  # market and symbol: what comes late of them is not kept
        self._removals: list[HashField] = []
        self._due: dict[HashField, None] = {}  # in the order they came

    def __len__(self) -> int:
        """Values that are due."""
        return len(self._due)

    def update(self, envelope: Envelope, now_ms: int) -> None:
        """Keep the newest of one envelope; other types than ticker, price and klines are passed over."""
        market = envelope.channel
        if envelope.data_type == "ticker":
            key = tickers_key(self._main_key, market)
            for ticker in self._present(envelope):
                self._set(key, ticker["symbol"], ticker)
        elif envelope.data_type == "price":
            key, time_text = price_key(self._main_key, market), iso_ms(now_ms)
            for price in self._present(envelope):
                number = price["price"]  # as text in plain notation, with the exchange's digits
                text = plain_text(number) if isinstance(number, Decimal) else str(number)
                self._set(key, price["symbol"], text)
                self._set_coin(envelope.exchange, market, price["symbol"], text, time_text)
        elif envelope.data_type == "klines":
            for kline in envelope.data:
                if not self._absent or (market, kline.symbol) not in self._absent:
                    self._set_kline(market, kline)

    def drop_symbols(self, market: str, symbols: Collection[str]) -> None:
        """Remove symbols that are no longer collected; what comes late of them is not kept."""
        self._absent.update((market, symbol) for symbol in symbols)
        hashes = [tickers_key(self._main_key, market), price_key(self._main_key, market)]
        hashes += [key for key in self._kline_ms if key.startswith(f"{self._main_key}:last-closed:{market}:")]
        fields = [(key, symbol) for key in hashes for symbol in symbols if symbol in self._values.get(key, {})]
        for key, name in fields:
            del self._values[key][name]
            self._due.pop((key, name), None)
        self._removals += fields
        for symbol in symbols:
            if coin := self._coins.pop((market, symbol), None):
                self._drop_coin(coin.key, symbol)

    def keep_symbols(self, market: str, symbols: Collection[str]) -> None:
        """Keep symbols again that were dropped."""
        self._absent.difference_update((market, symbol) for symbol in symbols)

    def take(self, limit: int) -> list[Write]:
        """Take out the oldest due values, at most `limit`, as few commands."""
        open_writes: dict[str, Write] = {}
        writes = []
        due = list(islice(self._due, limit))
        for key, name in due:
            del self._due[key, name]
            write = open_writes.get(key)
            if write is None or len(write.fields) >= FIELDS_PER_WRITE:
                ttl_s = last_closed_ttl_s(self._kline_ms[key]) if key in self._kline_ms else 0
                write = open_writes[key] = Write(key, ttl_s=ttl_s, coins=self._coin_sets.get(key, ""))
                writes.append(write)
            value = self._values[key][name]
            write.fields[name] = value if isinstance(value, str) else json_of(value)
        return writes

    def take_removals(self) -> list[HashField]:
        """Take out what is to be removed from Redis; an empty field is the whole key."""
        removals, self._removals = self._removals, []
        return removals

    def give_back_removals(self, removals: list[HashField]) -> None:
        """Put removals back that Redis did not carry out."""
        self._removals = removals + self._removals

    def give_back(self, fields: Iterable[HashField]) -> None:
        """Make due again what was not written, unless it is due already."""
        self._due.update(dict.fromkeys(fields))

    def all_due(self) -> None:
        """Make everything due: the server behind a new connection may have lost it."""
        self._due = {(key, name): None for key, fields in self._values.items() for name in fields}

    def expire(self, now_ms: int) -> Iterator[HashField]:
        """Drop klines that are too old to be called the last; returns their fields."""
        for key, interval_ms in self._kline_ms.items():
            keep_ms = interval_ms + last_closed_ttl_s(interval_ms) * 1000
            fields = self._values[key]
            for name in [name for name, kline in fields.items() if kline.timestamp + keep_ms < now_ms]:
                del fields[name]
                self._due.pop((key, name), None)
                yield key, name

    def _present(self, envelope: Envelope) -> Iterable[Record]:
        """The records of symbols that are collected."""
        if not self._absent:
            return envelope.data
        return [record for record in envelope.data if (envelope.channel, record["symbol"]) not in self._absent]

    def _drop_coin(self, key: str, symbol: str) -> None:
        """Drop a coin's price where it is this symbol's: another market of the coin may give it now."""
        if self._values.get(key, {}).get("original_symbol") == symbol:
            for name in self._values.pop(key):
                self._due.pop((key, name), None)
            del self._coin_ranks[key]
            self._removals.append((key, ""))

    def _set(self, key: str, name: str, value: Any) -> None:
        self._values.setdefault(key, {})[name] = value
        self._due[key, name] = None

    def _set_kline(self, market: str, kline: Kline) -> None:
        key = last_closed_key(self._main_key, market, kline.interval)
        self._kline_ms[key] = kline.interval
        known = self._values.get(key, {}).get(kline.symbol)
        if known is None or (kline.timestamp, kline.revision) >= (known.timestamp, known.revision):
            self._set(key, kline.symbol, kline)

    def _set_coin(self, exchange: str, market: str, symbol: str, text: str, time_text: str) -> None:
        coin = self._coins.get((market, symbol))
        if coin is None or not coin.is_listed:
            coin = self._coin(exchange, market, symbol, coin)
        if coin.rank > self._coin_ranks.get(coin.key, coin.rank):
            return  # the coin's better market is collected too
        self._coin_ranks[coin.key] = coin.rank
        self._set(coin.key, "ltp", text)
        self._set(coin.key, "timestamp", time_text)
        self._set(coin.key, "original_symbol", symbol)

    def _coin(self, exchange: str, market: str, symbol: str, before: Coin | None) -> Coin:
        """A symbol's coin by the listing; by its name until the listing has it."""
        pair = self._pair_of(market, symbol)
        if before and pair is None:
            return before
        coin = Coin(coin_key(exchange, market, symbol, pair), rank_of(symbol, pair), pair is not None)
        if before and before.key != coin.key:
            self._drop_coin(before.key, symbol)
        self._coins[market, symbol] = coin
        self._coin_sets[coin.key] = coins_key(self._main_key, exchange, market)
        return coin
