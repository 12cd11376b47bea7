"""The throttle on log lines."""

import structlog
from structlog.testing import capture_logs

from model.pacing import KEYS_MOST, LogThrottle, OutageLog, ThrottledLogger


def test_same_complaint_once_per_period_with_the_number_held_back():
    """A log line per failure would fill a disk."""
    throttle = LogThrottle(every_s=60)
    assert throttle.allow("a", 0) == 0
    assert throttle.allow("a", 1) is None
    assert throttle.allow("b", 1) == 0
    assert throttle.allow("a", 59) is None
    assert throttle.allow("a", 60) == 2
    assert throttle.allow("a", 120) == 0


def test_a_throttled_logger_writes_an_event_once_a_minute_for_each_key():
    """Another key is another line; the exception at hand is written whole."""
    logger = ThrottledLogger(structlog.get_logger())
    with capture_logs() as logs:
        for key in "aab":
            logger.warning("refused", key, reason=key)
        logger.error("refused", "a")
        try:
            int("full")
        except ValueError:
            logger.exception("failed", path="p")
    assert logs == [
        {"event": "refused", "log_level": "warning", "reason": "a", "held_back": 0},
        {"event": "refused", "log_level": "warning", "reason": "b", "held_back": 0},
        {"event": "failed", "log_level": "error", "path": "p", "held_back": 0, "exc_info": True},
    ]


def test_keys_are_bounded():
    """What is made from input shares a place, and does not grow the memory."""
    throttle = LogThrottle()
    passed = [throttle.allow(f"key {number}", 0) for number in range(3 * KEYS_MOST)]
    assert [held for held in passed if held is not None] == [0] * (KEYS_MOST + 1)


def test_what_flaps_is_one_outage_a_minute():
    """With its end, and how many were held back."""
    log, lines = OutageLog(), list[tuple[object, ...]]()
    for second in range(0, 130, 2):
        if (held := log.down(second)) is not None:
            lines.append(("down", second, held))
        log.down(second + 0.5)
        if log.up():
            lines.append(("up", second + 1))
    assert lines == [("down", 0, 0), ("up", 1), ("down", 60, 29), ("up", 61), ("down", 120, 29), ("up", 121)]


def test_an_outage_that_lasts_is_always_logged():
    """It began while lines were held back: later failures of it say so, once, and then at growing distances."""
    log = OutageLog()
    assert log.down(0) == 0
    assert log.up()
    assert log.down(10) is None
    logged = [second for second in range(20, 12_000, 20) if log.down(second) == 0]
    assert logged == [60, *(60 + age for age in (60, 300, 900, 3600, 7200, 10_800))]
    assert log.up()
    assert not log.up()
