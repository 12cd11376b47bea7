"""The choice of symbols, step by step with a clock of the test's own; one test alone runs its thread."""

import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from exchanges.universe import follower
from exchanges.universe.follower import REFRESH_LIMIT_S, SymbolFollower, SymbolRules, changes_of
from exchanges.universe.names import ListedNames
from model.records import Instrument
from streams.plan import LiveSymbols

LINEAR = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


class Harness:
    """A follower with names and listings in the test's hand. `Listings` stands in by its public face."""

    def __init__(
        self,
        *names: str,
        listed: Any = None,
        is_file: bool = True,
        needs_pairs: bool = False,
        markets: tuple[str, ...] = ("linear",),
        **rules: Any,
    ) -> None:
        self.now_s, self.version, self.asked = 100.0, 0, 0
        self.listed: dict[str, list[str]] = {}
        self.known, self.news = threading.Event(), threading.Event()
        self.included: list[str] = []
        self.new: list[str] | None = None
        if listed:
            self.answer(listed)
        self.follower = SymbolFollower(
            markets,
            SymbolRules(needs_pairs=needs_pairs, **rules),
            names,
            self.changed,
            self,  # type: ignore[arg-type]
            self.read_of,
            is_file=is_file,
            clock=lambda: self.now_s,
        )

    def changed(self) -> list[str] | None:
        new, self.new = self.new, None
        return new

    def latest(self, market: str) -> list[Instrument] | None:
        symbols = self.listed.get(market)
        return None if symbols is None else [Instrument(s, s[:-4], "USDT", 100.0 - i) for i, s in enumerate(symbols)]

    def names(self, market: str) -> ListedNames | None:
        listed = self.latest(market)
        return None if listed is None else ListedNames(market, listed)

    def read_of(self, market: str) -> Any:
        return market

    def stop(self) -> None:
        """No thread runs but the follower's."""
        self.news.set()

    def include(self, market: str, read: Any) -> None:
        self.included.append(read)

    def refresh(self) -> None:
        self.asked += 1

    def answer(self, listed: Any) -> None:
        self.listed = listed if isinstance(listed, dict) else {"linear": listed}
        self.version += 1

    def step(self, seconds: float = 0.25) -> list[str]:
        """One look; what it logged."""
        self.now_s += seconds
        with capture_logs() as logs:
            self.follower.step()
        return [entry["event"] for entry in logs if entry["event"] != "symbols_followed"]

    @property
    def linear(self) -> list[str]:
        return list(self.follower.choice["linear"])


def test_symbols_of_the_settings_are_taken_as_they_are_where_there_is_no_rest() -> None:
    """No request is sent: the exchange refuses what it does not have."""
    harness = Harness("BTCUSDT", "WHATEVER", is_file=False, has_rest=False)
    assert harness.linear == ["BTCUSDT", "WHATEVER"]
    assert harness.step(1000) == []
    assert (harness.linear, harness.asked, harness.follower.take()) == (["BTCUSDT", "WHATEVER"], 0, None)


