"""What OKX declares of itself."""

import threading

from exchanges.contract import Endpoints, TradeRules
from exchanges.okx.venue import VENUE


def test_markets_are_of_three_kinds_with_the_rule_of_the_first_trade():
    """Swaps have contracts and liquidations, spot has neither; any depth that is named can be streamed."""
    assert {name: spec.product for name, spec in VENUE.markets.items()} == {
        "linear": "SWAP",
        "inverse": "SWAP",
        "spot": "SPOT",
    }
    for name, spec in VENUE.markets.items():
        assert spec.klines is not None
        assert spec.klines.opens_at == "first_trade"
        assert spec.has_contracts == ("liquidations" in spec.kinds) == (name != "spot")
        protocol = VENUE.protocol(name, Endpoints())
        assert all(protocol.topics("orderbook", "BTC-USDT", depth) for depth in spec.depths)
        assert all(protocol.topics(kind, "BTC-USDT", spec.depths[0]) for kind in spec.kinds)


def test_addresses_can_be_replaced():
    """Scheme, host and port; and both of the demo."""
    there = Endpoints(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:2")
    rules, stop = TradeRules(), threading.Event()

    assert VENUE.protocol("spot", there).endpoint("trades", ()) == "ws://127.0.0.1:1/ws/v5/public"
    assert VENUE.rest("spot", there, rules, stop).url == "http://127.0.0.1:2"
    assert VENUE.rest("spot", Endpoints(testnet=True), rules, stop).url == "https://www.okx.com"
    assert "wspap" in VENUE.protocol("spot", Endpoints(testnet=True)).endpoint("trades", ())


def test_connects_are_fewer_than_allowed():
    """Three a second; what a refusal means is a sentence each."""
    assert VENUE.connects.most / VENUE.connects.per_s < 3
    assert all(len(refusal.meaning) > 20 for refusal in VENUE.connects.refusals.values())
