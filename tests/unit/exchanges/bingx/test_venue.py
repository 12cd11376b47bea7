"""What BingX declares of itself."""

import threading

from exchanges.bingx.venue import VENUE
from exchanges.contract import Endpoints, TradeRules


def test_markets_are_swaps_and_spot_with_sizes_in_the_base_coin():
    """Candles open at their first trade; there are no liquidations to stream."""
    assert {name: spec.product for name, spec in VENUE.markets.items()} == {"linear": "swap", "spot": "spot"}
    for spec in VENUE.markets.values():
        assert spec.klines is not None
        assert spec.klines.opens_at == "first_trade"
        assert not spec.has_contracts
        assert "liquidations" not in spec.kinds


def test_trades_are_not_told_apart():
    """So REDUNDANCY is refused, and a gap is repaired by candles."""
    assert (VENUE.ids, VENUE.trade_keys) == ("none", None)


def test_the_rest_api_has_one_address_for_both_markets():
    """And one for the demo."""
    rules, stop = TradeRules(), threading.Event()
    urls = [VENUE.rest("spot", Endpoints(testnet=is_demo), rules, stop).url for is_demo in (False, True)]

    assert urls == ["https://open-api.bingx.com", "https://open-api-vst.bingx.com"]


def test_all_symbols_fit_into_the_connections_of_an_address():
    """60 connections: 5,500 topics, three kinds of more symbols than both markets list."""
    topics = VENUE.protocol("linear", Endpoints()).limits.topics

    assert 60 * topics >= 5_500
    assert topics / VENUE.protocol("spot", Endpoints()).limits.messages_per_s < 15
