"""Trade payloads to columns: recorded ones, placeholders, odd ones."""

import json
from decimal import Decimal

import pytest

from exchanges.binance.trades import trade_decoder
from exchanges.contract import TradeRules

from .recorded import combined, frames

TRADE = {
    "e": "trade",
    "E": 1786540291675,
    "T": 1786540291674,
    "s": "BTCUSDT",
    "t": 7967419777,
    "p": "64042.10",
    "q": "0.038",
    "X": "MARKET",
    "m": True,
    "st": 1,
}
DEEP = 1_000_000  # levels: beyond any stack


def message(**changes):
    data = {name: value for name, value in (TRADE | changes).items() if value is not ...}
    return json.dumps({"stream": "btcusdt@trade", "data": data}).encode()


def decode(*payloads, rules=None):
    """Return the batch and the causes reported."""
    causes = []
    batch = trade_decoder(rules or TradeRules(), lambda cause, _sample: causes.append(cause))(payloads)
    return batch, causes


def rows(batch):
    columns = (batch.symbols, batch.event_ms, batch.prices, batch.sizes, batch.seqs, batch.ids)
    return list(zip(*columns, strict=True))


def test_recorded_payloads_are_read_to_the_last_trade(shared_data):
    """Spot, USD-M and COIN-M of 2019 to 2026, in their order: the same as json reads; placeholders do not count."""
    payloads = [combined(frame) for _, frame in frames(shared_data) if b'"e":"trade"' in frame]
    batch, causes = decode(*payloads)
    expected = [json.loads(payload)["data"] for payload in payloads]
    counted = [trade for trade in expected if trade.get("X", "MARKET") in ("MARKET", "RPI")]

    assert len(counted) > 300
    assert rows(batch) == [(t["s"], t["T"], float(t["p"]), float(t["q"]), t["t"], t["t"]) for t in counted]
    assert batch.written() == [(Decimal(t["p"]), Decimal(t["q"])) for t in counted]
    others = [(t["s"], t["t"]) for t in expected if t not in counted]
    assert batch.uncounted == others
    assert len(others) >= 3
    assert (batch.broken, causes, batch.matches) == ([], [], None)


@pytest.mark.parametrize("mark", ["NA", "INSURANCE_FUND", "ADL", "SOMETHING_NEW"])
def test_what_is_no_trade_of_the_book_keeps_its_id(mark):
    """The proof by ids needs it, a candle must not have it: a placeholder's price is 0."""
    batch, causes = decode(message(t=1), message(t=2, X=mark, p="0", q="0"), message(t=3))

    assert batch.ids == [1, 3]
    assert batch.uncounted == [("BTCUSDT", 2)]
    assert len(batch.written()) == 2
    assert causes == []


@pytest.mark.parametrize(("counts", "ids", "others"), [(True, [1, 2], []), (False, [2], [("BTCUSDT", 1)])])
def test_retail_price_improvement_counts_by_the_rule(counts, ids, others):
    """COUNT_RPI_TRADES."""
    batch, _ = decode(message(t=1, X="RPI"), message(t=2), rules=TradeRules(count_rpi_trades=counts))

    assert (batch.ids, batch.uncounted) == (ids, others)
    assert len(batch.written()) == len(ids)


def test_order_of_keys_and_unknown_keys_do_not_matter():
    """Spot has neither X nor st; what is added tomorrow is not looked at."""
    data = dict(reversed((TRADE | {"new": [{"t": 1}]}).items()))
    turned = json.dumps({"data": data, "stream": "btcusdt@trade"}).encode()

    assert rows(decode(turned)[0]) == rows(decode(message())[0]) == rows(decode(message(X=..., st=...))[0])


def test_digits_beyond_a_float_are_written():
    """Two sizes with equal floats stay different."""
    sizes = ("0.10000000000000000001", "0.10000000000000000002")
    batch, _ = decode(*(message(q=size) for size in sizes))

    assert batch.sizes[0] == batch.sizes[1]
    assert [size for _, size in batch.written()] == list(map(Decimal, sizes))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"stream":"btcusdt@trade"}',
        b'{"stream":"btcusdt@trade","data":[]}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
        message()[:-1],
        message() + b"}",
        message(T="yesterday"),
        message(T=1.5),
        message(T=...),
        message(s=None),
        message(t="x"),
        message(t=-1),
        message(t=2**63),
        message(p="abc"),
        message(p=None),
        message(q="1,5"),
        message()[:-1] + b',"x":' + b'{"x":' * DEEP + b"1" + b"}" * (DEEP + 1),
    ],
)
def test_unreadable_payload_costs_only_itself(payload):
    """It is reported once, its symbol named as broken; the payloads around it are read in order."""
    batch, causes = decode(message(t=1), payload, message(t=2))

    assert batch.ids == [1, 2]
    assert causes == ["malformed_trades"]
    assert batch.broken == ["BTCUSDT"] * payload.count(b"btcusdt@trade")
    assert len(batch.written()) == 2
