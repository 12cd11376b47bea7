"""Every snippet of the client's description, as it stands there but for the address, against the simulated exchange.

Those of the data service are tried with it.
"""

from collections.abc import Iterator
from typing import Any

import pytest

import exchanges.bybit
from exchanges.bybit.client import ApiClient, ConnectionManager, rate_limited, with_error_handling
from exchanges.bybit.client.models import Model
from tests.integration.client.conftest import KEY, SECRET, Make, address
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

YOUR = {"api_key": KEY, "api_secret": SECRET}


@pytest.fixture
def BybitClient(sim: SimulatorProcess) -> Iterator[Any]:  # noqa: N802 - the snippets' name
    """The class, at the simulator's address."""
    made = []

    def build(**options: Any) -> Any:
        made.append(exchanges.bybit.BybitClient(**{**options, **address(sim)}))
        return made[-1]

    yield build
    for client in made:
        client.close()


def test_connection_management() -> None:
    """Connection Management: base URL and signature."""
    connection_manager = ConnectionManager(
        testnet=True, api_key="YOUR_API_KEY", api_secret="YOUR_API_SECRET", recv_window=5000
    )
    assert connection_manager.base_url == "https://api-testnet.bybit.com"
    params = {"category": "linear", "symbol": "BTCUSDT"}
    signature = connection_manager.get_signature(params)
    assert len(signature) == 64


def test_market_data_service(BybitClient: Any) -> None:  # noqa: N803
    """Market Data Service."""
    client = BybitClient()
    tickers = client.market.get_tickers(category="linear", symbol="BTCUSDT")
    orderbook = client.market.get_orderbook(symbol="BTCUSDT", limit=50)
    klines = client.market.get_klines(symbol="BTCUSDT", interval="60", limit=200)
    trades = client.market.get_trades(symbol="BTCUSDT", limit=50)
    instruments = client.market.get_instruments_info(category="linear")
    assert float(tickers["list"][0]["lastPrice"]) > 0
    assert len(orderbook["b"]) == len(orderbook["a"]) == 50
    assert len(klines["list"]) == 200
    assert len(trades["list"]) <= 50
    assert "BTCUSDT" in [row["symbol"] for row in instruments["list"]]


def test_account_service(BybitClient: Any) -> None:  # noqa: N803
    """Account Service."""
    client = BybitClient(**YOUR)
    wallet_balance = client.account.get_wallet_balance(account_type="UNIFIED")
    positions = client.account.get_positions(category="linear", symbol="BTCUSDT")
    transaction_logs = client.account.get_transaction_log(category="linear")
    client.account.set_leverage(category="linear", symbol="BTCUSDT", buy_leverage="2", sell_leverage="2")
    is_valid = client.account.verify_credentials()
    assert wallet_balance["list"][0]["accountType"] == "UNIFIED"
    assert positions["list"][0]["symbol"] == "BTCUSDT"
    assert isinstance(transaction_logs["list"], list)
    assert client.position.get_positions(symbol="BTCUSDT").model.leverage == 2
    assert is_valid is True


def test_order_service(BybitClient: Any) -> None:  # noqa: N803
    """Order Service."""
    client = BybitClient(**YOUR)
    order = client.order.place_order(
        category="linear",
        symbol="BTCUSDT",
        side="Buy",
        order_type="Limit",
        qty="0.001",
        price="30000",
        time_in_force="GTC",
    )
    active_orders = client.order.get_active_orders(category="linear", symbol="BTCUSDT")
    assert order["orderId"] in [row["orderId"] for row in active_orders["list"]]
    cancel_result = client.order.cancel_order(category="linear", symbol="BTCUSDT", order_id=order["orderId"])
    assert cancel_result["orderId"] == order["orderId"]
    order_history = client.order.get_order_history(category="linear", symbol="BTCUSDT", limit=50)
    assert order["orderId"] in [row["orderId"] for row in order_history["list"]]
    executions = client.order.get_execution_list(category="linear", symbol="BTCUSDT")
    assert isinstance(executions["list"], list)


def test_websocket_service(BybitClient: Any) -> None:  # noqa: N803
    """WebSocket Service: start, subscribe, wait, stop."""
    client = BybitClient()
    updates = []

    def process_ticker_update(data: Any) -> None:
        updates.append(data)

    client.websocket.start()
    client.websocket.subscribe_to_ticker("BTCUSDT", callback=process_ticker_update)
    wait_until(lambda: len(updates) >= 2)
    client.websocket.stop()


