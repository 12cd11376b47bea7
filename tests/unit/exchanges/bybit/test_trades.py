"""publicTrade payloads to columns: recorded ones, odd ones, hostile ones."""

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.bybit.trades import trade_decoder
from exchanges.contract import TradeRules

LINEAR = {
    "T": 1761884491018,
    "s": "BTCUSDT",
    "S": "Sell",
    "v": "0.015",
    "p": "1947617.90",
    "L": "ZeroMinusTick",
    "i": "665b94d1-50af-54f3-bcb9-13ea63750ecf",
    "BT": False,
    "RPI": False,
    "seq": 457514742271,
}
COLUMNS = ("s", "T", "p", "v", "seq", "i")
DEEP = 1_000_000  # levels: beyond any stack. Python 3.14 counts the bytes of the stack that are left, not the levels


def message(*trades, topic="publicTrade.BTCUSDT"):
    return json.dumps({"topic": topic, "type": "snapshot", "ts": 1761884491021, "data": list(trades)}).encode()


def linear(**changes):
    return {**LINEAR, **changes}


def ignore(_cause, _sample):
    """Take a report."""


def decode(*payloads):
    """Rows of (s, T, p, v, seq, i), the broken symbols, and the causes reported."""
    causes = []
    batch = trade_decoder(TradeRules(), lambda cause, _sample: causes.append(cause))(payloads)
    columns = (batch.symbols, batch.event_ms, batch.prices, batch.sizes, batch.seqs, batch.ids)
    return list(zip(*columns, strict=True)), batch.broken, causes


def payloads_of(path):
    """Every publicTrade message in a recorded file, as it stands there."""
    for line in path.read_bytes().splitlines():
        start = line.find(b"{")
        if start >= 0 and b'"publicTrade.' in line and b'"data"' in line:
            yield line[start:]


def test_recorded_payloads_are_read_to_the_last_trade(shared_data):
    """Linear, inverse, spot and option, whatever the order of their keys: the same as json reads, one by one."""
    recorded = [payload for path in sorted((shared_data / "ws").iterdir()) for payload in payloads_of(path)]
    rows, broken, causes = decode(*recorded)
    expected = [trade for payload in recorded for trade in json.loads(payload)["data"]]

    assert len(rows) == len(expected) > 30
    assert (broken, causes) == ([], [])
    for row, trade in zip(rows, expected, strict=True):
        number = {"p": float(trade["p"]), "v": float(trade["v"]), "seq": trade.get("seq", 0)}
        assert row == tuple({**trade, **number}[key] for key in COLUMNS)


def test_order_of_keys_and_unknown_keys_do_not_matter():
    """Spot sends i first and RPI last; what is added tomorrow is not looked at."""
    spot = {"new": {"a": [1]}, **dict(reversed(LINEAR.items()))}

    assert decode(message(spot)) == decode(message(LINEAR))


def test_options_send_neither_sequence_nor_tick():
    """What is missing takes its default; the topic is the coin, the symbol stands in the trade."""
    option = {"p": "985", "v": "0.01", "i": "x", "T": 1680652922081, "BT": False, "s": "BTC-28APR23-29500-C"}

    assert decode(message(option, topic="publicTrade.BTC"))[0] == [
        ("BTC-28APR23-29500-C", 1680652922081, 985.0, 0.01, 0, "x")
    ]


def test_numbers_are_read_from_text_and_from_numbers():
    """Bybit writes prices as text and times as numbers; either is read either way."""
    rows, broken, causes = decode(message(linear(T="1761884491018", p=1947617.9, v=1, seq="7")))

    assert rows == [("BTCUSDT", 1761884491018, 1947617.9, 1.0, 7, LINEAR["i"])]
    assert (broken, causes) == ([], [])


