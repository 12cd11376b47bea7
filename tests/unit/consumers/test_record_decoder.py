"""The way from payloads to envelopes: bounded, in order, and honest about drops. No thread runs here."""

from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from consumers.record_decoder import BATCH_LIMIT, RECORDS_PER_ENVELOPE, EnvelopeTap


class Reader:
    """Gives one record per payload; remembers what it was told, in order."""

    def __init__(self):
        self.told = []

    def __call__(self, payloads):
        if b"bad" in payloads:
            raise RuntimeError("no reader is perfect")
        self.told += payloads
        return {"ticker": [{"n": payload} for payload in payloads]}

    def doubt(self, symbols=None):
        self.told.append(("doubt", symbols))


@pytest.fixture
def readers():
    return {}


@pytest.fixture
def published():
    return []


@pytest.fixture
def tap(readers, published):
    def reader_of(market, kind):
        return None if kind == "orderbook" else readers.setdefault((market, kind), Reader())

    return EnvelopeTap(reader_of, lambda *envelope: published.append(envelope), limit=5)


def test_one_batch_of_a_kind_is_one_envelope(tap, published):
    """Markets and kinds stay apart."""
    linear, spot = tap.sink("linear", "ticker"), tap.sink("spot", "ticker")
    linear(b"1")
    spot(b"2")
    linear(b"3")
    tap._turn()

    assert published == [
        ("linear", "ticker", [{"n": b"1"}, {"n": b"3"}]),
        ("spot", "ticker", [{"n": b"2"}]),
    ]
    assert tap.stats()["envelopes"] == 2


def test_a_large_batch_is_several_envelopes(readers, published):
    """A message of megabytes is nobody's friend."""
    tap = EnvelopeTap(lambda *_: Reader(), lambda *envelope: published.append(envelope))
    put = tap.sink("linear", "ticker")
    for number in range(BATCH_LIMIT + 5):
        put(b"%d" % number)
    tap._turn()
    assert {len(records) for _, _, records in published} == {RECORDS_PER_ENVELOPE}
    assert sum(len(records) for _, _, records in published) == BATCH_LIMIT
    tap._turn()

    assert [record["n"] for record in published[-1][2]] == [b"%d" % (BATCH_LIMIT + number) for number in range(5)]


def test_two_callbacks_of_one_market_share_a_queue(tap, published):
    """Spot as the main market and spot beside it are the same market."""
    tap.sink("spot", "ticker")(b"1")
    tap.sink("spot", "ticker")(b"2")
    tap._turn()

    assert published == [("spot", "ticker", [{"n": b"1"}, {"n": b"2"}])]


def test_a_kind_without_envelopes_has_no_sink(tap):
    """Its callback pays nothing."""
    assert tap.sink("linear", "orderbook") is None


def test_over_its_bound_a_queue_drops_the_oldest_and_says_so(tap, readers):
    """The reader doubts before it reads what is left, and the neighbour's queue is whole."""
    put, other = tap.sink("linear", "ticker"), tap.sink("spot", "ticker")
    other(b"0")
    for number in range(8):
        put(b"%d" % number)
    tap._turn()

    assert readers["linear", "ticker"].told == [("doubt", None), b"3", b"4", b"5", b"6", b"7"]
    assert readers["spot", "ticker"].told == [b"0"]
    assert (tap.stats()["dropped"], tap.stats()["queued"]) == (3, 0)
    put(b"9")
    tap._turn()
    assert readers["linear", "ticker"].told[-2:] == [b"7", b"9"]  # one loss, one doubt


def test_large_payloads_fill_a_queue_too(tap, readers, monkeypatch):
    """By their bytes; what is taken at once is bounded so as well, and one alone always has room."""
    monkeypatch.setattr("consumers.record_decoder.QUEUE_BYTES", 100)
    monkeypatch.setattr("consumers.record_decoder.BATCH_BYTES", 50)
    take = tap.sink("linear", "ticker")
    for number in range(4):
        take(b"%d" % number * 40)
    assert (tap.stats()["queued"], tap.stats()["dropped"]) == (2, 2)
    (inlet,) = tap._inlets.values()
    assert [len(inlet.take()[1]) for _ in range(2)] == [2, 0]
    take(b"x" * 400)
    assert (tap.stats()["queued"], tap.stats()["dropped"]) == (1, 2)


def test_a_marker_casts_its_doubt_where_it_stands(tap, readers, published):
    """What came before the disconnect is read as certain, what comes after is not."""
    put = tap.sink("linear", "ticker")
    put(b"1")
    put(SimpleNamespace(symbols=("A",)))
    put(b"2")
    tap._turn()

    assert readers["linear", "ticker"].told == [b"1", ("doubt", ("A",)), b"2"]
    assert len(published) == 2


def test_a_failing_batch_costs_itself_and_leaves_doubt(tap, readers, published):
    """The thread lives, and what was merged so far is not trusted."""
    put, other = tap.sink("linear", "ticker"), tap.sink("spot", "ticker")
    put(b"bad")
    other(b"1")
    tap._turn()
    put(b"2")
    tap._turn()

    assert readers["linear", "ticker"].told == [("doubt", None), b"2"]
    assert [records for _, _, records in published] == [[{"n": b"1"}], [{"n": b"2"}]]
    assert tap.stats()["failures"] == 1


def test_what_fails_for_every_batch_is_logged_once_a_minute(tap):
    """Counted each."""
    put = tap.sink("linear", "ticker")
    with capture_logs() as logs:
        for _ in range(50):
            put(b"bad")
            tap._turn()
    assert [line["event"] for line in logs] == ["envelopes_failed"]
    assert tap.stats()["failures"] == 50
