"""Books and trades as a page shows them: of each exchange, against what its simulated one knows to be true."""

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from exchanges.books import BookReader, TapeReader, shown_depth
from exchanges.contract import OWN
from exchanges.registry import VENUES
from exchanges.simulated.__main__ import dialect_of
from exchanges.simulated.hub import Hub, Session
from exchanges.simulated.market import Market
from exchanges.simulated.options import Options
from model.protocol import KindFrames

LEVELS, EVENTS, START_MS = 15, 40, 1_760_000_040_000
CHANGES = KindFrames(b"{", b'"s":"', re.compile(rb'"t":(\d+)'), snapshot=re.compile(rb'"full":true'))
WHOLE = KindFrames(b"{", b'"s":"', re.compile(rb'"t":(\d+)'))


def refuse(cause: str, sample: bytes) -> None:
    pytest.fail(f"{cause}: {sample!r}")


class Simulated:
    """One symbol of a simulated exchange, without sockets: what a topic of it carries, and what is true."""

    def __init__(self, exchange: str, market: str) -> None:
        self.venue = VENUES[exchange]
        self.protocol = self.venue.protocol(market, OWN)
        self._dialect = dialect_of(exchange)
        self._hub, self._now_ms = Hub(), START_MS
        options = Options(categories=(market,), symbols=1, illiquid=0)
        self._market = Market(options, self._hub, lambda: self._now_ms * 1000, self._dialect)
        ((_, self.name), self.symbol) = next(iter(self._market.symbols.items()))
        self.payloads: list[bytes] = []

    def subscribe(self, kind: Any, depth: int) -> Any:
        """Subscribe the topic of a kind; returns what the exchange keeps of it."""
        (name,) = self.protocol.topics(kind, [self.name], depth)
        url = self.protocol.endpoint(kind, [name])
        names = [name, *(name.split(":")[-1:] if ":" in name else [])]
        channels = [channel for channel in (self._dialect.channel("/" + url.split("/", 3)[3]),) if channel]
        topic = next(found for channel in channels for each in names if (found := self._market.find(channel, each)))
        self._hub.join(Session(topic.category, "1"), topic)
        self._hub.publish = lambda _to, text: self.payloads.append(text.encode())  # type: ignore[method-assign, assignment]
        self.payloads += [text.encode() for text in self._market.snapshots(topic)]
        return self.symbol.streams[topic.kind][-1]

    def happen(self, kind: str) -> Iterator[None]:
        """Let something happen, some times."""
        for _ in range(EVENTS):
            self._now_ms += 250
            self.symbol.trade_event(self._now_ms)
            getattr(self.symbol, f"{kind}_event")(self._now_ms)
            self.symbol.repeat(self._now_ms)
            yield


MARKETS = [(name, market) for name in VENUES for market, spec in VENUES[name].markets.items() if market != "option"]


@pytest.mark.parametrize(("exchange", "market"), MARKETS)
def test_the_book_that_a_page_shows_is_that_of_the_exchange(exchange: str, market: str) -> None:
    """The best levels, to the last digit, after every message, whether it is whole or has changes."""
    simulated = Simulated(exchange, market)
    depth = shown_depth(VENUES[exchange].markets[market].depths, LEVELS)
    stream = simulated.subscribe("orderbook", depth)
    topics = simulated.protocol.topics("orderbook", [simulated.name], depth)
    reader = BookReader(simulated.protocol.frames("orderbook", topics), simulated.venue.book_sides)
    seen = 0
    for _ in simulated.happen("book"):
        took = [reader.take(payload) for payload in simulated.payloads]
        simulated.payloads.clear()
        if not any(took):
            continue
        seen += 1
        of = next(getattr(stream, name) for name in ("levels", "book", "_book") if hasattr(stream, name))
        levels = getattr(of, "levels", of)
        price, size = simulated.symbol.price_text, simulated.symbol.size_text
        bids = [(price(levels.mid - i), size(levels.sizes[levels.mid - i])) for i in range(LEVELS)]
        asks = [(price(levels.mid + 1 + i), size(levels.sizes[levels.mid + 1 + i])) for i in range(LEVELS)]
        assert [numbers(each) for each in reader.top(LEVELS)] == [numbers(bids), numbers(asks)]
    assert seen > EVENTS // 4
    assert reader.unreadable == 0


