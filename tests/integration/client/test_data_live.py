"""client.data's streams, prices and books against the simulated exchange."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from exchanges.bybit import AsyncBybitClient, BybitClient
from exchanges.bybit.client import data_live
from exchanges.bybit.client.errors import NetworkError, RequestError
from exchanges.transport import Failure
from tests.integration.client.conftest import Make, address
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

BTC = ("linear", "BTCUSDT")


@pytest.fixture
def client(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BybitClient[Any]:
    """Keeps its candles in a folder. Its local books are of 1000 levels: the simulator's REST has those."""
    monkeypatch.setitem(data_live.BOOK_DEPTHS, "linear", 1000)
    return make(data_dir=str(tmp_path))


def local(client: BybitClient[Any], depth: int = 50) -> dict[str, Any] | None:
    """The local book as it stands, without REST's help."""
    return client.data.live.local_row(BTC, depth)


def as_rest_has_it(client: BybitClient[Any]) -> bool:
    """Whether the local book is the exchange's; true at some moment where both are right."""
    row, book = local(client), client.market.get_orderbook(symbol="BTCUSDT", limit=50).model
    return row is not None and (row["b"], row["a"]) == (book.bids, book.asks)


def test_streams_of_the_description(client: BybitClient[Any]) -> None:
    """A ticker stream, a candle stream whose callback takes a DataFrame, the price, the book."""
    tickers: list[Any] = []
    candles: list[pd.DataFrame] = []

    def on_kline_update(kline_df: pd.DataFrame) -> None:
        latest_candle = kline_df.iloc[0]
        assert latest_candle["open"] > 0
        candles.append(kline_df)

    client.data.start_ticker_stream("BTCUSDT", callback=tickers.append)
    client.data.start_klines_stream("BTCUSDT", "1m", callback=on_kline_update)
    assert client.data.get_current_price("BTCUSDT") > 0
    orderbook = client.data.get_current_orderbook("BTCUSDT")
    assert len(orderbook.bids) == len(orderbook.asks) == 50
    assert orderbook.bids[0][0] < orderbook.asks[0][0]
    wait_until(lambda: tickers and candles)
    assert tickers[0]["symbol"] == "BTCUSDT"
    assert list(candles[0]) == ["open", "high", "low", "close", "volume", "turnover", "confirm"]
    assert str(pd.DatetimeIndex(candles[0].index).tz) == "UTC"
    assert candles[0].index[0].second == 0


def test_the_price_is_the_streams_while_it_sends(client: BybitClient[Any], sim: SimulatorProcess) -> None:
    """REST is asked before and after only."""
    asked: list[str] = []
    send = client.transport.send

    def record_answer(request: Any) -> Any:
        asked.append(request.path_and_query)
        return send(request)

    client.transport.send = record_answer  # type: ignore[method-assign]
    received = threading.Event()
    client.data.start_ticker_stream("BTCUSDT", lambda _ticker: received.set())
    assert received.wait(10)
    assert client.data.get_current_price("BTCUSDT") > 0
    assert asked == []
    client.data.stop_streams()
    assert client.data.get_current_price("BTCUSDT") > 0
    assert len(asked) == 1


def test_the_local_book_is_the_exchanges(client: BybitClient[Any]) -> None:
    """Level by level, after many deltas."""
    client.data.get_current_orderbook("BTCUSDT")
    wait_until(lambda: local(client))
    first = local(client)
    assert first is not None
    wait_until(lambda: (local(client) or first)["u"] > first["u"] + 20)
    wait_until(lambda: as_rest_has_it(client))
    assert client.data.get_current_orderbook("BTCUSDT", 3).update_id > first["u"]


def test_a_jump_is_noticed_and_the_book_comes_back(client: BybitClient[Any], sim: SimulatorProcess) -> None:
    """Two deltas in the wrong order: unknown, subscribed anew, right again; no caller gets a wrong book meanwhile."""
    client.data.get_current_orderbook("BTCUSDT")
    wait_until(lambda: local(client))
    sim.command("reorder", topic="orderbook.1000.BTCUSDT", count=1)
    wait_until(lambda: client.data.live.jumps == 1)
    assert client.data.get_current_orderbook("BTCUSDT").bids
    wait_until(lambda: local(client))
    wait_until(lambda: as_rest_has_it(client))


def test_a_lost_connection_ends_in_the_right_book(client: BybitClient[Any], sim: SimulatorProcess) -> None:
    """The stream comes back by itself and begins with a snapshot."""
    client.data.get_current_orderbook("BTCUSDT")
    wait_until(lambda: local(client))
    before = local(client)
    sim.command("drop", code="rst")
    wait_until(lambda: (local(client) or before)["u"] > before["u"] + 20)  # type: ignore[index]
    wait_until(lambda: as_rest_has_it(client))


def test_an_aggregated_book_sums_up(client: BybitClient[Any]) -> None:
    """The columns of the description; by step where one is given."""
    book = client.data.get_aggregated_orderbook("BTCUSDT", depth=10)
    assert list(book) == ["bid_price", "bid_size", "bid_cumulative", "ask_price", "ask_size", "ask_cumulative"]
    assert len(book) == 10
    assert book["bid_cumulative"].iloc[-1] == pytest.approx(book["bid_size"].sum())
    coarse = client.data.get_aggregated_orderbook("BTCUSDT", 5, step=1)
    assert (coarse["bid_price"].dropna() % 1 == 0).all()
    assert (coarse["ask_price"].dropna() % 1 == 0).all()
    assert coarse["bid_price"].iloc[0] < coarse["ask_price"].iloc[0]
    assert coarse["ask_price"].is_monotonic_increasing


def test_impossible_books_are_refused(client: BybitClient[Any]) -> None:
    """Before anything is asked."""
    for depth in (0, 201):
        with pytest.raises(RequestError, match="depth"):
            client.data.get_current_orderbook("BTCUSDT", depth)
    with pytest.raises(RequestError, match="step"):
        client.data.get_aggregated_orderbook("BTCUSDT", step=0)


def test_numbers_are_of_the_chosen_type(make: Make, tmp_path: Path) -> None:
    """Floats too."""
    client = make(data_dir=str(tmp_path), numbers="float")
    assert isinstance(client.data.get_current_price("BTCUSDT"), float)
    client.data.get_current_orderbook("BTCUSDT")
    wait_until(lambda: local(client))
    assert isinstance(client.data.get_current_orderbook("BTCUSDT").bids[0][0], float)


def test_an_options_book_is_no_deeper_than_rest_has_it(client: BybitClient[Any]) -> None:
    """25 levels; more would be refused."""
    asked: list[Any] = []

    def record_answer(request: Any) -> Any:
        asked.append(request.path_and_query)
        return Failure("nobody there", True, 0.0, 0.0)

    client.transport.send = record_answer  # type: ignore[method-assign]
    with pytest.raises(NetworkError):
        client.data.get_current_orderbook("BTC-25DEC26-90000-C", category="option")
    assert "limit=25" in asked[0]


def test_the_async_client_ends_the_streams_of_its_sync_one(sim: SimulatorProcess, tmp_path: Path) -> None:
    """Whose data service is the only one there is."""

    async def main() -> set[str]:
        async with AsyncBybitClient(**address(sim), data_dir=str(tmp_path)) as client:
            received = asyncio.Event()

            async def on_ticker(_ticker: dict[str, Any]) -> None:
                received.set()

            client.sync.data.start_ticker_stream("BTCUSDT", on_ticker)
            await asyncio.wait_for(received.wait(), 10)
        return {thread.name for thread in threading.enumerate()}

    assert "bybit-client-streams" not in asyncio.run(main())
