"""From payloads to callers' functions."""

import asyncio
import json
from typing import Any

import pytest

from exchanges.bybit.client.dispatch import Dispatch, MergedTickers, on_its_loop


def sent(topic: str, **fields: Any) -> bytes:
    return json.dumps({"topic": topic, **fields}).encode()


def test_functions_get_their_topics_only() -> None:
    """Each a dict of its own."""
    dispatch, seen = Dispatch(), []
    dispatch.add("a", seen.append)
    dispatch.add("a", lambda message: message.clear())
    dispatch.deliver(sent("a", data=1))
    dispatch.deliver(sent("b", data=2))
    assert seen == [{"topic": "a", "data": 1}]


def test_a_function_that_fails_costs_the_others_nothing() -> None:
    """The failure is raised when all have had the message."""
    dispatch, got = Dispatch(), []
    for callback in (lambda _message: 1 / 0, got.append):
        dispatch.add("a", callback)
    with pytest.raises(ZeroDivisionError):
        dispatch.deliver(sent("a"))
    assert len(got) == 1


def test_the_last_one_leaving_is_known() -> None:
    """Then the topic may be left at the exchange."""
    dispatch, first, second = Dispatch(), print, repr
    dispatch.add("a", first)
    dispatch.add("a", second)
    assert [dispatch.remove("a", first), dispatch.remove("a", second)] == [False, True]


def test_tickers_are_whole() -> None:
    """A delta has what changed; the function gets all of it. Before the snapshot it gets nothing."""
    seen: list[Any] = []
    merged = MergedTickers(seen.append)
    merged({"type": "delta", "data": {"lastPrice": "0"}})
    merged({"type": "snapshot", "data": {"symbol": "A", "lastPrice": "1", "markPrice": "2"}})
    merged({"type": "delta", "data": {"symbol": "A", "lastPrice": "3"}})
    seen[0]["data"]["markPrice"] = "spoiled"
    merged({"type": "snapshot", "data": {"symbol": "A", "lastPrice": "4"}})
    assert [message["data"].get("markPrice") for message in seen] == ["spoiled", "2", None]
    assert [message["data"]["lastPrice"] for message in seen] == ["1", "3", "4"]


def test_coroutine_functions_run_on_their_loop() -> None:
    """Whichever thread delivers."""

    async def main() -> list[Any]:
        seen: list[Any] = []
        done = asyncio.Event()

        async def take(message: Any) -> None:
            seen.append((message, asyncio.get_running_loop()))
            done.set()

        function = on_its_loop(take)
        await asyncio.to_thread(function, {"a": 1})
        await asyncio.wait_for(done.wait(), 5)
        assert seen[0][1] is asyncio.get_running_loop()
        return seen

    assert asyncio.run(main())[0][0] == {"a": 1}
