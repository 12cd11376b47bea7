"""pybit's own private flows work against the simulated exchange: two readings of the protocol agree."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from Crypto.PublicKey import RSA
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

from tests.integration.simulator.pybit_clients import http, private_socket, trade_socket
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

BUY = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.010"}


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    """A quiet market with answers as late as over a network, which pybit's sockets need."""
    arguments = ("--rate", "20", "--symbols", "4", "--uid-limit", "0", "--answer-delay-ms", "50")
    with SimulatorProcess(*arguments) as process:
        yield process


@pytest.fixture
def client(sim: SimulatorProcess) -> HTTP:
    """pybit with an account of its own, so that tests share nothing."""
    uid = time.monotonic_ns()
    sim.command("key", key=f"key-{uid}", secret="s3cret", uid=uid, balances={"USDT": "10000", "BTC": "1"})
    return http(sim, api_key=f"key-{uid}", api_secret="s3cret")


def keys_of(client: HTTP) -> dict[str, str]:
    """For a socket of the same account."""
    return {"api_key": client.api_key, "api_secret": client.api_secret}


def code_of(error: pytest.ExceptionInfo[Any]) -> int:
    """The retCode pybit raised with."""
    return int(error.value.status_code)


def test_an_order_lives_through_rest(client: HTTP) -> None:
    """Placed, seen, amended, cancelled, and then in the history."""
    placed = client.place_order(**BUY, price="60000.00", orderLinkId="life-1")["result"]
    assert placed["orderLinkId"] == "life-1"
    amended = client.amend_order(category="linear", symbol="BTCUSDT", orderId=placed["orderId"], price="60001.00")
    assert amended["result"]["orderId"] == placed["orderId"]
    (row,) = client.get_open_orders(category="linear", symbol="BTCUSDT")["result"]["list"]
    assert (row["price"], row["orderStatus"], row["leavesQty"]) == ("60001.00", "New", "0.010")
    client.cancel_order(category="linear", symbol="BTCUSDT", orderLinkId="life-1")
    assert client.get_open_orders(category="linear", symbol="BTCUSDT")["result"]["list"] == []
    (row,) = client.get_order_history(category="linear", orderLinkId="life-1")["result"]["list"]
    assert (row["orderStatus"], row["cancelType"]) == ("Cancelled", "CancelByUser")


def test_a_market_order_moves_position_wallet_and_log(client: HTTP) -> None:
    """Bought and sold again: what is left of the money equals the log."""
    client.place_order(category="linear", symbol="ETHUSDT", side="Buy", orderType="Market", qty="1.00")
    (held,) = client.get_positions(category="linear", symbol="ETHUSDT")["result"]["list"]
    assert (held["side"], float(held["size"]), held["leverage"]) == ("Buy", 1.0, "10")
    close = {"side": "Sell", "orderType": "Market", "qty": "5.00", "reduceOnly": True}
    client.place_order(category="linear", symbol="ETHUSDT", **close)
    (flat,) = client.get_positions(category="linear", symbol="ETHUSDT")["result"]["list"]
    assert (flat["side"], float(flat["size"])) == ("", 0.0)
    executions = client.get_executions(category="linear", symbol="ETHUSDT")["result"]["list"]
    assert [(e["side"], e["execQty"]) for e in executions] == [("Sell", "1.00"), ("Buy", "1.00")]
    log = client.get_transaction_log(category="linear")["result"]["list"]
    wallet = client.get_wallet_balance(accountType="UNIFIED", coin="USDT")["result"]["list"][0]["coin"][0]
    assert float(wallet["walletBalance"]) == pytest.approx(10000 + sum(float(row["change"]) for row in log))
    assert len(client.get_closed_pnl(category="linear")["result"]["list"]) == 1


def test_spot_swaps_coins(client: HTTP) -> None:
    """A market purchase is by value, its fee in the coin that was bought."""
    client.place_order(category="spot", symbol="BTCUSDT", side="Buy", orderType="Market", qty="1000")
    coins = {c["coin"]: float(c["walletBalance"]) for c in wallet(client)}
    assert coins["USDT"] == pytest.approx(9000, abs=1)
    (fill,) = client.get_executions(category="spot")["result"]["list"]
    assert coins["BTC"] == pytest.approx(1 + float(fill["execQty"]) * 0.999)
    assert fill["feeCurrency"] == "BTC"


def wallet(client: HTTP) -> list[dict[str, Any]]:
    """All coins."""
    return list(client.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"qty": "0.0005"}, 10001),
        ({"qty": "0.0105"}, 10001),
        ({"price": "60000.05"}, 10001),
        ({"side": "buy"}, 10001),
        ({"symbol": "NOPEUSDT"}, 10001),
        ({"positionIdx": 1}, 10001),
        ({"qty": "10.000"}, 110007),
        ({"price": "200000.00"}, 110003),
        ({"qty": "0.001", "price": "4000.00"}, 110094),
        ({"side": "Sell", "price": "70000.00", "reduceOnly": True}, 110017),
        ({"category": "spot", "qty": "1.1"}, 170131),
        ({"category": "spot", "qty": "0.0000015"}, 170137),
    ],
)
def test_wrong_orders_are_refused_with_bybits_code(client: HTTP, change: dict[str, Any], code: int) -> None:
    """And nothing is left of them."""
    with pytest.raises(InvalidRequestError) as refused:
        client.place_order(**({**BUY, "price": "60000.00"} | change))
    assert code_of(refused) == code
    assert client.get_open_orders(category="linear", settleCoin="USDT")["result"]["list"] == []


