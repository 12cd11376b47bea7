"""Payloads of trades and tickers to columns and records: recorded ones, odd ones, hostile ones."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.conformance.recordings import read_folder
from exchanges.gate.records import RECORDS, TICKER_NAMES, TRADE_NAMES
from exchanges.gate.trades import trade_decoder
from exchanges.gate.venue import VENUE

SPOT = {
    "id": 220643714,
    "id_market": 220643714,
    "create_time": 1790359171,
    "create_time_ms": "1790359171119.653000",
    "side": "sell",
    "currency_pair": "BTC_USDT",
    "amount": "0.002984",
    "price": "83790.9",
    "range": "220643714-220643714",
    "trade_mode": 0,
}
FUTURES = {
    "id": 842235619,
    "size": -3,
    "create_time": 1790359195,
    "create_time_ms": 1790359195732,
    "price": "83746.9",
    "contract": "BTC_USDT",
}
COLUMNS = ("symbols", "event_ms", "prices", "sizes", "ids")


def message(result, channel="spot.trades"):
    return json.dumps({"time": 1790359171, "channel": channel, "event": "update", "result": result}).encode()


def decode(market, *payloads):
    """Rows of symbol, time, price, size, id; matches; uncounted; the broken symbols; the causes reported."""
    causes = []
    batch = trade_decoder(market, lambda cause, _sample: causes.append(cause))(payloads)
    rows = list(zip(*(getattr(batch, name) for name in COLUMNS), strict=True))
    assert [(float(p), float(s)) for p, s in batch.written()] == [(row[2], row[3]) for row in rows]
    assert list(batch.seqs) == list(batch.ids)
    return rows, batch.matches, list(batch.uncounted), batch.broken, causes


@pytest.mark.parametrize("market", ["spot", "linear"])
def test_recorded_payloads_are_read_to_the_last_trade(market, shared_data):
    """Of 2021 to 2026: the same as json reads; whole milliseconds, sizes without a sign."""
    frames = [each.payload for _, each in read_folder(VENUE, shared_data / "gate").of_kind("trades")]
    recorded = [frame for frame in frames if (b'"spot.trades"' in frame) == (market == "spot")]
    found, _, uncounted, broken, causes = decode(market, *recorded)
    results = [json.loads(frame)["result"] for frame in recorded]
    trades = results if market == "spot" else [trade for result in results for trade in result]

    assert len(recorded) >= 2
    assert (uncounted, broken, causes) == ([], [], [])
    assert found == [
        (
            trade.get("currency_pair") or trade["contract"],
            int(float(trade["create_time_ms"])),
            float(trade["price"]),
            abs(float(trade.get("amount") or trade["size"])),
            trade.get("id_market", trade["id"]),
        )
        for trade in trades
    ]


def test_a_message_of_spot_stands_for_all_ids_of_its_range():
    """Its id is that of the last match, whichever of them is written as the market's."""
    for number in (7, 9):
        trade = {**SPOT, "id_market": number, "range": "7-9"}
        assert decode("spot", message(trade))[:2] == ([("BTC_USDT", 1790359171119, 83790.9, 0.002984, 9)], [3])
    assert decode("spot", message(SPOT))[1] == [1]


@pytest.mark.parametrize("text", ["9-7", "x-y", "7-", "0-200000", "7"])
def test_a_range_that_makes_no_sense_costs_its_trade(text):
    """Its symbol is named as broken."""
    assert decode("spot", message({**SPOT, "range": text}), message(SPOT))[3:] == (["BTC_USDT"], ["bad_trade"])


def test_sizes_of_futures_are_contracts_without_the_sign_that_is_the_side():
    """Numbers, or texts with decimals where that was asked for."""
    sizes = (-3, 4, "-0.5", "2.25")
    rows = decode("linear", message([{**FUTURES, "id": n, "size": size} for n, size in enumerate(sizes)]))[0]

    assert [row[3] for row in rows] == [3, 4, 0.5, 2.25]


