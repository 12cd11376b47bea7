"""Faults of the input: counted by cause, and logged once per cause and minute.

Any thread may report; a report costs a lock and an addition, and never raises.
"""

import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import structlog

from model.pacing import KEYS_MOST, LOG_EVERY_S, OTHER, LogThrottle

SAMPLE_CHARS = 200  # enough to recognise a message, too little to flood a log with a 5 MB one
SAMPLE_BYTES = SAMPLE_CHARS * 4  # a UTF-8 character is at most 4 bytes: never decode more than that

HEALED = "its symbols are repaired or subscribed anew by themselves"
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("malformed_json", "not_text", "not_inflated", "compressed_frame", "protocol_error", "unknown_message"),
            f"a message could not be read; {HEALED}; where it goes on, see what is between here and it",
        ),
        **dict.fromkeys(
            ("malformed_trades", "malformed_ticker", "bad_ticker", "bad_trade", "unknown_topic"),
            f"a message is not as the exchange documents it; {HEALED}; where it goes on, its protocol has changed: "
            "take a newer version",
        ),
        **dict.fromkeys(
            ("book_gap", "ticker_gap"), "nothing: its topic is subscribed anew, and begins with a snapshot"
        ),
        **dict.fromkeys(
            ("trade_id_backwards", "trade_id_jump", "trade_id_garbage", "trade_ids_began_anew"),
            "nothing: its candles are repaired; where it goes on, see that nothing else hands in trades of this symbol",
        ),
        "large_message": "nothing: it was delivered; subscribers of its channel must be able to take it",
        "contract_size_unknown": "see that the exchange lists it and REST_URL is reached, or take it off SYMBOLS",
        "history_unreadable": "klines are repaired later; where it goes on, see that the REST address is reached",
        "callback_error": "the traceback beside it names the line of the callback that raised",
        "not_a_message": "hand over bytes, text or a parsed message",
        "exchange_error": "the exchange's own words are in the sample; the connection is renewed where it ends",
    }
)
"""What to do about a cause."""
COUNTED = frozenset({"history_unreached", "http_403", "http_418", "http_429", "http_451"})
"""Causes without a line: they are outages of the exchange, which app/outages.py logs."""
USUAL_REMEDY = "see the sample; report it where it goes on"

log = structlog.get_logger()


class FaultLog:
    """Counts faults, and logs at most one line per cause and window.

    The first report of a cause is logged at once, the next one after `window_s` with the count since. Causes beyond
    KEYS_MOST are counted as OTHER. Thread-safe. `clock` gives monotonic seconds.
    """

    def __init__(self, window_s: float = LOG_EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._throttle = clock, LogThrottle(window_s)
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._samples: dict[str, bytes | str] = {}  # of the newest fault of each cause

    def report(self, cause: str, sample: bytes | str = b"") -> None:
        """Count one fault of `cause` and log it if its window has passed; blocks on nothing but the log."""
        with self._lock:
            if cause not in self._counts and len(self._counts) >= KEYS_MOST:
                cause = OTHER
            self._counts[cause] = total = self._counts.get(cause, 0) + 1
            self._samples[cause] = sample = sample[:SAMPLE_BYTES]
            held = None if cause in COUNTED else self._throttle.allow(cause, self._clock())
        if held is not None:
            _log(cause, held + 1, total, sample)

    def flush(self) -> None:
        """Log what was counted but not yet logged, where the window has passed; for the status tick."""
        with self._lock:
            due = self._throttle.take_due(self._clock())
            lines = [(cause, count, self._counts[cause], self._samples[cause]) for cause, count in due.items()]
        for line in lines:
            _log(*line)

    def counts(self) -> dict[str, int]:
        """All faults since the start, by cause: a copy."""
        with self._lock:
            return dict(self._counts)


def _log(cause: str, count: int, total: int, sample: bytes | str) -> None:
    text = sample if isinstance(sample, str) else bytes(sample).decode("utf-8", errors="replace")
    remedy = REMEDIES.get(cause, USUAL_REMEDY)
    log.warning("fault", cause=cause, count=count, total=total, sample=text[:SAMPLE_CHARS], remedy=remedy)
