"""The closed kline: the one record that leaves the aggregation room.

Pure data. Consumers import this module and nothing else of the room.
"""

from decimal import Decimal

import msgspec


class Kline(msgspec.Struct, frozen=True, gc=False):
    """One closed candle of one symbol, with the fields of the seed's envelope in their order.

    `interval` and `timestamp` (the start) are milliseconds; `interval` of a month is its real length.
    Prices, `volume` (base coin; USD for inverse) and `turnover` are exact decimals; of inverse contracts it is in the
    coin, each trade's cut to 8 decimals, as Bybit did in 2022. `complete` is False where the feed was not proven alive
    over the whole interval, or the open is not known since a gap. `source` is "trades" or "exchange"; `revision` is 0
    for the first issue and counts up with every correction. What goes out again after a restart jumps further: the
    highest is what counts.
    """

    symbol: str
    interval: int
    timestamp: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trade_count: int
    turnover: Decimal
    complete: bool
    source: str
    revision: int
