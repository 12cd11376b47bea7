"""From payloads to callers' functions."""

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from exchanges.bybit import BybitClient
from exchanges.bybit.client.dispatch import Dispatch, MergedTickers, OnLoop, on_running_loop
from exchanges.bybit.client.errors import RequestError
from model.events import Connected


def sent(topic: str, **fields: Any) -> bytes:
    return json.dumps({"topic": topic, **fields}).encode()


def test_functions_get_their_topics_only() -> None:
    """Each a dict of its own."""
    dispatch, seen = Dispatch(), list[dict[str, Any]]()
    dispatch.add("a", seen.append)
    dispatch.add("a", lambda message: message.clear())
    dispatch.deliver(sent("a", data=1))
    dispatch.deliver(sent("b", data=2))
    assert seen == [{"topic": "a", "data": 1}]


def test_a_function_that_fails_costs_the_others_nothing() -> None:
    """The failure is raised when all have had the message."""
    dispatch, got = Dispatch(), list[dict[str, Any]]()
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


def test_null_in_a_ticker_is_no_change() -> None:
    """One odd field costs itself."""
    seen: list[Any] = []
    merged = MergedTickers(seen.append)
    merged({"type": "snapshot", "data": {"symbol": "A", "lastPrice": "1"}})
    merged({"type": "delta", "data": {"symbol": "A", "lastPrice": None, "markPrice": "2"}})
    assert seen[1]["data"] == {"symbol": "A", "lastPrice": "1", "markPrice": "2"}


def test_a_coroutine_function_that_fails_or_lags_is_logged_and_bounded() -> None:
    """Otherwise its errors would be lost and its messages unbounded."""
    started: list[Any] = []

    class Taker:
        async def __call__(self, message: Any) -> None:
            started.append(message)
            await asyncio.sleep(0)
            raise ValueError("mine")

    async def main() -> None:
        function = OnLoop(Taker(), asyncio.get_running_loop(), pending_most=5)
        for number in range(20):
            function(number)
        while len(asyncio.all_tasks()) > 1 or not started:
            await asyncio.sleep(0)
        functions.append(function)

    functions: list[Any] = []
    with capture_logs() as logs:
        asyncio.run(main())
        functions[0]("too late")
    assert started == [0, 1, 2, 3, 4]
    events = ["client_callback_too_slow", "client_callback_failed", "client_callback_without_loop"]
    assert [line["event"] for line in logs] == events


def test_an_event_function_that_fails_ends_no_stream() -> None:
    """It is called in the middle of connecting; its traceback is logged once a minute."""
    with BybitClient(url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1") as client, capture_logs() as logs:
        client.websocket.on_event = lambda _event, **_fields: 1 / 0
        for _ in range(5):
            client.websocket.events.emit(Connected(market="linear"))
    assert [line["event"] for line in logs] == ["client_on_event_failed"]


def test_coroutine_functions_need_a_loop() -> None:
    """Said where they are handed in."""

    async def take(_message: Any) -> None: ...

    with pytest.raises(RequestError, match="no event loop"):
        on_running_loop(take)


def test_coroutine_functions_run_on_their_loop() -> None:
    """Whichever thread delivers."""

    async def main() -> list[Any]:
        seen: list[Any] = []
        done = asyncio.Event()

        async def take(message: Any) -> None:
            seen.append((message, asyncio.get_running_loop()))
            done.set()

        function = on_running_loop(take)
        await asyncio.to_thread(function, {"a": 1})
        await asyncio.wait_for(done.wait(), 5)
        assert seen[0][1] is asyncio.get_running_loop()
        return seen

    assert asyncio.run(main())[0][0] == {"a": 1}
