"""An order is placed once, whatever stays away."""

import json
from typing import Any

import pytest

from exchanges.bybit.client.errors import DuplicateOrderError, NetworkError, OrderRejectedError
from exchanges.bybit.client.order import OrderService
from exchanges.bybit.client.steps import Sync
from exchanges.retries import ATTEMPTS
from exchanges.transport import Reply
from tests.unit.exchanges.bybit.client.steps_run import NOW_MS, Asked, Runner, answer, engine, silence, text

ORDER: dict[str, Any] = {"symbol": "BTCUSDT", "side": "Buy", "order_type": "Limit", "qty": "0.001", "price": "30000"}


def answer_of(result: Any) -> Reply:
    """A good code with any result, null too."""
    return text(json.dumps({"retCode": 0, "retMsg": "OK", "result": result}))


class FakeExchange:
    """Keeps orders by orderLinkId; `fates` are the outcomes of creates in turn: (is it done, what is answered)."""

    def __init__(self, *fates: tuple[bool, Reply | None]) -> None:
        self.fates = list(fates)
        self.placed: list[str] = []
        self.creates: list[dict[str, Any]] = []
        self.is_blind = False

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/v5/market/time":
            return answer({"timeNano": str(NOW_MS * 1_000_000)})
        if asked.path == "/v5/market/instruments-info":
            return answer({"list": [{"symbol": "BTCUSDT", "priceFilter": {"tickSize": "0.10"}}]})
        if asked.path == "/v5/order/create":
            return self.create(asked.params)
        if asked.path.endswith("-batch"):
            return answer({"list": []})
        link = asked.params["orderLinkId"]
        found = [{"orderId": f"id-{link}", "orderLinkId": link, "symbol": "BTCUSDT"}] if link in self.placed else []
        return answer({"list": [] if self.is_blind else found})

    def create(self, params: dict[str, Any]) -> Reply:
        link = params["orderLinkId"]
        self.creates.append(params)
        is_done, reply = self.fates.pop(0) if self.fates else (True, None)
        if not is_done:
            assert reply is not None
            return reply
        if link in self.placed:
            return answer(code=110072, message="duplicate")
        self.placed.append(link)
        return reply or answer({"orderId": f"id-{link}", "orderLinkId": link})


def service(exchange: FakeExchange) -> tuple[OrderService[Sync], Runner]:
    runner = Runner(exchange)
    return OrderService(engine(), runner, float), runner  # type: ignore[arg-type]


def test_an_order_gets_an_id_of_its_own() -> None:
    """By which it can be found again."""
    exchange = FakeExchange()
    orders, _ = service(exchange)
    first, second = orders.place_order(**ORDER), orders.place_order(**ORDER)
    assert first["orderId"] == f"id-{first['orderLinkId']}"
    assert len(set(exchange.placed)) == 2
    assert second.model.order_link_id in exchange.placed


def test_done_without_an_answer_is_found() -> None:
    """The order is looked up and returned as if the answer had come; nothing is sent again."""
    exchange = FakeExchange((True, silence()))
    placed = service(exchange)[0].place_order(**ORDER)
    assert placed["orderId"] == f"id-{exchange.placed[0]}"
    assert len(exchange.creates) == 1


def test_not_done_without_an_answer_is_sent_again() -> None:
    """Under the same id."""
    exchange = FakeExchange((False, silence()), (False, answer(status=502)))
    placed = service(exchange)[0].place_order(**ORDER)
    assert exchange.placed == [placed["orderLinkId"]]
    assert len({create["orderLinkId"] for create in exchange.creates}) == 1
    assert len(exchange.creates) == 3


def test_a_late_first_sending_makes_no_second_order() -> None:
    """It arrives after the look-up: the exchange has the id, and the order is found."""
    exchange = FakeExchange((False, silence()))
    orders, _ = service(exchange)
    link = "mine"
    exchange.is_blind = True
    real = exchange.create

    def late(params: dict[str, Any]) -> Reply:
        reply = real(params)
        if len(exchange.creates) == 1:
            exchange.placed.append(link)
        exchange.is_blind = len(exchange.creates) < 2
        return reply

    exchange.create = late  # type: ignore[method-assign]
    assert orders.place_order(**ORDER, order_link_id=link)["orderId"] == "id-mine"
    assert exchange.placed == [link]


def test_an_id_used_before_is_the_callers_error() -> None:
    """His own orderLinkId, refused at once: another order of his has it."""
    exchange = FakeExchange()
    orders, _ = service(exchange)
    orders.place_order(**ORDER, order_link_id="mine")
    with pytest.raises(DuplicateOrderError):
        orders.place_order(**ORDER, order_link_id="mine")
    assert len(exchange.creates) == 2


def test_a_refused_order_is_not_sent_again() -> None:
    """No money: one request, one error."""
    exchange = FakeExchange((False, answer(code=110007, message="no balance")))
    with pytest.raises(OrderRejectedError, match="no balance"):
        service(exchange)[0].place_order(**ORDER)
    assert len(exchange.creates) == 1


def test_giving_up_names_the_id() -> None:
    """Never an answer: what to look for stands in the error, and the same id may be sent again."""
    exchange = FakeExchange(*[(False, silence())] * ATTEMPTS)
    with pytest.raises(NetworkError) as caught:
        service(exchange)[0].place_order(**ORDER)
    assert caught.value.params["orderLinkId"] == exchange.creates[0]["orderLinkId"]
    assert (caught.value.is_retry_safe, caught.value.may_be_done) == (True, True)
    assert len(exchange.creates) == ATTEMPTS


