"""Topics that are not collected: passed on from the exchange, once for all clients."""

import json
from decimal import Decimal

import pytest

from exchanges.okx.dialect.passed import MOST, RETIRED_S
from model.dialect import passed_on
from tests.support.clock import FakeClock
from tests.unit.exchanges.okx.dialect.test_dialect import (
    BUSINESS,
    OPTIONS,
    PUBLIC,
    SNAPSHOT,
    TRADE,
    UPDATE,
    Server,
    arg,
)

LISTED = {("spot", "SOL-USDT"): Decimal(1), ("linear", "SOL-USDT-SWAP"): Decimal(1)}
SOL_TRADE, SOL_BOOK, SOL_UPDATE = (each.replace(b"BTC-USDT", b"SOL-USDT") for each in (TRADE, SNAPSHOT, UPDATE))
SPOT = passed_on("linear")  # of the market first named: a socket carries all


class Passing:
    """A server that passes on; `wanted` is what it has streamed now."""

    def __init__(self) -> None:
        self.wanted: list[set[str]] = []
        self.symbols = {"linear": ["BTC-USDT-SWAP"], "spot": ["BTC-USDT"], "inverse": ["BTC-USD-SWAP"]}
        self.clock = FakeClock()
        sizes = OPTIONS["contract_sizes"]

        def size_of(market: str, symbol: str) -> Decimal | None:
            own = symbol in self.symbols[market] and market != "spot"
            return sizes(market, symbol) if own else LISTED.get((market, symbol))

        self.server = Server(
            clock=self.clock,
            contract_sizes=size_of,
            symbols=lambda market: self.symbols[market],
            pass_on=lambda topics: self.wanted.append({topic for _, topic in topics}),
        )
        self.dialect = self.server.dialect


@pytest.fixture
def passing():
    made = Passing()
    yield made
    made.server.loop.close()


def events(got):
    return [each.get("event") or each["action"] for each in got if "event" in each or "action" in each]


@pytest.mark.parametrize(
    ("path", "wanted", "is_taken"),
    [
        (PUBLIC, arg("trades", "SOL-USDT"), True),
        (PUBLIC, arg("mark-price", "SOL-USDT-SWAP"), True),
        (PUBLIC, arg("mark-price", "SOL-USDT"), False),  # of swaps alone
        (PUBLIC, arg("trades", "NONE-USDT"), False),  # not listed
        (PUBLIC, arg("books50-l2-tbt", "SOL-USDT"), False),  # needs a login
        (PUBLIC, arg("rumours", "SOL-USDT"), False),
        (PUBLIC, arg("candle5m", "SOL-USDT"), False),  # of the other path
        (BUSINESS, arg("trades-all", "BTC-USDT-SWAP"), True),
        (BUSINESS, arg("candle5m", "BTC-USDT-SWAP"), True),  # not collected
        (BUSINESS, arg("candle1D", "SOL-USDT"), True),
        (BUSINESS, arg("candle7m", "SOL-USDT"), False),
        (PUBLIC, {"channel": "liquidation-orders", "instType": "SWAP"}, True),
        (PUBLIC, {"channel": "liquidation-orders", "instType": "RUMOURS"}, False),
        (PUBLIC, {"channel": "liquidation-orders", "instId": "BTC-USDT-SWAP"}, False),
    ],
)
def test_what_the_exchange_has_of_what_is_listed_is_passed_on(passing, path, wanted, is_taken):
    """All else is refused as OKX does."""
    (answer,) = passing.server.client(path).ask("subscribe", wanted)
    assert answer["event"] == ("subscribe" if is_taken else "error")
    name = f"{wanted['channel']}:{wanted.get('instId') or wanted['instType']}"
    assert passing.wanted == ([{name}] if is_taken else [])