def test_error_handling(BybitClient: Any) -> None:  # noqa: N803
    """Error Handling: `except Exception` gets a sentence."""
    client = BybitClient()
    try:
        client.market.get_tickers(category="linear", symbol="NOSUCHUSDT")
        text = ""
    except Exception as e:  # noqa: BLE001 - the snippet's
        text = f"An error occurred: {e}"
    assert text.startswith("An error occurred: GET /v5/market/tickers: retCode 10001")


def test_basic_usage(BybitClient: Any) -> None:  # noqa: N803
    """Basic Usage, with a good key and with a bad one."""
    client = BybitClient(testnet=True, **YOUR)
    server_time = client.get_server_time()
    assert server_time > 1_600_000_000_000
    tickers = client.market.get_tickers(category="linear", symbol="BTCUSDT")
    assert f"BTCUSDT last price: {tickers['list'][0]['lastPrice']}"
    assert client.verify_credentials()
    assert client.account.get_wallet_balance()["list"]
    assert not BybitClient(testnet=True, api_key="YOUR_API_KEY", api_secret="YOUR_API_SECRET").verify_credentials()
    assert not BybitClient().verify_credentials()


def test_trading_example(BybitClient: Any) -> None:  # noqa: N803
    """Trading Example: a price that is no multiple of the tick, as the snippet computes it."""
    client = BybitClient(**YOUR)
    ticker = client.market.get_tickers(category="linear", symbol="BTCUSDT")
    current_price = float(ticker["list"][0]["lastPrice"])
    buy_price = current_price * 0.99 + 0.0123
    qty = "0.001"
    order_result = client.order.place_order(
        category="linear",
        symbol="BTCUSDT",
        side="Buy",
        order_type="Limit",
        qty=qty,
        price=str(buy_price),
        time_in_force="GTC",
        reduce_only=False,
        close_on_trigger=False,
    )
    order_id = order_result["orderId"]
    active_order = client.order.get_active_orders(category="linear", symbol="BTCUSDT", order_id=order_id)
    assert [row["orderId"] for row in active_order["list"]] == [order_id]
    client.order.cancel_order(symbol="BTCUSDT", order_id=order_id)


def test_websocket_example(BybitClient: Any) -> None:  # noqa: N803
    """WebSocket Example: a ticker and the account's orders; every ticker has all of its fields."""
    client = BybitClient(**YOUR)
    tickers, orders = [], []

    def process_ticker_update(data: Any) -> None:
        if "data" in data:
            ticker_data = data["data"]
            names = ("symbol", "lastPrice", "price24hPcnt", "volume24h")
            tickers.append([ticker_data.get(name) for name in names])

    def process_order_update(data: Any) -> None:
        orders.append(data)

    client.websocket.start()
    client.websocket.subscribe_to_ticker("BTCUSDT", process_ticker_update)
    if client.verify_credentials():
        client.websocket.subscribe_private(["order"], process_order_update)
    wait_until(lambda: client.websocket.states().get("client_private") == "live")
    client.order.place_order(symbol="BTCUSDT", side="Buy", order_type="Market", qty="0.001")
    wait_until(lambda: len(tickers) > 3 and orders)
    client.websocket.stop()
    assert all(None not in ticker for ticker in tickers)
    assert orders[0]["topic"] == "order"


def test_adding_new_endpoints(sim: SimulatorProcess, make: Make) -> None:
    """Developer Guide: a new endpoint in a new service that takes a ConnectionManager; a client's own api_client."""

    class NewService:
        def __init__(self, connection_manager: ConnectionManager) -> None:
            self.api_client = ApiClient(connection_manager)

        @with_error_handling
        @rate_limited("market")
        def get_new_endpoint_data(self, symbol: str, param: str) -> dict[str, Any]:
            """Get data from a new endpoint."""
            path = "/v5/market/price-limit"
            params = {"symbol": symbol, "category": param}
            result: dict[str, Any] = self.api_client.request("GET", path, params=params)
            return result

    service = NewService(ConnectionManager(**address(sim)))
    assert service.get_new_endpoint_data("BTCUSDT", "linear")["symbol"] == "BTCUSDT"
    client = make()
    assert client.api_client.request("GET", "/v5/account/info")["marginMode"]


def test_adding_new_data_models() -> None:
    """Developer Guide: `from_api_response` of a model of one's own."""

    class NewModel(Model[float]):
        field1: str = ""
        field2: float = 0.0
        timestamp: int = 0

    model = NewModel.from_api_response({"field1": "a", "field2": "1.5", "timestamp": "1700000000000"})
    assert (model.field1, model.field2, model.timestamp) == ("a", 1.5, 1700000000000)
