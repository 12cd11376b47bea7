"""Prices and sizes on the instrument's steps, read again where they may have changed."""

from typing import Any

import pytest

from exchanges.bybit.client.account import PositionService
from exchanges.bybit.client.calls import Call
from exchanges.bybit.client.engine import Engine
from exchanges.bybit.client.errors import AuthError, BybitError, RequestError
from exchanges.bybit.client.order import OrderService
from exchanges.bybit.client.pybit_http import make_call
from exchanges.bybit.client.rounding import STEPS_AGE_S
from exchanges.bybit.client.service import PathService
from exchanges.transport import Reply
from tests.support.clock import FakeClock
from tests.unit.exchanges.bybit.client.steps_run import NOW_MS, Asked, Runner, answer, engine, silence

ORDER = {"symbol": "A", "side": "Buy", "order_type": "Limit", "qty": "1"}
SPOT = {"symbol": "SPOT", "category": "spot"}


class FakeExchange:
    """Refuses what is not on the steps it has now; counts how often they were read."""

    def __init__(self, tick: str = "0.1", lot: str = "0.01") -> None:
        self.tick, self.lot, self.code, self.is_mute = tick, lot, 0, False
        self.sent: list[dict[str, Any]] = []
        self.questions = 0

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/v5/market/time":
            return answer({"timeNano": str(NOW_MS * 1_000_000)})
        if asked.path == "/v5/market/instruments-info":
            self.questions += 1
            return silence() if self.is_mute else answer({"list": [self.instrument(asked.params["symbol"])]})
        self.sent.append(asked.params)
        if self.code:
            return answer(code=self.code, message="params error")
        return answer({"orderId": "1", "orderLinkId": asked.params.get("orderLinkId")})

    def instrument(self, symbol: str) -> dict[str, Any]:
        lots = {"qtyStep": self.lot}
        if symbol == "SPOT":
            lots = {"basePrecision": self.lot, "quotePrecision": "0.001"}
        return {"symbol": symbol, "priceFilter": {"tickSize": self.tick}, "lotSizeFilter": lots}


def of(kind: Any, exchange: FakeExchange, api: Engine | None = None) -> Any:
    return kind(api or engine(), Runner(exchange), float)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"price": "10.17"}, {"price": "10.1"}),
        ({"price": "10.17", "side": "Sell"}, {"price": "10.2"}),
        ({"qty": 1.239}, {"qty": "1.23"}),
        ({"qty": "0.009"}, {"qty": "0.009"}),
        ({"take_profit": "10.17", "stopLoss": 9.92}, {"takeProfit": "10.2", "stopLoss": "9.9"}),
        ({"trigger_price": "10.17"}, {"triggerPrice": "10.2"}),
        ({"tp_limit_price": "10.11", "sl_limit_price": "9.91"}, {"tpLimitPrice": "10.2", "slLimitPrice": "10.0"}),
        ({"tp_limit_price": "10.19", "side": "Sell"}, {"tpLimitPrice": "10.1"}),
        ({"tp_size": "0.555"}, {"tpSize": "0.55"}),
        ({"take_profit": "0", "stop_loss": ""}, {"takeProfit": "0", "stopLoss": ""}),
        ({"price": "10.10"}, {"price": "10.10"}),
        ({"price": 10}, {"price": "10"}),
        ({**SPOT, "order_type": "Market", "qty": "12.34567"}, {"qty": "12.345"}),
        ({**SPOT, "order_type": "Market", "side": "Sell", "qty": "12.345"}, {"qty": "12.34"}),
        ({**SPOT, "qty": "12.345"}, {"qty": "12.34"}),
    ],
    ids=str,
)  # fmt: skip
def test_every_price_and_size_of_an_order_is_on_a_step(given: dict[str, Any], sent: dict[str, str]) -> None:
    """Limits to the worse for filling, triggers to the nearest, sizes down; never below the first step."""
    exchange = FakeExchange()
    of(OrderService, exchange).place_order(**{**ORDER, **given})
    assert {name: exchange.sent[0][name] for name in sent} == sent


def test_every_way_to_order_is_rounded() -> None:
    """Amending, batches, a position's stops, a call by its name or path."""
    exchange, api = FakeExchange(), engine()
    orders, positions, paths = (of(kind, exchange, api) for kind in (OrderService, PositionService, PathService))
    row = {"symbol": "A", "side": "Sell", "price": 10.17, "qty": 1.239}
    orders.amend_order(symbol="A", order_id="1", price=10.17, qty=1.239)
    orders.place_batch_order(request=[row, {**row, "symbol": "B"}])
    orders.amend_batch_order(request=[{"symbol": "A", "order_id": "1", "price": 10.12}])
    positions.set_trading_stop(symbol="A", take_profit=10.17, trailing_stop=0.58, active_price=10.12, tp_size=1.239)
    paths.request("POST", "/v5/order/create", {"category": "linear", **row})
    amended, placed, changed, stops, raw = exchange.sent
    assert (amended["price"], amended["qty"]) == ("10.2", "1.23")
    assert [(order["price"], order["qty"]) for order in placed["request"]] == [("10.2", "1.23")] * 2
    assert changed["request"][0]["price"] == "10.1"
    assert [stops[name] for name in ("takeProfit", "trailingStop", "activePrice", "tpSize")] == [
        "10.2",
        "0.6",
        "10.1",
        "1.23",
    ]
    assert raw["price"] == "10.2"
    assert exchange.questions == 2


