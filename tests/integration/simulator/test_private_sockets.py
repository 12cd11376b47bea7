"""The simulated exchange's private and trade sockets, over plain WebSocket: answers, refusals, faults."""

import hashlib
import hmac
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.simulator.client import PlainClient
from tests.integration.simulator.pybit_clients import KEYS
from tests.support.simulator import SimulatorProcess

ORDER = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "qty": "0.001",
    "price": "60000.00",
}


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    """A quiet market."""
    with SimulatorProcess("--rate", "20", "--symbols", "1", "--illiquid", "0") as process:
        yield process


def auth_args(secret: str = KEYS["api_secret"], ahead_ms: int = 10_000) -> list[Any]:
    """As signed by a client."""
    expires = time.time_ns() // 1_000_000 + ahead_ms
    sign = hmac.new(secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
    return [KEYS["api_key"], expires, sign]


def ask(client: PlainClient, **request: Any) -> Any:
    """One request, the next message."""
    client.send(**request)
    return client.receive()


def order(client: PlainClient, req_id: str, op: str = "order.create", **change: Any) -> Any:
    """One order by socket."""
    stamp = str(time.time_ns() // 1_000_000)
    return ask(client, reqId=req_id, header={"X-BAPI-TIMESTAMP": stamp}, op=op, args=[ORDER | change])


def test_private_socket_wants_auth_first(sim: SimulatorProcess) -> None:
    """A wrong signature and an old time are refused, a later right one is taken."""
    with PlainClient(f"{sim.ws_base}/v5/private") as client:
        assert ask(client, op="subscribe", args=["order"])["ret_msg"] == "Request not authorized"
        for args in (auth_args(secret="wrong"), auth_args(ahead_ms=-1), ["x"]):
            assert ask(client, op="auth", args=args)["success"] is False
        answer = ask(client, req_id="a", op="auth", args=auth_args())
        assert (answer["success"], answer["op"], answer["req_id"]) == (True, "auth", "a")
        assert ask(client, op="ping", req_id="p")["op"] == "pong"


def test_topics_are_not_mixed_nor_taken_twice(sim: SimulatorProcess) -> None:
    """All-in-one or by category; unknown ones are named."""
    with PlainClient(f"{sim.ws_base}/v5/private") as client:
        ask(client, op="auth", args=auth_args())
        assert ask(client, op="subscribe", args=["order", "position.linear"])["success"] is False
        assert ask(client, op="subscribe", args=["nothing"])["ret_msg"] == "error:handler not found,topic:nothing"
        assert ask(client, op="subscribe", args=["order", "position", "wallet"])["success"] is True
        assert ask(client, op="subscribe", args=["order"])["ret_msg"] == "error:already subscribed,topic:order"
        assert ask(client, op="unsubscribe", args=["order"])["success"] is True


def test_auth_faults_strike_once(sim: SimulatorProcess) -> None:
    """Refused, then not answered at all, then as ever."""
    sim.command("auth_fault", channel="private")
    sim.command("auth_fault", channel="private", **{"with": "silent"})
    with PlainClient(f"{sim.ws_base}/v5/private") as client:
        assert ask(client, op="auth", args=auth_args())["ret_msg"] == "API key is invalid."
        client.send(op="auth", args=auth_args())
        with pytest.raises(TimeoutError):
            client.receive(0.3)
        assert ask(client, op="auth", args=auth_args())["success"] is True


def test_drop_and_stall_choose_the_private_socket(sim: SimulatorProcess) -> None:
    """Public ones live on."""
    with PlainClient(f"{sim.ws_base}/v5/private") as private, PlainClient(sim.ws_url()) as public:
        assert sim.command("drop", category="private", code=1012)["connections"] == 1
        with pytest.raises(ConnectionClosed):
            private.receive()
        assert ask(public, op="ping")["ret_msg"] == "pong"


def test_orders_by_socket_share_limits_with_rest(sim: SimulatorProcess) -> None:
    """The header counts down; over the limit 10006."""
    sim.command("limits", **{"/v5/order/create": 2, "forget": True})
    with PlainClient(f"{sim.ws_base}/v5/trade") as client:
        assert order(client, "0")["retCode"] == 10003
        assert ask(client, op="auth", args=auth_args()).items() >= {"retCode": 0, "op": "auth"}.items()
        assert ask(client, op="auth", args=auth_args())["retCode"] == 20001
        answers = [order(client, f"r-{number}") for number in range(3)]
    sim.command("limits", **{"/v5/order/create": 0})
    assert [a["reqId"] for a in answers] == ["r-0", "r-1", "r-2"]
    assert (answers[0]["retCode"], answers[0]["header"]["X-Bapi-Limit"]) == (0, "2")
    assert answers[2]["retCode"] in (0, 10006)  # a slow machine may need a second for three


def test_wrong_requests_by_socket(sim: SimulatorProcess) -> None:
    """Repeated reqId, old time, unknown op, refused order."""
    sim.command("limits", all=0, **{"/v5/order/create": 0})
    with PlainClient(f"{sim.ws_base}/v5/trade") as client:
        ask(client, op="auth", args=auth_args())
        assert order(client, "same")["retCode"] == 0
        assert order(client, "same")["retCode"] == 20006
        assert (
            ask(client, reqId="old", header={"X-BAPI-TIMESTAMP": "1"}, op="order.create", args=[ORDER])["retCode"]
            == 10002
        )
        assert ask(client, op="order.explode")["retCode"] == 10404
        assert order(client, "bad", qty="0")["retCode"] == 10001
        batch = order(client, "batch", op="order.create-batch", request=[ORDER, ORDER | {"qty": "9"}])
        assert [verdict["code"] for verdict in batch["retExtInfo"]["list"]] == [0, 0]
        assert ask(client, op="ping")["op"] == "pong"


def test_a_withheld_answer_hides_a_placed_order(sim: SimulatorProcess) -> None:
    """The order counts show it; a second attempt is a duplicate."""
    sim.command("limits", all=0, **{"/v5/order/create": 0})
    sim.command("trade_fault", what="withhold")
    sim.command("trade_fault", what=10016)
    with PlainClient(f"{sim.ws_base}/v5/trade") as client:
        ask(client, op="auth", args=auth_args())
        header = {"X-BAPI-TIMESTAMP": str(time.time_ns() // 1_000_000)}
        client.send(reqId="w", header=header, op="order.create", args=[ORDER | {"orderLinkId": "withheld"}])
        with pytest.raises(TimeoutError):
            client.receive(0.5)
        assert order(client, "w2", orderLinkId="withheld")["retCode"] == 10016
        assert order(client, "w3", orderLinkId="withheld")["retCode"] == 110072
    order_counts = sim.get("/sim/orders", prefix="withheld").json()
    assert (order_counts["received"], order_counts["placed"]) == ({"withheld": 3}, {"withheld": 1})
