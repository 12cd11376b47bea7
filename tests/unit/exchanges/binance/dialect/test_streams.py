"""exchanges.binance.dialect.streams on every recorded frame of Binance."""

import json

from exchanges.binance.dialect.streams import Form, Stream, Streams, topic_of
from model.dialect import DialectOptions

from ..recorded import combined, frames

PATHS = {"spot": ("spot", "inverse"), "linear": ("linear", "inverse"), "inverse": ("spot", "inverse")}


def test_recorded_frames_go_on_byte_for_byte(shared_data):
    """Combined as they came, raw as their data; the name of each is one that clients may ask for."""
    streams = Streams(DialectOptions(markets=(), pass_on=len))
    names = set()
    for market, frame in frames(shared_data):
        payload = combined(frame)
        message = json.loads(payload)
        if "stream" not in message or "generated" in message:  # an answer, or a message that a recorder made
            continue
        name = message["stream"]
        stream = Stream(market, name)
        assert topic_of(payload) == name
        assert Form(stream, name, is_combined=True)(payload) == payload
        data = Form(stream, name, is_combined=False)(payload)
        assert json.loads(data) == message["data"]
        assert data in frame
        if payload is frame and (market, name) not in names:  # it was recorded with its name
            names.add((market, name))
            assert streams.find(PATHS[market], name), name
    assert {market for market, _ in names} == set(PATHS)
    assert len({name.partition("@")[2] for _, name in names}) > 5
