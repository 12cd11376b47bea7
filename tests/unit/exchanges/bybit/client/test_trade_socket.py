"""Orders over the trading socket: one answer each, by reqId, or an error by the deadline."""

import json
import time
from typing import Any

import pytest

from exchanges.bybit.client.calls import Keys
from exchanges.bybit.client.errors import AuthError, BadAnswerError, NetworkError, OrderRejectedError
from exchanges.bybit.client.private_stream import AuthHandshake, AuthRefusedError, auth_message, one_by_one
from exchanges.bybit.client.pybit_http import make_call
from exchanges.bybit.client.trade_socket import TradeSocket

CALL = make_call("POST", "/v5/order/create", {"symbol": "A", "orderLinkId": "mine"}, True)


class Link:
    """What was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))


class ShortLink(Link):
    """A connection that accepts the key, lets requests out once, and ends."""

    def succeeded(self) -> None:
        """The key was accepted."""

    def close(self) -> None:
        """Ended."""

    def read_until_closed(self, receiver: Any, **_options: Any) -> None:
        receiver.other(b'{"op":"auth","retCode":0}')
        receiver.tick(time.monotonic())


def socket() -> TradeSocket:
    return TradeSocket("ws://x", Keys("k", "s"), dial=lambda _url: None, now_ms=lambda: 5, recv_window_ms=5000)


def test_answers_find_their_requests() -> None:
    """In any order."""
    trade, link = socket(), Link()
    futures = [trade.submit("order.create", CALL, None) for _ in range(2)]
    trade.send_waiting(link)  # type: ignore[arg-type]
    for number in (1, 0):
        trade.answered({"reqId": link.sent[number]["reqId"], "retCode": 0, "data": {"orderId": str(number)}})
    assert [future.result(0)["orderId"] for future in futures] == ["0", "1"]
    assert link.sent[0]["header"] == {"X-BAPI-TIMESTAMP": "5", "X-BAPI-RECV-WINDOW": "5000"}
    assert (link.sent[0]["op"], link.sent[0]["args"]) == ("order.create", [dict(CALL.params)])


def test_a_refusal_is_an_error_of_the_tree() -> None:
    """With the order's parameters."""
    trade, link = socket(), Link()
    future = trade.submit("order.create", CALL, None)
    trade.send_waiting(link)  # type: ignore[arg-type]
    trade.answered({"reqId": link.sent[0]["reqId"], "retCode": 110007, "retMsg": "no balance"})
    with pytest.raises(OrderRejectedError, match="no balance"):
        future.result(0)


