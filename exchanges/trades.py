"""Payloads of trades of any exchange, decoded into batches: what the decoders of the venues share.

Pure; called on the aggregator thread with a batch at a time. A trade that cannot be read costs only itself. A venue
declares structs whose fields are called alike, whatever the exchange calls them (msgspec.field(name=...)), and are in
the order of its texts, which is read quickest. A field that must be converted is a property: about 50 ns a trade.
"""

import functools
import itertools
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec

from exchanges.records import UNREADABLE
from model.ports import Report
from model.records import TradeBatch, TradeId, Written

N = TypeVar("N")
"""The type of price and size in a struct: float, or Decimal where all digits are wanted."""

Id = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""The number of a trade; more is none."""

Decode = Callable[[bytes], Any]


def decoder_of(shape: Any) -> Decode:
    """What decodes a text as `shape`; numbers may be written as texts."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape, strict=False)
    return decoder.decode


@dataclass(frozen=True)
class TradeShape:
    """How messages of trades look: structs, those that have prices generic in N.

    `message`: a whole one; its `trades` are a list of `trade`, for a TradeDecoder its `trade` is one. `trade`: symbol
    ("" where the message alone has it), ms, price, size, id; for a TradesDecoder also `more`, the sequence, or where
    `has_matches` how many matches it stands for; a class attribute 0 where there is neither. `others` are tried in turn
    where one trade cannot be read as `trade`. `raw`: a message whose `trades` are still text (msgspec.Raw), and whose
    `symbol` is that of all. `symbols`: those that an unreadable payload names. `newest_first`: a message has its trades
    so. `has_ids`: else the decoder numbers them. `are_seqs`: ids are the sequence. `has_sequence`: the trade of a
    TradeDecoder has `more`, the sequence, beside its id.
    """

    message: Any
    trade: Any
    symbols: Callable[[bytes], Iterable[str]]
    raw: Any = None
    others: Sequence[Any] = ()
    has_matches: bool = False
    has_ids: bool = True
    are_seqs: bool = False
    has_sequence: bool = False
    newest_first: bool = False


class TradesDecoder:
    """A contract.DecodeTrades of messages that have a list of trades each."""

    def __init__(self, shape: TradeShape, report: Report, counts: Callable[[Any], bool] | None = None) -> None:
        """`report(cause, sample)` takes what cannot be read; `counts` says which trades count, None: all."""
        self._shape, self._report, self._counts = shape, report, counts
        self._message = decoder_of(shape.message[float])
        self._numbers = None if shape.has_ids else itertools.count(1)

    def __call__(self, payloads: Sequence[bytes]) -> TradeBatch:
        """Decode one payload after the other, while its trades are in cache: many at a time cost a sixth more."""
        symbols: list[str] = []
        times_ms: list[int] = []
        prices: list[float] = []
        sizes: list[float] = []
        more: list[int] = []
        ids: list[TradeId] = []
        uncounted: list[tuple[str, TradeId]] = []
        broken: list[str] = []
        shape, decode = self._shape, self._message
        is_plain = self._counts is None and not shape.newest_first
        for payload in payloads:
            try:
                trades = decode(payload).trades
            except UNREADABLE:
                trades = self._one_by_one(payload, self._report, broken, float)
            if not is_plain:
                trades = self._counted(trades, uncounted)
            for trade in trades:  # to append each is what this Python does quickest
                symbols.append(trade.symbol)
                times_ms.append(trade.ms)
                prices.append(trade.price)
                sizes.append(trade.size)
                more.append(trade.more)
                ids.append(trade.id)
        if self._numbers is not None:
            ids = [f"#{number}" for number in itertools.islice(self._numbers, len(symbols))]
        return TradeBatch(
            symbols,
            times_ms,
            prices,
            sizes,
            ids if shape.are_seqs else [0] * len(symbols) if shape.has_matches else more,  # type: ignore[arg-type]
            ids,
            broken,
            written=functools.partial(self._written, payloads),
            matches=more if shape.has_matches else None,
            uncounted=uncounted,
        )

    def _counted(self, trades: list[Any], uncounted: list[tuple[str, TradeId]]) -> list[Any]:
        """The trades that count, in the order of matching; the others are added to `uncounted`."""
        counts = self._counts
        if self._shape.newest_first:
            trades.reverse()
        if counts is None:
            return trades
        counted = [trade for trade in trades if counts(trade)]
        if len(counted) < len(trades):
            uncounted += [each for trade in trades if not counts(trade) for each in self._matches_of(trade)]
        return counted

    def _matches_of(self, trade: Any) -> list[tuple[str, TradeId]]:
        """Symbol and id of every match that a trade stands for."""
        if not self._shape.has_matches:
            return [(trade.symbol, trade.id)]
        return [(trade.symbol, trade_id) for trade_id in range(trade.id - trade.more + 1, trade.id + 1)]

    def _written(self, payloads: Sequence[bytes]) -> list[Written]:
        """Price and size of the same trades to the last digit, in the same order.

        For the few trades whose floats are equal although their texts are not: it takes three times as long.
        """
        found: list[Written] = []
        decode = _decoder_of_decimals(self._shape.message)
        for payload in payloads:
            try:
                trades = decode(payload).trades
            except UNREADABLE:
                trades = self._one_by_one(payload, lambda *_: None, [], Decimal)
            found += [(each.price, each.size) for each in self._counted(trades, [])]
        return found

    def _one_by_one(self, payload: bytes, report: Report, broken: list[str], number: type) -> list[Any]:
        """The trades of a payload that cannot be read as a whole."""
        shape = self._shape
        try:
            message = decoder_of(shape.raw)(payload)
        except UNREADABLE:
            report("malformed_trades", payload)
            broken += shape.symbols(payload)
            return []
        trades = []
        decoders = [decoder_of(each[number]) for each in (shape.trade, *shape.others)]
        for raw in message.trades:
            if (trade := _first_of(decoders, raw)) is None:
                report("bad_trade", bytes(raw))
                broken.append(message.symbol)
                continue
            if not trade.symbol:
                trade.symbol = message.symbol
            trades.append(trade)
        return trades


