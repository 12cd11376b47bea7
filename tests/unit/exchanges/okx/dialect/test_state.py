"""Order books as they pass, and the smaller ones made of them."""

import json
from typing import Any

import pytest

from exchanges.okx.dialect.state import Arg, Book

ARG = Arg("books", "X")
SNAPSHOT = b'{"arg":{"channel":"books","instId":"X"},"action":"snapshot","data":[{"asks":[["11","3","0","1"],["100","4","0","2"]],"bids":[["9.5","1","0","1"],["10","2","0","3"]],"ts":"1","checksum":0,"prevSeqId":-1,"seqId":70}]}'  # noqa: E501
UPDATE = b'{"arg":{"channel":"books","instId":"X"},"action":"update","data":[{"asks":[["11","6","0","1"]],"bids":[["9.5","0","0","0"],["9","5","0","1"]],"ts":"2","checksum":0,"prevSeqId":70,"seqId":80}]}'  # noqa: E501
BEAT = b'{"arg":{"channel":"books","instId":"X"},"action":"update","data":[{"asks":[],"bids":[],"ts":"3","checksum":0,"prevSeqId":80,"seqId":80}]}'  # noqa: E501


def linked(before: int, own: int) -> bytes:
    return BEAT.replace(b'"prevSeqId":80,"seqId":80', b'"prevSeqId":%d,"seqId":%d' % (before, own))


def data_of(payload: bytes | None) -> dict[str, Any]:
    assert payload is not None
    (data,) = json.loads(payload)["data"]
    return dict(data)


def book_of(*payloads: bytes) -> Book:
    book = Book()
    for payload in payloads:
        assert book.apply(payload)
    return book


def test_a_book_is_its_snapshot_with_updates_applied():
    """As OKX writes it: deleted, inserted, changed; best first by number, not by text; the last one's ids and time."""
    assert book_of(SNAPSHOT, UPDATE).snapshot(ARG) == (
        b'{"arg":{"channel":"books","instId":"X"},"action":"snapshot","data":[{"asks":[["11","6","0","1"],'
        b'["100","4","0","2"]],"bids":[["10","2","0","3"],["9","5","0","1"]],"ts":"2","checksum":0,"prevSeqId":-1,'
        b'"seqId":80}]}'
    )


def test_the_updates_that_follow_link_to_the_snapshot_made():
    """A client's check of prevSeqId against seqId holds."""
    book = book_of(SNAPSHOT, UPDATE)
    made = data_of(book.snapshot(ARG))["seqId"]
    assert data_of(BEAT)["prevSeqId"] == made
    assert book.apply(BEAT)


def test_an_update_alone_is_no_book():
    """It is withheld until a snapshot comes."""
    book = Book()
    assert not book.apply(UPDATE)
    assert book.snapshot(ARG) is book.top(ARG, 5) is None
    assert book.apply(SNAPSHOT)
    assert book.snapshot(ARG) is not None


@pytest.mark.parametrize("number", [81, 90])
def test_a_gap_makes_a_book_useless_until_its_next_snapshot(number):
    """Better no book than a wrong one, also for those who subscribe later."""
    book = book_of(SNAPSHOT, UPDATE)
    assert not book.apply(linked(number, number + 10))
    assert book.snapshot(ARG) is None
    assert not book.apply(linked(80, 85))
    assert book.apply(SNAPSHOT)


def test_a_lower_number_that_is_linked_goes_on():
    """After a maintenance OKX counts anew."""
    book = book_of(SNAPSHOT, UPDATE, linked(80, 5), linked(5, 6))
    assert data_of(book.snapshot(ARG))["seqId"] == 6


def test_a_message_that_came_before_costs_nothing():
    """Two connections carry it while one replaces the other."""
    book = book_of(SNAPSHOT, UPDATE)
    assert not book.apply(UPDATE)
    assert book.apply(BEAT)


def test_books_of_before_there_were_numbers_are_kept():
    """Recordings of 2022 have none; the checksum is that of the same book."""
    old = [payload.replace(b',"prevSeqId":-1,"seqId":70', b"") for payload in (SNAPSHOT,)]
    old.append(UPDATE.replace(b',"prevSeqId":70,"seqId":80', b"").replace(b'"checksum":0', b'"checksum":-5'))
    data = data_of(book_of(*old).snapshot(ARG))
    assert (data["checksum"], "seqId" in data, data["bids"][1][0]) == (-5, False, "9")


def test_the_best_levels_are_messages_as_the_smaller_channels_have_them():
    """Whole, without action; books5 names the instrument again."""
    book = book_of(SNAPSHOT, UPDATE)
    assert book.top(Arg("bbo-tbt", "X"), 1) == (
        b'{"arg":{"channel":"bbo-tbt","instId":"X"},"data":[{"asks":[["11","6","0","1"]],"bids":[["10","2","0","3"]],'
        b'"ts":"2","seqId":80}]}'
    )
    top = data_of(book.top(Arg("books5", "X"), 5))
    assert (top["instId"], len(top["asks"]), len(top["bids"])) == ("X", 2, 2)


def test_whole_books_replace_one_another():
    """books5 and bbo-tbt, where these are collected."""
    book = book_of(SNAPSHOT.replace(b'"action":"snapshot",', b""))
    book.apply(UPDATE.replace(b'"action":"update",', b""))
    assert data_of(book.top(Arg("books5", "X"), 5))["bids"] == [["9", "5", "0", "1"]]
