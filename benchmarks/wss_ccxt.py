"""A check by hand that ccxt's public Bybit client works with a collector's Bybit-compatible paths; no measurement.

`pip install ccxt==4.5.90`, a collector with SYMBOLS=BTCUSDT,ETHUSDT and WEBSOCKET_EXCHANGE_PATHS, then
`python -m benchmarks.wss_ccxt ws://127.0.0.1:9500` (or wss://user:key@host:9500). 1 where a call brings nothing.
"""

import argparse
import asyncio
import importlib
import ssl
import sys
from collections.abc import Awaitable
from typing import Any

LIMIT_S = 75.0  # a minute's kline may have to be waited for
PERPETUAL, SPOT = "BTC/USDT:USDT", "BTC/USDT"
BOOKS = 20  # looked at one after another


def market_of(exchange: Any, base: str, *, is_swap: bool) -> Any:
    """A market as ccxt would have loaded it over REST."""
    settle = "USDT" if is_swap else None
    return exchange.safe_market_structure(
        {
            "id": f"{base}USDT", "symbol": f"{base}/USDT" + (":USDT" if is_swap else ""),
            "base": base, "quote": "USDT", "settle": settle, "baseId": base, "quoteId": "USDT", "settleId": settle,
            "type": "swap" if is_swap else "spot", "spot": not is_swap, "swap": is_swap, "contract": is_swap,
            "linear": is_swap or None, "inverse": False if is_swap else None, "contractSize": 1 if is_swap else None,
            "active": True, "precision": {"price": 0.1, "amount": 0.001}, "limits": {},
        }
    )  # fmt: skip


async def tried(name: str, call: Awaitable[Any]) -> bool:
    """Wait for one answer and print it."""
    try:
        got = await asyncio.wait_for(call, LIMIT_S)
    except Exception as error:  # noqa: BLE001 - whatever a foreign client raises is the result
        print(f"FAILED {name}: {type(error).__name__} {error}"[:200])
        return False
    print(f"ok {name}: {got}"[:100])
    return True


async def check(address: str, cafile: str | None) -> bool:
    """Every public call that the collector has data for."""
    exchange = importlib.import_module("ccxt.pro").bybit()
    if cafile:
        exchange.ssl_context = ssl.create_default_context(cafile=cafile)
    public = exchange.urls["api"]["ws"]["public"]
    exchange.urls["api"]["ws"]["public"] = {name: f"{address}/v5/public/{name}" for name in public}
    swaps = [market_of(exchange, base, is_swap=True) for base in ("BTC", "ETH")]
    exchange.set_markets([*swaps, market_of(exchange, "BTC", is_swap=False)])
    both = [market["symbol"] for market in swaps]
    results = [
        await tried("watch_trades", exchange.watch_trades(PERPETUAL)),
        await tried("watch_trades_for_symbols", exchange.watch_trades_for_symbols(both)),
        await tried("watch_order_book", exchange.watch_order_book(PERPETUAL, 50)),
        await tried("watch_ticker", exchange.watch_ticker(PERPETUAL)),
        await tried("watch_tickers", exchange.watch_tickers(both)),
        await tried("watch_bids_asks", exchange.watch_bids_asks([PERPETUAL])),
        await tried("watch_ohlcv", exchange.watch_ohlcv(PERPETUAL, "1m")),
        await tried("watch_ohlcv_for_symbols", exchange.watch_ohlcv_for_symbols([[one, "1m"] for one in both])),
        await tried("crossed books", never_crossed(exchange)),
        await tried("un_watch_trades", exchange.un_watch_trades(PERPETUAL)),
    ]
    await exchange.close()
    return all(results)


async def never_crossed(exchange: Any) -> str:
    """Follow the merged book for a while."""
    for _ in range(BOOKS):
        book = await exchange.watch_order_book(PERPETUAL, 50)
        if book["bids"][0][0] >= book["asks"][0][0]:
            raise ValueError(f"crossed: {book['bids'][0]} {book['asks'][0]}")
    return f"none of {BOOKS}"


def main() -> int:
    """Check one address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--cafile")
    options = parser.parse_args()
    return 0 if asyncio.run(check(options.address, options.cafile)) else 1


if __name__ == "__main__":
    sys.exit(main())
