"""The collector's klines as OKX's rows of candles, on sockets and in REST. Pure.

Documentation pages: WebSocket, candlesticks channel; REST, get candlesticks. A row is ts, o, h, l, c, vol, volCcy,
volCcyQuote, confirm. `vol` of swaps is in contracts; it is made of the volume, which is in coins or dollars.
"""

from decimal import Context, Decimal, Inexact

from exchanges.okx.markets import MARKETS
from model.envelope import plain_text
from model.ports import ContractSizes
from model.records import Kline

ONE = Decimal(1)
DIGITS = 60  # of a number of contracts: more than any volume has


def contract_size_of(market: str, symbol: str, sizes: ContractSizes) -> Decimal | None:
    """Return what a size of 1 is in a market: a contract of swaps, None where that is not known; 1 of spot."""
    return (sizes(market, symbol) or None) if MARKETS[market].has_contracts else ONE


def candle_row(market: str, kline: Kline, size: Decimal, *, is_closed: bool) -> list[str] | None:
    """Return the row of a kline, whose contract is `size`; None where its volume is no number of such contracts."""
    try:
        contracts = Context(prec=DIGITS, traps=[Inexact]).divide(kline.volume, size)
    except Inexact:
        return None
    if MARKETS[market].contract == "inverse":  # the volume is in dollars, the turnover in the coin
        in_coin, in_quote = kline.turnover, kline.volume
    elif MARKETS[market].contract == "linear":
        in_coin, in_quote = kline.volume, kline.turnover
    else:
        in_coin = in_quote = kline.turnover
    prices = kline.open, kline.high, kline.low, kline.close
    numbers = (plain_text(number) for number in (*prices, contracts, in_coin, in_quote))
    return [str(kline.timestamp), *numbers, "1" if is_closed else "0"]
