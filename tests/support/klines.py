"""Klines and envelopes with plausible values."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from consumers.files.jsonl import Kind, path_of, write_lines
from model.envelope import Envelope
from model.records import Kline


def kline(number: int = 0, **changes: object) -> Kline:
    """Make a kline, `number` minutes after the first."""
    values: dict[str, object] = {
        "symbol": "BTCUSDT",
        "interval": 60_000,
        "timestamp": 1_767_716_940_000 + number * 60_000,
        "open": Decimal("92967.8"),
        "high": Decimal("92970.8"),
        "low": Decimal("92815.5"),
        "close": Decimal("92846.1"),
        "volume": Decimal("33.404285"),
        "trade_count": 3664,
        "turnover": Decimal("3104285.99121"),
        "complete": True,
        "source": "trades",
        "revision": 0,
    }
    return Kline(**(values | changes))  # type: ignore[arg-type]


def klines(number: int = 0, **changes: object) -> Envelope:
    """Make an envelope of one kline."""
    return Envelope("bybit", "linear", "klines", (kline(number, **changes),))


def price(text: str = "67250.50", symbol: str = "BTCUSDT") -> Envelope:
    """Make an envelope of one price."""
    return Envelope("bybit", "linear", "price", ({"symbol": symbol, "price": Decimal(text)},))


def write_file(base: Path, kind: Kind, lines: list[bytes], now: datetime) -> Path:
    """Write one file of plain lines as the output does, and return its path."""
    write_lines(base, kind, lines, now, "none")
    return path_of(base, kind, now)