def test_a_change_is_taken_whole_wherever_the_other_thread_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Main takes it while it is logged; another comes while main takes: none is lost, and what is taken is the new."""
    harness, taken = Harness("BTCUSDT", listed=LINEAR), []
    harness.step()

    def take(*_: Any, **__: Any) -> None:
        taken.append(harness.follower.take())

    monkeypatch.setattr(follower.log, "debug", take)
    harness.new = ["ETH"]
    harness.follower.step()
    assert taken == [{"linear": ("ETHUSDT",)}]

    monkeypatch.setattr(follower.log, "debug", lambda *_, **__: None)
    changes = iter([["SOL"]])

    def choice(own: SymbolFollower) -> Any:
        found = dict(own._choice)
        harness.new = next(changes, None)
        own.step()
        return found

    harness.new = ["BTC"]
    harness.follower.step()
    monkeypatch.setattr(SymbolFollower, "choice", property(choice))
    assert [harness.follower.take() for _ in range(3)] == [{"linear": ("BTCUSDT",)}, {"linear": ("SOLUSDT",)}, None]


def test_a_change_is_there_at_the_next_look_where_all_is_listed() -> None:
    """Coins are symbols by their quote; the choice is handed out once."""
    harness = Harness("BTCUSDT", listed=LINEAR)
    harness.step()
    harness.new = ["ETH", "BTC"]
    assert harness.step() == []
    assert harness.follower.take() == {"linear": ("ETHUSDT", "BTCUSDT")}
    assert harness.follower.take() is None
    assert harness.asked == 0


def test_an_unknown_name_waits_for_a_newer_listing_and_the_known_ones_do_not() -> None:
    """It may have been listed a moment ago."""
    harness = Harness("BTCUSDT", listed=LINEAR)
    harness.step()
    harness.new = ["BTC", "ETH", "NEW"]
    assert harness.step() == []
    assert (harness.linear, harness.asked) == (["BTCUSDT", "ETHUSDT"], 1)
    harness.answer([*LINEAR, "NEWUSDT"])
    assert harness.step() == []
    assert (harness.linear, harness.asked) == (["BTCUSDT", "ETHUSDT", "NEWUSDT"], 1)


def test_a_name_that_the_newer_listing_does_not_have_is_left_out_with_one_warning() -> None:
    """However often it is looked at."""
    harness = Harness("BTCUSDT", "NO", listed=LINEAR)
    harness.step()
    harness.answer(LINEAR)
    assert harness.step() == ["symbols_unknown"]
    harness.answer(LINEAR)
    assert harness.step() == []
    assert harness.linear == ["BTCUSDT"]


@pytest.mark.parametrize("listed", [None, LINEAR])
def test_where_rest_does_not_answer_an_unknown_name_is_followed_anyway(listed: Any) -> None:
    """The exchange refuses it, and quarantine keeps its neighbours whole; when REST is back, it is left out."""
    harness = Harness("BTCUSDT", listed=listed)
    harness.step()
    harness.new = ["BTC", "NO"]
    harness.step()
    assert harness.asked >= 1
    assert "NOUSDT" not in harness.linear
    harness.step(REFRESH_LIMIT_S + 0.1)
    assert harness.linear == ["BTCUSDT", "NOUSDT"]
    harness.answer(LINEAR)
    assert harness.step() == ["symbols_unknown"]
    assert harness.linear == ["BTCUSDT"]


def test_a_delisted_symbol_goes_and_comes_back_with_the_listing() -> None:
    """The file stays as it is."""
    harness = Harness("BTC", "SOL", listed=LINEAR)
    harness.step()
    harness.answer(["BTCUSDT", "ETHUSDT"])
    assert harness.step() == ["symbols_unknown"]
    assert harness.linear == ["BTCUSDT"]
    harness.answer(LINEAR)
    harness.step()
    assert harness.linear == ["BTCUSDT", "SOLUSDT"]


def test_an_empty_choice_is_not_made() -> None:
    """All names wrong: the followed symbols stay, and that is logged."""
    harness = Harness("BTCUSDT", listed=LINEAR)
    harness.step()
    harness.new = ["NOPE"]
    harness.step()
    harness.answer(LINEAR)
    assert "symbols_none_listed" in harness.step()
    assert harness.linear == ["BTCUSDT"]


def test_each_market_has_what_it_lists() -> None:
    """A coin that spot does not have is no reason to leave it out of linear."""
    markets = {"linear": LINEAR, "spot": ["BTCUSDT"]}
    harness = Harness("BTC", "SOL", listed=markets, markets=("linear", "spot"))
    harness.step()
    harness.answer(markets)
    assert harness.step() == ["symbols_unknown"]
    assert harness.follower.choice == {"linear": ("BTCUSDT", "SOLUSDT"), "spot": ("BTCUSDT",)}


def test_all_that_is_listed_is_known_with_the_first_answer_and_never_before() -> None:
    """A run without symbols would look like a quiet market: the wait is for the answer."""
    harness = Harness(load_all=True, limit=2)
    harness.step(1000)
    assert (harness.linear, harness.follower.wait(0.0)) == ([], False)
    harness.answer(LINEAR)
    harness.step()
    assert (harness.linear, harness.follower.wait(0.0)) == (["BTCUSDT", "ETHUSDT"], True)
    harness.answer(["SOLUSDT", "ETHUSDT"])
    harness.step()
    assert harness.follower.take() == {"linear": ("SOLUSDT", "ETHUSDT")}


def test_a_quote_that_nothing_has_chooses_nothing_and_does_not_wait() -> None:
    """Main ends with a clear word."""
    harness = Harness(load_all=True, quote="EUR", listed=LINEAR)
    harness.step()
    assert (harness.linear, harness.follower.wait(0.0)) == ([], True)


def test_where_coins_are_to_be_named_the_listing_is_waited_for() -> None:
    """Though SYMBOLS are not held against it; and no longer than it may take."""
    harness = Harness("XRPRLUSD", is_file=False, has_rest=False, needs_pairs=True)
    assert not harness.follower.wait(0.0)
    harness.known.set()
    assert harness.follower.wait(0.0)
    assert (harness.linear, harness.step()) == (["XRPRLUSD"], [])


def test_the_start_waits_for_names_to_be_checked() -> None:
    """And not at all where nothing can be read."""
    assert Harness("BTCUSDT", is_file=False, has_rest=False).follower.wait(0.0)
    harness = Harness("BTCUSDT")
    assert not harness.follower.wait(0.0)
    harness.step()
    assert not harness.follower.wait(0.0)
    harness.step(REFRESH_LIMIT_S + 0.1)
    assert harness.follower.wait(0.0)


@pytest.mark.parametrize("is_file", [True, False])
def test_names_of_the_settings_and_of_the_file_mean_the_same(is_file: bool) -> None:
    """Symbols by base and quote; each unknown one is named once, with the nearest that is listed."""
    harness = Harness("BTC", "ETH/USDT", "SOLUSTD", is_file=is_file)
    harness.answer(LINEAR)
    with capture_logs() as logs:
        harness.follower.step()
    assert harness.linear == ["BTCUSDT", "ETHUSDT"]
    (warning,) = (entry for entry in logs if entry["event"] == "symbols_unknown")
    assert (warning["symbols"], warning["nearest"]) == (["SOLUSTD"], {"SOLUSTD": "SOLUSDT"})


def test_a_start_with_nothing_but_unknown_names_chooses_nothing() -> None:
    """It ends: an exchange may acknowledge what it does not have, and would stay silent."""
    harness = Harness("NOPE", is_file=False)
    harness.answer(LINEAR)
    assert harness.step() == ["symbols_unknown", "symbols_none_listed"]
    assert (harness.follower.choice, harness.follower.wait(0.0)) == ({}, True)


def test_settings_are_followed_as_the_listing_changes() -> None:
    """A symbol that is delisted goes, one that is listed later comes."""
    harness = Harness("BTCUSDT", "NEWUSDT", is_file=False)
    harness.answer(LINEAR)
    harness.step()
    harness.answer([*LINEAR, "NEWUSDT"])
    harness.step()
    assert harness.linear == ["BTCUSDT", "NEWUSDT"]


def test_where_contracts_have_sizes_nothing_is_settled_without_the_listing() -> None:
    """However long it takes; the start gives up after a minute."""
    harness = Harness("BTC-USDT-SWAP", is_file=False, needs_sizes=True, joins_coins=False)
    assert harness.step(1000) == []
    assert not harness.follower.wait(0.0)
    harness.answer(["BTC-USDT-SWAP", "BTCUSDT"])
    harness.step()
    assert harness.follower.wait(0.0)


@pytest.mark.parametrize("has_rest", [True, False])
def test_names_that_cannot_be_checked_are_as_the_exchange_writes_them_as_a_warning_says(has_rest: bool) -> None:
    """Nothing is glued where an exchange writes symbols otherwise."""
    harness = Harness("BTC", is_file=has_rest, has_rest=has_rest, joins_coins=False)
    with capture_logs() as logs:
        harness.follower.start()
        harness.follower.stop()
    events = [entry["event"] for entry in logs] + harness.step(REFRESH_LIMIT_S + 0.1)
    assert events == ["symbols_unchecked"]
    assert harness.linear == ["BTC"]


def test_a_listing_is_looked_at_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next check: a start waits for it."""
    monkeypatch.setattr(follower, "CHECK_S", 3600.0)
    harness, given_up = Harness("BTC"), threading.Event()
    harness.follower.start()
    harness.answer(LINEAR)
    harness.news.set()
    limit = threading.Timer(20.0, given_up.set)
    limit.start()
    assert harness.follower.wait(stop=given_up)
    limit.cancel()
    assert harness.linear == ["BTCUSDT"]
    harness.follower.stop()


