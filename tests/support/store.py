"""A CandleStore in memory: what is put there is what is answered."""

from collections.abc import Sequence
from decimal import Decimal

from model.envelope import plain_text
from model.ports import KlineRows, StoredSeries, StoreError
from model.records import Kline, SeriesKey


def text_of(value: object) -> str:
    """A field of a kline as CandleStore.rows writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return plain_text(value) if isinstance(value, Decimal) else str(value)


class MemoryStore:
    """A model.ports.CandleStore; `problem` is what every call raises as a StoreError."""

    def __init__(self) -> None:
        self.commits = 0
        self.held: dict[SeriesKey, dict[int, Kline]] = {}
        self.records: list[str] = []
        self.problem = ""

    def put(self, market: str, klines: Sequence[Kline], step_ms: int | None = None) -> None:
        """Take klines; the highest revision stays."""
        for kline in klines:
            held = self.held.setdefault((market, kline.symbol, kline.interval if step_ms is None else step_ms), {})
            if kline.timestamp not in held or held[kline.timestamp].revision <= kline.revision:
                held[kline.timestamp] = kline

    def klines(
        self,
        market: str,
        symbol: str,
        step_ms: int,
        start_ms: int = 0,
        end_ms: int | None = None,
        limit: int | None = None,
    ) -> list[Kline]:
        """See CandleStore."""
        if self.problem:
            raise StoreError(self.problem)
        held = self.held.get((market, symbol, step_ms), {})
        until = 1 << 62 if end_ms is None else end_ms
        found = [held[start] for start in sorted(held) if start_ms <= start < until]
        return found if limit is None else found[-limit:] if limit else []

    def rows(
        self,
        market: str,
        symbol: str,
        step_ms: int,
        form: Sequence[str],
        start_ms: int = 0,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest_first: bool = False,
    ) -> KlineRows:
        """See CandleStore."""
        found = self.klines(market, symbol, step_ms, start_ms, end_ms, limit)
        texts = [
            "".join(part if index % 2 == 0 else text_of(getattr(kline, part)) for index, part in enumerate(form))
            for kline in (found[::-1] if newest_first else found)
        ]
        first, last = (found[0].timestamp, found[-1].timestamp) if found else (0, 0)
        return KlineRows(",".join(texts), len(found), sum(kline.complete for kline in found), first, last)

    def first_ms(self, market: str, symbol: str, step_ms: int) -> int | None:
        """See CandleStore."""
        found = self.klines(market, symbol, step_ms, limit=None)
        return found[0].timestamp if found else None

    def series(self) -> list[StoredSeries]:
        """See CandleStore."""
        return [StoredSeries(*key, min(held), max(held)) for key, held in self.held.items() if held]

    def journal(self, after_id: int = -1, limit: int = 100) -> list[tuple[int, str]]:
        """See CandleStore."""
        numbered = list(enumerate(self.records))
        return [row for row in numbered if row[0] > after_id][:limit] if after_id >= 0 else numbered[-limit:]
