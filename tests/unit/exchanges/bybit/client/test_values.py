"""What programs hand in: taken as the number or time it is, or refused with the argument's name before it is sent."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exchanges.bybit import BybitClient
from exchanges.bybit.client.account import PositionService
from exchanges.bybit.client.errors import BybitError, RequestError
from exchanges.bybit.client.market import MarketDataService
from exchanges.bybit.client.names import body_values, query_values
from exchanges.bybit.client.order import OrderService
from exchanges.bybit.client.service import PathService
from exchanges.bybit.client.times import span_ms, to_ms
from tests.unit.exchanges.bybit.client.steps_run import Runner, answer, engine, in_turn

NEW_YEAR = 1_672_531_200_000
NONE_AT_ALL: list[Any] = [
    float("nan"), float("inf"), -float("inf"), np.float64("nan"), np.float32("nan"), np.array(float("nan")), pd.NaT,
    pd.NA, np.datetime64("NaT"), np.datetime64("NaT", "ns"), Decimal("NaN"), Decimal("Infinity"), b"1", [1],
    pd.Series([1.5]), np.array([1.5]), {"a": 1}, object, "nan", "1,5", "1_000", "one",
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (0.01, "0.01"),
        (np.float64(0.01), "0.01"),
        (np.float32(0.1), "0.1"),
        (np.float16(0.5), "0.5"),
        (np.array(0.01), "0.01"),
        (1e-7, "0.0000001"),
        (np.float64(1e22), "10000000000000000000000"),
        (3, "3"),
        (np.int64(3), "3"),
        (np.uint8(3), "3"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E-3"), "0.001"),
        (Fraction(1, 8), "0.125"),
        ("0.010", "0.010"),
        (" 0.01 ", "0.01"),
        ("1e-3", "0.001"),
        (np.str_("0.01"), "0.01"),
    ],
    ids=repr,
)
def test_a_number_is_the_same_whatever_holds_it(given: Any, sent: str) -> None:
    """Text stays as it is written."""
    assert body_values({"qty": given, "request": [{"trigger_price": given}]}) == {
        "qty": sent,
        "request": [{"triggerPrice": sent}],
    }


@pytest.mark.parametrize(
    "given",
    [*NONE_AT_ALL, True, np.bool_(True), Fraction(1, 3), "1e999999", Decimal("1E-90"), "1" * 5_000, 10**5_000],
    ids=lambda each: repr(type(each)),
)
def test_what_is_no_number_is_refused_by_name(given: Any) -> None:
    """By the caller's name of it, and by Bybit's."""
    with pytest.raises(RequestError, match=r"trigger_price \(triggerPrice\) is "):
        body_values({"triggerPrice": given})
    with pytest.raises(RequestError, match=r"request\[1\]\.qty is "):
        body_values({"request": [{"qty": "1"}, {"qty": given}]})


def test_empty_text_takes_a_stop_away_and_is_no_quantity() -> None:
    """Bybit reads it so for the one; for the other it is a hole in somebody's data."""
    assert body_values({"takeProfit": "", "price": " "}) == {"takeProfit": "", "price": ""}
    for name in ("qty", "buyLeverage"):
        with pytest.raises(RequestError, match="a number is needed"):
            body_values({name: " "})


@pytest.mark.parametrize(
    ("given", "sent"), [(5, 5), (5.0, 5), (np.int64(5), 5), (np.float64(5), 5), ("5", "5"), (Decimal(5), 5)], ids=repr
)
def test_integers_are_integers(given: Any, sent: int | str) -> None:
    """A column with a hole makes floats of them."""
    assert body_values({"positionIdx": given}) == {"positionIdx": sent}
    assert query_values({"limit": given}) == {"limit": str(sent)}


@pytest.mark.parametrize("given", [5.5, float("nan"), pd.NA, True, [5]], ids=repr)
def test_what_is_no_integer_is_refused(given: Any) -> None:
    """Before it is cut."""
    with pytest.raises(RequestError, match="limit is "):
        query_values({"limit": given})


