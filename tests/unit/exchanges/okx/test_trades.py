"""Trades payloads to columns: recorded ones, odd ones, hostile ones."""

import csv
import itertools
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.contract import TradeRules
from exchanges.okx.trades import trade_decoder
from tests.unit.exchanges.okx.recorded import of_channel

SWAP = {
    "instId": "BTC-USDT-SWAP",
    "tradeId": "2832749645",
    "px": "63913.4",
    "sz": "34.95",
    "side": "sell",
    "ts": "1786540436090",
    "count": "10",
    "source": "0",
    "seqId": 333793118093,
}
DEEP = 1_000_000  # levels: beyond any stack


def message(*trades, symbol="BTC-USDT-SWAP"):
    return json.dumps({"arg": {"channel": "trades", "instId": symbol}, "data": list(trades)}).encode()


def swap(**changes):
    return {**SWAP, **changes}


def ignore(_cause, _sample):
    """Take a report."""


def decode(*payloads, rules=TradeRules()):  # noqa: B008 - it is frozen
    """Rows of symbol, time, price, size, id, matches; the broken symbols; the causes reported."""
    causes = []
    batch = trade_decoder(rules, lambda cause, _sample: causes.append(cause))(payloads)
    columns = (batch.symbols, batch.event_ms, batch.prices, batch.sizes, batch.ids, batch.matches or ())
    return list(zip(*columns, strict=True)), batch.broken, causes


def test_recorded_payloads_are_read_to_the_last_trade(shared_data):
    """Of 2021 to 2026, spot, swaps and futures, trades and trades-all: the same as json reads, one by one."""
    recorded = of_channel(shared_data, "trades", "trades-all")
    rows, broken, causes = decode(*recorded)
    expected = [trade for payload in recorded for trade in json.loads(payload)["data"]]

    assert len(rows) == len(expected) > 70
    assert (broken, causes) == ([], [])
    for row, trade in zip(rows, expected, strict=True):
        numbers = (float(trade["px"]), float(trade["sz"]), int(trade["tradeId"]), int(trade.get("count", 1)))
        assert row == (trade["instId"], int(trade["ts"]), *numbers)


def test_recorded_ids_are_consecutive_within_a_symbol(shared_data):
    """An id less the matches of its message is the id of the message before: what a hole is proven by."""
    rows, _, _ = decode(*of_channel(shared_data, "trades"))
    spot = [row for row in rows if row[0] == "BTC-USDT" and row[1] < 1_660_000_000_000 and row[4] > 338_000_000]

    assert len(spot) > 60
    assert all(after[4] - after[5] == before[4] for before, after in itertools.pairwise(spot))


def test_oracle_minute_equals_the_exchanges_candle(shared_data):
    """MATIC-USDT-SWAP: volume in contracts, of ten each, and turnover are the exchange's to the last digit."""
    folder = shared_data / "okx" / "klines"
    with (folder / "swap_MATIC-USDT-SWAP_trades_1692547260000.csv").open() as lines:
        trades = list(csv.DictReader(lines))
    with (folder / "swap_MATIC-USDT-SWAP_1m_1692547260000.csv").open() as lines:
        candle = next(csv.DictReader(lines))
    rows = [
        swap(
            instId="MATIC-USDT-SWAP",
            tradeId=t["trade_id"],
            px=t["price"],
            sz=t["size"],
            ts=t["created_time"],
            count="1",
        )
        for t in trades
    ]
    batch = trade_decoder(TradeRules(), ignore)([message(row, symbol="MATIC-USDT-SWAP") for row in rows])
    written = batch.written()

    assert len(written) == 14
    assert batch.prices[0] == float(candle["open"])
    assert batch.prices[-1] == float(candle["close"])
    assert (max(batch.prices), min(batch.prices)) == (float(candle["high"]), float(candle["low"]))
    assert sum(size for _, size in written) == Decimal(candle["vol"])
    assert sum(price * size * 10 for price, size in written) == Decimal(candle["volCcyQuote"])


def test_a_message_has_the_id_of_its_last_match_and_how_many_there_were():
    """The id orders the matches of a symbol too: REST has no other sequence."""
    batch = trade_decoder(TradeRules(), ignore)([message(SWAP)])

    assert (batch.ids, batch.matches, batch.seqs) == ([2832749645], [10], [2832749645])


def test_old_messages_are_single_matches():
    """Until 2023 there was neither a count nor a source."""
    old = {name: SWAP[name] for name in ("instId", "tradeId", "px", "sz", "side", "ts")}

    assert decode(message(old))[0] == [("BTC-USDT-SWAP", 1786540436090, 63913.4, 34.95, 2832749645, 1)]


