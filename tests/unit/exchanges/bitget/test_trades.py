"""Trades payloads to columns: recorded ones, odd ones."""

import json
from decimal import Decimal

from exchanges.bitget.trades import trade_decoder
from tests.unit.exchanges.bitget.recorded import of_channel

ROW = {"ts": "1788335044368", "price": "77600.75", "size": "0.010592", "side": "buy", "tradeId": "1478949857936523268"}


def message(*trades, symbol="BTCUSDT"):
    arg = {"instType": "SPOT", "channel": "trade", "instId": symbol}
    return json.dumps({"action": "update", "arg": arg, "data": list(trades), "ts": 1788335044369}).encode()


def decode(*payloads):
    """Rows of symbol, time, price, size, id; the broken symbols; the causes reported."""
    causes = []
    batch = trade_decoder(lambda cause, _sample: causes.append(cause))(payloads)
    columns = (batch.symbols, batch.event_ms, batch.prices, batch.sizes, batch.ids)
    return list(zip(*columns, strict=True)), batch.broken, causes


def test_recorded_payloads_are_read_oldest_first(shared_data):
    """The same as json reads, each message turned round; the symbol is that of its arg."""
    recorded = of_channel(shared_data, "trade")
    rows, broken, causes = decode(*recorded)
    expected = [
        (body["arg"]["instId"], int(row["ts"]), float(row["price"]), float(row["size"]), row["tradeId"])
        for body in map(json.loads, recorded)
        for row in reversed(body["data"])
    ]

    assert rows == expected
    assert len(rows) > 8
    assert (broken, causes) == ([], [])


def test_trades_of_one_millisecond_come_in_the_order_of_their_matching(shared_data):
    """The recorded message of three: ids grow with time."""
    (three,) = [frame for frame in of_channel(shared_data, "trade") if frame.count(b"tradeId") == 3]
    rows, _, _ = decode(three)

    assert [row[4] for row in rows] == ["1478949857936523264", "1478949857936523266", "1478949857936523268"]
    assert len({row[1] for row in rows}) == 1


def test_a_trade_that_cannot_be_read_costs_itself():
    """Its symbol is named, the others are there, oldest first."""
    rows, broken, causes = decode(message({**ROW, "tradeId": "3"}, {**ROW, "price": None}, {**ROW, "tradeId": "1"}))

    assert [(row[0], row[4]) for row in rows] == [("BTCUSDT", "1"), ("BTCUSDT", "3")]
    assert (broken, causes) == (["BTCUSDT"], ["bad_trade"])


def test_a_payload_that_cannot_be_read_names_its_symbol():
    """So that its candles are known to lack something."""
    rows, broken, causes = decode(message(ROW)[:-30], message(ROW, symbol="ETHUSDT"))

    assert [row[0] for row in rows] == ["ETHUSDT"]
    assert (broken, causes) == (["BTCUSDT"], ["malformed_trades"])


def test_digits_are_kept_for_those_that_ask():
    """In the same order."""
    batch = trade_decoder(lambda *_: None)([message({**ROW, "price": "77600.7500"}, {**ROW, "size": "1.10"})])

    assert [tuple(map(str, each)) for each in batch.written()] == [("77600.75", "1.10"), ("77600.7500", "0.010592")]
    assert batch.written()[0][0] == Decimal("77600.75")