def test_other_values_are_plain_too() -> None:
    """Truth, lists of whatever kind, times."""
    values: dict[str, Any] = {
        "reduceOnly": np.bool_(True),
        "coin": np.array(["BTC", "ETH"]),
        "at": pd.Timestamp("2023-01-01"),
    }
    assert body_values(values) == {"reduceOnly": True, "coin": ["BTC", "ETH"], "at": NEW_YEAR}
    assert query_values(values) == {"reduceOnly": "true", "coin": "BTC,ETH", "at": str(NEW_YEAR)}
    column: Any = pd.Series(["BTC"])
    assert query_values({"coin": column}) == {"coin": "BTC"}
    odd: Any
    for odd in (float("nan"), pd.NA, pd.NaT, b"x", object, [None], [float("nan")]):
        with pytest.raises(RequestError, match="coin"):
            body_values({"coin": odd})
        with pytest.raises(RequestError, match="coin"):
            query_values({"coin": odd})


@pytest.mark.parametrize(
    "when",
    [
        np.float64(NEW_YEAR), np.int64(NEW_YEAR), Decimal(NEW_YEAR), pd.Timestamp("2023-01-01"),
        pd.Timestamp("2023-01-01T01:00", tz="Europe/Berlin"), np.datetime64("2023-01-01"),
        np.datetime64("2023-01-01T00:00:00.000000000"), np.datetime64("2023"), pd.Series([NEW_YEAR])[0],
        pd.date_range("2023-01-01", periods=1)[0], "20230101", np.array(NEW_YEAR),
    ],
    ids=repr,
)  # fmt: skip
def test_times_out_of_data_frames_are_times(when: Any) -> None:
    """Without a zone UTC."""
    assert to_ms(when) == NEW_YEAR


@pytest.mark.parametrize("when", [*NONE_AT_ALL, None, True, -1, 1_672_531_200, 1_672_531_200_000_000, "-5"], ids=repr)
def test_what_is_no_time_is_refused_by_name(when: Any) -> None:
    """Seconds, microseconds and what lies before 1970 too."""
    with pytest.raises(RequestError, match=r"start_time: .*is no time"):
        to_ms(when, "start_time")


def test_the_beginning_of_all() -> None:
    """0, and any date before there was an exchange."""
    assert (to_ms(0), to_ms("1950-01-01"), to_ms(datetime(1, 1, 1, tzinfo=UTC))) == (0, 0, 0)
    assert span_ms(0, "2023-01-01") == (0, NEW_YEAR)
    with pytest.raises(RequestError, match="before the start"):
        span_ms("2023-01-02", "2023-01-01")


def _call(name: str, **params: Any) -> Callable[[Any], object]:
    def call(services: Any) -> object:
        found = getattr(services, name)(**params)
        return list(found) if name.startswith("iter_") else found

    return call


def order(**fields: Any) -> dict[str, Any]:
    return {"symbol": "A", "side": "Buy", "order_type": "Limit", "qty": "1", **fields}


def leverages(buy: Any, sell: Any) -> dict[str, Any]:
    return {"symbol": "A", "buy_leverage": buy, "sell_leverage": sell}


