"""Tickers go on untouched; those who merge them learn where the feed broke."""

from callbacks.ticker import TickerCallback


def test_marks_stand_between_the_payloads():
    """In the order of the data; after the end, and where nobody merges, they go nowhere."""
    seen = []
    callback = TickerCallback("spot")
    callback.mark("early")
    callback.bind(seen.extend)
    callback.bind_mark(seen.append)
    callback(b"1")
    callback.mark("down")
    callback(b"2")
    callback.unbind()
    callback.mark("late")

    assert seen == [b"1", "down", b"2"]
