"""The rows of Bitget's REST answers as records: trades, instruments, turnover. Pure.

Documentation pages: spot and futures market endpoints (Get-Market-Trades, Get-Tickers, symbols, contracts).
"""

import msgspec

from exchanges.rest_rows import amount_of, dollars_of, past_trade, read_row
from model.records import PastTrade

CODE = "00000"


class TradeRow(msgspec.Struct):
    tradeId: str  # noqa: N815 - Bitget's names
    price: float
    size: float
    ts: int


class InstrumentRow(msgspec.Struct):
    symbol: str
    baseCoin: str  # noqa: N815 - Bitget's names
    quoteCoin: str  # noqa: N815
    status: str = ""  # of spot
    symbolStatus: str = ""  # noqa: N815 - of contracts


class TickerRow(msgspec.Struct):
    symbol: str
    quoteVolume: str = ""  # noqa: N815 - Bitget's names
    usdtVolume: str = ""  # noqa: N815

    def dollars(self, quote: str) -> float:
        """The turnover of 24 hours in dollars; 0 where that cannot be known."""
        return amount_of(self.usdtVolume) or amount_of(self.quoteVolume) * dollars_of(quote, {})


class TimeRow(msgspec.Struct):
    serverTime: int  # noqa: N815 - Bitget's names


def trade_of(row: object) -> PastTrade | None:
    """Read one row of trades; None where it makes no sense."""
    raw = read_row(row, TradeRow)
    return past_trade(raw.tradeId, raw.ts, raw.price, raw.size) if raw and raw.tradeId else None
