"""Positions and money, by hand-made numbers; orders against a price that tests set."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchanges.simulated.bybit.accounts import Position
from exchanges.simulated.bybit.private import PrivateSide

from .conftest import Harness, payloads

D = Decimal
UID = 5


class Trader:
    """One account on a silent market."""

    def __init__(self, harness: Harness, **options: Any) -> None:
        self.harness = harness
        self.side = PrivateSide(replace(harness.options, **options), harness.hub, harness.market)
        self.api = self.side.gateway.private

    def do(self, path: str, **body: Any) -> Any:
        """The result, or the code of a refusal."""
        params = {"category": "linear", "symbol": "BTCUSDT"} | body
        code, _, result, _ = self.api.run(UID, f"/v5/{path}", params)
        return result if code == 0 else code

    def order(self, side: str, qty: str, price: str = "", **more: Any) -> Any:
        """Limit with a price, market without."""
        kind = {"orderType": "Limit", "price": price} if price else {"orderType": "Market"}
        return self.do("order/create", side=side, qty=qty, **kind, **more)

    def price(self, price: str) -> None:
        """The market jumps."""
        self.side.commands.commands["price"]({"symbol": "BTCUSDT", "price": price})

    def open_orders(self) -> list[Any]:
        """Newest first."""
        return list(self.do("order/realtime")["list"])

    def last_order(self) -> Any:
        """The newest closed one."""
        return self.do("order/history")["list"][0]


@pytest.fixture
def trader(harness: Harness) -> Trader:
    """With the first balances, BTCUSDT at 60,000."""
    trader = Trader(harness)
    trader.price("60000")
    return trader


def test_positions_average_in_and_earn_on_the_way_out() -> None:
    """Long 1 at 100 and 1 at 110, out of 3 at 120: short 1 at 120, and 30 earned."""
    position = Position("linear", "X", 0, 0, 0)
    assert position.trade(D(1), D(100)) == (0, 0)
    assert position.trade(D(1), D(110)) == (0, 0)
    assert position.average == 105
    assert position.trade(D(-3), D(120)) == (2, 30)
    assert (position.size, position.average, position.side) == (-1, 120, "Sell")
    assert position.pnl_at(D(100)) == 20


def test_inverse_positions_earn_in_coin() -> None:
    """1000 contracts from 10,000 to 20,000 earn half of what they were worth."""
    position = Position("inverse", "X", 0, 0, 0)
    position.trade(D(1000), D(10_000))
    assert position.trade(D(-1000), D(20_000)) == (1000, D("0.05"))


def test_limit_orders_rest_until_the_price_crosses_them(trader: Trader) -> None:
    """And then trade at their own price, as makers; on arrival they take the better price."""
    trader.order("Buy", "0.010", "59000.00")
    trader.order("Buy", "0.010", "58000.00")
    trader.price("58500")
    assert [order["price"] for order in trader.open_orders()] == ["58000.00"]
    (fill,) = trader.do("execution/list")["list"]
    assert (fill["execPrice"], fill["isMaker"], fill["execFee"]) == ("59000.00", True, "0.118")
    trader.order("Buy", "0.010", "60000.00")
    fill = trader.do("execution/list")["list"][0]
    assert (fill["execPrice"], fill["isMaker"]) == ("58500.10", False)


def test_times_in_force(trader: Trader) -> None:
    """PostOnly must not take, IOC and FOK must not rest."""
    trader.order("Buy", "0.010", "61000.00", timeInForce="PostOnly")
    assert trader.last_order()["rejectReason"] == "EC_PostOnlyWillTakeLiquidity"
    trader.order("Buy", "0.010", "59000.00", timeInForce="IOC")
    assert trader.last_order()["rejectReason"] == "EC_NoImmediateQtyToFill"
    trader.order("Buy", "0.010", "61000.00", timeInForce="FOK")
    assert trader.last_order()["orderStatus"] == "Filled"
    assert trader.open_orders() == []


def test_conditional_orders_wait_for_their_trigger(trader: Trader) -> None:
    """Untriggered until then."""
    trader.order("Sell", "0.010", triggerPrice="59500", triggerDirection=2)
    assert trader.open_orders()[0]["orderStatus"] == "Untriggered"
    trader.price("59600")
    assert len(trader.open_orders()) == 1
    trader.price("59400")
    assert trader.last_order()["orderStatus"] == "Filled"


def test_open_orders_bind_margin_and_give_it_back(trader: Trader) -> None:
    """At leverage 10, a tenth of the value."""
    trader.do("order/create", side="Buy", orderType="Limit", price="50000.00", qty="1.000")
    wallet = trader.do("account/wallet-balance", accountType="UNIFIED", coin="USDT")["list"][0]
    assert wallet["coin"][0]["totalOrderIM"] == "5000"
    trader.do("order/cancel-all")
    wallet = trader.do("account/wallet-balance", accountType="UNIFIED", coin="USDT")["list"][0]
    assert wallet["coin"][0]["totalOrderIM"] == "0"


def test_positions_bind_margin_and_what_is_left_is_the_limit(trader: Trader) -> None:
    """110007 beyond it; the account stays as it was."""
    trader.side.commands.commands["balance"]({"uid": UID, "coin": "USDT", "amount": "10000"})
    trader.order("Buy", "1.000")
    wallet = trader.do("account/wallet-balance", accountType="UNIFIED", coin="USDT")["list"][0]
    assert wallet["coin"][0]["totalPositionIM"] == "6000.01"
    assert trader.order("Buy", "1.000") == 110007
    assert trader.do("position/list")["list"][0]["size"] == "1.000"
    assert "orderId" in trader.order("Buy", "0.600")
    assert "orderId" in trader.order("Sell", "1.600")


def test_an_amended_order_trades_once(trader: Trader) -> None:
    """At its new price and quantity."""
    order = trader.order("Buy", "0.010", "59000.00")
    trader.do("order/amend", orderId=order["orderId"], qty="0.020")
    trader.do("order/amend", orderId=order["orderId"], price="59100.00")
    trader.do("order/amend", orderId=order["orderId"], price="59000.00")
    assert trader.do("order/amend", orderId=order["orderId"], price="59000.00") == 10001
    trader.price("58000")
    (fill,) = trader.do("execution/list")["list"]
    assert (fill["execPrice"], fill["execQty"]) == ("59000.00", "0.020")
    assert trader.do("order/cancel", orderId=order["orderId"]) == 110001


def test_active_orders_are_bounded(harness: Harness) -> None:
    """110020; a cancelled one makes room."""
    trader = Trader(harness, active_orders=2)
    orders = [trader.order("Buy", "0.010", "50000.00") for _ in range(3)]
    assert orders[2] == 110020
    trader.do("order/cancel", orderId=orders[0]["orderId"])
    assert "orderId" in trader.order("Buy", "0.010", "50000.00")


def test_stops_modes_and_margin_are_set_once(trader: Trader) -> None:
    """A second time nothing is modified."""
    trader.order("Buy", "0.010")
    stop = {"takeProfit": "70000", "tpslMode": "Full", "positionIdx": 0}
    assert [trader.do("position/trading-stop", **stop) for _ in range(2)] == [{}, 34040]
    assert trader.do("position/list")["list"][0]["takeProfit"] == "70000"
    assert trader.do("position/switch-mode", mode=3) == 110024
    assert trader.do("position/set-leverage", buyLeverage="101", sellLeverage="101") == 110013
    assert trader.do("position/set-leverage", buyLeverage="5", sellLeverage="5") == {}
    assert trader.do("position/list")["list"][0]["leverage"] == "5"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("order/realtime", {"symbol": ""}),
        ("order/realtime", {"category": "swap"}),
        ("order/history", {"startTime": "1", "endTime": str(8 * 86_400_000)}),
        ("order/history", {"limit": "51"}),
        ("execution/list", {"cursor": "nonsense"}),
        ("position/list", {"symbol": ""}),
        ("account/wallet-balance", {"accountType": "SPOT"}),
        ("order/create", {"qty": 1}),
        ("order/create", {"positionIdx": "x"}),
        ("order/create-batch", {"request": []}),
    ],
)
def test_wrong_questions_are_10001(trader: Trader, path: str, query: dict[str, Any]) -> None:
    """Whatever is wrong with them."""
    assert trader.do(path, **query) == 10001


def test_private_topics_reach_their_own_account_alone(trader: Trader) -> None:
    """Under the name that was asked for."""
    own, other = trader.harness.client("private"), trader.harness.client("private")
    own.uid, other.uid = UID, 6
    for session, topics in ((own, ["order.linear", "execution.fast.linear"]), (other, ["order", "wallet"])):
        trader.side.stream.handle(session, f'{{"op":"subscribe","args":{topics}}}'.replace("'", '"'))
        assert payloads(session)[0]["success"] is True
    trader.order("Buy", "0.010")
    messages = payloads(own)
    assert [m["topic"] for m in messages] == ["execution.fast.linear", "order.linear"]
    assert "id" not in messages[0]
    assert payloads(other) == []
