"""How long after its end a window waits for trades that are still on their way. Pure; aggregator thread.

It grows with the lateness that is measured, and shrinks back when nothing is late any more.
"""

CAP_MS = 2_000  # a trade later than that is an accident: it comes as a revision, and no window waits for the next
MARGIN = 1.25  # the next late trade may be a little later than the last
HALF_LIFE_MS = 600_000  # in which the measured lateness is halved


class AllowedLateness:
    """The allowed lateness of trades: at least `floor_ms` (KLINE_CLOSE_GRACE_MS), more where they were later.

    With a floor of 0 no window waits, however late trades are.
    """

    def __init__(self, floor_ms: int) -> None:
        self._floor_ms = floor_ms
        self._measured_ms = 0.0
        self._measured_at_ms = 0

    def observe(self, lateness_ms: int, now_ms: int) -> None:
        """Take a trade that came `lateness_ms` after the end of its window."""
        wanted = lateness_ms * MARGIN
        if self._floor_ms and wanted <= CAP_MS and wanted > self._faded(now_ms):
            self._measured_ms, self._measured_at_ms = wanted, now_ms

    def at(self, now_ms: int) -> int:
        """The allowed lateness now, in ms."""
        return max(self._floor_ms, int(self._faded(now_ms)))

    def _faded(self, now_ms: int) -> float:
        return float(self._measured_ms * 0.5 ** (max(0, now_ms - self._measured_at_ms) / HALF_LIFE_MS))