def test_full_message_keeps_its_order():
    """1024 trades, the most a message holds, in the order of their matching."""
    rows, _, _ = decode(message(*(linear(seq=i, i=str(i)) for i in range(1024))), message(linear(seq=1024)))

    assert [row[4] for row in rows] == list(range(1025))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"topic":"publicTrade.BTCUSDT"}',
        b'{"topic":"publicTrade.BTCUSDT","data":{}}',
        b'{"topic":"publicTrade.BTCUSDT","data":[{"T":1',
        message(LINEAR)[:-1],
        message(LINEAR) + b"}",
        message(LINEAR).replace(b"BTC", b"\xff\xff\xff"),
        b'{"topic":"publicTrade.BTCUSDT","data":' + b"[" * DEEP + b"]" * DEEP + b"}",
        message(LINEAR)[:-1] + b',"x":' + b'{"x":' * DEEP + b"1" + b"}" * (DEEP + 1),
    ],
)
def test_malformed_message_costs_only_itself(payload):
    """It is reported once; the messages around it are read in order."""
    before, after = message(linear(i="before")), message(linear(i="after"))
    rows, broken, causes = decode(before, payload, after)

    assert [row[5] for row in rows] == ["before", "after"]
    assert causes == ["malformed_trades"]
    assert len(broken) == payload.count(b"publicTrade")


@pytest.mark.parametrize(
    "changes",
    [
        {"p": "abc"},
        {"p": ""},
        {"p": None},
        {"p": []},
        {"v": "1,5"},
        {"v": "0x10"},
        {"T": "yesterday"},
        {"T": 1.5},
        {"T": None},
        {"s": None},
        {"s": 7},
        {"seq": "x"},
        {"i": 12},
        {"p": "1 000"},
    ],
)
def test_unreadable_trade_costs_only_itself(changes):
    """The good ones of the same message and of its neighbours are counted; its symbol is named as broken."""
    good = [message(linear(i="a")), message(linear(i="d"))]
    rows, broken, causes = decode(good[0], message(linear(i="b"), linear(**changes), linear(i="c")), good[1])

    assert [row[5] for row in rows] == ["a", "b", "c", "d"]
    assert (broken, causes) == (["BTCUSDT"], ["bad_trade"])


@pytest.mark.parametrize("field", ["T", "s", "p", "v"])
def test_missing_field_is_an_unreadable_trade(field):
    """None of the four has a default: a candle cannot do without them."""
    trade = linear()
    del trade[field]

    assert decode(message(LINEAR, trade))[1:] == (["BTCUSDT"], ["bad_trade"])


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "0", "1e5", "1e400"])
def test_odd_number_is_read_for_what_it_is_or_refused(text):
    """Decoding judges no value: what is no positive finite number is left to the table, which refuses it."""
    rows, broken, causes = decode(message(linear(p=text)))

    if rows:
        price = rows[0][2]
        assert (broken, causes) == ([], [])
        assert math.isnan(price) if text == "nan" else price == float(text)
    else:
        assert (broken, causes) == (["BTCUSDT"], ["bad_trade"])


@pytest.mark.parametrize("value", [2**62, 2**63, 2**64, 10**30, -(2**63), -(2**64)])
@pytest.mark.parametrize("field", ["T", "seq"])
def test_huge_integer_is_a_number_or_an_unreadable_trade(field, value):
    """Never an exception that takes the batch."""
    rows, broken, _ = decode(message(linear(i="a"), linear(**{field: value}), linear(i="c")))

    assert len(rows) + len(broken) == 3


def test_no_payload_is_no_trade():
    """An empty batch, and a message without trades."""
    assert decode() == ([], [], [])
    assert decode(message()) == ([], [], [])


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_garbage_never_raises(payloads):
    """Whatever bytes come, the message after them is read."""
    rows, _, causes = decode(*payloads, message(LINEAR))

    assert len(rows) == 1
    assert set(causes) <= {"malformed_trades"}


