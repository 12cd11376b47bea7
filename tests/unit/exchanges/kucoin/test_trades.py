"""KuCoin's trades to columns: recorded ones of 2021 to 2024, odd ones, hostile ones."""

import json
from decimal import Decimal

import pytest

from exchanges.kucoin.trades import trade_decoder
from tests.unit.exchanges.kucoin.recorded import of_channel

CHANNEL = {"spot": "/market/match", "linear": "/contractMarket/execution"}
TIME = {"spot": "time", "linear": "ts"}
SPOT = (
    b'{"topic":"/market/match:BTC-USDT","type":"message","subject":"trade.l3match","data":{"makerOrderId":"a",'
    b'"price":"67523","sequence":"11067996711960577","side":"buy","size":"0.003","symbol":"BTC-USDT",'
    b'"takerOrderId":"b","time":"1729843222921000000","tradeId":"11067996711960577","type":"match"}}'
)


@pytest.mark.parametrize("market", ["spot", "linear"])
def test_recorded_payloads_are_read_to_the_last_trade(shared_data, market):
    """The same as json reads, one by one: ids are texts, times ms, sizes of futures lots; the sequence orders them."""
    recorded = of_channel(shared_data, CHANNEL[market])
    batch = trade_decoder(market, lambda *report: pytest.fail(str(report)))(recorded)
    expected = [json.loads(frame)["data"] for frame in recorded]

    assert len(batch.symbols) == len(expected) >= 5
    assert batch.symbols == [trade["symbol"] for trade in expected]
    assert batch.event_ms == [int(trade[TIME[market]]) // 1_000_000 for trade in expected]
    assert batch.prices == [float(trade["price"]) for trade in expected]
    assert batch.sizes == [float(trade["size"]) for trade in expected]
    assert batch.seqs == [int(trade["sequence"]) for trade in expected]
    name = "tradeId" if market == "linear" else "sequence"
    assert batch.ids == [str(trade[name]) for trade in expected]
    assert [float(price) for price, _ in batch.written()] == batch.prices


def test_the_id_of_spot_is_its_sequence_for_rest_has_no_other(shared_data):
    """Today they are the same; before 2023 trades had ids of 24 hex digits, which REST did not have."""
    (batch,) = [trade_decoder("spot", lambda *_: None)([SPOT])]
    assert (batch.ids, batch.seqs) == (["11067996711960577"], [11067996711960577])


@pytest.mark.parametrize(
    "payload",
    [
        SPOT.replace(b'"67523"', b'"many"'),
        SPOT.replace(b'"0.003"', b"null"),
        SPOT.replace(b'"1729843222921000000"', b'"soon"'),
        SPOT.replace(b'"sequence":"11067996711960577"', b'"sequence":"-1"'),
        SPOT[:-5],
    ],
)
def test_a_trade_that_cannot_be_read_costs_itself(payload):
    """Its symbol is broken, where it can be found."""
    reports = []
    batch = trade_decoder("spot", lambda cause, _sample: reports.append(cause))([payload, SPOT])

    assert batch.symbols == ["BTC-USDT"]
    assert batch.broken == ["BTC-USDT"]
    assert reports == ["malformed_trades"]
    assert batch.written() == [(Decimal(67523), Decimal("0.003"))]
