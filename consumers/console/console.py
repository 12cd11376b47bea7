"""The console output: prices and closed klines as readable lines; on a terminal, a table that is redrawn.

`consumer-console` thread. A reader that hangs costs the console's lines alone; one that went away ends the output.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

import structlog

from consumers.base import BaseConsumer
from consumers.console.table import Rates, table
from consumers.console.terminal import ENTER, LEAVE, drawing, size_of, write_all
from model.clock import iso_ms
from model.envelope import Envelope, plain_text
from model.intervals import legacy_name
from model.pairs import Pair, PairOf, coin_of, unlisted
from model.records import Kline, Record

log = structlog.get_logger()

KLINES_KEPT = 200  # lines of the table at most: no terminal is taller
PRICES_KEPT = 12  # coins shown in its one line

Live = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class ConsoleOptions:
    """`descriptor` is written to without Python's buffer, whose lock a hanging reader would hold at exit.

    `status()` returns the figures of the table: those of the status line, and `each_stream`, one dict per stream.
    `pair_of` returns the pair of a symbol, whose coin is shown. `names_exchange`: lines of several exchanges come, and
    name theirs: okx:BTC.
    """

    descriptor: int = 1
    live: Live = "never"
    status: Callable[[], Mapping[str, Any]] = dict
    pair_of: PairOf = unlisted
    names_exchange: bool = False


class ConsoleConsumer(BaseConsumer):
    """Writes one line per price and per closed kline, other types as JSON; or draws a table on a terminal."""

    tick_s: ClassVar[float] = 0.5  # type: ignore[misc]

    def __init__(self, options: ConsoleOptions) -> None:
        super().__init__("console")
        self._options = options
        self._is_closed = False
        self._is_live = False
        self._klines: deque[str] = deque(maxlen=KLINES_KEPT)
        self._prices: dict[str, str] = {}
        self._rates = Rates()

    def start(self) -> None:
        """Switch the terminal to its alternate screen where a table is drawn."""
        live, descriptor = self._options.live, self._options.descriptor
        self._is_live = live == "always" or (live == "auto" and os.isatty(descriptor))
        if self._is_live:
            self._write(ENTER)
        self._is_running = True

    def deliver(self, envelopes: list[Envelope]) -> None:
        """Write a batch at once, or keep it for the next drawing of the table."""
        if self._is_closed:
            return
        if self._is_live:
            for envelope in envelopes:
                self._keep(envelope)
            return
        now_ms = datetime.now(UTC).timestamp() * 1000
        pair_of = self._options.pair_of
        lines = (line for each in envelopes for line in lines_of(each, now_ms, pair_of, self._begin_of(each)))
        self._write("".join(f"{line}\n" for line in lines))

    def tick(self) -> None:
        """Draw the table."""
        if self._is_live and not self._is_closed:
            size = size_of(self._options.descriptor)
            lines = table(self._options.status(), list(self._klines), self._prices, self._rates, time.monotonic(), size)
            self._write(drawing(lines))

    def stop(self) -> None:
        """Restore the terminal."""
        if self._is_live and not self._is_closed:
            self._write(LEAVE)
        self._is_live = self._is_running = False

    def _begin_of(self, envelope: Envelope) -> str:
        return f"{envelope.exchange}:" if self._options.names_exchange else ""

    def _keep(self, envelope: Envelope) -> None:
        begin = self._begin_of(envelope)
        if envelope.data_type == "klines":
            self._klines.extend(kline_line(kline, begin) for kline in envelope.data[-KLINES_KEPT:])
        elif envelope.data_type == "price":
            for item in envelope.data:
                coin = begin + coin_of(item["symbol"], self._options.pair_of(envelope.channel, item["symbol"]))
                if coin in self._prices or len(self._prices) < PRICES_KEPT:
                    self._prices[coin] = _plain(item["price"])

    def _write(self, text: str) -> None:
        try:
            write_all(self._options.descriptor, text.encode())
        except OSError as error:  # BrokenPipeError: the reader is gone for good
            self._is_closed = True
            log.warning("console_closed", error=str(error))


def lines_of(envelope: Envelope, now_ms: float, pair_of: PairOf = unlisted, begin: str = "") -> list[str]:
    """Return the lines of one envelope; `now_ms` (UTC) is the time shown with a price, `begin` stands before names."""
    if envelope.data_type == "price":
        return [begin + price_line(item, now_ms, pair_of(envelope.channel, item["symbol"])) for item in envelope.data]
    if envelope.data_type == "klines":
        return [kline_line(kline, begin) for kline in envelope.data]
    return [envelope.json.decode()]


def price_line(item: Record, now_ms: float, pair: Pair | None = None) -> str:
    """Return `BTC|67250.50|2024-09-09T15:30:25.123Z`."""
    return f"{coin_of(item['symbol'], pair)}|{_plain(item['price'])}|{iso_ms(now_ms)}"


def kline_line(kline: Kline, begin: str = "") -> str:
    """Return `2024-09-09T15:30:00Z BTCUSDT 1m O 1 H 2 L 1 C 2 V 0.5 trades 3`, and what is unusual about it.

    `begin` stands before the symbol.
    """
    values = ((name, getattr(kline, field)) for name, field in zip("OHLCV", _OHLCV, strict=True))
    words = [
        iso_ms(kline.timestamp).replace(".000Z", "Z"),
        begin + kline.symbol,
        legacy_name(kline.interval),
        *(f"{name} {value:f}" for name, value in values),
        f"trades {kline.trade_count}",
    ]
    if not kline.complete:
        words.append("incomplete")
    if kline.source != "trades":
        words.append(f"from {kline.source}")
    if kline.revision:
        words.append(f"revision {kline.revision}")
    return " ".join(words)


_OHLCV = ("open", "high", "low", "close", "volume")


def _plain(price: object) -> str:
    return plain_text(Decimal(str(price)))
