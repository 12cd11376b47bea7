"""Synthetic trades of real candles (KLINE_RULES.md section 13): the trades are made up, the candles are Bybit's own."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

OHLCV = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]
MINUTE_MS = 60_000


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
        trades = []
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
