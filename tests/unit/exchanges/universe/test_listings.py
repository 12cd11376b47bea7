"""What the markets list, read again and again."""

from decimal import Decimal
from functools import partial
from typing import Any

from structlog.testing import capture_logs

from exchanges.universe.listings import Listings
from model.pairs import Pair
from model.ports import HistoryError
from model.records import Instrument
from tests.support.events import RecordedEvents
from tests.support.waiting import wait_until


class Markets:
    """Two markets whose answers are in the test's hand."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"linear": "ABCD", "spot": "AB"}
        self.events = RecordedEvents()
        reads = {market: partial(self.read, market) for market in self.answers}
        self.listings = Listings(reads, 300.0, events=self.events)

    def read(self, market: str) -> list[Instrument]:
        if isinstance(self.answers[market], Exception):
            raise self.answers[market]
        return [Instrument(symbol, symbol, "USDT", 1.0) for symbol in self.answers[market]]

    def symbols(self, market: str) -> str | None:
        found = self.listings.latest(market)
        return None if found is None else "".join(each.symbol for each in found)


def test_nothing_is_known_before_the_first_answer() -> None:
    """Which is not the same as nothing being listed."""
    markets = Markets()
    assert (markets.symbols("linear"), markets.listings.version) == (None, 0)
    assert markets.listings.read_all()
    assert (markets.symbols("linear"), markets.symbols("spot"), markets.listings.version) == ("ABCD", "AB", 1)


def test_a_market_that_cannot_be_read_keeps_what_it_had() -> None:
    """The others go on; the whole is not newer."""
    markets = Markets()
    markets.listings.read_all()
    markets.answers |= {"linear": HistoryError("away"), "spot": "ABC"}
    with capture_logs() as logs:
        assert not markets.listings.read_all()
    assert (markets.symbols("linear"), markets.symbols("spot"), markets.listings.version) == ("ABCD", "ABC", 1)
    assert [entry["event"] for entry in logs] == ["listing_unreadable"]


def test_pairs_are_known_from_the_first_answer_on() -> None:
    """And still when a symbol is delisted: its last prices are on their way."""
    markets = Markets()
    assert (markets.listings.pair_of("spot", "A"), markets.listings.known.is_set()) == (None, False)
    markets.listings.read_all()
    markets.answers["spot"] = "B"
    markets.listings.read_all()
    assert (markets.listings.pair_of("spot", "A"), markets.listings.known.is_set()) == (Pair("A", "USDT"), True)
    assert markets.listings.pair_of("spot", "C") is None


def test_half_an_answer_counts_the_second_time() -> None:
    """Once it is the exchange's mistake, twice it is so."""
    markets = Markets()
    markets.listings.read_all()
    markets.answers["linear"] = "A"
    with capture_logs() as logs:
        assert not markets.listings.read_all()
        assert markets.symbols("linear") == "ABCD"
        assert markets.listings.read_all()
    assert markets.symbols("linear") == "A"
    assert [entry["event"] for entry in logs] == ["listing_implausible"]


def test_what_is_listed_and_delisted_later_is_an_event_each() -> None:
    """The first reading is none; nor is an answer that is not believed, nor one that could not be read."""
    markets = Markets()
    markets.listings.read_all()
    markets.listings.read_all()
    assert markets.events.names == []
    markets.answers |= {"linear": "BCDEF", "spot": HistoryError("away")}
    with capture_logs():
        markets.listings.read_all()
    expected = [
        ("listed", {"market": "linear", "symbols": ["E", "F"]}),
        ("delisted", {"market": "linear", "symbols": ["A"]}),
    ]
    assert markets.events.emitted == expected
    markets.answers["linear"] = "B"
    with capture_logs():
        markets.listings.read_all()
    assert markets.events.emitted == expected


def test_without_rest_nothing_is_listed_and_nothing_fails() -> None:
    """BYBIT_WS_URL without BYBIT_REST_URL."""
    listings = Listings({}, 300.0)
    assert listings.read_all()
    assert (listings.latest("linear"), listings.version) == (None, 1)


def test_contract_sizes_are_those_of_the_newest_listing_that_has_them() -> None:
    """A size that an exchange leaves out once, or changes, and one of a contract that is gone."""
    listed = [Instrument("A", "A", "USDT", 1.0, contract_size=Decimal("0.01")), Instrument("B", "B", "USDT", 1.0)]
    answers = {"linear": listed}
    listings = Listings({"linear": lambda: answers["linear"]}, 300.0)
    assert listings.contract_size("linear", "A") is None
    listings.read_all()
    answers["linear"] = [Instrument("A", "A", "USDT", 1.0, contract_size=None)]
    listings.read_all()
    assert [listings.contract_size("linear", each) for each in "ABC"] == [Decimal("0.01"), Decimal(1), None]
    answers["linear"] = [Instrument("A", "A", "USDT", 1.0, contract_size=Decimal(10))]
    listings.read_all()
    assert listings.contract_size("linear", "A") == Decimal(10)


def test_a_market_may_come_later_and_costs_the_others_nothing() -> None:
    """That of an entry of the user's: where it cannot be read, the others are newer all the same."""
    markets = Markets()
    markets.listings.read_all()
    markets.answers["inverse"] = HistoryError("away")
    markets.listings.include("inverse", partial(markets.read, "inverse"))
    with capture_logs():
        assert not markets.listings.read_all()
    assert (markets.listings.version, markets.listings.names("inverse")) == (2, None)
    markets.answers["inverse"] = "E"
    assert markets.listings.read_all()
    assert markets.symbols("inverse") == "E"


def test_what_the_exchange_says_has_changed_is_read_again_once() -> None:
    """However often it says so: it tells of each contract, and all are read at a time."""
    reads: list[int] = []

    def read() -> list[Instrument]:
        reads.append(1)
        return [Instrument("A", "A", "USDT", 1.0, contract_size=Decimal(len(reads)))]

    listings = Listings({"linear": read}, 300.0, reread_s=0.2)
    listings.reread()  # before anything is read: nothing
    listings.refresh()
    try:
        wait_until(lambda: listings.contract_size("linear", "A") == 1)
        for _ in range(50):
            listings.reread()
        wait_until(lambda: listings.contract_size("linear", "A") == 2)
        listings.reread()
        wait_until(lambda: listings.contract_size("linear", "A") == 3)
    finally:
        listings.stop()
    assert len(reads) == 3