def numbers(levels: Any) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(size)) for price, size in levels]


@pytest.mark.parametrize(("exchange", "market"), MARKETS)
def test_the_tape_that_a_page_shows_is_that_of_the_exchange(exchange: str, market: str) -> None:
    """Times, and the sizes that buyers and sellers took at each price; an exchange may join matches of one price."""
    simulated = Simulated(exchange, market)
    simulated.subscribe("trades", 0)
    read = simulated.venue.reader(market, "trades", refuse, ("trades",))
    assert read is not None
    tape = TapeReader(read, simulated.venue.record_names.get("trades", {}))
    began = len(simulated.symbol.recent)
    for _ in simulated.happen("ticker"):
        pass
    shown: Counter[tuple[str, Decimal]] = Counter()
    true: Counter[tuple[str, Decimal]] = Counter()
    prints = tape(simulated.payloads)
    for each in prints:
        shown[each.side, Decimal(each.price)] += Decimal(each.size)  # type: ignore[assignment]
    for trade in list(simulated.symbol.recent)[began:]:
        true[trade.side.lower(), Decimal(trade.price)] += Decimal(trade.size)  # type: ignore[assignment]
    counted = {key: size for key, size in true.items() if size and key in shown}
    assert len(prints) >= EVENTS // 2
    assert {key: shown[key] for key in counted} == counted
    assert len(counted) >= len(true) - 3  # prints beside the book have prices of their own
    assert all(START_MS <= each.ms <= START_MS + 250 * (EVENTS + 1) for each in prints)


def test_changes_add_replace_and_delete_levels_and_nothing_is_known_before_a_whole_book() -> None:
    """Also where the exchange writes numbers, and adds more to each level."""
    reader = BookReader(CHANGES)
    assert not reader.take(b'{"data":{"b":[["9","1"]],"a":[]}}')
    assert reader.take(b'{"full":true,"t":7,"data":[{"bids":[["10.0","1",3],["9.5","2",1]],"asks":[[11.10,4]]}]}')
    assert reader.top(15) == ([("10.0", "1"), ("9.5", "2")], [("11.10", "4")])
    assert reader.sent_ms == 7
    assert reader.take(b'{"result":{"b":[["10.0","0"],["9.8","5"],["9.5","3"]],"a":[["11.2","0.000"]]}}')
    assert reader.top(1) == ([("9.8", "5")], [("11.10", "4")])
    assert reader.top(15)[0] == [("9.8", "5"), ("9.5", "3")]
    reader.forget()
    assert not reader.take(b'{"data":{"b":[["9","1"]],"a":[]}}')


def test_a_whole_book_replaces_the_one_before() -> None:
    """What is not in it any more is gone."""
    reader = BookReader(WHOLE)
    assert reader.take(b'{"data":{"b":[["9","1"]],"a":[["11","1"]]}}')
    assert reader.take(b'{"data":{"b":[["8","1"]],"a":[["10","2"]]}}')
    assert reader.top(15) == ([("8", "1")], [("10", "2")])


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"1", b'{"data":1}', b'{"data":{"b":[["x","1"]]}}', b'{"data":{"b":[[1]]}}']
)
def test_what_cannot_be_read_costs_the_book_and_nothing_else(payload: bytes) -> None:
    """The next whole message makes it known again."""
    reader = BookReader(WHOLE)
    assert not reader.take(payload)
    assert not reader.is_known
    assert reader.unreadable == 1
    assert reader.take(b'{"data":{"b":[["8","1"]],"a":[["10","2"]]}}')


def test_the_depth_of_a_page_is_the_smallest_that_has_its_levels() -> None:
    """A market that has only few levels gives those it usually has."""
    assert shown_depth((50, 1, 200), 15) == 50
    assert shown_depth((1000, 20, 10, 5), 15) == 20
    assert shown_depth((5, 1), 15) == 5