class TradeDecoder:
    """A contract.DecodeTrades of messages that have one trade each."""

    def __init__(self, shape: TradeShape, report: Report, counted: Container[str] | None = None) -> None:
        """`counted`: the values of `mark` of trades that count; None: all do, and there need be no `mark`."""
        self._shape, self._report, self._counted = shape, report, counted
        self._message = decoder_of(shape.message[float])

    def __call__(self, payloads: Sequence[bytes]) -> TradeBatch:
        """Decode payloads in their order."""
        symbols: list[str] = []
        times_ms: list[int] = []
        prices: list[float] = []
        sizes: list[float] = []
        more: list[int] = []
        ids: list[TradeId] = []
        uncounted: list[tuple[str, TradeId]] = []
        broken: list[str] = []
        decode, counted, has_sequence = self._message, self._counted, self._shape.has_sequence
        for payload in payloads:
            try:
                trade = decode(payload).trade
            except UNREADABLE:
                self._report("malformed_trades", payload)
                broken += self._shape.symbols(payload)
                continue
            if counted is None or trade.mark in counted:
                symbols.append(trade.symbol)
                times_ms.append(trade.ms)
                prices.append(trade.price)
                sizes.append(trade.size)
                ids.append(trade.id)
                if has_sequence:
                    more.append(trade.more)
            else:
                uncounted.append((trade.symbol, trade.id))
        seqs: Any = ids if self._shape.are_seqs else more if has_sequence else [0] * len(symbols)
        written = functools.partial(self._written, payloads)
        return TradeBatch(symbols, times_ms, prices, sizes, seqs, ids, broken, written=written, uncounted=uncounted)

    def _written(self, payloads: Sequence[bytes]) -> list[Written]:
        """As TradesDecoder's."""
        found: list[Written] = []
        decode = _decoder_of_decimals(self._shape.message)
        for payload in payloads:
            try:
                trade = decode(payload).trade
            except UNREADABLE:
                continue
            if self._counted is None or trade.mark in self._counted:
                found.append((trade.price, trade.size))
        return found


def _first_of(decoders: Iterable[Decode], raw: bytes) -> Any:
    for decode in decoders:
        try:
            return decode(raw)
        except UNREADABLE:
            continue
    return None


@functools.cache
def _decoder_of_decimals(message: Any) -> Decode:
    return decoder_of(message[Decimal])
