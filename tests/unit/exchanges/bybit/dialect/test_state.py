"""Order books and tickers as they pass."""

import json

from exchanges.bybit.dialect.state import Book, Ticker

SNAPSHOT = b'{"topic":"orderbook.50.X","type":"snapshot","ts":1,"data":{"s":"X","b":[["9.5","1"],["10","2"]],"a":[["11","3"],["100","4"]],"u":7,"seq":70},"cts":1}'  # noqa: E501
DELTA = b'{"topic":"orderbook.50.X","type":"delta","ts":2,"data":{"s":"X","b":[["9.5","0"],["9","5"]],"a":[["11","6"]],"u":8,"seq":80},"cts":2}'  # noqa: E501


def book_of(*payloads):
    book = Book()
    for payload in payloads:
        book.apply(payload)
    return book


def test_a_book_is_its_snapshot_with_deltas_applied():
    """Deleted, inserted, changed; best price first by number, not by text; ids of the last payload."""
    snapshot = json.loads(book_of(SNAPSHOT, DELTA).snapshot())
    assert snapshot == {
        "topic": "orderbook.50.X", "type": "snapshot", "ts": 2,
        "data": {"s": "X", "b": [["10", "2"], ["9", "5"]], "a": [["11", "6"], ["100", "4"]], "u": 8, "seq": 80},
        "cts": 2,
    }  # fmt: skip


def test_a_delta_alone_is_no_book():
    """It is withheld until a snapshot comes."""
    book = Book()
    assert not book.apply(DELTA)
    assert book.snapshot() is None
    assert book.apply(SNAPSHOT)
    assert book.snapshot() is not None


def test_a_new_snapshot_replaces_all():
    """After a reconnect, and where the service restarted."""
    empty = SNAPSHOT.replace(b'["9.5","1"],', b"").replace(b'"u":7', b'"u":1')
    assert json.loads(book_of(SNAPSHOT, DELTA, empty).snapshot())["data"]["b"] == [["10", "2"]]


def test_a_lost_delta_makes_a_book_useless_until_its_next_snapshot():
    """Better no book than a wrong one."""
    book = book_of(SNAPSHOT)
    book.lost()
    assert book.snapshot() is None
    assert not book.apply(DELTA)
    assert book.apply(SNAPSHOT)


def test_a_ticker_keeps_texts_as_they_came():
    """Trailing zeros and empty strings are the exchange's."""
    ticker = Ticker()
    assert not ticker.apply(b'{"topic":"tickers.X","type":"delta","data":{"a":"0"},"cs":1,"ts":1}')
    assert ticker.snapshot() is None
    ticker.apply(b'{"topic":"tickers.X","type":"snapshot","data":{"a":"1.50","b":""},"cs":2,"ts":2}')
    ticker.apply(b'{"topic":"tickers.X","type":"delta","data":{"a":"1.60"},"cs":3,"ts":3}')
    assert ticker.snapshot() == (
        b'{"topic":"tickers.X","type":"snapshot","data":{"a":"1.60","b":""},"cs":3,"ts":3}'
    )  # fmt: skip
