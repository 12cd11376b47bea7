"""The examples that type checkers are shown run too; and every call there is answers."""

import asyncio
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from examples import bybit_client as examples
from exchanges.bybit import AsyncBybitClient, BybitClient
from tests.integration.client.conftest import Make, address
from tests.support.simulator import ROOT, SimulatorProcess
from tests.support.waiting import wait_until

DAY_MS = 86_400_000


def test_examples(sim: SimulatorProcess, make: Make) -> None:
    """One after another."""
    client = make()
    now_ms = client.get_server_time()
    assert examples.spread(client) > 0
    assert examples.equity(client) == 1_000_000
    order = examples.buy(client, "0.001", 30_000.04)
    assert order is not None
    assert order.price == Decimal("30000.0")
    assert examples.buy(client, "450", 60_000.0) is None
    with make(numbers="float") as floating:
        assert 1 < examples.mean_close(floating, now_ms - 3_600_000, now_ms) < 1e6
    assert examples.any_endpoint(client)["symbol"] == "BTCUSDT"
    seen: list[dict[str, Any]] = []
    examples.watch(client, seen)
    wait_until(lambda: seen)


def test_async_examples(sim: SimulatorProcess) -> None:
    """With the awaited client."""

    async def main() -> None:
        async with AsyncBybitClient(**address(sim)) as client:
            prices = await examples.last_prices(client, ["BTCUSDT", "ETHUSDT"])
            assert set(prices) == {"BTCUSDT", "ETHUSDT"}
            now_ms = await client.get_server_time()
            assert await examples.count_candles(client, now_ms - 1_500 * 60_000, now_ms) == 1_500

    asyncio.run(main())


READS: list[tuple[str, str, dict[str, Any]]] = [
    ("market", "get_server_time", {}),
    ("market", "get_tickers", {"category": "spot"}),
    ("market", "get_risk_limit", {"symbol": "BTCUSDT"}),
    ("market", "get_funding_rate_history", {"symbol": "BTCUSDT"}),
    ("market", "get_open_interest", {"symbol": "BTCUSDT", "interval_time": "1h"}),
    ("account", "get_account_info", {}),
    ("account", "get_fee_rates", {"symbol": "BTCUSDT"}),
    ("account", "get_collateral_info", {}),
    ("account", "set_margin_mode", {"margin_mode": "REGULAR_MARGIN"}),
    ("account", "get_positions", {}),
    ("position", "get_closed_pnl", {}),
    ("position", "set_leverage", {"symbol": "BTCUSDT", "buy_leverage": 3, "sell_leverage": 3}),
    ("position", "set_leverage", {"symbol": "BTCUSDT", "buy_leverage": "3", "sell_leverage": "3"}),
    ("position", "switch_position_mode", {"symbol": "BTCUSDT", "mode": 0}),
    ("position", "set_risk_limit", {"symbol": "BTCUSDT", "risk_id": 1}),
    ("position", "get_risk_limit", {"symbol": "BTCUSDT"}),
    ("order", "get_active_orders", {}),
    ("order", "cancel_all_orders", {"symbol": "BTCUSDT"}),
    ("order", "cancel_all_orders", {"category": "spot"}),
]


@pytest.mark.parametrize(("service", "name", "params"), READS)
def test_every_other_call_answers(client: Any, service: str, name: str, params: dict[str, Any]) -> None:
    """Nothing but a Result comes back."""
    result = getattr(getattr(client, service), name)(**params)
    assert result.raw["retCode"] in (0, 110043, 110025)
    assert isinstance(result.models, tuple)


def test_a_position_from_opening_to_its_history(client: Any) -> None:
    """Bought, protected, amended, sold; executions, log, closed profit, all by iterators too."""
    ws_free = {"symbol": "BTCUSDT", "order_type": "Market", "qty": "0.01"}
    begin_ms = client.get_server_time() - 8 * DAY_MS
    client.order.place_order(side="Buy", **ws_free)
    client.position.set_trading_stop(symbol="BTCUSDT", stop_loss="30000")
    assert [position.size for position in client.position.iter_positions()] == [Decimal("0.01")]
    batch = [{**ws_free, "side": "Buy", "order_type": "Limit", "price": "30000"}] * 2
    placed = client.order.place_batch_order(request=batch)
    assert len({row.order_link_id for row in placed.models}) == 2
    assert len(list(client.order.iter_active_orders(symbol="BTCUSDT"))) >= 2
    first = placed.models[0].order_id
    client.order.amend_order(symbol="BTCUSDT", order_id=first, price="29000")
    client.order.amend_batch_order(request=[{"symbol": "BTCUSDT", "order_id": first, "price": "28000"}])
    client.order.cancel_batch_order(request=[{"symbol": "BTCUSDT", "order_id": first}])
    client.order.place_order(side="Sell", reduce_only=True, **ws_free)
    span = {"start": begin_ms, "end": client.get_server_time() + 1_000}
    sides = [execution.side for execution in client.order.iter_executions(symbol="BTCUSDT", **span)]
    assert sorted(sides) == ["Buy", "Sell"]
    assert len(list(client.order.iter_order_history(symbol="BTCUSDT", **span))) >= 2
    assert len(list(client.position.iter_closed_pnl(symbol="BTCUSDT", **span))) == 1
    assert list(client.account.iter_transaction_log(category="linear", **span))
    assert client.account.get_wallet_balance(coin=["USDT", "BTC"]).model.balance("USDT") is not None


def test_importing_the_exchange_imports_no_client() -> None:
    """`import exchanges.bybit` stays light: the collector and the simulator do not pay for pydantic and pybit."""
    code = "import sys, exchanges.bybit; print([m for m in ('pybit', 'pydantic', 'requests') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_an_option_that_does_not_exist_is_refused() -> None:
    """By name."""
    with pytest.raises(TypeError, match="tesnet"):
        BybitClient(tesnet=True)  # type: ignore[call-overload]
