"""What the subscriber held for a dump, read back: trades as they came, klines with when they came."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

KLINES, TRADES = "stream:bybit_klines", "stream:bybit_trades"


class Kept(NamedTuple):
    """One message; the time is the subscriber's, microseconds since the epoch."""

    at_us: int
    channel: str
    payload: bytes


def read(path: Path) -> Iterator[Kept]:
    """The messages of a dump in their order."""
    for line in path.read_bytes().splitlines():
        at_us, channel, payload = line.split(b" ", 2)
        yield Kept(int(at_us), channel.decode(), payload)


def klines_of(kept: Kept) -> list[dict[str, Any]]:
    """The klines of a message; numbers as Decimal."""
    return list(json.loads(kept.payload, parse_float=Decimal)["data"])
