"""Which of Bybit's payloads become which envelopes. Pure."""

from collections.abc import Collection

from exchanges.bybit.tickers import TickerReader
from exchanges.bybit.trade_records import TradeReader
from model.ports import Report


def envelope_reader(kind: str, report: Report, types: Collection[str]) -> TickerReader | TradeReader | None:
    """A reader for the payloads of one market and kind; None where they make no envelope of `types`.

    `types` are of ticker, price and trades. Prices come from tickers, as in the system that named them.
    """
    if kind == "ticker" and not {"ticker", "price"}.isdisjoint(types):
        return TickerReader(report, tickers="ticker" in types, prices="price" in types)
    if kind == "trades" and "trades" in types:
        return TradeReader(report)
    return None
