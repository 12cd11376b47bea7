"""A change of state as one JSON object."""

import json
import time

from consumers.status import StatusTeller


def test_every_event_says_who_what_and_when():
    """Exchange, event and time stand first, whatever else there is to say."""
    told: list[bytes] = []
    before_ms = time.time_ns() // 1_000_000
    StatusTeller("bybit", told.append)("connected", stream="T", symbols=["BTCUSDT"])
    (message,) = map(json.loads, told)

    assert list(message) == ["exchange", "event", "ts", "stream", "symbols"]
    assert (message["exchange"], message["event"], message["symbols"]) == ("bybit", "connected", ["BTCUSDT"])
    assert before_ms <= message["ts"] <= time.time_ns() // 1_000_000


def test_what_has_no_value_is_left_out_and_what_is_no_json_is_text():
    """A teller must not raise on the thread that tells."""
    told: list[bytes] = []
    StatusTeller("bybit", told.append)("gap", since=None, error=OSError("gone"), until=0)
    (message,) = map(json.loads, told)

    assert "since" not in message
    assert (message["error"], message["until"]) == ("gone", 0)
