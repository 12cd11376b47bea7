"""Short programs with the client, checked by `mypy --strict` and run by tests: what a type checker sees is asserted."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any, assert_type

from exchanges.bybit import AsyncBybitClient, BybitClient
from exchanges.bybit.client.errors import BybitError, NetworkError, OrderRejectedError
from exchanges.bybit.client.models import Kline, Order, Ticker, Wallet
from exchanges.bybit.client.results import Result


def spread(client: BybitClient) -> Decimal:
    """Best ask minus best bid, exact."""
    ticker = client.market.get_tickers(symbol="BTCUSDT").model
    assert_type(ticker, Ticker[Decimal])
    assert ticker.ask1_price is not None
    assert ticker.bid1_price is not None
    return ticker.ask1_price - ticker.bid1_price


def mean_close(client: BybitClient[float], start_ms: int, end_ms: int) -> float:
    """Over any span; numbers as floats by choice."""
    candles = client.market.iter_klines(symbol="BTCUSDT", interval="1m", start=start_ms, end=end_ms)
    assert_type(candles, Iterator[Kline[float]])
    closes = [candle.close for candle in candles]
    return sum(closes) / len(closes)


def equity(client: BybitClient) -> Decimal:
    """What the account is worth; typed, or by Bybit's names."""
    result = client.account.get_wallet_balance()
    assert_type(result, Result[Wallet[Decimal]])
    by_name = Decimal(result["list"][0]["totalEquity"])
    assert result.model.total_equity == by_name
    return by_name


def buy(client: BybitClient, qty: str, price: float) -> Order[Decimal] | None:
    """Place a limit order once; None where the exchange refuses it or does not answer."""
    try:
        placed = client.order.place_order(symbol="BTCUSDT", side="Buy", order_type="Limit", qty=qty, price=price)
    except OrderRejectedError as error:
        print(f"refused: {error.message} ({error.code})")
        return None
    except NetworkError as error:
        print(f"no answer; look for {error.params['orderLinkId']}")
        return None
    return client.order.get_active_orders(symbol="BTCUSDT", order_id=placed["orderId"]).model


async def last_prices(client: AsyncBybitClient, symbols: list[str]) -> dict[str, Decimal | None]:
    """Many questions at once, within the limits."""
    results = await asyncio.gather(*[client.market.get_tickers(symbol=symbol) for symbol in symbols])
    assert_type(results, list[Result[Ticker[Decimal]]])
    return {result.model.symbol: result.model.last_price for result in results}


async def count_candles(client: AsyncBybitClient, start_ms: int, end_ms: int) -> int:
    """An iterator is `async for` on the async client."""
    candles = client.market.iter_klines(symbol="BTCUSDT", interval="1m", start=start_ms, end=end_ms)
    assert_type(candles, AsyncIterator[Kline[Decimal]])
    return len([candle async for candle in candles])


def watch(client: BybitClient, seen: list[dict[str, Any]]) -> None:
    """Tickers and the account's orders, until the client is closed."""
    client.websocket.subscribe_to_ticker("BTCUSDT", seen.append)
    client.websocket.subscribe_private(["order"], seen.append)
    client.websocket.start()


def any_endpoint(client: BybitClient) -> dict[str, Any]:
    """What has no method of its own."""
    try:
        return client.call("get_price_limit", category="linear", symbol="BTCUSDT")
    except BybitError as error:
        print(f"{type(error).__name__}: {error}, again: {error.is_retry_safe}")
        raise