def test_entries_mean_what_settings_mean() -> None:
    """What is not known stays as it is; the plan's own symbols stay the same object."""
    harness = Harness("BTCUSDT")
    resolve = harness.follower.resolve
    assert resolve("linear", "BTC") == "BTC"
    harness.answer(LINEAR)
    own = LiveSymbols(["BTC"])
    assert (resolve("linear", "btc"), resolve("linear", ["ETH/USDT", "NO"])) == ("BTCUSDT", ["ETHUSDT", "NO"])
    assert resolve("linear", own) is own
    assert resolve("spot", ["BTC"]) == ["BTC"]


def test_the_listing_of_an_entrys_own_market_is_read_and_its_unknown_symbols_are_named() -> None:
    """Once each; a market that cannot be read costs the entry a moment, no more."""
    harness, stop = Harness("BTCUSDT", listed=LINEAR), threading.Event()
    with capture_logs() as logs:
        harness.follower.include("linear", ["BTC", "ETHUSTD"], stop)
        harness.follower.include("linear", "ETHUSTD", stop)
    assert [entry["nearest"] for entry in logs] == [{"ETHUSTD": "ETHUSDT"}]
    stop.set()
    harness.follower.include("spot", "BTC", stop)
    assert harness.included == ["spot"]


def test_changes_are_named_in_order() -> None:
    """What came by the new list, what went by the old."""
    assert changes_of("ABC", "DBE") == (["D", "E"], ["A", "C"])
