"""The collector's klines as OKX's rows of candles, on sockets and in REST. Pure.

Documentation pages: WebSocket, candlesticks channel; REST, get candlesticks. A row is ts, o, h, l, c, vol, volCcy,
volCcyQuote, confirm. `vol` of swaps is in contracts; it is made of the volume, which is in coins or dollars.
"""

from collections.abc import Mapping
from decimal import Context, Decimal, Inexact
from types import MappingProxyType

from exchanges.okx.markets import MARKETS
from exchanges.okx.rest import BARS
from model.envelope import plain_text
from model.intervals import SECOND_MS
from model.ports import ContractSizes
from model.records import Kline

SERVED_BARS: Mapping[int, str] = MappingProxyType({SECOND_MS: "1s", **BARS})
"""Step in ms -> OKX's name; of seconds its REST has closed candles alone."""
ONE = Decimal(1)
VOLUMES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "spot": ("volume", "turnover", "turnover"),
        "linear": ("volume", "volume", "turnover"),
        "inverse": ("volume", "turnover", "volume"),
    }
)
"""By kind of contract the fields of a kline that are vol, before it is in contracts, volCcy and volCcyQuote."""
DIGITS = 60  # of a number of contracts: more than any volume has


def contract_size_of(market: str, symbol: str, sizes: ContractSizes) -> Decimal | None:
    """Return what a size of 1 is in a market: a contract of swaps, None where that is not known; 1 of spot."""
    return (sizes(market, symbol) or None) if MARKETS[market].has_contracts else ONE


def exactly() -> Context:
    """Return a context that raises Inexact where a number would be rounded."""
    return Context(prec=DIGITS, traps=[Inexact])


def contracts_of(volume: Decimal, size: Decimal, exact: Context) -> str | None:
    """Return a volume in contracts of a size; None where it is no number of such contracts."""
    try:
        return plain_text(exact.divide(volume, size))
    except Inexact:
        return None


def candle_row(market: str, kline: Kline, size: Decimal, *, is_closed: bool) -> list[str] | None:
    """Return the row of a kline, whose contract is `size`; None where its volume is no number of such contracts."""
    if (contracts := contracts_of(kline.volume, size, exactly())) is None:
        return None
    prices = map(plain_text, (kline.open, kline.high, kline.low, kline.close))
    volumes = (plain_text(getattr(kline, name)) for name in VOLUMES[MARKETS[market].contract][1:])
    return [str(kline.timestamp), *prices, contracts, *volumes, "1" if is_closed else "0"]