def test_internal_trades_do_not_count_and_are_no_hole():
    """Takeovers by the insurance fund: the price may be off the market."""
    trades = [{**FUTURES, "id": 1}, {**FUTURES, "id": 2, "is_internal": True}, {**FUTURES, "id": 3}]
    rows, _, uncounted, broken, causes = decode("linear", message(trades))

    assert [row[4] for row in rows] == [1, 3]
    assert uncounted == [("BTC_USDT", 2)]
    assert (broken, causes) == ([], [])


@pytest.mark.parametrize(
    ("market", "trade", "changes"),
    [
        ("spot", SPOT, {"price": "abc"}),
        ("spot", SPOT, {"amount": None}),
        ("spot", SPOT, {"create_time_ms": "yesterday"}),
        ("spot", SPOT, {"id_market": -1}),
        ("linear", FUTURES, {"size": []}),
        ("linear", FUTURES, {"create_time_ms": None}),
        ("linear", FUTURES, {"is_internal": "perhaps"}),
        ("linear", FUTURES, {"id": "x"}),
    ],
)
def test_an_unreadable_trade_costs_only_itself(market, trade, changes):
    """The good ones around it are read; its symbol is named as broken."""
    good, bad = (trade, {**trade, **changes}) if market == "spot" else ([trade], [trade, {**trade, **changes}])
    rows, _, _, broken, causes = decode(market, message(good), message(bad), message(good))

    assert len(rows) == (2 if market == "spot" else 3)
    assert (broken, causes) == (["BTC_USDT"], ["bad_trade"])


@pytest.mark.parametrize("market", ["spot", "linear"])
@given(payloads=st.lists(st.binary(max_size=40), max_size=5))
def test_garbage_never_raises(market, payloads):
    """Whatever bytes come, the message after them is read."""
    good = message(SPOT) if market == "spot" else message([FUTURES])
    rows, _, _, _, causes = decode(market, *payloads, good)

    assert len(rows) == 1
    assert len(causes) == len(payloads)


# -- records ------------------------------------------------------------------------------------------------------


def reader(market, kind, *types):
    made = RECORDS[market].reader(kind, lambda cause, _sample: pytest.fail(cause), types)
    assert made is not None
    return made


def test_records_of_trades_have_side_and_amount_in_both_markets():
    """Of futures the sign is the side; the fields are the exchange's all the same."""
    (spot,) = reader("spot", "trades", "trades")([message(SPOT)])["trades"]
    sold, bought = reader("linear", "trades", "trades")([message([FUTURES, {**FUTURES, "size": "2.5"}])])["trades"]

    assert spot == {"symbol": "BTC_USDT", **SPOT}
    assert sold == {"symbol": "BTC_USDT", "side": "sell", "amount": "3", **FUTURES}
    assert (bought["side"], bought["amount"], bought["size"]) == ("buy", "2.5", "2.5")
    assert all(name in record for record in (spot, sold) for name in TRADE_NAMES.values())


def test_tickers_of_futures_are_merged_from_the_first_on():
    """Some messages lack the volumes, which stay as they were."""
    read = reader("linear", "ticker", "ticker", "price")
    whole = {"contract": "BTC_USDT", "last": "83746.80", "volume_24h": "670521289", "quanto_base_rate": ""}
    read([message([whole], "futures.tickers")])
    found = read([message([{"contract": "BTC_USDT", "last": "83747"}], "futures.tickers")])

    assert found["price"] == [{"symbol": "BTC_USDT", "price": 83747}]
    assert found["ticker"] == [{"symbol": "BTC_USDT", **whole, "last": 83747, "volume_24h": 670521289}]


def test_recorded_tickers_are_all_read(shared_data):
    """Of 2020 to 2026; in 2021 and 2022 messages of futures had other shapes."""
    count = 0
    for _, frame in read_folder(VENUE, shared_data / "gate").of_kind("ticker"):
        market, result = frame.protocols[0].market, json.loads(frame.payload)["result"]
        row = result[-1] if isinstance(result, list) else result
        row = row[-1] if isinstance(row, list) else row
        records = reader(market, "ticker", "ticker", "price")([frame.payload])
        count += 1
        assert records["price"][0]["price"] == Decimal(row["last"])
        assert TICKER_NAMES["lastPrice"] in records["ticker"][0]
        assert {*row} <= {*records["ticker"][0]}
    assert count > 20