def test_without_a_key_nothing_is_sent() -> None:
    """An order that cannot be sent needs no steps."""
    exchange = FakeExchange()
    with pytest.raises(AuthError):
        of(OrderService, exchange, engine(key="")).place_order(**ORDER, price="10.17")
    assert (exchange.questions, exchange.sent) == (0, [])


def test_rounding_can_be_switched_off() -> None:
    """round_prices=False: what was written is sent, and nothing is asked."""
    exchange = FakeExchange()
    of(OrderService, exchange, engine(round_prices=False)).place_order(**ORDER, price="10.17")
    assert (exchange.sent[0]["price"], exchange.questions) == ("10.17", 0)


@pytest.mark.parametrize("code", [10001, 170134, 170137, 110017])
def test_after_a_refusal_the_new_step_is_read_at_once(code: int) -> None:
    """The order goes out again on it: the exchange answered that it did nothing."""
    exchange = FakeExchange()
    orders = of(OrderService, exchange)
    orders.place_order(**ORDER, price="10.17")
    exchange.tick, exchange.code = "1", code
    real = exchange.instrument

    def asked(symbol: str) -> dict[str, Any]:
        exchange.code = 0
        return real(symbol)

    exchange.instrument = asked  # type: ignore[method-assign]
    orders.place_order(**ORDER, price="10.17")
    assert [order["price"] for order in exchange.sent] == ["10.1", "10.1", "10"]
    assert exchange.sent[1]["orderLinkId"] == exchange.sent[2]["orderLinkId"]


def test_a_refusal_for_another_reason_reads_no_filters() -> None:
    """No balance; and what is refused for ever is not read about at full pace."""
    exchange = FakeExchange()
    clock = FakeClock()
    orders = of(OrderService, exchange, engine(clock=clock))
    exchange.code = 110007
    with pytest.raises(BybitError):
        orders.place_order(**ORDER, price="10.1")
    assert exchange.questions == 1
    exchange.code = 10001
    for _ in range(5):
        with pytest.raises(RequestError):
            orders.place_order(**ORDER, price="10.1")
    assert exchange.questions == 2
    clock.now_s += 400
    for _ in range(5):
        with pytest.raises(RequestError):
            orders.place_order(**ORDER, price="10.1")
    assert exchange.questions == 3


def test_a_finer_step_is_read_after_a_while() -> None:
    """Nothing is refused for it."""
    exchange = FakeExchange()
    clock = FakeClock()
    orders = of(OrderService, exchange, engine(clock=clock))
    orders.place_order(**ORDER, price="10.123")
    exchange.tick = "0.001"
    orders.place_order(**ORDER, price="10.123")
    clock.now_s += STEPS_AGE_S + 1
    orders.place_order(**ORDER, price="10.123")
    assert [order["price"] for order in exchange.sent] == ["10.1", "10.1", "10.123"]


def test_without_an_answer_the_old_steps_stay() -> None:
    """And are not read by every order."""
    exchange = FakeExchange()
    clock = FakeClock()
    orders = of(OrderService, exchange, engine(clock=clock))
    orders.place_order(**ORDER, price="10.123")
    exchange.is_mute = True
    clock.now_s += STEPS_AGE_S + 1
    asked = exchange.questions
    orders.place_order(**ORDER, price="10.123")
    once = exchange.questions - asked
    orders.place_order(**ORDER, price="10.123")
    assert exchange.questions == asked + once
    assert [order["price"] for order in exchange.sent] == ["10.1"] * 3


def test_a_batch_has_a_code_for_each_order() -> None:
    """Its answer is a good one: the next batch has the new steps."""
    exchange, api = FakeExchange(), engine()
    call = make_call(
        "POST", "/v5/order/create-batch", {"category": "linear", "request": [{"symbol": "A", "price": "10.17"}]}, True
    )
    runner = Runner(exchange)
    first = runner.run(api.fitted(call))
    exchange.tick = "1"
    api.record_answer(first, {"retCode": 0, "retExtInfo": {"list": [{"code": 10001, "msg": "Price invalid"}]}})
    second: Call = runner.run(api.fitted(call))
    assert [fitted.params["request"][0]["price"] for fitted in (first, second)] == ["10.2", "10"]


@pytest.mark.parametrize("odd", [None, {}, [], {"list": None}, {"list": [None]}, {"list": [{"symbol": "B"}]}], ids=str)
def test_an_odd_listing_costs_the_steps_only(odd: Any) -> None:
    """The order goes out as it is."""
    exchange = FakeExchange()
    runner = Runner(lambda asked: answer(odd) if "instruments" in asked.path else exchange(asked))
    OrderService(engine(), runner, float).place_order(**ORDER, price="10.17")  # type: ignore[arg-type]
    assert exchange.sent[0]["price"] == "10.17"
