"""Recorded payloads, byte for byte."""

from pathlib import Path

from exchanges.simulated.bybit.dialect import DIALECT
from exchanges.simulated.hub import Hub
from exchanges.simulated.replay import Replay

LINES = b"""{"topic":"publicTrade.XRPUSDT", "b":1}
{"success":true,"op":"subscribe"}

1758841137168651303 {"topic":"orderbook.500.BTCUSDT","odd" : 1.10}
not json
{"topic":"publicTrade.XRPUSDT","b":2}
"""


def test_payloads_come_unchanged_and_in_order(tmp_path: Path) -> None:
    """Blanks inside a payload stay; control frames and noise are counted."""
    path, hub = tmp_path / "recorded.jsonl", Hub()
    path.write_bytes(LINES)
    replay = Replay(hub, str(path), 0, "", waits_for=2, dialect=DIALECT)
    session = hub.open("linear", "c")
    for name in ("publicTrade.XRPUSDT", "orderbook.500.BTCUSDT"):
        assert not replay.is_running
        topic = replay.find("linear", name)
        assert topic is not None
        hub.join(session, topic)
    assert replay.is_running
    replay.step(0.0, at_most=100)
    assert [frame[2:] for frame in session.pending] == [
        b'{"topic":"publicTrade.XRPUSDT", "b":1}',
        b'{"topic":"orderbook.500.BTCUSDT","odd" : 1.10}',
        b'{"topic":"publicTrade.XRPUSDT","b":2}',
    ]
    assert replay.report() == {
        "payloads": 3,
        "sent": 3,
        "unheard": 0,
        "skipped": {"no_topic": 2, "empty": 1},
        "done": True,
    }


def test_rate_spreads_the_payloads(tmp_path: Path) -> None:
    """Two per second: one at once, the next half a second later."""
    path, hub = tmp_path / "recorded.jsonl", Hub()
    path.write_bytes(LINES)
    replay = Replay(hub, str(path), 2.0, "spot", waits_for=0, dialect=DIALECT)
    assert replay.find("linear", "publicTrade.XRPUSDT") is None
    replay.start()
    replay.step(100.0, at_most=100)
    replay.step(100.4, at_most=100)
    assert replay.report()["sent"] == 1
    replay.step(100.6, at_most=100)
    assert (replay.report()["sent"], replay.unheard) == (2, 2)
