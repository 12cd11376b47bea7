"""The choice of symbols, step by step with a clock of the test's own; no thread runs here."""

import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from exchanges.universe.follower import REFRESH_LIMIT_S, SymbolFollower, SymbolRules, changes_of
from model.records import Instrument

LINEAR = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


class Bench:
    """A follower with names and listings in the test's hand. `Listings` stands in by its public face."""

    def __init__(
        self,
        *names: str,
        listed: Any = None,
        is_checked: bool = True,
        needs_pairs: bool = False,
        markets: tuple[str, ...] = ("linear",),
        **rules: Any,
    ) -> None:
        self.now_s, self.version, self.asked = 100.0, 0, 0
        self.listed: dict[str, list[str]] = {}
        self.known = threading.Event()
        self.new: list[str] | None = None
        if listed:
            self.answer(listed)
        self.follower = SymbolFollower(
            markets,
            SymbolRules(needs_pairs=needs_pairs, **rules),
            names,
            self.changed,
            self,  # type: ignore[arg-type]
            is_checked=is_checked,
            clock=lambda: self.now_s,
        )

    def changed(self) -> list[str] | None:
        new, self.new = self.new, None
        return new

    def latest(self, market: str) -> list[Instrument] | None:
        symbols = self.listed.get(market)
        return None if symbols is None else [Instrument(s, s[:-4], "USDT", 100.0 - i) for i, s in enumerate(symbols)]

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


def test_symbols_of_the_settings_are_taken_as_they_are() -> None:
    """Nobody is asked: the exchange refuses what it does not have."""
    bench = Bench("BTCUSDT", "WHATEVER", is_checked=False)
    assert bench.linear == ["BTCUSDT", "WHATEVER"]
    assert bench.step(1000) == []
    assert (bench.linear, bench.asked, bench.follower.take()) == (["BTCUSDT", "WHATEVER"], 0, None)


def test_a_change_is_there_at_the_next_look_where_all_is_listed() -> None:
    """Coins are symbols by their quote; the choice is handed out once."""
    bench = Bench("BTCUSDT", listed=LINEAR)
    bench.step()
    bench.new = ["ETH", "BTC"]
    assert bench.step() == []
    assert bench.follower.take() == {"linear": ("ETHUSDT", "BTCUSDT")}
    assert bench.follower.take() is None
    assert bench.asked == 0


def test_an_unknown_name_waits_for_a_newer_listing_and_the_known_ones_do_not() -> None:
    """It may have been listed a moment ago."""
    bench = Bench("BTCUSDT", listed=LINEAR)
    bench.step()
    bench.new = ["BTC", "ETH", "NEW"]
    assert bench.step() == []
    assert (bench.linear, bench.asked) == (["BTCUSDT", "ETHUSDT"], 1)
    bench.answer([*LINEAR, "NEWUSDT"])
    assert bench.step() == []
    assert (bench.linear, bench.asked) == (["BTCUSDT", "ETHUSDT", "NEWUSDT"], 1)


def test_a_name_that_the_newer_listing_does_not_have_is_left_out_with_one_warning() -> None:
    """However often it is looked at."""
    bench = Bench("BTCUSDT", "NO", listed=LINEAR)
    bench.step()
    bench.answer(LINEAR)
    assert bench.step() == ["symbols_unknown"]
    bench.answer(LINEAR)
    assert bench.step() == []
    assert bench.linear == ["BTCUSDT"]


@pytest.mark.parametrize("listed", [None, LINEAR])
def test_where_rest_does_not_answer_an_unknown_name_is_followed_anyway(listed: Any) -> None:
    """The exchange refuses it, and quarantine keeps its neighbours whole; when REST is back, it is left out."""
    bench = Bench("BTCUSDT", listed=listed)
    bench.step()
    bench.new = ["BTC", "NO"]
    bench.step()
    assert bench.asked >= 1
    assert "NOUSDT" not in bench.linear
    bench.step(REFRESH_LIMIT_S + 0.1)
    assert bench.linear == ["BTCUSDT", "NOUSDT"]
    bench.answer(LINEAR)
    assert bench.step() == ["symbols_unknown"]
    assert bench.linear == ["BTCUSDT"]


def test_a_delisted_symbol_goes_and_comes_back_with_the_listing() -> None:
    """Nobody edits the file for it."""
    bench = Bench("BTC", "SOL", listed=LINEAR)
    bench.step()
    bench.answer(["BTCUSDT", "ETHUSDT"])
    assert bench.step() == ["symbols_unknown"]
    assert bench.linear == ["BTCUSDT"]
    bench.answer(LINEAR)
    bench.step()
    assert bench.linear == ["BTCUSDT", "SOLUSDT"]


def test_a_choice_of_nobody_is_not_made() -> None:
    """All names wrong: what is followed stays, and it is said."""
    bench = Bench("BTCUSDT", listed=LINEAR)
    bench.step()
    bench.new = ["NOPE"]
    bench.step()
    bench.answer(LINEAR)
    assert "symbols_none_listed" in bench.step()
    assert bench.linear == ["BTCUSDT"]


def test_each_market_has_what_it_lists() -> None:
    """A coin that spot does not have is no reason to leave it out of linear."""
    markets = {"linear": LINEAR, "spot": ["BTCUSDT"]}
    bench = Bench("BTC", "SOL", listed=markets, markets=("linear", "spot"))
    bench.step()
    bench.answer(markets)
    assert bench.step() == ["symbols_unknown"]
    assert bench.follower.choice == {"linear": ("BTCUSDT", "SOLUSDT"), "spot": ("BTCUSDT",)}


def test_all_that_is_listed_is_known_with_the_first_answer_and_never_before() -> None:
    """A run without symbols would look like a quiet market: whoever waits, waits for the answer."""
    bench = Bench(load_all=True, limit=2)
    bench.step(1000)
    assert (bench.linear, bench.follower.wait(0.0)) == ([], False)
    bench.answer(LINEAR)
    bench.step()
    assert (bench.linear, bench.follower.wait(0.0)) == (["BTCUSDT", "ETHUSDT"], True)
    bench.answer(["SOLUSDT", "ETHUSDT"])
    bench.step()
    assert bench.follower.take() == {"linear": ("SOLUSDT", "ETHUSDT")}


def test_a_quote_that_nothing_has_chooses_nothing_and_does_not_wait() -> None:
    """Main ends with a clear word."""
    bench = Bench(load_all=True, quote="EUR", listed=LINEAR)
    bench.step()
    assert (bench.linear, bench.follower.wait(0.0)) == ([], True)


def test_where_coins_are_to_be_named_the_listing_is_waited_for() -> None:
    """Though SYMBOLS are not held against it; and no longer than it may take."""
    bench = Bench("XRPRLUSD", is_checked=False, needs_pairs=True)
    assert not bench.follower.wait(0.0)
    bench.known.set()
    assert bench.follower.wait(0.0)
    assert (bench.linear, bench.step()) == (["XRPRLUSD"], [])


def test_the_start_waits_for_names_to_be_checked() -> None:
    """And not at all where they are the settings' own."""
    assert Bench("BTCUSDT", is_checked=False).follower.wait(0.0)
    bench = Bench("BTCUSDT")
    assert not bench.follower.wait(0.0)
    bench.step()
    assert not bench.follower.wait(0.0)
    bench.step(REFRESH_LIMIT_S + 0.1)
    assert bench.follower.wait(0.0)


def test_changes_are_named_in_order() -> None:
    """What came by the new list, what went by the old."""
    assert changes_of("ABC", "DBE") == (["D", "E"], ["A", "C"])