def test_clients_share_a_topic_and_a_later_one_begins_with_its_state(passing):
    """Byte for byte, the snapshot of the exchange for the first, one of what passed for the next."""
    first, second = passing.server.client(), passing.server.client()
    first.ask("subscribe", arg("books", "SOL-USDT"), arg("trades", "SOL-USDT"))
    passing.dialect.take_raw([(SPOT, SOL_BOOK), (SPOT, SOL_TRADE), (SPOT, SOL_UPDATE)], [])
    assert first.got == [SOL_BOOK, SOL_TRADE, SOL_UPDATE]
    got = second.ask("subscribe", arg("books", "SOL-USDT"), arg("trades", "SOL-USDT"))
    assert [each["data"][0].get("seqId") for each in got if "data" in each] == [80, 5]
    assert passing.wanted == [{"books:SOL-USDT", "trades:SOL-USDT"}]


def test_what_nobody_wants_ends_and_its_state_is_kept_as_long_as_it_may_still_come(passing):
    """Who wants it again before it has ended gets no new snapshot of the exchange."""
    client = passing.server.client()
    client.ask("subscribe", arg("books", "SOL-USDT"))
    passing.dialect.take_raw([(SPOT, SOL_BOOK)], [])
    client.ask("unsubscribe", arg("books", "SOL-USDT"))
    passing.dialect.opened([])
    passing.dialect.take_raw([(SPOT, SOL_UPDATE)], [])
    assert passing.wanted[1:] == [set()]
    client.take()
    got = client.ask("subscribe", arg("books", "SOL-USDT"))
    assert got[1]["data"][0]["seqId"] == 80
    client.ask("unsubscribe", arg("books", "SOL-USDT"))
    passing.dialect.opened([])
    passing.clock.now_s += RETIRED_S + 1
    passing.dialect.opened([])
    assert events(client.ask("subscribe", arg("books", "SOL-USDT"))) == ["subscribe"]
    assert passing.wanted[-1] == {"books:SOL-USDT"}


def test_what_comes_to_be_collected_is_of_the_collected_stream_from_then_on(passing):
    """Nothing comes twice; a book goes on from its snapshot."""
    client = passing.server.client()
    client.ask("subscribe", arg("books", "SOL-USDT"))
    passing.symbols["spot"].append("SOL-USDT")
    passing.dialect.take_raw([(SPOT, SOL_BOOK), ("spot", SOL_BOOK)], [])
    assert client.got == [SOL_BOOK]
    passing.dialect.opened([])
    passing.dialect.take_raw([(SPOT, SOL_UPDATE), ("spot", SOL_UPDATE)], [])
    assert [json.loads(each)["action"] for each in client.got] == ["snapshot", "snapshot", "update"]
    assert passing.wanted[-1] == set()


def test_a_book_that_lacks_a_message_is_not_shown(passing):
    """Unreadable, or dropped on the way; its next snapshot comes with the next connection."""
    client = passing.server.client()
    client.ask("subscribe", arg("books", "SOL-USDT"))
    passing.dialect.take_raw([(SPOT, SOL_BOOK), (SPOT, SOL_UPDATE.replace(b'"11"', b'"?"'))], [])
    passing.dialect.take_raw([(SPOT, SOL_BOOK)], [])
    passing.dialect.take_raw([(SPOT, SOL_UPDATE)], [(SPOT, "books:SOL-USDT")])
    assert client.got == [SOL_BOOK, SOL_BOOK]
    assert passing.dialect.unreadable == 1


def test_too_many_topics_are_refused(passing, monkeypatch):
    """One exchange's connections carry those of all clients."""
    for number in range(MOST + 1):
        monkeypatch.setitem(LISTED, ("spot", f"COIN{number}-USDT"), Decimal(1))
    client = passing.server.client()
    args = [arg("trades", f"COIN{number}-USDT") for number in range(MOST + 1)]
    got = client.ask("subscribe", *args)
    for _ in range(MOST // 10):
        passing.server.turn(lambda: None)
    got += client.take()
    assert [each["code"] for each in got if each["event"] == "error"] == ["60014"]
    assert len(passing.wanted[-1]) == MOST