def test_a_link_id_is_taken_once(sim: SimulatorProcess, client: HTTP) -> None:
    """110072, on spot 170141; the order counts show both attempts."""
    client.place_order(**BUY, price="60000.00", orderLinkId="twice-1")
    with pytest.raises(InvalidRequestError) as refused:
        client.place_order(**BUY, price="60000.00", orderLinkId="twice-1")
    assert code_of(refused) == 110072
    order_counts = sim.get("/sim/orders", prefix="twice-").json()
    assert (order_counts["received"], order_counts["placed"]) == ({"twice-1": 2}, {"twice-1": 1})
    assert (order_counts["repeated"], order_counts["placed_twice"]) == (["twice-1"], [])


def test_unknown_orders_and_unchanged_leverage(client: HTTP) -> None:
    """110001 and 110043."""
    with pytest.raises(InvalidRequestError) as refused:
        client.cancel_order(category="linear", symbol="BTCUSDT", orderId="nothing")
    assert code_of(refused) == 110001
    client.set_leverage(category="linear", symbol="BTCUSDT", buyLeverage="20", sellLeverage="20")
    with pytest.raises(InvalidRequestError) as refused:
        client.set_leverage(category="linear", symbol="BTCUSDT", buyLeverage="20", sellLeverage="20")
    assert code_of(refused) == 110043


def test_hedge_mode_wants_a_position_index(client: HTTP) -> None:
    """Both sides may be held at once."""
    client.switch_position_mode(category="linear", symbol="BTCUSDT", mode=3)
    for idx, side in ((1, "Buy"), (2, "Sell")):
        order = {"category": "linear", "symbol": "BTCUSDT", "orderType": "Market", "qty": "0.010"}
        client.place_order(**order, side=side, positionIdx=idx)
    rows = client.get_positions(category="linear", symbol="BTCUSDT")["result"]["list"]
    assert [(row["positionIdx"], row["side"]) for row in rows] == [(1, "Buy"), (2, "Sell")]
    with pytest.raises(InvalidRequestError) as refused:
        client.place_order(**BUY, price="60000.00")
    assert code_of(refused) == 10001


def test_pages_have_no_hole_and_no_double(client: HTTP) -> None:
    """Also while new orders come in."""
    for number in range(23):
        client.place_order(**BUY, price="50000.00", orderLinkId=f"page-{number}")
    names: list[str] = []
    cursor = ""
    while True:
        page = client.get_open_orders(category="linear", symbol="BTCUSDT", limit=10, cursor=cursor)["result"]
        names += [row["orderLinkId"] for row in page["list"]]
        cursor = page["nextPageCursor"]
        if not cursor:
            break
        client.place_order(**BUY, price="50000.00")
    assert names == [f"page-{number}" for number in reversed(range(23))]
    cancelled = client.cancel_all_orders(category="linear", settleCoin="USDT")["result"]
    assert (len(cancelled["list"]), cancelled["success"]) == (25, "1")


def test_a_batch_succeeds_order_by_order(client: HTTP) -> None:
    """The envelope is OK, the verdicts are beside it."""
    orders = [{**BUY, "price": "50000.00"}, {**BUY, "price": "0.10"}]
    for order in orders:
        del order["category"]
    answer = client.place_batch_order(category="linear", request=orders)
    assert [verdict["code"] for verdict in answer["retExtInfo"]["list"]] == [0, 110094]
    assert [bool(row["orderId"]) for row in answer["result"]["list"]] == [True, False]


def test_further_reads_of_an_account(client: HTTP) -> None:
    """Account, fees, key; all of pybit's market calls that the client uses."""
    assert client.get_account_info()["result"]["marginMode"] == "REGULAR_MARGIN"
    assert client.get_fee_rates(category="linear", symbol="BTCUSDT")["result"]["list"][0]["takerFeeRate"] == "0.00055"
    report = client.get_api_key_information()["result"]
    assert (report["apiKey"], report["readOnly"], report["secret"]) == (client.api_key, 0, "")
    one = {"category": "linear", "symbol": "BTCUSDT"}
    for answer in (
        client.get_server_time(), client.get_kline(**one, interval=1), client.get_mark_price_kline(**one, interval=5),
        client.get_index_price_kline(**one, interval="D"), client.get_premium_index_price_kline(**one, interval=60),
        client.get_instruments_info(category="linear"), client.get_orderbook(**one), client.get_tickers(**one),
        client.get_funding_rate_history(**one), client.get_public_trade_history(**one),
        client.get_open_interest(**one, intervalTime="1h"), client.get_historical_volatility(category="option"),
        client.get_insurance(), client.get_risk_limit(**one), client.get_long_short_ratio(**one, period="1h"),
        client.get_risk_limit(category="linear"),
        client.get_option_delivery_price(category="linear"),
    ):  # fmt: skip
        assert answer["retCode"] == 0
        assert answer["result"]


