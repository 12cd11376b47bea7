"""Which symbols share a connection, at the beginning and when other symbols are wanted."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from model.ports import PayloadSink
from model.records import Kind
from streams.plan import DesiredStream, LiveSymbols, StreamPlan, is_planned


def subscribe(*_: Any) -> None:
    """Stand in for subscribe_trades."""


def handle(_payload: bytes) -> None:
    """Stand in for handle_trades."""


def desired(*symbols: str, kind: Kind = "trades", **options: Any) -> DesiredStream:
    return DesiredStream(kind, "linear", subscribe, cast(PayloadSink, handle), symbols, **options)


def pools(streams: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {entry["name"]: list(entry["args"][0]) for entry in streams}


def versions(streams: list[dict[str, Any]]) -> dict[str, int]:
    return {entry["name"]: entry["args"][0].version for entry in streams}


def test_symbols_fill_connections_of_the_given_size() -> None:
    """In the order in which they are wanted."""
    streams: list[dict[str, Any]] = []
    StreamPlan(streams, 2).reconcile([desired("A", "B", "C"), desired("A", kind="ticker")])
    assert pools(streams) == {"Trades_linear_1": ["A", "B"], "Trades_linear_2": ["C"], "Ticker_linear_1": ["A"]}
    assert streams[0]["func"] is subscribe
    assert streams[0]["args"][1:] == (handle, "linear")


def test_names_of_the_users_entries_are_left_to_them() -> None:
    """Two entries of one name would end the start; what is no entry has none."""
    streams: list[Any] = [{"name": "Trades_linear_1"}, {"name": "Trades_linear_2b"}, {"name": []}, None, "odd"]
    StreamPlan(streams, 2).reconcile([desired("A", "B", "C")])
    assert pools(streams[5:]) == {"Trades_linear_3": ["A", "B"], "Trades_linear_4": ["C"]}


def test_a_symbol_that_comes_takes_a_free_place_and_changes_no_other_connection() -> None:
    """The entries are the same objects, so that the supervisor keeps their threads."""
    streams: list[dict[str, Any]] = []
    plan = StreamPlan(streams, 2)
    plan.reconcile([desired("A", "B", "C")])
    before = list(map(id, streams)), versions(streams)
    plan.reconcile([desired("D", "A", "B", "C")])
    assert pools(streams) == {"Trades_linear_1": ["A", "B"], "Trades_linear_2": ["C", "D"]}
    assert list(map(id, streams)) == before[0]
    assert versions(streams) == before[1] | {"Trades_linear_2": before[1]["Trades_linear_2"] + 1}


def test_full_connections_get_a_neighbour_and_empty_ones_go() -> None:
    """A place that becomes free is filled before a connection is opened."""
    streams: list[dict[str, Any]] = []
    plan = StreamPlan(streams, 2)
    plan.reconcile([desired("A", "B", "C")])
    plan.reconcile([desired("B", "C", "D", "E")])
    assert pools(streams) == {"Trades_linear_1": ["B", "D"], "Trades_linear_2": ["C", "E"]}
    plan.reconcile([desired("B", "D", "C", "E", "F")])
    assert pools(streams)["Trades_linear_3"] == ["F"]
    plan.reconcile([desired("F")])
    assert pools(streams) == {"Trades_linear_3": ["F"]}
    plan.reconcile([desired("F", "G", "H")])
    assert pools(streams) == {"Trades_linear_3": ["F", "G"], "Trades_linear_1": ["H"]}


def test_an_empty_connection_is_taken_from_the_list_untouched() -> None:
    """Its stream still runs for a moment: it must not find nothing to subscribe."""
    streams: list[dict[str, Any]] = []
    plan = StreamPlan(streams, 1)
    plan.reconcile([desired("A", "B")])
    symbols = streams[1]["args"][0]
    plan.reconcile([desired("A")])
    assert pools(streams) == {"Trades_linear_1": ["A"]}
    assert (list(symbols), symbols.version) == (["B"], 0)


def test_a_connection_has_no_more_characters_than_it_may() -> None:
    """Whatever the pool size."""
    streams: list[dict[str, Any]] = []
    StreamPlan(streams, 100).reconcile([desired("AAA", "BBB", "CCC", "D", cost=len, budget=7)])
    assert pools(streams) == {"Trades_linear_1": ["AAA", "BBB", "D"], "Trades_linear_2": ["CCC"]}


def test_a_connection_has_no_more_symbols_than_the_exchange_takes() -> None:
    """Whatever the pool size, and whatever room there is; where the pool is smaller it counts."""
    for most, size in ((2, 100), (100, 2)):
        streams: list[dict[str, Any]] = []
        plan = StreamPlan(streams, size)
        plan.reconcile([desired("A", "B", "C", most=most)])
        assert pools(streams) == {"Trades_linear_1": ["A", "B"], "Trades_linear_2": ["C"]}
        plan.reconcile([desired("A", "B", "C", "D", "E", most=most)])
        assert list(pools(streams).values()) == [["A", "B"], ["C", "D"], ["E"]]


def test_a_symbol_that_is_too_long_for_any_connection_has_one_of_its_own() -> None:
    """The exchange refuses it; the plan does not leave it out."""
    streams: list[dict[str, Any]] = []
    StreamPlan(streams, 100).reconcile([desired("AAAAAAAAA", "B", cost=len, budget=7)])
    assert pools(streams) == {"Trades_linear_1": ["AAAAAAAAA"], "Trades_linear_2": ["B"]}


def test_redundant_symbols_come_over_two_connections_into_one() -> None:
    """They have connections of their own; what merges them is made once for each pair."""
    streams: list[dict[str, Any]] = []
    plan = StreamPlan(streams, 9)
    plan.reconcile([desired("A", "B", redundant=frozenset("B"), combine=lambda into: ["combined", into])])
    assert pools(streams) == {"Trades_linear_1": ["B"], "Trades_linear_1b": ["B"], "Trades_linear_2": ["A"]}
    assert streams[0]["args"][1] is streams[1]["args"][1] is plan.combined[0]
    assert streams[0]["args"][0] is streams[1]["args"][0]
    plan.reconcile([desired("A")])
    assert pools(streams) == {"Trades_linear_2": ["A"]}


def test_clearing_leaves_the_users_entries() -> None:
    """A later run finds the list as the user left it."""
    own = {"name": "mine", "func": print, "args": ()}
    streams = [own]
    plan = StreamPlan(streams, 9)
    plan.reconcile([desired("A")])
    assert [is_planned(entry) for entry in streams] == [False, True]
    plan.clear()
    assert streams == [own]


def test_the_version_of_symbols_grows_after_a_change() -> None:
    """A reader that takes the version first may look twice, and never misses one."""
    symbols = LiveSymbols(["A"])
    symbols.replace(["A", "B"])
    assert (symbols, symbols.version) == (["A", "B"], 1)


@given(st.lists(st.lists(st.sampled_from("ABCDEFGH"), unique=True), max_size=8), st.integers(1, 4))
def test_every_wanted_symbol_has_exactly_one_place(wishes: list[list[str]], size: int) -> None:
    """No symbol missing or twice, no connection too large or empty, distinct names, and no symbol moves."""
    streams: list[dict[str, Any]] = []
    plan = StreamPlan(streams, size)
    places: dict[str, str] = {}
    for wish in wishes:
        plan.reconcile([desired(*wish)])
        now = {symbol: name for name, symbols in pools(streams).items() for symbol in symbols}
        assert sorted(now) == sorted(wish)
        assert sum(map(len, pools(streams).values())) == len(wish)
        assert all(1 <= len(symbols) <= size for symbols in pools(streams).values())
        assert len(pools(streams)) == len(streams)
        assert all(now[symbol] == places[symbol] for symbol in now.keys() & places.keys())
        places = now
