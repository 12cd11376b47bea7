"""Streams to collect: the STREAMS list, the functions that its entries name, and `run`.

`python main.py` is the whole service, `python main.py --help` lists its commands. A script of your own may import
STREAMS, append to it and call `run()`. How the parts are joined: app/collector.py.
"""

import sys

if __name__ == "__main__":  # before the imports below, which take a second
    from app import startup

    startup.begin(None if {"audit", "doctor"} & {*sys.argv[1:]} else 0)

from collections.abc import Callable
from typing import Any

from app import cli
from callbacks.liquidations import handle_liquidations
from callbacks.orderbook import handle_orderbook, handle_spot_orderbook
from callbacks.ticker import handle_spot_ticker, handle_ticker
from callbacks.trades import handle_spot_trades, handle_trades
from conf.settings import Settings
from model.context import current
from model.ports import Callback, Symbols
from model.records import Kind

__all__ = [
    "STREAMS",
    "handle_liquidations",
    "handle_orderbook",
    "handle_spot_orderbook",
    "handle_spot_ticker",
    "handle_spot_trades",
    "handle_ticker",
    "handle_trades",
    "run",
    "subscribe_liquidations",
    "subscribe_orderbook",
    "subscribe_ticker",
    "subscribe_topics",
    "subscribe_trades",
]

STREAMS: list[dict[str, Any]] = []
"""One supervised, reconnecting thread per entry. `run` adds what the settings ask for; the list may grow while it runs.

    STREAMS.append({
        "name": "Trades_ETHUSDT",
        "func": subscribe_trades,
        "args": ("ETHUSDT", handle_trades),
    })
"""


def subscribe_trades(symbols: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream trades of a symbol or a list of symbols (one connection) to `callback`, exact bytes.

    Symbols are named as in SYMBOLS: BTCUSDT, BTC/USDT or BTC, on every exchange, or as the exchange writes them.
    Blocks until the connection ends; meant as the "func" of a STREAMS entry. `market` is linear, inverse, spot or
    option; None is the callback's own, else CHANNEL_TYPE. What handle_trades is given goes to the channel, klines and
    records of that market: `stream:bybit_trades` of CHANNEL_TYPE, `stream:bybit_inverse_trades` of inverse beside it.
    """
    current().subscribe("trades", symbols, callback, market)


def subscribe_orderbook(
    symbols: Symbols, callback: Callback, market: str | None = None, depth: int | None = None
) -> None:
    """Stream order books like `subscribe_trades`; `depth` is one that the exchange has, None is ORDERBOOK_DEPTH."""
    current().subscribe("orderbook", symbols, callback, market, depth)


def subscribe_ticker(symbols: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream tickers like `subscribe_trades`."""
    current().subscribe("ticker", symbols, callback, market)


def subscribe_liquidations(symbols: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream liquidations like `subscribe_trades`; spot has none."""
    current().subscribe("liquidations", symbols, callback, market)


def subscribe_topics(topics: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream any other topics of the exchange, e.g. "kline.5.BTCUSDT", like `subscribe_trades`."""
    current().subscribe("topics", topics, callback, market)


# Add your own streams here.


SUBSCRIBE: dict[Kind, Callable[..., None]] = {
    "trades": subscribe_trades,
    "orderbook": subscribe_orderbook,
    "ticker": subscribe_ticker,
    "liquidations": subscribe_liquidations,
    "topics": subscribe_topics,
}


def run(settings: Settings | None = None) -> int:
    """Collect until asked to stop by SIGTERM, SIGINT or SIGHUP; returns the exit code (app/exits.py).

    `settings` None: from the environment and .env. Signals are caught only where this is the main thread.
    """
    return cli.run(STREAMS, SUBSCRIBE, settings)


if __name__ == "__main__":
    startup.imported()
    sys.modules["main"] = sys.modules[__name__]  # a script that imports main finds this STREAMS, not a second one
    startup.leave(cli.main(sys.argv[1:], STREAMS, SUBSCRIBE))
