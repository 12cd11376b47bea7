"""When the log of the store goes to its places in the file: between boundaries, so that no commit waits for the disk.

The thread `consumer-store`. Readers and other processes do not wait for it either; one that reads for hours makes the
log grow as long.
"""

import sqlite3

RECORDS = 4_000  # written or removed, after which it is due: some 30 MB of log where each is of a series of its own
EVERY_S = 300.0  # the longest, where anything was written: what a power cut can cost is in the log
QUIET_S = 5.0  # without a kline: more come together than apart
RECORDS_MOST, WAIT_MOST_S = 40_000, 900.0  # then it is not waited for a quiet moment any more
RETRY_S = 10.0  # after one that a reader kept from its end


class Checkpoint:
    """Counts what is in the log alone. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._records = 0
        self._done_s = self._written_s = self._retry_at_s = float("-inf")

    def begin(self, now_s: float) -> None:
        """Begin with a file that was opened."""
        self._records, self._done_s = 0, now_s

    def wrote(self, records: int, now_s: float) -> None:
        """Count what was committed."""
        self._records += records
        self._written_s = now_s

    def step(self, connection: sqlite3.Connection, now_s: float) -> None:
        """Write the log to the file where that is due; sqlite3.Error."""
        if not self._is_due(now_s):
            return
        _, pages, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages == done:
            self.begin(now_s)
        else:
            self._retry_at_s = now_s + RETRY_S

    def _is_due(self, now_s: float) -> bool:
        waited_s = now_s - self._done_s
        if not self._records or now_s < self._retry_at_s or (self._records < RECORDS and waited_s < EVERY_S):
            return False
        is_quiet = now_s - self._written_s >= QUIET_S
        return is_quiet or self._records >= RECORDS_MOST or waited_s >= WAIT_MOST_S
