"""Decoders of trades under rules that no venue here has: the newest first, symbols in the message alone, no ids."""

from decimal import Decimal
from typing import Generic

import msgspec

from exchanges.trades import N, TradeDecoder, TradesDecoder, TradeShape
from model.records import TradeBatch


class Trade(msgspec.Struct, Generic[N], gc=False):
    """Its time is in ns, its size has a sign; neither id nor sequence."""

    ns: int = msgspec.field(name="t")
    price: N = msgspec.field(name="p")
    signed: N = msgspec.field(name="q")
    symbol: str = ""
    is_internal: bool = False
    id = ""
    more = 0

    @property
    def ms(self) -> int:
        return self.ns // 1_000_000

    @property
    def size(self) -> N:
        return abs(self.signed)  # type: ignore[arg-type]


class Arg(msgspec.Struct, gc=False):
    symbol: str = msgspec.field(name="of")


class Message(msgspec.Struct, Generic[N], gc=False):
    """A message names its symbol once."""

    arg: Arg
    trades: list[Trade[N]] = msgspec.field(name="data")

    def __post_init__(self) -> None:
        for trade in self.trades:
            trade.symbol = self.arg.symbol


class RawMessage(msgspec.Struct, gc=False):
    arg: Arg
    trades: list[msgspec.Raw] = msgspec.field(name="data")

    @property
    def symbol(self) -> str:
        return self.arg.symbol


class OneMessage(msgspec.Struct, Generic[N], gc=False):
    trade: Trade[N] = msgspec.field(name="data")


SHAPE = TradeShape(Message, Trade, lambda _payload: ["?"], RawMessage, newest_first=True, has_ids=False)


def message(*trades: str, of: str = "A") -> bytes:
    return f'{{"arg":{{"of":"{of}"}},"data":[{",".join(trades)}]}}'.encode()


def trade(second: int, price: str, size: str = '"1"', more: str = "") -> str:
    return f'{{"t":"{second}000000001","p":"{price}","q":{size}{more}}}'


def decoded(*payloads: bytes, shape: TradeShape = SHAPE) -> tuple[TradeBatch, list[str]]:
    reports: list[str] = []
    return TradesDecoder(shape, lambda cause, _sample: reports.append(cause))(payloads), reports


def test_a_message_that_has_the_newest_first_is_turned_round() -> None:
    """Messages themselves stay in their order; all digits are in the same order."""
    batch, reports = decoded(message(trade(3, "1.3"), trade(2, "1.2")), message(trade(5, "1.5"), of="B"))
    assert (batch.prices, batch.symbols, batch.event_ms) == ([1.2, 1.3, 1.5], ["A", "A", "B"], [2000, 3000, 5000])
    assert batch.written() == [(Decimal("1.2"), 1), (Decimal("1.3"), 1), (Decimal("1.5"), 1)]
    assert (batch.seqs, reports) == ([0, 0, 0], [])


def test_trades_without_ids_are_numbered_over_all_batches() -> None:
    """Two that are equal in all else are two; none has "", which stands for no trade at all."""
    decode = TradesDecoder(SHAPE, lambda *_: None)
    same = message(trade(1, "2"), trade(1, "2"))
    ids = [*decode([same]).ids, *decode([same, same]).ids]
    assert len(set(ids)) == 6
    assert "" not in ids


def test_a_size_with_a_sign_has_none_afterwards() -> None:
    """The sign is the taker's side."""
    batch, _ = decoded(message(trade(1, "2", "-3"), trade(1, "2", "4.5")))
    assert batch.sizes == [4.5, 3.0]
    assert batch.written() == [(2, Decimal("4.5")), (2, 3)]


def test_of_a_message_with_a_trade_that_cannot_be_read_the_others_count() -> None:
    """In the order of matching, with the symbol of the message; that of the lost one is broken."""
    batch, reports = decoded(message(trade(3, "1.3"), '{"t":"x"}', trade(2, "1.2")), b"{")
    assert (batch.prices, batch.symbols) == ([1.2, 1.3], ["A", "A"])
    assert (batch.broken, reports) == (["A", "?"], ["bad_trade", "malformed_trades"])
    assert batch.written() == [(Decimal("1.2"), 1), (Decimal("1.3"), 1)]


def test_trades_that_do_not_count_are_told() -> None:
    """Those of which the exchange makes no candles."""
    decode = TradesDecoder(SHAPE, lambda *_: None, counts=lambda each: not each.is_internal)
    batch = decode([message(trade(2, "1.2", more=',"is_internal":true'), trade(1, "1.1"))])
    assert (batch.prices, batch.uncounted) == ([1.1], [("A", "")])
    assert batch.written() == [(Decimal("1.1"), 1)]


def test_one_trade_a_message_needs_no_mark_where_all_count() -> None:
    """Those that cannot be read cost themselves."""
    reports: list[str] = []
    shape = TradeShape(OneMessage, Trade, lambda _payload: ["C"])
    payloads = [f'{{"data":{trade(1, "1.1", "-2")}}}'.encode(), b'{"data":{}}']
    batch = TradeDecoder(shape, lambda cause, _sample: reports.append(cause))(payloads)
    assert (batch.prices, batch.sizes, batch.event_ms, batch.seqs) == ([1.1], [2.0], [1000], [0])
    assert (batch.broken, reports) == (["C"], ["malformed_trades"])
    assert batch.written() == [(Decimal("1.1"), 2)]


class SequencedTrade(Trade[N], Generic[N], gc=False):
    """It has a sequence, which is not its id."""

    more: int = msgspec.field(name="n", default=0)


class SequencedMessage(msgspec.Struct, Generic[N], gc=False):
    trade: SequencedTrade[N] = msgspec.field(name="data")


def test_one_trade_a_message_may_have_a_sequence_beside_its_id() -> None:
    """By which trades of one millisecond are put in order."""
    shape = TradeShape(SequencedMessage, SequencedTrade, lambda _payload: ["C"], has_sequence=True)
    first, second = (f'{{"data":{trade(1, "1.1", more=more)}}}'.encode() for more in (',"n":7', ',"n":5'))
    batch = TradeDecoder(shape, lambda *_: None)([first, b"{", second])
    assert (batch.seqs, batch.ids) == ([7, 5], ["", ""])
