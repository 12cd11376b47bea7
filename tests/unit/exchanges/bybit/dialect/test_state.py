"""Order books, shallower ones made of them, and tickers, as they pass."""

import json
import random

from exchanges.bybit.dialect.state import Book, ShallowBook, Ticker

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


# -- shallower books -----------------------------------------------------------------------------------


def payload(kind, u, bids, asks):
    data = {
        "s": "X",
        "b": [[str(p), str(q)] for p, q in bids],
        "a": [[str(p), str(q)] for p, q in asks],
        "u": u,
        "seq": u,
    }
    return json.dumps({"topic": "orderbook.200.X", "type": kind, "ts": u, "data": data, "cts": u}).encode()


def applied(levels, changes):
    for price, size in changes:
        if size == "0":
            levels.pop(price, None)
        else:
            levels[price] = size


def best(levels, depth, *, reverse):
    return dict(sorted(levels.items(), key=lambda level: float(level[0]), reverse=reverse)[:depth])


def test_a_client_of_the_shallow_book_sees_the_best_of_the_deep_one():
    """After each of a thousand changes its merged book is the deeper one cut off, and u has no gap."""
    draw = random.Random(1)
    book, shallow = Book(), ShallowBook("orderbook.50.X", 50)
    deep: tuple[dict[str, str], dict[str, str]] = ({}, {})
    seen: tuple[dict[str, str], dict[str, str]] = ({}, {})
    last_u = 0
    for u in range(1, 1_000):
        kind = "snapshot" if u in (1, 500) else "delta"
        sides = [
            [(base + draw.randrange(80), draw.choice((0, draw.randrange(1, 9)))) for _ in range(80 if u == 1 else 3)]
            for base in (900, 1_000)
        ]
        sides = [[(p, q) for p, q in side if kind == "delta" or q] for side in sides]
        message = payload(kind, u, *sides)
        book.apply(message)
        for side, changes in zip(deep, sides, strict=True):
            if kind == "snapshot":
                side.clear()
            applied(side, [(str(p), str(q)) for p, q in changes])
        sent = json.loads(shallow.follow(book, is_new=kind == "snapshot") or b"null")
        if sent:
            if sent["type"] == "snapshot":
                seen[0].clear(), seen[1].clear()
            else:
                assert sent["data"]["u"] == last_u + 1
            last_u = sent["data"]["u"]
            applied(seen[0], sent["data"]["b"])
            applied(seen[1], sent["data"]["a"])
        assert seen[0] == best(deep[0], 50, reverse=True)
        assert seen[1] == best(deep[1], 50, reverse=False)
        first = json.loads(shallow.snapshot(book) or b"null")["data"]
        assert (dict(first["b"]), dict(first["a"]), first["u"]) == (*seen, last_u)


def test_depth_1_is_snapshots_alone():
    """One whenever the best levels change, none while they do not."""
    book, shallow = Book(), ShallowBook("orderbook.1.X", 1)
    book.apply(payload("snapshot", 7, [(9, 1), (10, 2)], [(11, 3), (100, 4)]))
    first = json.loads(shallow.snapshot(book) or b"null")
    assert first["data"] == {"s": "X", "b": [["10", "2"]], "a": [["11", "3"]], "u": 7, "seq": 7}
    book.apply(payload("delta", 8, [(9, 5)], [(12, 6)]))
    assert shallow.follow(book, is_new=False) is None
    book.apply(payload("delta", 9, [(10, 0)], []))
    changed = json.loads(shallow.follow(book, is_new=False) or b"null")
    assert (changed["topic"], changed["type"], changed["data"]["b"]) == ("orderbook.1.X", "snapshot", [["9", "5"]])


def test_without_a_book_there_is_nothing_to_show():
    """Not before the first snapshot."""
    book, shallow = Book(), ShallowBook("orderbook.50.X", 50)
    assert shallow.snapshot(book) is None
    assert shallow.follow(book, is_new=False) is None
