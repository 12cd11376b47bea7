"""Records under rules that no venue here has: tickers in parts, sides in signs, the newest trade first."""

from decimal import Decimal

import msgspec
import pytest

from exchanges.records import Records
from model.records import Record


class TickerMessage(msgspec.Struct, gc=False):
    """A part of a ticker; its symbol is in the topic."""

    topic: str
    data: Record
    type: str = "message"


RECORDS = Records(
    tickers=TickerMessage,
    price="last",
    texts=frozenset(),
    symbol_of=lambda message: message.topic.partition(":")[2],
    merges=True,
    needs_whole=False,
    trade_symbol="contract",
    trade_head=lambda trade: {"side": "sell" if trade.get("size", 0) < 0 else "buy"},
    newest_first=True,
)


def refuse(cause: str, sample: bytes) -> None:
    pytest.fail(f"{cause}: {sample!r}")


def test_a_ticker_that_comes_in_parts_is_merged_from_the_first_on() -> None:
    """From two topics of one symbol; a price comes with the part that has it."""
    reader = RECORDS.reader("ticker", refuse, {"ticker", "price"})
    assert reader
    assert reader([b'{"topic":"best:A","data":{"bid":"1","ask":"2"}}']) == {
        "ticker": [{"symbol": "A", "bid": 1, "ask": 2}]
    }
    records = reader([b'{"topic":"day:A","data":{"last":"3"}}', b'{"topic":"best:A","data":{"bid":"4"}}'])
    assert records["ticker"] == [{"symbol": "A", "bid": 4, "ask": 2, "last": 3}]
    assert records["price"] == [{"symbol": "A", "price": 3}]
    reader.mark_uncertain(["A"])
    (ticker,) = reader([b'{"topic":"best:A","data":{"bid":"5","ask":"6"}}'])["ticker"]
    assert ticker["unsure"] == ["last"]
    assert reader.without_snapshot == 0


class NamedTrades(msgspec.Struct, gc=False):
    """Trades of a symbol that the message has."""

    of: str
    data: list[Record]


def test_the_symbol_of_a_message_stands_before_each_of_its_trades() -> None:
    """Where they have none themselves."""
    records = Records(
        tickers=TickerMessage,
        price="last",
        texts=frozenset(),
        trades=NamedTrades,
        trade_symbol_of=lambda message: message.of,
    )
    reader = records.reader("trades", refuse, {"trades"})
    assert reader
    assert reader([b'{"of":"A","data":[{"p":"1"},{"p":"2"}]}', b'{"of":"B","data":[{"p":"3"}]}'])["trades"] == [
        {"symbol": "A", "p": "1"}, {"symbol": "A", "p": "2"}, {"symbol": "B", "p": "3"}
    ]  # fmt: skip


def test_trades_are_in_the_order_of_matching_behind_what_they_lack() -> None:
    """The fields that they have stay as they are."""
    reader = RECORDS.reader("trades", refuse, {"trades"})
    assert reader
    rows = b'{"data":[{"contract":"A","size":-2},{"contract":"A","size":1}]}'
    assert reader([rows])["trades"] == [
        {"side": "buy", "symbol": "A", "contract": "A", "size": 1},
        {"side": "sell", "symbol": "A", "contract": "A", "size": -2},
    ]


def test_numbers_of_json_keep_their_digits() -> None:
    """As those do that are written as texts; one that no Decimal holds costs its message."""
    causes: list[str] = []
    reader = RECORDS.reader("ticker", lambda cause, _sample: causes.append(cause), {"ticker", "price"})
    assert reader
    odd = b'{"topic":"a:B","data":{"last":1e99999999999999999999}}'
    assert reader([b'{"topic":"a:A","data":{"last":67158.10000000000000000001,"n":3}}', odd]) == {
        "ticker": [{"symbol": "A", "last": Decimal("67158.10000000000000000001"), "n": 3}],
        "price": [{"symbol": "A", "price": Decimal("67158.10000000000000000001")}],
    }
    assert causes == ["malformed_ticker"]
