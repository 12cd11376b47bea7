"""What is published, read for a person: each channel's payloads as envelopes, and these as lines.

Pure; one thread. What cannot be read costs itself, and is counted.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from app.payload_symbols import symbols_by_channel
from app.watch.choice import Channels, Choice, SymbolFilter
from conf.settings import Settings
from consumers.console.console import kline_line
from exchanges.contract import OWN, TradeRules
from exchanges.registry import VENUES
from model.clock import iso_ms
from model.envelope import Envelope, plain_text, read_envelope, read_klines
from model.intervals import step_of
from model.records import Record

SYMBOLS_SHOWN = 5  # of a status event's
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # msgspec's errors are ValueErrors
EVENT_FIELDS = ("exchange", "event", "ts", "stream", "market", "kind", "symbols")  # those with a place in the line

Item = Envelope | bytes
"""Records, or a line as it was published."""

Read = Callable[[str, Sequence[bytes]], Iterable[Item]]
"""Reads the payloads of a channel, in their order."""


class Readers:
    """The readers of the channels of a choice. `unreadable` counts the messages that none could read."""

    def __init__(self, choice: Choice, channels: Channels, settings: Settings) -> None:
        self._choice, self._venue = choice, (venue := VENUES[settings.exchange])
        self._rules = TradeRules(settings.count_block_trades, settings.count_rpi_trades)
        self._is_per_symbol = settings.redis_cluster == "symbol"
        self.filter = SymbolFilter(choice.names, settings.symbols_quote)
        self.unreadable = 0
        self._symbol_of = symbols_by_channel(
            venue.name, settings.markets, venue.markets, lambda market: venue.protocol(market, OWN)
        )
        self.names = venue.record_names.get("trades", {})  # of the fields of trades
        self._reads = {channel: self._reader(*each) for channel, each in channels.items()}

    def read(self, channel: str, payloads: Sequence[bytes]) -> list[Item]:
        """Return what is to be shown of the payloads of a channel."""
        return list(self._reads[channel](channel, payloads))

    def _reader(self, what: str, market: str) -> Read:
        choice = self._choice
        if choice.view == "raw" or (choice.view == "trades" and choice.is_json):
            return self._raw(market)
        if what == "status":
            return self._status
        if what in ("klines", "envelopes"):
            return self._each(self._klines if what == "klines" else self._prices)
        if choice.view == "trades":
            return self._records(market, "trades", "trades")
        return self._trade_prices(market) if what == "trades" else self._records(market, "ticker", "price")

    def _count(self, _cause: str, _sample: bytes) -> None:
        self.unreadable += 1

    def _each(self, read: Callable[[bytes], Envelope | None]) -> Read:
        """A reader of one payload after the other, which are shown as they are where all of them is shown."""

        def reader(_channel: str, payloads: Sequence[bytes]) -> Iterator[Item]:
            for payload in payloads:
                try:
                    envelope = read(payload)
                    shown = envelope and self._shown(envelope)
                except UNREADABLE:
                    self.unreadable += 1
                    continue
                if shown and shown.data:
                    yield payload if self._choice.is_json and shown is envelope else shown

        return reader

    def _klines(self, payload: bytes) -> Envelope:
        envelope, steps = read_klines(payload), self._choice.steps
        if not steps or all(step_of(each.interval, each.timestamp) in steps for each in envelope.data):
            return envelope
        kept = tuple(each for each in envelope.data if step_of(each.interval, each.timestamp) in steps)
        return Envelope(envelope.exchange, envelope.channel, envelope.data_type, kept)

    def _prices(self, payload: bytes) -> Envelope | None:
        envelope = read_envelope(payload)
        return envelope if envelope.data_type == "price" else None

    def _shown(self, envelope: Envelope) -> Envelope:
        """The envelope, or a smaller one where not all of it is to be shown; itself where all is."""
        market, choice = envelope.channel, self._choice
        if choice.market and market != choice.market:
            return Envelope(envelope.exchange, market, envelope.data_type, ())
        shown = tuple(each for each in envelope.data if self.filter(market, symbol_of(each)))
        return (
            envelope
            if len(shown) == len(envelope.data)
            else Envelope(envelope.exchange, market, envelope.data_type, shown)
        )

    def _records(self, market: str, kind: str, data_type: str) -> Read:
        """A reader of records that the venue makes of payloads."""
        made = self._venue.reader(market, kind, self._count, (data_type,))
        symbol_name = self.names.get("symbol", "symbol") if data_type == "trades" else "symbol"

        def reader(_channel: str, payloads: Sequence[bytes]) -> Iterator[Item]:
            records = made(payloads).get(data_type, ()) if made else ()
            shown = tuple(each for each in records if self.filter(market, str(each.get(symbol_name))))
            if shown:
                yield Envelope(self._venue.name, market, data_type, shown)

        return reader

    def _trade_prices(self, market: str) -> Read:
        """A reader of the newest prices of trades."""
        decode = self._venue.decoder(market, self._rules, self._count)

        def reader(_channel: str, payloads: Sequence[bytes]) -> Iterator[Item]:
            batch = decode(payloads)
            newest = dict(zip(batch.symbols, batch.prices, strict=True))
            shown = tuple(
                {"symbol": symbol, "price": Decimal(repr(price))}
                for symbol, price in newest.items()
                if self.filter(market, symbol)
            )
            if shown:
                yield Envelope(self._venue.name, market, "price", shown)

        return reader

    def _raw(self, market: str) -> Read:
        def reader(channel: str, payloads: Sequence[bytes]) -> Iterator[Item]:
            if not self._choice.names or self._is_per_symbol:  # of a cluster's channels each has its symbol's alone
                yield from payloads
                return
            for payload in payloads:
                if self.filter(market, self._symbol_of(channel, payload)):
                    yield payload

        return reader

    def _status(self, _channel: str, payloads: Sequence[bytes]) -> Iterator[Item]:
        for payload in payloads:
            try:
                event = json.loads(payload)
                market, symbols = event.get("market", ""), event.get("symbols", ())
                is_shown = not symbols or any(self.filter(market, symbol) for symbol in symbols)
                line = payload if self._choice.is_json else event_line(event).encode()
            except UNREADABLE:
                self.unreadable += 1
                continue
            if is_shown and (not self._choice.market or market in ("", self._choice.market)):
                yield line


def symbol_of(record: Any) -> str:
    """Return the symbol of a kline or of a record."""
    return str(record["symbol"]) if isinstance(record, dict) else str(record.symbol)


def lines_of(envelope: Envelope, now_ms: float, begin: str = "", names: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of an envelope of klines, prices or trades; `begin` stands before symbols.

    `now_ms` is the time shown with a price. `names`: of the fields of trades (Venue.record_names).
    """
    if envelope.data_type == "klines":
        return [kline_line(kline, begin) for kline in envelope.data]
    if envelope.data_type == "price":
        return [f"{iso_ms(now_ms)} {begin}{each['symbol']} {text_of(each['price'])}" for each in envelope.data]
    return [trade_line(each, begin, names or {}) for each in envelope.data]