@given(st.integers(1, 10**15 - 1), st.integers(0, 12))
def test_price_is_the_nearest_double_of_its_text(units, scale):
    """What the table's exactness stands on: decoding rounds as float() does."""
    text = format(Decimal(units).scaleb(-scale), "f")

    assert decode(message(linear(p=text)))[0][0][2] == float(text)


BLOCK, RPI, BOTH = linear(i="b", BT=True), linear(i="r", RPI=True), linear(i="both", BT=True, RPI=True)


@pytest.mark.parametrize(
    ("block", "rpi", "kept"),
    [
        (True, True, ["l", "b", "r", "both"]),
        (False, True, ["l", "r"]),
        (True, False, ["l", "b"]),
        (False, False, ["l"]),
    ],
)
def test_block_and_rpi_trades_can_be_left_out(block, rpi, kept):
    """By COUNT_BLOCK_TRADES and COUNT_RPI_TRADES; a message with an unreadable trade in it is no other case."""
    decode_some = trade_decoder(TradeRules(block, rpi), ignore)
    plain = linear(i="l")
    for payload in (message(plain, BLOCK, RPI, BOTH), message(plain, linear(p="x"), BLOCK, RPI, BOTH)):
        assert decode_some([payload]).ids == kept


def test_trade_without_marks_counts():
    """Old payloads have no RPI; whatever is switched off, they stay."""
    unmarked = {key: value for key, value in LINEAR.items() if key not in ("BT", "RPI")}
    decode_some = trade_decoder(TradeRules(False, False), ignore)

    assert len(decode_some([message(unmarked)]).ids) == 1


def test_a_long_batch_keeps_its_order_and_loses_only_the_bad_payload():
    """What comes before and after a broken payload is read, in its place."""
    payloads = [message(linear(seq=number)) for number in range(300)]
    payloads[135] = payloads[135][:-20]

    rows, broken, causes = decode(*payloads)

    assert [row[4] for row in rows] == [number for number in range(len(payloads)) if number != 135]
    assert (broken, causes) == (["BTCUSDT"], ["malformed_trades"])


def test_a_sequence_of_null_costs_nothing():
    """Trades of one millisecond are in their order without it; a message of several is one."""
    rows, broken, causes = decode(message(linear(i="1"), linear(i="2", seq=None), linear(i="3")))

    assert [row[5] for row in rows] == ["1", "2", "3"]
    assert (broken, causes) == ([], [])


@pytest.mark.parametrize("name", ["T", "s", "v", "p", "i"])
@pytest.mark.parametrize("value", [None, [], {}])
def test_a_trade_without_what_it_needs_costs_itself(name, value):
    """Without an id it would be counted twice where it comes twice."""
    rows, broken, causes = decode(message(linear(i="1"), linear(**{name: value}), linear(i="3")))

    assert [row[5] for row in rows] == ["1", "3"]
    assert (broken, causes) == (["BTCUSDT"], ["bad_trade"])


def test_written_numbers_are_those_of_the_same_trades():
    """To the last digit and in the same order, whatever is left out or cannot be read."""
    rows = [
        {"T": 1, "s": "X", "v": "12345678901234567.89", "p": "0.1000000000000000055", "BT": True},
        {"T": 2, "s": "X", "v": "many", "p": "1"},
        {"T": 3, "s": "X", "v": "2", "p": "1e-7", "RPI": True},
        {"T": 4, "s": "X", "v": 4, "p": "5.50"},
    ]
    payloads = [json.dumps({"topic": "publicTrade.X", "data": part}).encode() for part in (rows[:2], rows[2:])]
    for rules in (TradeRules(), TradeRules(count_block_trades=False), TradeRules(count_rpi_trades=False)):
        batch = trade_decoder(rules, ignore)(payloads)

        assert [(float(p), float(v)) for p, v in batch.written()] == list(zip(batch.prices, batch.sizes, strict=True))
    assert trade_decoder(TradeRules(), ignore)(payloads).written()[0] == (
        Decimal("0.1000000000000000055"),
        Decimal("12345678901234567.89"),
    )
