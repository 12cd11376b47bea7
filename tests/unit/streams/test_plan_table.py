"""The plan as a person reads it."""

import functools
from collections.abc import Callable
from typing import Any, cast

import pytest

from model import ports
from model.records import StreamLimits
from streams.plan_table import Connects, plan_text, sockets_of
from streams.registry import read_entries, request_of


def trades(*_: Any, **__: Any) -> None:
    """Stand in for subscribe_trades."""


def topics(*_: Any, **__: Any) -> None:
    """Stand in for subscribe_topics."""


class Feed:
    """A market that takes two topics per message and counts three characters beside each."""

    limits = StreamLimits(bytes=100, bytes_per_topic=3, topics_per_message=2)

    def __init__(self, market: str) -> None:
        self.market, self.url = market, f"wss://x/{market}"

    def endpoint(self, _kind: str, _topics: object = ()) -> str:
        return self.url

    def is_market_wide(self, _kind: str) -> bool:
        return False

    def topics(self, kind: str, symbols: Any, depth: int = 50) -> list[str]:
        names = [symbols] if isinstance(symbols, str) else list(symbols)
        if "BAD" in names:
            raise ValueError("symbol is 'BAD'")
        return names if kind == "topics" else [f"{kind}{depth}.{name}" for name in names]


def text(*entries: dict[str, Any], connects: int = 9) -> str:
    good, bad = read_entries(entries)
    assert bad == []
    asked = functools.partial(request_of, kinds={trades: "trades", topics: "topics"})
    sockets, own = sockets_of(
        good, asked, lambda request: request.market or "linear", cast(Callable[[str], ports.Feed], Feed), 50
    )
    return plan_text(sockets, own, Connects(connects, 300.0))


def test_sockets_of_a_kind_are_one_line() -> None:
    """Sums, the fullest, and how many messages subscribe them."""
    said = text(
        {"name": "a", "func": trades, "args": (["BTC", "ETH", "SOL"], print)},
        {"name": "b", "func": trades, "args": ("X", print, None, 200)},
        {"name": "c", "func": topics, "args": (["kline.5.BTC"], print), "kwargs": {"market": "spot"}},
    ).splitlines()
    assert said[0] == "linear  wss://x/linear"
    assert said[2].split() == ["trades", "2", "4", "3", "45", "of", "100", "3"]
    assert said[4] == "spot  wss://x/spot"
    assert said[6].split() == ["topics", "1", "1", "1", "14", "of", "100", "1"]
    assert said[-2:] == [
        "3 sockets, 5 topics, 3 threads",
        "connects: 3 at the start, 9 are allowed per 300 s",
    ]


def test_functions_of_ones_own_are_named() -> None:
    """Nothing is known of what they open."""
    said = text({"name": "mine", "func": print, "args": ()})
    assert "entries of your own, a thread each: mine" in said
    assert "0 sockets, 0 topics, 1 threads" in said


def test_more_sockets_than_connects_are_shown() -> None:
    """They come in time, not at once."""
    entries = [{"name": str(number), "func": trades, "args": ("X", print)} for number in range(10)]
    assert "the last ones wait 900 s" in text(*entries, connects=3)


def test_what_the_exchange_does_not_have_is_an_error() -> None:
    """As at a start."""
    with pytest.raises(ValueError, match="BAD"):
        text({"name": "a", "func": trades, "args": ("BAD", print)})
