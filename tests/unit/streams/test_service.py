"""The list as a whole: what entries of the user's take from the plan, and what cannot be streamed."""

import functools
from collections.abc import Iterator
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from model import ports
from model.context import StreamContext, set_current
from model.events import NO_EVENTS, Connected, SinkDown
from model.records import StreamLimits
from streams import (
    Connects,
    DesiredStream,
    NamedEvents,
    Reader,
    StreamOptions,
    StreamRequest,
    StreamService,
    Target,
    current,
    request_of,
)
from streams.registry import read_entries
from streams.shard import Shard, owner_of
from tests.support.events import RecordedEvents

POOL_SIZE = 10


def trades(*_: Any, **__: Any) -> None:
    """Stand in for subscribe_trades."""


def handle(_payload: bytes) -> None:
    """Stand in for handle_trades, which goes to the channel of its stream's market."""


class Feed:
    """A market that has every symbol but BAD, and notes what runs."""

    limits = StreamLimits(bytes=1000, bytes_per_topic=3)

    def __init__(self, market: str, runs: list[Any]) -> None:
        self.market, self.url, self._runs = market, f"wss://x/{market}", runs

    def endpoint(self, _kind: str, _topics: object = ()) -> str:
        return self.url

    def is_market_wide(self, _kind: str) -> bool:
        return False

    def topics(self, kind: str, symbols: Any, depth: int = 50) -> list[str]:
        names = [symbols] if isinstance(symbols, str) else list(symbols)
        if "BAD" in names:
            raise ValueError("symbol is 'BAD'")
        return [f"{kind}.{name}" for name in names]

    def quarantined(self) -> dict[str, int]:
        return {"trades": 2} if self.market == "spot" else {}

    def run(self, kind: str, symbols: Any, callback: Any, *, depth: int = 50) -> None:
        self._runs.append((current().market, kind, symbols, callback, depth))


class Merged:
    """Two connections made one."""

    def __init__(self, into: Any) -> None:
        self.into = into

    def __call__(self, payload: bytes) -> None:
        """Do nothing."""


def target_of(request: StreamRequest) -> Target:
    market = request.market or "linear"
    if market not in ("linear", "spot"):
        raise ValueError(f"market is {market!r}")
    return Target(market, request.callback, request.callback is handle or isinstance(request.callback, Merged))


@pytest.fixture
def streams() -> list[Any]:
    """The list."""
    return []


@pytest.fixture
def runs() -> list[Any]:
    """The calls of `run`."""
    return []


@pytest.fixture
def service(streams: list[Any], runs: list[Any]) -> Iterator[StreamService]:
    made = StreamService(
        streams,
        StreamOptions("linear", 50, POOL_SIZE, Connects(9, 300.0)),
        lambda market, _dial: cast(ports.Feed, Feed(market, runs)),
        functools.partial(request_of, kinds={trades: "trades"}),
        target_of,
        reader=Reader(),
        events=NO_EVENTS,
    )
    yield made
    assert made.stop(5.0) == []


def test_refused_topics_are_known_by_market_and_kind(service: StreamService) -> None:
    """Of the feeds that were needed until now."""
    assert service.quarantined() == {}
    service.feed("linear")
    service.feed("spot")
    assert service.quarantined() == {("spot", "trades"): 2}


def test_a_connection_carries_what_its_exchange_takes(service: StreamService, streams: list[Any]) -> None:
    """So many topics, whatever the pool size; of a market-wide topic any number of symbols, for it is one."""
    feed = cast(Any, service.feed("linear"))
    feed.limits = StreamLimits(topics=2)
    many = [f"S{number}" for number in range(POOL_SIZE + 1)]
    wide = DesiredStream("liquidations", "linear", trades, cast(Any, handle), many)
    narrow = DesiredStream("trades", "linear", trades, cast(Any, handle), ["A", "B", "C"])
    feed.is_market_wide = lambda kind: kind == "liquidations"
    service.reconcile([narrow, wide])
    found = [(entry["name"], list(entry["args"][0])) for entry in streams]
    assert found == [
        ("Trades_linear_1", ["A", "B"]),
        ("Trades_linear_2", ["C"]),
        ("Liquidations_linear_1", many),
    ]


def entry(name: str, *args: Any) -> dict[str, Any]:
    return {"name": name, "func": trades, "args": args}


def desired(*symbols: str, market: str = "linear", **options: Any) -> DesiredStream:
    return DesiredStream("trades", market, trades, cast(ports.PayloadSink, handle), symbols, **options)


def planned(streams: list[Any], market: str = "linear") -> list[str]:
    names = [e["args"][0] for e in streams if isinstance(e, dict) and type(e) is not dict and e["args"][2] == market]
    return [symbol for symbols in names for symbol in symbols]


def test_a_users_entry_takes_the_symbol_of_its_own_market(service: StreamService, streams: list[Any]) -> None:
    """Twice on one channel would be every trade twice; the other market, and other callbacks, keep it."""
    streams += [entry("spot", "A", handle, "spot"), entry("mine", "B", print), "no entry", {"name": "odd"}]
    service.reconcile([desired("A", "B"), desired("A", "B", market="spot")])
    assert planned(streams) == ["A", "B"]
    assert planned(streams, "spot") == ["B"]
    streams.insert(0, entry("linear", "B", handle))
    service.reconcile([desired("A", "B"), desired("A", "B", market="spot")])
    assert planned(streams) == ["A"]


