"""Recordings: compressed, in folders, with stamps and markets."""

import base64
import gzip
from pathlib import Path

from exchanges.simulated.bybit.dialect import DIALECT
from exchanges.simulated.hub import Hub, Session
from exchanges.simulated.replay import Line, Recording, Replay, line_of


def body(number: int, topic: str = "publicTrade.BTCUSDT") -> bytes:
    return b'{"topic":"%b","n":%d}' % (topic.encode(), number)


def line(stamp_ns: int, number: int, market: str = "linear") -> bytes:
    return b"%d %b %b\n" % (stamp_ns, market.encode(), body(number))


def session_for(hub: Hub, replay: Replay, category: str) -> Session:
    session = hub.open(category, category)
    topic = replay.find(category, "publicTrade.BTCUSDT")
    assert topic is not None
    hub.join(session, topic)
    return session


def sent(session: Session) -> list[bytes]:
    return [frame[2:] for frame in session.pending]


def test_a_line_has_when_where_and_what():
    """The three forms, and what is no payload."""
    assert line_of(b"17 linear " + body(1), DIALECT) == Line(17, "linear", "publicTrade.BTCUSDT", body(1))
    assert line_of(b"17 " + body(1), DIALECT) == Line(17, None, "publicTrade.BTCUSDT", body(1))
    assert line_of(body(1), DIALECT) == Line(0, None, "publicTrade.BTCUSDT", body(1))
    odd = b'{"topic":\n"a.B"}'
    assert line_of(b"17 spot =" + base64.b64encode(odd), DIALECT) == Line(17, "spot", "a.B", odd)
    assert [line_of(text, DIALECT) for text in (b"# 3 payloads", b"", b"{}")] == ["notes", "empty", "no_topic"]


def test_a_folder_is_one_recording_in_the_order_of_time(tmp_path: Path):
    """Hours follow each other, and two processes' hours are interleaved; hidden files are not finished."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "20260101_10_b.txt.gz").write_bytes(gzip.compress(line(3, 3) + line(2, 4)) + gzip.compress(line(9, 5)))
    (tmp_path / "20260101_09_a.txt").write_bytes(b"# a note\n" + line(1, 1) + line(2, 2))
    (tmp_path / "sub" / "20260101_10_c.txt").write_bytes(line(8, 6, "spot"))
    (tmp_path / ".20260101_11_b.txt.gz.part").write_bytes(b"?")
    recording = Recording(tmp_path, DIALECT)
    assert [found.body for found in recording] == [body(number) for number in (1, 2, 3, 4, 6, 5)]
    assert recording.skipped == {"notes": 1}


def test_a_cut_file_is_a_recording_up_to_there(tmp_path: Path):
    """A copy that broke off is no reason to refuse the rest."""
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(line(1, 1)) + gzip.compress(line(2, 2))[:-12])
    recording = Recording(path, DIALECT)
    assert next(iter(recording)).body == body(1)
    assert len(list(recording)) in (1, 2)
    assert recording.skipped == {"cut": 1}


def test_a_payload_goes_to_its_market_alone(tmp_path: Path):
    """Spot's BTCUSDT is not linear's."""
    path, hub = tmp_path / "recorded.txt", Hub()
    path.write_bytes(line(1, 1) + line(2, 2, "spot") + line(3, 3))
    replay = Replay(hub, str(path), 0, "", waits_for=2, dialect=DIALECT)
    linear, spot = (session_for(hub, replay, category) for category in ("linear", "spot"))
    assert replay.find("inverse", "publicTrade.BTCUSDT") is None
    replay.step(0.0, at_most=100)
    assert (sent(linear), sent(spot)) == ([body(1), body(3)], [body(2)])


def test_speed_is_a_factor_of_the_recorded_time(tmp_path: Path):
    """Twice as fast: what came ten seconds later comes after five."""
    path, hub = tmp_path / "recorded.txt", Hub()
    path.write_bytes(b"".join(line(10**18 + second * 10**9, second) for second in (0, 10, 11)))
    replay = Replay(hub, str(path), 0, "", waits_for=1, dialect=DIALECT, speed=2.0)
    session = session_for(hub, replay, "linear")
    counts = []
    for now_s in (100.0, 104.9, 105.0, 105.5):
        replay.step(now_s, at_most=100)
        counts.append(len(sent(session)))
    assert counts == [1, 1, 2, 3]
    assert replay.report()["done"]


def test_a_replay_may_begin_again(tmp_path: Path):
    """POST /sim/replay is from the first line, also after the last."""
    path, hub = tmp_path / "recorded.txt.gz", Hub()
    path.write_bytes(gzip.compress(line(1, 1) + line(2, 2)))
    replay = Replay(hub, str(path), 0, "", waits_for=0, dialect=DIALECT)
    session = session_for(hub, replay, "linear")
    for _ in range(2):
        replay.start()
        replay.step(0.0, at_most=1)
        replay.step(0.0, at_most=1)
    assert sent(session) == [body(1), body(2)] * 2
