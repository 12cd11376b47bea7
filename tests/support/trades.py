"""Trades as the exchange's REST API lists them."""

from model.records import PastTrade


def past_trade(event_ms: int, price: float = 1.0, size: float = 1.0, trade_id: str = "", seq: int = 0) -> PastTrade:
    """Make a trade of which most tests need the time alone."""
    return PastTrade(trade_id, event_ms, price, size, seq)