@pytest.mark.parametrize(
    "answer",
    [
        {}, {"retCode": None}, {"retCode": "0", "data": {"orderId": "1"}}, {"retCode": False, "data": {"orderId": "1"}},
        {"retCode": 0}, {"retCode": 0, "data": None}, {"retCode": 0, "data": []},
        {"retCode": 0, "data": {"orderId": ""}},
        {"retCode": None, "header": "x", "data": {"orderId": "1"}},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_without_a_code_or_an_order_leaves_it_open(answer: dict[str, Any]) -> None:
    """Neither success nor refusal: look it up by its id."""
    trade, link = socket(), Link()
    future = trade.submit("order.create", CALL, None)
    trade.send_waiting(link)  # type: ignore[arg-type]
    trade.answered({"reqId": link.sent[0]["reqId"], **answer})
    with pytest.raises(BadAnswerError) as caught:
        future.result(0)
    assert (caught.value.is_retry_safe, caught.value.may_be_done) == (False, True)
    assert caught.value.params["orderLinkId"] == "mine"


def test_every_answer_with_a_code_is_recorded() -> None:
    """A refused price may mean that they changed."""
    seen: list[Any] = []
    trade = TradeSocket(
        "ws://x", Keys("k", "s"), dial=lambda _url: None, now_ms=lambda: 5, recv_window_ms=5000,
        record_answer=lambda call, message: seen.append((call, message.get("retCode"))),
    )  # fmt: skip
    link = Link()
    futures = [trade.submit("order.create", CALL, None) for _ in range(3)]
    trade.send_waiting(link)  # type: ignore[arg-type]
    answers: list[dict[str, Any]] = [{"retCode": 10001}, {"retCode": 0, "data": {"orderId": "1"}}, {}]
    for sent, answer in zip(link.sent, answers, strict=True):
        trade.answered({"reqId": sent["reqId"], **answer})
    assert all(future.done() for future in futures)
    assert seen == [(CALL, 10001), (CALL, 0)]


@pytest.mark.parametrize("header", [None, "x", [], {"X-Bapi-Limit": None}], ids=str)
def test_an_odd_header_costs_itself(header: Any) -> None:
    """The order's future must end all the same."""
    trade, link = socket(), Link()
    future = trade.submit("order.create", CALL, None)
    trade.send_waiting(link)  # type: ignore[arg-type]
    trade.answered({"reqId": link.sent[0]["reqId"], "retCode": 0, "header": header, "data": {"orderId": "1"}})
    assert future.result(0)["orderId"] == "1"


def test_what_was_not_sent_may_be_sent_again() -> None:
    """No connection until the deadline: nothing was done."""
    trade = socket()
    future = trade.submit("order.create", CALL, None, timeout_s=0.0)
    trade.expire(time.monotonic() + 1)
    with pytest.raises(NetworkError) as caught:
        future.result(0)
    assert (caught.value.is_retry_safe, caught.value.may_be_done) == (True, False)


def test_what_was_sent_may_be_done() -> None:
    """No answer until the deadline, or the connection ended: look it up by its id."""
    link: Any = ShortLink()
    trade = TradeSocket("ws://x", Keys("k", "s"), dial=lambda _url: link, now_ms=lambda: 5, recv_window_ms=5000)
    future = trade.submit("order.create", CALL, None)
    trade.run()
    assert [sent["op"] for sent in link.sent] == ["auth", "order.create"]
    with pytest.raises(NetworkError) as caught:
        future.result(0)
    assert (caught.value.is_retry_safe, caught.value.may_be_done) == (False, True)
    assert caught.value.params["orderLinkId"] == "mine"


def test_a_late_answer_does_no_harm() -> None:
    """Its future has ended."""
    socket().answered({"reqId": "unknown", "retCode": 0})


def test_auth_is_accepted_once() -> None:
    """Private and trade answer in different shapes; other messages accept nothing."""
    for payload in (b'{"op":"auth","success":true}', b'{"op":"auth","retCode":0}'):
        handshake = AuthHandshake("x")
        assert not handshake.answered(b'{"op":"pong"}')
        assert not handshake.answered(b"garbage")
        assert handshake.answered(payload)
        assert handshake.is_open


@pytest.mark.parametrize("payload", [b'{"op":"auth","success":false,"ret_msg":"no"}', b'{"op":"auth","retCode":10004}'])
def test_a_refused_key_ends_the_connection(payload: bytes) -> None:
    """It is tried again with growing pauses: the key may be made valid meanwhile."""
    handshake = AuthHandshake("x")
    assert not handshake.answered(payload)
    with pytest.raises(AuthRefusedError):
        handshake.tick(1.0)
    assert not issubclass(AuthRefusedError, AuthError)


@pytest.mark.parametrize("odd", [b'{"op":"auth"}', b'{"op":"auth","retCode":null}', b'{"op":"auth","success":"no"}'])
def test_auth_is_not_taken_for_granted(odd: bytes) -> None:
    """An answer that says neither yes nor no accepts nothing."""
    handshake = AuthHandshake("x")
    assert not handshake.answered(odd)
    assert not handshake.is_open
    with pytest.raises(AuthRefusedError):
        handshake.tick(1.0)


def test_auth_without_an_answer_ends_the_connection() -> None:
    """Within its deadline."""
    handshake = AuthHandshake("x")
    handshake.tick(100.0)
    handshake.tick(109.0)
    with pytest.raises(AuthRefusedError):
        handshake.tick(111.0)


def test_the_auth_message_is_the_documented_one() -> None:
    """docs: ws/connect; expires lies ahead."""
    message = json.loads(auth_message(Keys("k", "s"), 1_000))
    assert (message["op"], message["args"][0]) == ("auth", "k")
    assert message["args"][1] > 1_000
    assert message["args"][2] == Keys("k", "s").sign(f"GET/realtime{message['args'][1]}")


def test_private_topics_are_subscribed_one_by_one() -> None:
    """All-in-one and categorised ones may not be mixed."""
    assert one_by_one(["order", "position.linear"]) == [("order",), ("position.linear",)]
