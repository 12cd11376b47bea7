"""One view: the candles of a market, a symbol and an interval, as all pages that look at them get them.

Pure; the event loop's thread.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from consumers.web.live.history import CANDLES, Past, SeriesId
from consumers.web.live.reasons import Cause, Causes
from consumers.web.live.rows import OPEN, Row, flags_of, row_of_candle, row_of_kline
from model.intervals import Interval
from model.records import Candle, Kline

encode = msgspec.json.encode


class View:
    """The candles of one view: of history first, the collector's own over them.

    `remembered` are rows of before it was opened. Messages are those of `candle` and `candles`.
    """

    def __init__(self, series: SeriesId, interval: Interval, causes: Causes, remembered: Mapping[int, Row]) -> None:
        self.series, self.interval = series, interval
        self.pages = 0
        self.is_loading, self.note, self.retry_s = True, "", 0.0
        self._causes = causes
        self._past: dict[int, Row] = {}
        self._own: dict[int, Row] = dict(remembered)
        self._closed_ms = max(self._own, default=-1)  # start of the newest that was closed
        self._begun: Candle | None = None  # the exchange's candle that was open when it was read
        self._lacking: Decimal | None = None  # volume of that one that the collector's own has not, known at its next
        self._sent: dict[int, bytes] = {}  # the newest candle message of each start that may change again
        market, symbol, name = series
        head = {"type": "candle", "market": market, "symbol": symbol, "interval": name}
        self._head = encode(head)[:-1] + b',"row":'
        self._candles_head = encode({**head, "type": "candles", "step_s": interval.step_ms // 1000})[:-1]
        self._candles: bytes | None = None

    def take_past(self, past: Past) -> None:
        """Take what was read of the exchange."""
        self.is_loading, self.note = False, past.note
        end_of = self.interval.window_end
        self._past |= {
            candle.start_ms: row_of_candle(candle, is_open=end_of(candle.start_ms) > past.read_ms)
            for candle in past.candles
        }
        self._begun = next((candle for candle in past.candles if end_of(candle.start_ms) > past.read_ms), None)
        self._lacking = None
        if self._begun is not None and (own := self._own.get(self._begun.start_ms)) is not None and own.flags & OPEN:
            del self._own[self._begun.start_ms]  # it may have begun later; the next one is made whole
        self._candles = None

    def closed(self, kline: Kline) -> bytes | None:
        """Take a kline that was published; returns its message, None where a later revision is known."""
        start_ms = kline.timestamp
        before = self._own.get(start_ms)
        if before is not None and not before.flags & OPEN and before.revision > kline.revision:
            return None
        self._own[start_ms] = row_of_kline(kline, flags_of(kline, before.flags if before else None))
        self._closed_ms = max(self._closed_ms, start_ms)
        self._trim()
        return self._changed(start_ms)

    def opened(self, kline: Kline) -> bytes | None:
        """Take a kline that is open; returns its message, None where nothing of it changed or it is closed by now."""
        if kline.timestamp <= self._closed_ms:
            return None
        self._own[kline.timestamp] = row_of_kline(self._whole(kline), OPEN)
        return self._changed(kline.timestamp)

    def _whole(self, kline: Kline) -> Kline:
        """An open kline with what the exchange's candle had before this collector began to count it, if anything.

        Both are of one moment, nearly: the kline is the first that comes after the candle was read.
        """
        begun = self._begun
        if begun is None or begun.start_ms != kline.timestamp:
            return kline
        if self._lacking is None:
            self._lacking = max(begun.volume - kline.volume, Decimal(0))
        if not self._lacking:
            return kline
        return msgspec.structs.replace(
            kline,
            open=begun.open,
            high=max(begun.high, kline.high),
            low=min(begun.low, kline.low),
            volume=kline.volume + self._lacking,
        )

    def explain(self) -> list[bytes]:
        """Return the messages of closed candles that look otherwise by the causes that are known now."""
        causes = self._causes.of(*self.series[:2])
        starts = [start for start, row in self._rows().items() if not row.flags & OPEN]
        found = [(start, self._message(start, causes)) for start in starts]
        news = [message for start, message in found if message != self._sent.get(start, message)]
        self._sent |= dict(found)
        if news:
            self._candles = None
        return news

    def candles(self) -> bytes:
        """The message of all candles."""
        if self._candles is None:
            rows, causes = self._rows(), self._causes.of(*self.series[:2])
            texts = [self._json(start, row, causes) for start, row in rows.items()]
            self._sent = {
                start: self._head + text + b"}" for (start, row), text in zip(rows.items(), texts, strict=True)
            }
            rest = encode(
                {
                    "price_decimals": max((row.price_decimals for row in rows.values()), default=0),
                    "volume_decimals": max((row.volume_decimals for row in rows.values()), default=0),
                    "is_loading": self.is_loading,
                    "note": self.note,
                }
            )
            self._candles = self._candles_head + b',"rows":[' + b",".join(texts) + b"]," + rest[1:]
        return self._candles

    def _rows(self) -> dict[int, Row]:
        """The newest rows, oldest first, by start."""
        rows = {**self._past, **self._own}
        return {start: rows[start] for start in sorted(rows)[-CANDLES - 1 :]}

    def _changed(self, start_ms: int) -> bytes | None:
        self._candles = None
        is_open = self._own[start_ms].flags & OPEN  # then it has no reason yet, and comes every second
        message = self._message(start_ms, () if is_open else self._causes.of(*self.series[:2]))
        if self._sent.get(start_ms) == message:
            return None
        self._sent[start_ms] = message
        return message

    def _message(self, start_ms: int, causes: Sequence[Cause]) -> bytes:
        row = self._own.get(start_ms) or self._past[start_ms]
        return self._head + self._json(start_ms, row, causes) + b"}"

    def _json(self, start_ms: int, row: Row, causes: Sequence[Cause]) -> bytes:
        if row.flags & OPEN:
            return row.json()
        row, reason = self._causes.explained(row, start_ms, self.interval.window_end(start_ms), causes)
        return row.json(encode(reason).decode() if reason else "")

    def _trim(self) -> None:
        """Forget what is too old to be shown."""
        for rows in (self._own, self._past, self._sent):
            if len(rows) > 2 * CANDLES:
                for start in sorted(rows)[:-CANDLES]:
                    del rows[start]
