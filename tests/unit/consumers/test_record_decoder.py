"""consumers.record_decoder: bounded, in order, and every drop counted. No thread runs here."""

import pytest
from structlog.testing import capture_logs

from consumers.record_decoder import RECORDS_PER_ENVELOPE, DecodeLimits, RecordDecoder
from model.records import FeedMarker


class Reader:
    """Gives one record per payload; keeps its calls, in order."""

    without_snapshot = 0

    def __init__(self):
        self.calls = []

    def __call__(self, payloads):
        if b"bad" in payloads:
            raise RuntimeError("no reader is perfect")
        self.calls += payloads
        return {"ticker": [{"n": payload} for payload in payloads]}

    def mark_uncertain(self, symbols=None):
        self.calls.append(("uncertain", symbols))


@pytest.fixture
def readers():
    return {}


@pytest.fixture
def published():
    return []


@pytest.fixture
def decoder(readers, published):
    def reader_of(market, kind):
        return None if kind == "orderbook" else readers.setdefault((market, kind), Reader())

    return RecordDecoder(reader_of, lambda *envelope: published.append(envelope), limits=DecodeLimits(payloads=5))


def test_one_batch_of_a_kind_is_one_envelope(decoder, published):
    """Markets and kinds stay apart."""
    linear, spot = decoder.sink("linear", "ticker"), decoder.sink("spot", "ticker")
    linear(b"1")
    spot(b"2")
    linear(b"3")
    decoder.step()

    assert published == [
        ("linear", "ticker", [{"n": b"1"}, {"n": b"3"}]),
        ("spot", "ticker", [{"n": b"2"}]),
    ]
    assert decoder.stats()["envelopes"] == 2


def test_a_large_batch_is_several_envelopes(readers, published):
    """A message of megabytes is nobody's friend."""
    decoder = RecordDecoder(lambda *_: Reader(), lambda *envelope: published.append(envelope))
    put, batch = decoder.sink("linear", "ticker"), DecodeLimits().batch
    assert put
    for number in range(batch + 5):
        put(b"%d" % number)
    decoder.step()
    assert {len(records) for _, _, records in published} == {RECORDS_PER_ENVELOPE}
    assert sum(len(records) for _, _, records in published) == batch
    decoder.step()

    assert [record["n"] for record in published[-1][2]] == [b"%d" % (batch + number) for number in range(5)]


def test_two_callbacks_of_one_market_share_a_queue(decoder, published):
    """Spot as the main market and spot beside it are the same market."""
    decoder.sink("spot", "ticker")(b"1")
    decoder.sink("spot", "ticker")(b"2")
    decoder.step()

    assert published == [("spot", "ticker", [{"n": b"1"}, {"n": b"2"}])]


def test_a_kind_without_envelopes_has_no_sink(decoder):
    """Its callback pays nothing."""
    assert decoder.sink("linear", "orderbook") is None


def test_a_queue_over_its_bound_drops_the_oldest_and_marks_its_reader_uncertain(decoder, readers):
    """The reader is uncertain before it reads what is left, and the other queue is whole."""
    put, other = decoder.sink("linear", "ticker"), decoder.sink("spot", "ticker")
    other(b"0")
    for number in range(8):
        put(b"%d" % number)
    decoder.step()

    assert readers["linear", "ticker"].calls == [("uncertain", None), b"3", b"4", b"5", b"6", b"7"]
    assert readers["spot", "ticker"].calls == [b"0"]
    assert (decoder.stats()["dropped"], decoder.stats()["queued"]) == (3, 0)
    put(b"9")
    decoder.step()
    assert readers["linear", "ticker"].calls[-2:] == [b"7", b"9"]  # one loss, marked once


def test_large_payloads_fill_a_queue_too(readers, published):
    """By their bytes; a batch is bounded likewise, and one payload alone always has room."""
    limits = DecodeLimits(payload_bytes=100, batch_bytes=50)
    decoder = RecordDecoder(lambda *_: readers.setdefault("ticker", Reader()), lambda *_: None, limits=limits)
    take = decoder.sink("linear", "ticker")
    assert take
    for number in range(4):
        take(b"%d" % number * 40)
    assert (decoder.stats()["queued"], decoder.stats()["dropped"]) == (2, 2)
    assert [(decoder.step(), decoder.stats()["records"]) for _ in range(2)] == [(True, 2), (False, 2)]
    take(b"x" * 400)
    assert (decoder.stats()["queued"], decoder.stats()["dropped"]) == (1, 2)


def test_a_marker_makes_its_symbols_uncertain_at_its_place(decoder, readers, published):
    """What came before the disconnect is certain, what comes after is not."""
    put = decoder.sink("linear", "ticker")
    put(b"1")
    put(FeedMarker("down", "linear", ("A",), 0))
    put(b"2")
    decoder.step()

    assert readers["linear", "ticker"].calls == [b"1", ("uncertain", ("A",)), b"2"]
    assert len(published) == 2


def test_a_failing_batch_costs_itself_and_leaves_its_reader_uncertain(decoder, readers, published):
    """The thread lives, and what was merged so far is not trusted."""
    put, other = decoder.sink("linear", "ticker"), decoder.sink("spot", "ticker")
    put(b"bad")
    other(b"1")
    decoder.step()
    put(b"2")
    decoder.step()

    assert readers["linear", "ticker"].calls == [("uncertain", None), b"2"]
    assert [records for _, _, records in published] == [[{"n": b"1"}], [{"n": b"2"}]]
    assert decoder.stats()["failures"] == 1


def test_what_fails_for_every_batch_is_logged_once_a_minute(decoder):
    """Counted each."""
    put = decoder.sink("linear", "ticker")
    with capture_logs() as logs:
        for _ in range(50):
            put(b"bad")
            decoder.step()
    assert [line["event"] for line in logs] == ["envelopes_failed"]
    assert decoder.stats()["failures"] == 50
