"""True candles from raw trade messages, computed slowly: Decimal, one trade at a time. Pure.

A candle's open, high and low follow Bybit's rule: it opens at the close before it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

Key = tuple[str, int, int]
"""Symbol, interval (ms), start (ms)."""
FIELDS = ("open", "high", "low", "close", "volume", "turnover", "trade_count")


@dataclass
class Candle:
    """One candle; `open` is None where no trade is known before it."""

    open: Decimal | None
    first: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)
    turnover: Decimal = Decimal(0)
    trade_count: int = 0

    def add(self, price: Decimal, size: Decimal) -> None:
        """Count one trade."""
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += size
        self.turnover += price * size
        self.trade_count += 1

    def values(self) -> dict[str, Any]:
        """As a kline has them."""
        opened = self.first if self.open is None else self.open
        known = {"open": opened, "high": max(self.high, opened), "low": min(self.low, opened), "close": self.close}
        return {**known, "volume": self.volume, "turnover": self.turnover, "trade_count": self.trade_count}


def candles_of(payloads: Iterable[bytes], intervals_ms: Iterable[int]) -> dict[Key, Candle]:
    """Candles of all trades in `payloads`, an id once; sorted by time, then by the exchange's sequence."""
    trades: dict[str, dict[str, Any]] = {}
    for payload in payloads:
        for trade in msgspec.json.decode(payload)["data"]:
            trades.setdefault(trade["i"], trade)
    ordered = sorted(trades.values(), key=lambda trade: (trade["T"], trade.get("seq", 0)))
    candles: dict[Key, Candle] = {}
    for step_ms in intervals_ms:
        closes: dict[str, Decimal] = {}
        for trade in ordered:
            symbol, price, size = trade["s"], Decimal(trade["p"]), Decimal(trade["v"])
            key = (symbol, step_ms, trade["T"] // step_ms * step_ms)
            if key not in candles:
                candles[key] = Candle(closes.get(symbol), price, price, price, price)
            candles[key].add(price, size)
            closes[symbol] = price
    return candles


def differences(klines: Iterable[dict[str, Any]], truth: dict[Key, Candle]) -> tuple[int, list[str]]:
    """Compare klines with true candles: how many with trades are equal, and what is wrong or missing, in words.

    `klines` are dicts as they are published, numbers as Decimal; the last revision counts.
    """
    last = {(kline["symbol"], kline["interval"], kline["timestamp"]): kline for kline in klines}
    traded = {key: kline for key, kline in last.items() if kline["trade_count"]}
    wrong = [f"missing: {key}" for key in truth.keys() - traded.keys()]
    wrong += [f"too many: {key}" for key in traded.keys() - truth.keys()]
    for key in traded.keys() & truth.keys():
        values = truth[key].values()
        unequal = [name for name in FIELDS if traded[key][name] != values[name]]
        if unequal:
            wrong.append(f"{key}: {', '.join(unequal)}")
    return len(traded) - len(wrong), wrong
