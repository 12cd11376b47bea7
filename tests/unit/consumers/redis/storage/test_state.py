"""The newest values that Redis should hold: each written once, in as few commands as may be."""

import json
from decimal import Decimal

import pytest

from consumers.redis.storage.keys import coin_key, last_closed_key, last_closed_pattern, last_closed_ttl_s
from consumers.redis.storage.state import FIELDS_PER_WRITE, StorageState
from model.envelope import Envelope
from model.pairs import Pair
from tests.support.klines import kline, klines, price

NOW_MS = 1_767_717_000_123
NOW = "2026-01-06T16:30:00.123Z"


@pytest.fixture
def state():
    return StorageState("main")


def taken(state):
    """Everything that is due, as plain dicts by key."""
    held: dict[str, dict[str, str]] = {}
    for write in state.take(10_000):
        held.setdefault(write.key, {}).update(write.fields)
    return held


def ticker(symbol="BTCUSDT", **fields):
    return Envelope("bybit", "linear", "ticker", ({"symbol": symbol, **fields},))


def test_each_type_has_its_key(state):
    """As the legacy systems name them; a coin's hash has price, time and symbol."""
    state.update(ticker(lastPrice=Decimal("1.50"), preQty=""), NOW_MS)
    state.update(price("67250.50"), NOW_MS)
    state.update(klines(), NOW_MS)
    state.update(Envelope("bybit", "linear", "trades", ({"s": "BTCUSDT"},)), NOW_MS)
    held = taken(state)

    assert json.loads(held.pop("main:last-closed:linear:1m")["BTCUSDT"])["close"] == 92846.1
    assert held == {
        "main:tickers:linear": {"BTCUSDT": b'{"symbol":"BTCUSDT","lastPrice":1.50,"preQty":""}'},
        "main:price:linear": {"BTCUSDT": "67250.50"},
        "bybit_futures:BTC": {"ltp": "67250.50", "timestamp": NOW, "original_symbol": "BTCUSDT"},
    }


def test_only_the_newest_is_due(state):
    """A thousand prices of a symbol are one value."""
    for number in range(1_000):
        state.update(price(str(number)), NOW_MS)

    assert len(state) == 4
    assert taken(state)["main:price:linear"] == {"BTCUSDT": "999"}
    assert len(state) == 0


def test_an_older_kline_does_not_replace_a_newer_one(state):
    """A late revision of the candle before is history; a revision of the last one counts."""
    state.update(klines(5), NOW_MS)
    state.update(klines(5, revision=1), NOW_MS)
    state.update(klines(5), NOW_MS)
    state.update(klines(4, revision=2), NOW_MS)
    last = json.loads(taken(state)["main:last-closed:linear:1m"]["BTCUSDT"])

    assert (last["timestamp"], last["revision"]) == (kline(5).timestamp, 1)


def test_commands_are_bounded_and_carry_lifetime_and_name(state):
    """Many fields make several commands; klines live as long as they are the last, coins are named in a set."""
    for number in range(FIELDS_PER_WRITE + 1):
        state.update(ticker(f"S{number}"), NOW_MS)
    state.update(klines(), NOW_MS)
    state.update(price(), NOW_MS)
    writes = state.take(10_000)

    assert [(write.key, len(write.fields), write.ttl_s, write.coins) for write in writes] == [
        ("main:tickers:linear", 100, 0, ""),
        ("main:tickers:linear", 1, 0, ""),
        ("main:last-closed:linear:1m", 1, 180, ""),
        ("main:price:linear", 1, 0, ""),
        ("bybit_futures:BTC", 3, 0, "main:storage-coins:bybit:linear"),
    ]


def test_what_was_not_written_is_due_again_with_its_newest_value(state):
    """A refused value that was overtaken meanwhile does not come back."""
    state.update(price("1"), NOW_MS)
    (write, *_) = state.take(1)
    state.update(price("2"), NOW_MS)
    state.give_back(write.hash_fields)

    assert taken(state)["main:price:linear"] == {"BTCUSDT": "2"}


def test_a_new_server_gets_everything(state):
    """What was written long ago too."""
    state.update(price(), NOW_MS)
    held = taken(state)
    state.all_due()

    assert taken(state) == held


def test_a_kline_over_its_time_is_forgotten(state):
    """A symbol that is gone has no last candle for ever."""
    end_ms = kline().timestamp + 60_000 + last_closed_ttl_s(60_000) * 1000
    state.update(klines(), NOW_MS)

    assert list(state.expire(end_ms)) == []
    assert list(state.expire(end_ms + 1)) == [("main:last-closed:linear:1m", "BTCUSDT")]
    assert len(state) == 0
    assert list(state.expire(end_ms + 1)) == []