NAN = float("nan")
WAYS = {
    "a quantity": ("qty", OrderService, _call("place_order", **order(qty=NAN))),
    "no quantity": ("qty", OrderService, _call("place_order", **order(qty=None))),
    "no symbol": ("symbol", OrderService, _call("place_order", **order(symbol=None))),
    "a symbol": ("symbol", OrderService, _call("place_order", **order(symbol=NAN))),
    "an id": ("order_link_id", OrderService, _call("place_order", **order(order_link_id=NAN))),
    "a stop": ("stop_loss", OrderService, _call("place_order", **order(stop_loss=np.float64("nan")))),
    "a change": ("price", OrderService, _call("amend_order", symbol="A", price=pd.NA)),
    "no order": ("symbol", OrderService, _call("cancel_order", symbol=None, order_id="1")),
    "all orders": ("symbol", OrderService, _call("cancel_all_orders", symbol=pd.NA)),
    "a batch": (r"request\[1\]\.price", OrderService, _call("place_batch_order", request=[order(), order(price=NAN)])),
    "a batch's": (r"request\[0\]\.qty", OrderService, _call("place_batch_order", request=[order(qty=None)])),
    "no batch": ("request", OrderService, _call("place_batch_order", request=None)),
    "a frame": ("request", OrderService, _call("place_batch_order", request=pd.DataFrame([order()]))),
    "changes": (r"request\[0\]\.qty", OrderService, _call("amend_batch_order", request=[{"symbol": "A", "qty": NAN}])),
    "since when": ("start", OrderService, _call("iter_order_history", start=NAN, end=NEW_YEAR)),
    "until when": ("end", OrderService, _call("iter_executions", start=NEW_YEAR, end=None)),
    "seconds": ("start", PositionService, _call("iter_closed_pnl", start=NEW_YEAR // 1000, end=NEW_YEAR)),
    "a leverage": ("buy_leverage", PositionService, _call("set_leverage", **leverages(NAN, 1))),
    "no leverage": ("sell_leverage", PositionService, _call("set_leverage", **leverages(1, None))),
    "a mode": ("mode", PositionService, _call("switch_position_mode", mode=NAN)),
    "a trailing stop": ("trailing_stop", PositionService, _call("set_trading_stop", symbol="A", trailing_stop=pd.NaT)),
    "a page": ("start", MarketDataService, _call("get_klines", symbol="A", interval="1", start=NEW_YEAR // 1000)),
    "an interval": ("interval", MarketDataService, _call("get_klines", symbol="A", interval=NAN)),
    "candles": ("start", MarketDataService, _call("iter_klines", symbol="A", interval="1", start=pd.NaT)),
    "levels": ("limit", MarketDataService, _call("get_orderbook", symbol="A", limit=NAN)),
    "tickers": ("symbol", MarketDataService, _call("get_tickers", symbol=pd.NA)),
    "a path": ("qty", PathService, _call("request", method="POST", path="/v5/order/create", params={"qty": NAN})),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_sent_of_what_is_none(way: str) -> None:
    """By every way to send an order."""
    name, kind, call = WAYS[way]
    runner = Runner(in_turn(answer({"list": []})))
    service: Any = kind(engine(), runner, float)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=name):
        call(service)
    assert runner.paths == []


@pytest.mark.parametrize("odd", [NAN, None, pd.NA, "", [], [NAN], ["A", None], 5], ids=repr)
def test_subscriptions_are_of_names(odd: Any) -> None:
    """Nothing is opened."""
    with BybitClient(url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1", api_key="k", api_secret="s") as client:
        streams: Any = client.websocket
        for subscribe in (streams.subscribe_to_ticker, streams.subscribe_to_trades, streams.subscribe_to_orderbook):
            with pytest.raises(RequestError, match="symbol"):
                subscribe(odd, print)
        with pytest.raises(RequestError, match="symbol"):
            streams.subscribe_to_klines(odd, "1m", print)
        for subscribe in (streams.subscribe_to_topics, streams.subscribe_private):
            with pytest.raises(RequestError, match="topics"):
                subscribe(odd, print)
        assert streams.states() == {}


def test_subscriptions_need_a_function_and_a_depth() -> None:
    """Said where they are made, not on the stream's thread."""
    with BybitClient(url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1", api_key="k", api_secret="s") as client:
        streams: Any = client.websocket
        for call in (lambda: streams.subscribe_to_ticker("A", None), lambda: streams.subscribe_private("order", None)):
            with pytest.raises(RequestError, match="callback"):
                call()
        for depth in (NAN, None, 7, "all"):
            with pytest.raises(RequestError, match="depth"):
                streams.subscribe_to_orderbook("A", print, depth=depth)
        for orders in ({"qty": NAN}, {"qty": None}, {"symbol": None}):
            with pytest.raises(RequestError, match=next(iter(orders))):
                streams.place_order(category="linear", **orders)
        with pytest.raises(RequestError, match="request"):
            streams.place_batch_order(category="linear", request=None)


@pytest.mark.parametrize("odd", [NAN, None, pd.NA, "", 5], ids=repr)
def test_the_data_service_takes_names_times_and_counts(odd: Any) -> None:
    """A price of None must not be that of whichever symbol comes first."""
    with BybitClient(url="http://127.0.0.1:1") as client:
        data: Any = client.data
        for call in (
            lambda: data.fetch_historical_klines(odd, "1m", 0),
            lambda: data.get_current_price(odd),
            lambda: data.get_current_orderbook(odd),
            lambda: data.start_ticker_stream(odd),
        ):
            with pytest.raises(BybitError, match="symbol"):
                call()
        if not isinstance(odd, int):
            for call in (lambda: data.get_current_orderbook("A", odd), lambda: data.get_aggregated_orderbook("A", odd)):
                with pytest.raises(RequestError, match="depth"):
                    call()
    with pytest.raises(RequestError, match="step"):
        data.get_aggregated_orderbook("A", 5, step=NAN)
