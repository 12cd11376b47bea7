"""Synthetic trades of real candles (KLINE_RULES.md section 13): the trades are made up, the candles are Bybit's own."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

OHLCV = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]
Rows = list[tuple[Decimal, int]]
"""Price and size of trades in their order."""

MINUTE_MS = 60_000
INVERSE_TICKS = {"XRP": Fraction(1, 10**4), "EOS": Fraction(1, 10**3)}
COIN_UNIT = Fraction(1, 10**8)
MOST_PARTS = 300  # sizes looked at for the next trade


def read_candles(path: Path) -> dict[int, OHLCV]:
    """Start (ms) -> open, high, low, close, volume."""
    with path.open() as file:
        return {
            int(datetime.fromisoformat(row["timestamp"]).timestamp() * 1000): (
                Decimal(row["open"]),
                Decimal(row["high"]),
                Decimal(row["low"]),
                Decimal(row["close"]),
                Decimal(row["volume"]),
            )
            for row in csv.DictReader(file)
        }


def trade_prices(candle: OHLCV) -> list[Decimal]:
    """Prices ending in the close that touch high and low where the open does not, and never need the open itself."""
    opening, high, low, close, volume = candle
    if not volume:
        return []
    touched = [price for price in (low, high) if price not in (opening, close)]
    return [*touched, close]


def split_volume(volume: Decimal, parts: int) -> list[Decimal]:
    """Sizes that sum to `volume` exactly, each a multiple of its last digit."""
    step = Decimal(1).scaleb(int(volume.as_tuple().exponent))
    share = (volume / parts // step) * step
    return [share] * (parts - 1) + [volume - share * (parts - 1)] if share else [volume]


def trade_payloads(candles: dict[int, OHLCV], symbol: str) -> Iterator[str]:
    """One publicTrade message per candle with trades, as Bybit writes them."""
    number = 0
    for start_ms, candle in candles.items():
        prices = trade_prices(candle)
        sizes = split_volume(candle[4], len(prices)) if prices else []
        if len(sizes) < len(prices):  # too small to share: all of it must go to the close
            raise ValueError(f"candle {start_ms} has {len(prices)} prices to touch and a volume of {candle[4]}")
        trades: list[dict[str, Any]] = []
        for position, (price, size) in enumerate(zip(prices, sizes, strict=True)):
            number += 1
            trades.append(
                {
                    "T": start_ms + position * MINUTE_MS // len(prices),
                    "s": symbol,
                    "S": "Buy",
                    "v": str(size),
                    "p": str(price),
                    "L": "PlusTick",
                    "i": f"{number:08x}-0000-5000-8000-000000000000",
                    "BT": False,
                    "RPI": False,
                    "seq": number,
                }
            )
        if trades:
            message = {"topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": trades[-1]["T"] + 2, "data": trades}
            yield json.dumps(message, separators=(",", ":"))


def thin_candles(path: Path, tick: Fraction) -> Iterator[tuple[int, tuple[Decimal, ...]]]:
    """Start (ms); open, high, low, close, volume, turnover."""
    with path.open() as file:
        for row in csv.DictReader(file):
            candle = tuple(Decimal(row[name]) for name in ("open", "high", "low", "close", "volume", "turnover"))
            if candle[4] and candle[1] - candle[2] <= tick:
                yield int(row["start_s"]) * 1000, candle


def inverse_trades(
    opened: Decimal, high: Decimal, low: Decimal, close: Decimal, volume: Decimal, turnover: Decimal
) -> Rows:
    """Trades that lose by cutting what the candle lacks of the exact quotients, those at the close last."""
    total, coins = Fraction(volume), Fraction(turnover)
    at_low = total
    if high > low:
        at_low = Fraction(-((total / Fraction(high) - coins) // (1 / Fraction(low) - 1 / Fraction(high))))
    rows = [(price, int(size)) for price, size in ((low, at_low), (high, total - at_low)) if size]
    missing = sum(_cut(*row) for row in rows) - coins / COIN_UNIT
    while missing:  # a trade in two parts loses a unit more, if the first loses more than the whole did
        price, size = rows.pop(0)
        part = max(range(1, min(size, MOST_PARTS)), key=lambda part: _lost(price, part), default=size)
        if _lost(price, part) > _lost(price, size):
            rows[:0] = [(price, size - part), (price, part)]
            missing -= 1
        else:
            rows.append((price, size))
    return sorted(rows, key=lambda row: row[0] == close)


def _cut(price: Decimal, size: int) -> int:
    return size / Fraction(price) // COIN_UNIT


def _lost(price: Decimal, size: int) -> Fraction:
    return size / Fraction(price) / COIN_UNIT % 1
