"""The examples of client.data, and the description's snippets, run as they stand there."""

from pathlib import Path
from typing import Any

from examples import bybit_client_data
from tests.integration.client.conftest import Make
from tests.support.waiting import wait_until


def test_examples(make: Make, tmp_path: Path) -> None:
    """One after another."""
    client = make(data_dir=str(tmp_path / "market_data"))
    frame = bybit_client_data.averages(client)
    assert len(frame) == 364
    assert frame["sma_20"].notna().sum() == 364 - 19
    seen: list[float] = []
    bybit_client_data.follow(client, seen)
    assert bybit_client_data.middle(client) > 0
    wait_until(lambda: seen)
    assert -1 <= bybit_client_data.imbalance(make(numbers="float", data_dir=str(tmp_path))) <= 1
    assert list((tmp_path / "market_data").rglob("linear/BTCUSDT/D/*.parquet"))


def test_the_snippet_of_the_data_service(make: Make, tmp_path: Path, capsys: Any) -> None:
    """Enhanced Data Service: history, two streams, price, book."""
    client = make(data_dir=str(tmp_path))
    historical_data = client.data.fetch_historical_klines(
        symbol="BTCUSDT",
        interval="1h",
        start_time="2023-01-01T00:00:00Z",
        end_time="2023-01-07T00:00:00Z",
        use_cache=True,
    )
    assert len(historical_data) == 6 * 24

    def on_ticker_update(ticker_data: Any) -> None:
        print(f"Received new ticker: {ticker_data}")  # noqa: T201 - the snippet's

    client.data.start_ticker_stream("BTCUSDT", callback=on_ticker_update)

    def on_kline_update(kline_data: Any) -> None:
        print(f"Received new candle: {kline_data}")  # noqa: T201 - the snippet's

    client.data.start_klines_stream("BTCUSDT", "1h", callback=on_kline_update)
    current_price = client.data.get_current_price("BTCUSDT")
    orderbook = client.data.get_current_orderbook("BTCUSDT")
    assert current_price > 0
    assert orderbook.bids
    printed: list[str] = []
    wait_until(lambda: printed.append(capsys.readouterr().out) or "new ticker" in "".join(printed))
    wait_until(lambda: printed.append(capsys.readouterr().out) or "new candle" in "".join(printed))