def test_order_of_keys_and_unknown_keys_do_not_matter():
    """What is added tomorrow is not looked at."""
    assert decode(message({"new": {"a": [1]}, **dict(reversed(SWAP.items()))})) == decode(message(SWAP))


def test_numbers_are_read_from_text_and_from_numbers():
    """OKX writes seqId as a number and all else as text; either is read either way."""
    numbers = swap(tradeId=2832749645, px=63913.4, sz=34.95, ts=1786540436090, count=10)

    assert decode(message(numbers)) == decode(message(SWAP))


def test_trades_of_price_improvement_can_be_left_out():
    """By COUNT_RPI_TRADES; the ids of all their matches are known all the same, so that they prove no hole."""
    trades = [swap(tradeId="7", count="1"), swap(tradeId="10", count="3", source="1"), swap(tradeId="11", count="1")]
    payloads = [message(trade) for trade in trades]
    batch = trade_decoder(TradeRules(count_rpi_trades=False), ignore)(payloads)

    assert batch.ids == [7, 11]
    assert batch.uncounted == [("BTC-USDT-SWAP", each) for each in (8, 9, 10)]
    assert len(batch.written()) == 2
    assert trade_decoder(TradeRules(), ignore)(payloads).ids == [7, 10, 11]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"pong",
        b"\xff\xfe",
        b'{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"}}',
        b'{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"data":{}}',
        message(SWAP)[:-1],
        message(SWAP) + b"}",
        message(SWAP).replace(b"BTC", b"\xff\xff\xff"),
        b'{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"data":' + b"[" * DEEP + b"]" * DEEP + b"}",
    ],
)
def test_malformed_message_costs_only_itself(payload):
    """It is reported once, its symbol named where it has one; the messages around it are read in order."""
    rows, broken, causes = decode(message(swap(tradeId="1")), payload, message(swap(tradeId="3")))

    assert [row[4] for row in rows] == [1, 3]
    assert causes == ["malformed_trades"]
    assert len(broken) == (b"instId" in payload)


@pytest.mark.parametrize(
    "changes",
    [
        {"px": "abc"},
        {"px": None},
        {"sz": "1,5"},
        {"sz": []},
        {"ts": "yesterday"},
        {"ts": 1.5},
        {"instId": None},
        {"tradeId": "x"},
        {"tradeId": "-1"},
        {"tradeId": str(2**63)},
        {"count": "0"},
        {"count": str(2**60)},
        {"source": []},
    ],
)
def test_unreadable_trade_costs_only_itself(changes):
    """The good ones of the same message and of its neighbours are counted; its symbol is named as broken."""
    middle = message(swap(tradeId="2"), swap(**changes), swap(tradeId="3"))
    rows, broken, causes = decode(message(swap(tradeId="1")), middle, message(swap(tradeId="4")))

    assert [row[4] for row in rows] == [1, 2, 3, 4]
    assert (broken, causes) == (["BTC-USDT-SWAP"], ["bad_trade"])


@pytest.mark.parametrize("field", ["instId", "tradeId", "px", "sz", "ts"])
def test_missing_field_is_an_unreadable_trade(field):
    """Without an id it would be counted twice where it comes twice."""
    trade = swap()
    del trade[field]

    assert decode(message(SWAP, trade))[1:] == (["BTC-USDT-SWAP"], ["bad_trade"])


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_garbage_never_raises(payloads):
    """Whatever bytes come, the message after them is read."""
    rows, _, causes = decode(*payloads, message(SWAP))

    assert len(rows) == 1
    assert set(causes) <= {"malformed_trades"}


def test_written_numbers_are_those_of_the_same_trades():
    """To the last digit and in the same order, whatever is left out or cannot be read."""
    rows = [
        swap(tradeId="1", sz="12345678901234567.89", px="0.1000000000000000055"),
        swap(tradeId="2", sz="many"),
        swap(tradeId="3", source="1", px="1e-7"),
        swap(tradeId="4", px="5.50"),
    ]
    payloads = [message(*rows[:2]), message(*rows[2:])]
    for rules in (TradeRules(), TradeRules(count_rpi_trades=False)):
        batch = trade_decoder(rules, ignore)(payloads)

        assert [(float(p), float(v)) for p, v in batch.written()] == list(zip(batch.prices, batch.sizes, strict=True))
    assert batch.written()[0] == (Decimal("0.1000000000000000055"), Decimal("12345678901234567.89"))