def test_where_looking_up_fails_nothing_is_sent() -> None:
    """What is not known to be absent must not be sent again."""
    exchange = FakeExchange((True, silence()))
    runner = Runner(lambda asked: silence() if asked.path in ("/v5/order/realtime",) else exchange(asked))
    orders: OrderService[Sync] = OrderService(engine(), runner, float)  # type: ignore[arg-type]
    with pytest.raises(NetworkError):
        orders.place_order(**ORDER)
    assert len(exchange.creates) == 1


@pytest.mark.parametrize(
    ("side", "price", "sent"),
    [
        ("Buy", "29999.97", "29999.90"),
        ("Sell", "29999.97", "30000.00"),
        ("Buy", 66577.995000001, "66577.90"),
        ("Buy", "30000", "30000"),
        ("Buy", "0.05", "0.05"),
    ],
)
def test_prices_fit_the_steps(side: str, price: str | float, sent: str) -> None:
    """`str(current_price * 0.99)` works; what is a step already, or below the first, goes out as it is."""
    exchange = FakeExchange()
    service(exchange)[0].place_order(**{**ORDER, "side": side, "price": price})
    assert exchange.creates[0]["price"] == sent


@pytest.mark.parametrize("odd", [None, {}, [], "ok", {"orderId": ""}, {"orderId": None}, {"list": None}], ids=str)
def test_an_answer_that_names_no_order_is_looked_up(odd: Any) -> None:
    """A good code alone does not prove that it was placed: found it is returned, else sent under the same id."""
    for is_done in (True, False):
        exchange = FakeExchange((is_done, answer_of(odd)))
        placed = service(exchange)[0].place_order(**ORDER)
        assert placed["orderId"] == f"id-{exchange.placed[0]}"
        assert len(exchange.creates) == (1 if is_done else 2)
        assert len({create["orderLinkId"] for create in exchange.creates}) == 1


@pytest.mark.parametrize(
    "body",
    [
        '{"result": {"orderId": "x"}}', '{"retCode": null, "result": {}}', '{"retCode": "0", "result": {}}',
        '{"retCode": false, "result": {"orderId": "x"}}', '{"retCode": 0.0, "result": {"orderId": "x"}}',
        '{"retCode": [0]}', '[{"retCode": 0}]', "null", "0", '"OK"', "", "<html>", "[" * 100_000, '{"retCode": 0',
    ],
    ids=lambda body: body[:40],
)  # fmt: skip
def test_an_answer_without_a_code_leaves_it_open(body: str) -> None:
    """Neither placed nor refused: done it is found, undone it is sent again under its id, and never twice."""
    for is_done in (True, False):
        exchange = FakeExchange((is_done, text(body)))
        placed = service(exchange)[0].place_order(**ORDER)
        assert exchange.placed == [placed["orderLinkId"]]
        assert placed["orderId"] == f"id-{exchange.placed[0]}"
        assert len(exchange.creates) == (1 if is_done else 2)


def test_somebody_elses_order_is_not_taken_for_ours() -> None:
    """A look-up that is answered with another order, or with null."""
    for rows in ([{"orderId": "1", "orderLinkId": "other"}], [None], None):
        exchange = FakeExchange((False, silence()))

        def script(asked: Asked, rows: Any = rows, exchange: FakeExchange = exchange) -> Reply:
            is_look_up = asked.path in ("/v5/order/realtime", "/v5/order/history")
            return answer_of({"list": rows}) if is_look_up else exchange(asked)

        orders: OrderService[Sync] = OrderService(engine(), Runner(script), float)  # type: ignore[arg-type]
        assert orders.place_order(**ORDER)["orderId"] == f"id-{exchange.placed[0]}"
        assert len(exchange.creates) == 2


@pytest.mark.parametrize("left_out", [None, ""])
def test_an_empty_id_is_none(left_out: Any) -> None:
    """Without an id an order could not be found again."""
    exchange = FakeExchange()
    orders, runner = service(exchange)
    orders.place_order(**ORDER, order_link_id=left_out)
    orders.place_order(**ORDER, orderLinkId=left_out)
    orders.place_batch_order(request=[{"symbol": "A", "orderLinkId": left_out}])
    batch = next(asked for asked in runner.asked if asked.path.endswith("batch")).params["request"]
    links = [*exchange.placed, batch[0]["orderLinkId"]]
    assert (len(set(links)), all(links)) == (3, True)


def test_every_order_of_a_batch_gets_an_id() -> None:
    """So that sending the batch again places none twice; the error is marked as safe to repeat."""
    exchange = FakeExchange()
    runner = Runner(lambda asked: silence() if asked.path.endswith("create-batch") else exchange(asked))
    orders: OrderService[Sync] = OrderService(engine(), runner, float)  # type: ignore[arg-type]
    with pytest.raises(NetworkError) as caught:
        orders.place_batch_order(request=[{"symbol": "A"}, {"symbol": "B", "order_link_id": "b"}])
    links = [order["orderLinkId"] for order in caught.value.params["request"]]
    assert (len(set(links)), links[1]) == (2, "b")
    assert (caught.value.is_retry_safe, runner.paths.count("/v5/order/create-batch")) == (True, 1)