def test_the_better_market_of_a_coin_gives_its_price(state):
    """BTCUSDC stands in while BTCUSDT is not there, and steps back for good."""
    for symbol, text in (("BTCUSDC", "1"), ("BTCUSDT", "2"), ("BTCUSDC", "3")):
        state.update(price(text, symbol), NOW_MS)
    held = taken(state)

    assert held["bybit_futures:BTC"] == {"ltp": "2", "timestamp": NOW, "original_symbol": "BTCUSDT"}
    assert held["main:price:linear"] == {"BTCUSDC": "3", "BTCUSDT": "2"}


def test_names_of_keys():
    """Spot and futures apart; intervals as the settings write them; a pattern takes the main key literally."""
    assert coin_key("bybit", "spot", "ETHUSDT") == "bybit_spot:ETH"
    assert coin_key("bybit", "inverse", "BTCUSD") == "bybit_futures:BTC"
    assert last_closed_key("m", "spot", 86_400_000) == "m:last-closed:spot:1D"
    assert last_closed_pattern("a[b]*", "spot") == r"a\[b\]\*:last-closed:spot:*"


def test_small_numbers_are_written_plainly(state):
    """1E-8 is what no person and few programs expect."""
    state.update(price("0.00000001"), NOW_MS)
    state.update(ticker(fundingRate=Decimal("0.00000001")), NOW_MS)
    held = taken(state)

    assert held["main:price:linear"] == {"BTCUSDT": "0.00000001"}
    assert held["main:tickers:linear"]["BTCUSDT"] == b'{"symbol":"BTCUSDT","fundingRate":0.00000001}'


def test_a_symbol_that_went_is_removed_and_what_comes_late_is_not_kept(state):
    """Its coin too; its neighbours stay, and when it is back it is kept again."""
    everything = [
        envelope
        for symbol in ("BTCUSDT", "ETHUSDT")
        for envelope in (ticker(symbol), price("1", symbol), klines(symbol=symbol))
    ]
    for envelope in everything:
        state.update(envelope, NOW_MS)
    state.drop_symbols("linear", ["BTCUSDT", "NEVERSEEN"])
    for envelope in everything:
        state.update(envelope, NOW_MS)

    assert all("BTCUSDT" not in fields for fields in taken(state).values())
    state.all_due()
    assert "bybit_futures:BTC" not in taken(state)
    removals = state.take_removals()
    assert sorted(removals) == [
        ("bybit_futures:BTC", ""),
        ("main:last-closed:linear:1m", "BTCUSDT"),
        ("main:price:linear", "BTCUSDT"),
        ("main:tickers:linear", "BTCUSDT"),
    ]
    state.give_back_removals(removals)
    assert (state.take_removals(), state.take_removals()) == (removals, [])
    state.keep_symbols("linear", ["BTCUSDT"])
    state.update(price("3"), NOW_MS)
    assert taken(state)["bybit_futures:BTC"]["ltp"] == "3"


def test_another_market_of_a_coin_takes_over_when_the_better_went(state):
    """BTCUSDT is gone: BTCUSDC may give the coin's price; a coin whose price another symbol gives stays."""
    for symbol in ("BTCUSDT", "BTCUSDC"):
        state.update(price("1", symbol), NOW_MS)
    state.drop_symbols("linear", ["BTCUSDC"])
    assert ("bybit_futures:BTC", "") not in state.take_removals()
    state.keep_symbols("linear", ["BTCUSDC"])
    state.drop_symbols("linear", ["BTCUSDT"])
    state.update(price("2", "BTCUSDC"), NOW_MS)

    assert taken(state)["bybit_futures:BTC"]["original_symbol"] == "BTCUSDC"


def test_a_coin_is_the_listings_as_soon_as_that_is_known():
    """Until then its name's; the key that this made is removed."""
    known: dict[tuple[str, str], Pair] = {}
    state = StorageState("main", lambda *pair: known.get(pair))
    state.update(price("1", "ABCNEWUSD"), NOW_MS)
    assert taken(state)["bybit_futures:ABCNEW"]["ltp"] == "1"
    known["linear", "ABCNEWUSD"] = Pair("ABC", "NEWUSD")
    state.update(price("2", "ABCNEWUSD"), NOW_MS)
    assert state.take_removals() == [("bybit_futures:ABCNEW", "")]
    held = taken(state)
    assert held["bybit_futures:ABC"] == {"ltp": "2", "timestamp": NOW, "original_symbol": "ABCNEWUSD"}
    assert "bybit_futures:ABCNEW" not in held
    state.drop_symbols("linear", ["ABCNEWUSD"])
    assert ("bybit_futures:ABC", "") in state.take_removals()
