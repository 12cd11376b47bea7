"""Settings turned into the options of packages."""

import pytest

from app.options import kline_options
from conf.settings import load_settings


@pytest.mark.parametrize(
    ("written", "name", "value"),
    [
        ({}, "grace_ms", 300),
        ({"KLINE_CLOSE_GRACE_MS": "700"}, "grace_ms", 700),
        ({"AGGREGATOR_WAITER_MODE_ENABLED": "false"}, "grace_ms", 0),
        ({"KLINE_OPEN": "first_trade"}, "prev_close_opens", False),
        ({"AGGREGATION_CLOCK": "event"}, "event_clock", True),
        ({"KLINE_REPAIR": "false"}, "repairs", False),
        ({"KLINE_INTERVALS": "1s,5m"}, "intervals", ("1s", "5m")),
    ],
)
def test_kline_options_follow_the_settings(monkeypatch, written, name, value):
    """Each setting has one place in the options of the klines."""
    for key, text in written.items():
        monkeypatch.setenv(key, text)

    assert getattr(kline_options(load_settings()), name) == value
