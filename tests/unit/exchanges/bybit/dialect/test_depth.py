"""Shallower books made of a deeper one."""

import json
import random

from exchanges.bybit.dialect.depth import ShallowBook
from exchanges.bybit.dialect.state import Book


def payload(kind, u, bids, asks):
    data = {
        "s": "X",
        "b": [[str(p), str(q)] for p, q in bids],
        "a": [[str(p), str(q)] for p, q in asks],
        "u": u,
        "seq": u,
    }
    return json.dumps({"topic": "orderbook.200.X", "type": kind, "ts": u, "data": data, "cts": u}).encode()


Levels = dict[str, str]


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
    deep: tuple[Levels, Levels] = ({}, {})
    seen: tuple[Levels, Levels] = ({}, {})
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