def trade_line(trade: Record, begin: str, names: Mapping[str, str]) -> str:
    """Return `2024-09-09T15:30:25.123Z BTCUSDT buy 67250.5 x 0.002`; without a side where the exchange sends none."""
    symbol, ms, side, price, size = (
        trade.get(names.get(name, name)) for name in ("symbol", "timestamp", "side", "price", "size")
    )
    try:
        time = iso_ms(float(str(ms)))
    except (ValueError, OverflowError, OSError):
        time = "-"
    words = [time, f"{begin}{symbol}", str(side).lower() if side else "", f"{text_of(price)} x {text_of(size)}"]
    return " ".join(filter(None, words))


def event_line(event: Mapping[str, Any]) -> str:
    """Return a status event as a line: time, event, stream, market and kind, symbols, and what else it says."""
    symbols = event.get("symbols") or ()
    more = f" and {len(symbols) - SYMBOLS_SHOWN} more" if len(symbols) > SYMBOLS_SHOWN else ""
    words = [iso_ms(event["ts"]), event["event"], *(event.get(name, "") for name in ("stream", "market", "kind"))]
    words += [",".join(symbols[:SYMBOLS_SHOWN]) + more]
    words += [f"{name}={_field(name, value)}" for name, value in event.items() if name not in EVENT_FIELDS]
    return " ".join(filter(None, map(str, words)))


def _field(name: str, value: object) -> object:
    is_time = name in ("from", "until") and isinstance(value, int)
    return iso_ms(value) if is_time else json.dumps(value) if isinstance(value, str) and " " in value else value  # type: ignore[arg-type]


def text_of(number: object) -> str:
    """Return a number of a record in plain notation, with its digits."""
    return plain_text(number) if isinstance(number, Decimal) else str(number)
