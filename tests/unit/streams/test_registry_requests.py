"""Requests of entries, and what would be streamed twice."""

import functools
from typing import Any, cast

import pytest

from model.ports import Depth, Symbols
from model.records import Kind
from streams.registry import StreamRequest, Target, channels_of, duplicates, request_of


def trades(*_: Any, **__: Any) -> None:
    """Stand in for subscribe_trades."""


def topics(*_: Any, **__: Any) -> None:
    """Stand in for subscribe_topics."""


class Unhashable:
    """A callable that no dict can look up."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> None:
        """Do nothing."""


KINDS: dict[Any, Kind] = {trades: "trades", topics: "topics"}


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("A", print, "spot", 50), {}),
        (("A", print), {"market": "spot", "depth": 50}),
        ((), {"symbols": "A", "callback": print, "market": "spot", "depth": 50}),
    ],
)
def test_arguments_count_by_place_and_by_name(args: Any, kwargs: Any) -> None:
    """As in any call."""
    assert request_of(trades, args, kwargs, KINDS) == StreamRequest("trades", "A", print, "spot", 50)


def test_topics_are_symbols_by_another_name() -> None:
    """Of subscribe_topics."""
    request = request_of(topics, (), {"topics": ["kline.5.A"], "callback": print}, KINDS)
    assert request == StreamRequest("topics", ["kline.5.A"], print)
    assert request.names() == ["kline.5.A"]


def read_topic(topic: str) -> Any:
    """trade.A is A's trades, book.5.A its book of five levels; no kind has others."""
    kind, *depth, symbol = topic.split(".")
    return (kind, int(depth[0]) if depth else None, symbol) if kind in ("trade", "book") else None


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("trade.A", ("trade", None, ["A"])),
        (["book.5.A", "book.5.B"], ("book", 5, ["A", "B"])),
        (["book.5.A", "book.1.A"], None),
        (["trade.A", "book.5.A"], None),
        (["trade.A", "kline.1.A"], None),
        ("kline.1.A", None),
        ([], None),
        ([7], None),
        (7, None),
        (b"trade.A", None),
    ],
)
def test_topics_of_one_kind_are_a_request_of_that_kind(named: Any, expected: Any) -> None:
    """What is watched, proven and not duplicates under its own name must not lose that under its topic's."""
    request = request_of(topics, (named, print, "spot"), {}, KINDS, read_topic)
    assert request is not None
    kind, depth, symbols = cast(tuple[Kind, Depth, Symbols], expected or ("topics", None, named))
    assert request.narrowed() == StreamRequest(kind, symbols, print, "spot", depth)


def test_topics_of_several_kinds_are_doubles_each_of_its_own() -> None:
    """What else stands beside them does not matter; a name that is no text is for others to refuse."""
    names = ["book.5.a", "book.1.A", "trade.A", "kline.1.A", ["odd"]]
    request = request_of(topics, (names, print), {}, KINDS, read_topic)
    assert request is not None
    assert list(channels_of(request, Target("spot", print, is_channel=True), 50)) == [
        ("spot", "book", 5, "A"),
        ("spot", "book", 1, "A"),
        ("spot", "trade", None, "A"),
        ("spot", "topics", None, "kline.1.A"),
    ]


def test_partial_functions_ask_for_what_they_would_call() -> None:
    """Arguments of both, as in the call; of partials of partials, too."""
    func = functools.partial(functools.partial(trades, "A"), market="spot")
    assert request_of(func, (print,), {"depth": 50}, KINDS) == StreamRequest("trades", "A", print, "spot", 50)
    assert request_of(functools.partial(print), ("A",), {}, KINDS) is None


@pytest.mark.parametrize("func", [print, Unhashable(), lambda: None])
def test_of_a_users_own_function_nothing_is_known(func: Any) -> None:
    """Whatever can be called."""
    assert request_of(func, ("A",), {}, KINDS) is None


def test_the_same_symbol_of_two_markets_or_kinds_is_no_duplicate() -> None:
    """Identity is market, kind, symbol; of a book the depth too; a callback of the user's own is another place."""

    def channels(
        kind: Any, symbols: Any, market: str, depth: int | None = None, *, is_channel: bool = True
    ) -> list[Any]:
        request = StreamRequest(kind, symbols, print, market, depth)
        return list(channels_of(request, Target(market, print, is_channel), 50))

    entries = [
        channels("trades", ["A", "B"], "linear"),
        channels("trades", "A", "spot"),
        channels("orderbook", "A", "linear"),
        channels("orderbook", "A", "linear", 200),
        channels("trades", "A", "linear", is_channel=False),
    ]
    assert duplicates((channel, entry) for entry in entries for channel in entry) == []
    twice = [*entries, channels("trades", "B", "linear"), channels("orderbook", ("A",), "linear", 50)]
    assert duplicates((channel, entry) for entry in twice for channel in entry) == [
        ("linear", "trades", None, "B"),
        ("linear", "orderbook", 50, "A"),
    ]
