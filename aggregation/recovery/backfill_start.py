"""What an earlier run left: where each symbol and interval goes on, and what of it is in doubt. Pure.

A process that is killed cannot take back what it had called complete while its feed had fallen silent unnoticed. What a
later trade of the same symbol vouches for is no such kline: trades of one connection come in their order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from model.intervals import MINUTE_MS, Interval, step_of
from model.records import Kline

LATE_MS = 1_000  # a trade may still be on its way to us when a later one has come
BACK_MS = 300_000  # a long interval may wait for the exchange so long while the symbol's short ones go on
UNSEEN_REVISIONS = 10  # more than a kline may have been revised in its first seconds

Key = tuple[str, str, int]
"""Market, symbol, interval in ms (0 for calendar months)."""
Published = tuple[int, int, bool]
"""Start (ms), revision and completeness of the kline that was published last."""


class EarlierRun:
    """The memory of an earlier run, by key: the newest start published, and the klines remembered whole."""

    def __init__(
        self,
        known: Mapping[Key, Published],
        recent: Iterable[tuple[str, Kline]],
        intervals: Iterable[Interval],
        followed: Iterable[tuple[str, str]],
    ) -> None:
        self.by_step = {interval.step_ms: interval for interval in intervals}
        self.followed = set(followed)  # (market, symbol)
        self.newest = {key: last[0] for key, last in known.items()}
        self.klines: dict[Key, dict[int, Kline]] = defaultdict(dict)
        for market, kline in recent:
            key = key_of(market, kline)
            self.klines[key][kline.timestamp] = kline
            self.newest[key] = max(self.newest.get(key, 0), kline.timestamp)

    def end_ms(self, key: Key, start_ms: int) -> int:
        """Where a window of `key` ends; its start where nobody knows the interval any more."""
        interval = self.by_step.get(key[2])
        return interval.window_end(start_ms) if interval else start_ms + key[2]


def key_of(market: str, kline: Kline) -> Key:
    """The place of a kline; a month's length varies, its place must not."""
    return market, kline.symbol, step_of(kline.interval, kline.timestamp)


def starts_of(earlier: EarlierRun) -> Iterator[tuple[Key, Interval, int]]:
    """(key, interval, start of the oldest window that is not out) of everything that is still collected.

    An interval that had published nothing yet begins with the window that was open some time before its others ended.
    """
    ends: dict[tuple[str, str], int] = {}
    for key, start_ms in earlier.newest.items():
        if key[:2] in earlier.followed:
            ends[key[:2]] = max(ends.get(key[:2], 0), earlier.end_ms(key, start_ms))
    for (market, symbol), until_ms in ends.items():
        for step_ms, interval in earlier.by_step.items():
            key = (market, symbol, step_ms)
            if key in earlier.newest:
                yield key, interval, interval.window_end(earlier.newest[key])
            else:
                back_ms = 0 if 0 < step_ms < MINUTE_MS else BACK_MS
                yield key, interval, interval.window_start(until_ms - 1 - back_ms)


def revision_after(known: int, end_ms: int, now_ms: int) -> int:
    """The revision of what goes out again, or may: higher than any that an earlier run gave, noted or not.

    What was on its way when a process was killed may have arrived and not been noted: the age of the window makes two
    runs, which begin at least a second apart, give different ones.
    """
    return known + UNSEEN_REVISIONS + max(0, now_ms - end_ms) // 1000


def unverified_of(earlier: EarlierRun, key: Key) -> dict[int, Kline]:
    """The klines of `key`, by start, that are incomplete, or that nothing vouches for."""
    klines = earlier.klines.get(key, {})
    traded = [kline.timestamp for kline in klines.values() if kline.trade_count and kline.source == "trades"]
    alive_ms = max(traded, default=0) - LATE_MS
    return {
        start_ms: kline
        for start_ms, kline in sorted(klines.items())
        if not kline.complete or (kline.timestamp + kline.interval > alive_ms and kline.source == "trades")
    }
