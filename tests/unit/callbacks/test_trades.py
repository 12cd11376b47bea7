"""Trades go two ways: to the raw channel and to the aggregator."""

import pytest

from callbacks.trades import TradesCallback


@pytest.fixture
def seen():
    return []


@pytest.fixture
def callback(seen):
    made = TradesCallback()
    made.bind(lambda payloads: seen.extend(("raw", payload) for payload in payloads))
    made.bind_aggregator(
        lambda payloads: seen.extend(("aggregate", payload) for payload in payloads),
        lambda mark: seen.append(("mark", mark)),
    )
    return made


def test_trades_reach_the_raw_channel_and_the_aggregator(callback, seen):
    """Raw first: the aggregator must not delay what is already there."""
    callback(b"1")

    assert seen == [("raw", b"1"), ("aggregate", b"1")]


def test_marks_stand_between_the_payloads_where_they_happened(callback, seen):
    """The aggregator learns of a gap in the order of the data; the raw channel carries no marks."""
    callback(b"1")
    callback.mark("down")
    callback(b"2")

    assert [item for way, item in seen if way != "raw"] == [b"1", "down", b"2"]
    assert ("raw", "down") not in seen


def test_klines_do_not_need_a_raw_channel(callback, seen):
    """RAW_STREAMS without trades: the aggregator has them all the same."""
    callback.bind(None)
    callback(b"1")

    assert seen == [("aggregate", b"1")]


def test_without_klines_a_mark_is_nobodys(seen):
    """ENABLE_KLINES_STREAM=false: payloads go out raw, marks go nowhere."""
    callback = TradesCallback()
    callback.bind(seen.extend)
    callback.mark("down")
    callback(b"1")

    assert seen == [b"1"]


def test_unbound_callback_leaves_the_aggregator_alone(callback, seen):
    """The collector is gone: a straggler is an error, not a trade of the next run."""
    callback.unbind()
    callback.mark("down")

    with pytest.raises(RuntimeError):
        callback(b"1")
    assert seen == []