def test_wrong_signatures_keys_and_clocks_have_codes_of_their_own(sim: SimulatorProcess) -> None:
    """10004, 10003, 33004, 10005, 10002."""
    sim.command("key", key="old", secret="x", expired=True)
    sim.command("key", key="reader", secret="x", permission="read")
    cases = (("simulatorkey", "wrong", 10004), ("nobody", "x", 10003), ("old", "x", 33004))
    for key, secret, code in cases:
        with pytest.raises(InvalidRequestError) as refused:
            http(sim, api_key=key, api_secret=secret).get_account_info()
        assert code_of(refused) == code
    with pytest.raises(InvalidRequestError) as refused:
        http(sim, api_key="reader", api_secret="x").place_order(**BUY, price="60000.00")
    assert code_of(refused) == 10005
    sim.command("clock", shift_ms=-5000)
    with pytest.raises(FailedRequestError):
        http(sim, retry_delay=0, max_retries=1).get_account_info()
    sim.command("clock", shift_ms=0)


def test_pybit_waits_and_asks_again(sim: SimulatorProcess, client: HTTP) -> None:
    """After 10006 until the header's time, after 10002 with a wider window."""
    sim.command("rest_fault", what="rate_limited", s=0.2, path="/v5/account/info")
    sim.command("rest_fault", what="expired_request", path="/v5/account/info")
    client.retry_delay = 0
    began = time.monotonic()
    assert client.get_account_info()["retCode"] == 0
    assert time.monotonic() - began >= 0.15
    assert sim.get("/sim/limits").json()["struck"] == {"rate_limited": 1, "expired_request": 1}


def test_rsa_keys_sign_too(sim: SimulatorProcess) -> None:
    """REST and socket."""
    pair = RSA.generate(2048)
    sim.command("key", key="rsa-key", uid=7, rsa_public_key=pair.public_key().export_key().decode())
    options = {"api_key": "rsa-key", "api_secret": pair.export_key().decode(), "rsa_authentication": True}
    assert http(sim, **options).get_account_info()["retCode"] == 0
    with private_socket(sim, **options) as socket:
        wait_until(lambda: socket.auth)


def test_private_stream_has_orders_fills_positions_and_wallet(client: HTTP, sim: SimulatorProcess) -> None:
    """Order, execution, position and wallet of a fill; the book keeps price and size."""
    got: dict[str, list[dict[str, Any]]] = {"order": [], "execution": [], "position": [], "wallet": []}
    with private_socket(sim, **keys_of(client)) as socket:
        wait_until(lambda: socket.auth)
        before = sim.stats()["counters"].get("subscribe_accepted", 0)
        socket.order_stream(got["order"].append)
        socket.execution_stream(got["execution"].append)
        socket.position_stream(got["position"].append)
        socket.wallet_stream(got["wallet"].append)
        wait_until(lambda: sim.stats()["counters"].get("subscribe_accepted", 0) == before + 4)
        client.place_order(**BUY, price="60000.00", orderLinkId="streamed")
        wait_until(lambda: len(got["order"]) == 1)
        sim.command("price", symbol="BTCUSDT", price="59000")
        wait_until(lambda: all(got.values()) and len(got["order"]) == 2)
    sim.command("price", symbol="BTCUSDT", price="67250")
    first, last = (message["data"][0] for message in got["order"])
    assert [first["orderStatus"], last["orderStatus"]] == ["New", "Filled"]
    assert (last["orderLinkId"], last["avgPrice"], last["category"]) == ("streamed", "60000", "linear")
    (fill,) = got["execution"][0]["data"]
    assert (fill["execPrice"], fill["isMaker"], fill["execType"]) == ("60000.00", True, "Trade")
    assert got["position"][-1]["data"][0]["entryPrice"] == "60000"
    assert got["wallet"][-1]["data"][0]["accountType"] == "UNIFIED"


def test_orders_go_in_by_socket(client: HTTP, sim: SimulatorProcess) -> None:
    """Created, amended, cancelled; a refusal comes with its code and limits in the header."""
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    with trade_socket(sim, **keys_of(client)) as socket:
        wait_until(lambda: socket.auth)
        one = {"category": "linear", "symbol": "BTCUSDT"}
        socket.place_order(good.append, bad.append, **BUY, price="60000.00", orderLinkId="by-socket")
        wait_until(lambda: len(good) == 1)
        socket.amend_order(good.append, bad.append, **one, orderLinkId="by-socket", price="60100.00")
        socket.cancel_order(good.append, bad.append, **one, orderLinkId="by-socket")
        socket.place_order(good.append, bad.append, **BUY, price="60000.00", orderLinkId="by-socket")
        wait_until(lambda: len(good) == 3 and len(bad) == 1)
    assert [answer["op"] for answer in good] == ["order.create", "order.amend", "order.cancel"]
    assert {"X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp"} <= set(good[0]["header"])
    assert bad[0]["retCode"] == 110072
