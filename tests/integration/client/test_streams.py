"""Streams and the trading socket over real sockets: faults are healed, or end in an error."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from exchanges.bybit import AsyncBybitClient
from exchanges.bybit.client.errors import NetworkError, OrderRejectedError, RequestError
from tests.integration.client.conftest import Make, address, own_limits
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

LIMIT: dict[str, Any] = {"symbol": "BTCUSDT", "side": "Buy", "order_type": "Limit", "qty": "0.001", "price": "30000"}


def live(client: Any, name: str) -> bool:
    return bool(client.websocket.states().get(name) == "live")


def kinds(messages: list[Any], topic: str) -> list[str]:
    return [message["type"] for message in messages if message["topic"] == topic]


def test_private_streams_outlive_a_drop(sim: SimulatorProcess, client: Any) -> None:
    """Authenticated and subscribed anew; an event is emitted, so that what was missed can be read by REST."""
    orders: list[Any] = []
    events: list[str] = []
    client.websocket.on_event = lambda event, **fields: events.append(f"{event} {fields.get('market')}")
    client.websocket.subscribe_private(["order", "wallet"], orders.append)
    client.websocket.start()
    wait_until(lambda: "connected private" in events)
    client.order.place_order(**LIMIT)
    wait_until(lambda: orders)
    for code in ("rst", 1012):
        events.clear()
        sim.command("drop", code=code, category="private")
        wait_until(lambda: "connected private" in events)
        orders.clear()
        client.order.place_order(**LIMIT)
        wait_until(lambda: orders)
    assert orders[0]["data"][0]["symbol"] == "BTCUSDT"


def test_a_topic_may_join_and_leave_a_private_stream(client: Any) -> None:
    """On the connection that is open."""
    orders: list[Any] = []
    executions: list[Any] = []
    client.websocket.start()
    client.websocket.subscribe_private("order", orders.append)
    wait_until(lambda: live(client, "client_private"))
    subscription = client.websocket.subscribe_private(["execution", "order"], executions.append)
    market = {**LIMIT, "order_type": "Market", "price": None}

    def bought() -> bool:
        client.order.place_order(**market)
        return {message["topic"] for message in executions} >= {"execution", "order"}

    wait_until(bought, poll_s=0.2)
    subscription.cancel()
    count, before = len(executions), len(orders)
    client.order.place_order(**market)
    wait_until(lambda: len(orders) > before)
    assert len(executions) == count


def test_a_refused_auth_is_tried_again(sim: SimulatorProcess, client: Any) -> None:
    """Once refused, once not answered is only once."""
    sim.command("auth_fault", channel="private", count=1, **{"with": "refuse"})
    client.websocket.subscribe_private("order", print)
    client.websocket.start()
    wait_until(lambda: live(client, "client_private"))


def test_public_kinds_arrive(make: Make) -> None:
    """Books begin with a snapshot; more symbols join the connection; callbacks that raise cost nothing."""
    client = make()
    got: dict[str, list[Any]] = {name: [] for name in ("book", "second", "kline", "trade", "ticker")}

    def raising(message: Any) -> None:
        got["trade"].append(message)
        raise RuntimeError("mine")

    ws = client.websocket
    ws.subscribe_to_orderbook("BTCUSDT", got["book"].append)
    ws.start()
    ws.subscribe_to_klines("BTCUSDT", "1m", got["kline"].append)
    ws.subscribe_to_trades(["BTCUSDT", "ETHUSDT"], raising)
    ws.subscribe_to_ticker("ETHUSDT", got["ticker"].append)
    wait_until(lambda: len(got["book"]) > 3)
    ws.subscribe_to_orderbook(["ETHUSDT"], got["book"].append)
    ws.subscribe_to_orderbook("BTCUSDT", got["second"].append)
    wait_until(lambda: all(got.values()) and len(got["trade"]) > 3)
    wait_until(lambda: kinds(got["book"], "orderbook.50.ETHUSDT"))
    assert kinds(got["book"], "orderbook.50.BTCUSDT")[0] == "snapshot"
    assert kinds(got["book"], "orderbook.50.ETHUSDT")[0] == "snapshot"
    assert kinds(got["second"], "orderbook.50.BTCUSDT")[0] == "snapshot"
    assert len([name for name in ws.states() if "orderbook" in name]) == 2


def test_what_bybit_does_not_have_is_refused_at_once(client: Any) -> None:
    """A depth that does not exist, a symbol that cannot be."""
    with pytest.raises(RequestError, match="depth"):
        client.websocket.subscribe_to_orderbook("BTCUSDT", print, depth=500)


def test_orders_over_the_socket(sim: SimulatorProcess, client: Any) -> None:
    """Callbacks and futures; place, amend, cancel; a refusal is an error of the tree."""
    answers: list[Any] = []
    errors: list[Any] = []
    ws = client.websocket
    placed = ws.place_order(answers.append, category="linear", **LIMIT).result(15)
    number = np.float64(29_000.012)  # out of a DataFrame, and between two steps
    changed = ws.amend_order(category="linear", symbol="BTCUSDT", order_id=placed["orderId"], price=number).result(5)
    assert changed["orderId"] == placed["orderId"]
    assert client.order.get_active_orders(symbol="BTCUSDT").model.price == 29_000
    ws.cancel_order(answers.append, category="linear", symbol="BTCUSDT", orderId=placed["orderId"]).result(5)
    refused = ws.place_order(None, errors.append, category="linear", **{**LIMIT, "qty": "450"})
    with pytest.raises(OrderRejectedError):
        refused.result(5)
    wait_until(lambda: len(answers) == 2 and errors)
    assert answers[0]["data"]["orderLinkId"] == placed["orderLinkId"]


def test_an_order_without_an_answer_is_not_sent_again(sim: SimulatorProcess, client: Any) -> None:
    """The connection is lost before the answer: the error carries the id by which the order is found."""
    ws = client.websocket
    ws.place_order(category="linear", **LIMIT).result(15)
    sim.command("trade_fault", what="withhold", count=1)
    lost = ws.place_order(category="linear", **LIMIT)
    wait_until(lambda: not sim.get("/sim/orders").json() or len(client.order.get_active_orders()["list"]) == 2)
    sim.command("drop", code="rst", category="trade")
    with pytest.raises(NetworkError) as caught:
        lost.result(10)
    link = caught.value.params["orderLinkId"]
    assert caught.value.may_be_done
    assert len(client.order.get_active_orders(symbol="BTCUSDT", order_link_id=link)["list"]) == 1
    assert ws.place_order(category="linear", **LIMIT).result(15)["orderId"]


def test_closing_leaves_no_thread(make: Make) -> None:
    """Streams, supervisor, trading socket."""
    before = set(threading.enumerate())
    client = make()
    client.websocket.subscribe_to_ticker("BTCUSDT", print)
    client.websocket.place_order(category="linear", **LIMIT).result(15)
    client.close()
    wait_until(lambda: not [t for t in set(threading.enumerate()) - before if "client" in t.name])


def test_async_calls_streams_and_orders(sim: SimulatorProcess) -> None:
    """The same calls awaited; callbacks may be coroutine functions; futures can be awaited."""

    async def main() -> None:
        async with AsyncBybitClient(
            api_key="simulatorkey", api_secret="simulatorsecret", host_limits=own_limits(), **address(sim)
        ) as client:
            many = await asyncio.gather(*[client.market.get_tickers(symbol="BTCUSDT") for _ in range(20)])
            assert {result["list"][0]["symbol"] for result in many} == {"BTCUSDT"}
            now_ms = await client.get_server_time()
            span: dict[str, Any] = {"start": now_ms - 1_500 * 60_000, "end": now_ms}
            klines = [kline.start async for kline in client.market.iter_klines(symbol="BTCUSDT", interval="1", **span)]
            assert klines == [k.start for k in client.sync.market.iter_klines(symbol="BTCUSDT", interval="1", **span)]
            assert len(klines) == 1_500
            arrived: asyncio.Queue[Any] = asyncio.Queue()
            client.websocket.start()
            client.websocket.subscribe_to_ticker("BTCUSDT", arrived.put)
            assert (await asyncio.wait_for(arrived.get(), 15))["data"]["symbol"] == "BTCUSDT"
            future = client.websocket.place_order(category="linear", **LIMIT)
            placed = await asyncio.wait_for(asyncio.wrap_future(future), 15)
            await client.order.cancel_order(symbol="BTCUSDT", order_id=placed["orderId"])
            await asyncio.to_thread(client.websocket.stop)

    asyncio.run(main())