def test_entries_of_the_users_stay_whatever_is_followed(service: StreamService, streams: list[Any]) -> None:
    """Symbols come and go; what a user appended is the user's to remove."""
    own = [entry("spot", "A", handle, "spot"), entry("linear", "Z", handle), entry("mine", "B", print)]
    streams += own
    for symbols in (("A", "B"), ("Z",), (), ("C",)):
        service.reconcile([desired(*symbols), desired(*symbols, market="spot")])
        assert [e for e in streams if e in own] == own


def test_a_redundant_symbol_stays_redundant_and_is_one_source(service: StreamService, streams: list[Any]) -> None:
    """The settings request it; an entry of the user's beside it is a duplicate."""
    for _ in range(3):
        service.reconcile([desired("A", redundant=frozenset("A"), combine=Merged)])
        assert planned(streams) == ["A", "A"]
    with capture_logs() as logs:
        service.run(StreamRequest("trades", *streams[0]["args"]))
    assert logs == []
    streams.append(entry("mine", "A", handle))
    with capture_logs() as logs:
        service.run(StreamRequest("trades", *streams[0]["args"]))
    assert [log["event"] for log in logs] == ["duplicate_stream"]
    service.reconcile([desired("A", redundant=frozenset("A"), combine=Merged)])
    assert planned(streams) == []


def test_a_removed_entry_gives_its_symbol_back(service: StreamService, streams: list[Any]) -> None:
    """The settings want it still."""
    own = entry("mine", "A", handle)
    streams.append(own)
    service.reconcile([desired("A", "B")])
    service.tick()
    assert planned(streams) == ["B"]
    streams.remove(own)
    service.tick()
    assert planned(streams) == ["B", "A"]


def test_the_users_spelling_of_a_symbol_is_the_same_symbol(service: StreamService, streams: list[Any]) -> None:
    """A second stream of it would be a duplicate."""
    streams.append(entry("mine", [" a ", "Ｃ"], handle))  # noqa: RUF001
    service.reconcile([desired("A", "B", "C")])
    assert planned(streams) == ["B"]


def test_collected_symbols_are_known_by_market(service: StreamService, streams: list[Any]) -> None:
    """Of what goes to the channels, the plan's and the user's."""
    streams += [entry("spot", ["A", "C"], handle, "spot"), entry("mine", "Q", print), entry("bad", None, handle)]
    service.reconcile([desired("A", "B")])
    assert service.collected() == {("linear", "A"), ("linear", "B"), ("spot", "A"), ("spot", "C")}
    service.shard = Shard(3 - owner_of("spot", 2), 2)
    assert service.collected() == {("linear", "A"), ("linear", "B")}, "an entry of another process's"


@pytest.mark.parametrize(
    ("args", "problem"),
    [(("BAD", handle), "symbol is 'BAD'"), (("A", handle, "moon"), "market is 'moon'")],
)
def test_what_cannot_be_streamed_is_an_error_before_it_starts(
    service: StreamService, streams: list[Any], args: Any, problem: str
) -> None:
    """All of them at once at the start, by the entry's name."""
    streams += [entry("good", "A", handle), entry("wrong", *args), {"name": "odd"}]
    with pytest.raises(ValueError, match=f"STREAMS 'wrong': {problem}") as error:
        service.supervisor.check()
    assert str(error.value).count("STREAMS") == 2


def test_a_duplicate_symbol_is_logged_with_its_market(service: StreamService, streams: list[Any]) -> None:
    """On the thread that runs it; the same symbol of another market is none."""
    streams += [entry("one", "A", handle), entry("two", ["A", "B"], handle), entry("spot", "A", handle, "spot")]
    with capture_logs() as logs:
        service.run(StreamRequest("trades", "A", handle, "spot"))
    assert logs == []
    with capture_logs() as logs:
        service.run(StreamRequest("trades", ["A", "B"], handle))
    assert [(log["event"], log["market"], log["symbols"]) for log in logs] == [("duplicate_stream", "linear", ["A"])]


def test_a_duplicate_that_no_entry_names_is_logged_when_it_runs(service: StreamService, streams: list[Any]) -> None:
    """What a function of the user's streams is known when it subscribes."""
    streams += [entry("one", "A", handle), {"name": "own", "func": lambda: None, "args": ()}]
    set_current(StreamContext("own"))
    try:
        with capture_logs() as logs:
            service.run(StreamRequest("trades", ["A", "B"], handle))
        with capture_logs() as none:
            service.run(StreamRequest("trades", "B", handle))
    finally:
        set_current(None)
    assert [(log["event"], log["symbols"]) for log in logs] == [("duplicate_stream", ["A"])]
    assert none == []


def test_a_context_has_the_market_that_is_streamed(service: StreamService, runs: list[Any]) -> None:
    """While it streams it, and not after."""
    service.run(StreamRequest("trades", "A", print, "spot", 200))
    assert runs == [("spot", "trades", "A", print, 200)]
    assert current().market is None


def test_the_lists_good_entries_are_all_there(service: StreamService, streams: list[Any]) -> None:
    """What the plan makes is what a user could write."""
    service.reconcile([desired("A"), desired("A", market="spot")])
    assert read_entries(streams)[1] == []


def test_events_of_a_stream_have_its_name() -> None:
    """Of the thread that emits them; those of outputs have none."""
    events, down = RecordedEvents(), SinkDown(sink="file", reason="full")
    named = NamedEvents(events)
    set_current(StreamContext("mine"))
    try:
        named.emit(Connected(market="spot"))
        named.emit(down)
    finally:
        set_current(None)

    assert events.events == [Connected(stream="mine", market="spot"), down]
