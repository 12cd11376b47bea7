"""The collector on a whole market, as a user writes it: run() with more STREAMS.

SYMBOLS and ENABLE_SPOT_STREAM give the symbols of both markets; LINEAR_ONLY has those that spot does not list.
"""

import os

from callbacks.liquidations import handle_liquidations
from callbacks.orderbook import handle_orderbook
from callbacks.ticker import handle_ticker
from callbacks.trades import handle_trades
from main import STREAMS, run, subscribe_liquidations, subscribe_orderbook, subscribe_ticker, subscribe_trades

POOL = 100  # symbols per connection
KINDS = (
    (subscribe_trades, handle_trades),
    (subscribe_orderbook, handle_orderbook),
    (subscribe_ticker, handle_ticker),
    (subscribe_liquidations, handle_liquidations),
)

if __name__ == "__main__":
    symbols = os.environ.get("LINEAR_ONLY", "").split(",")
    for begin in range(0, len(symbols), POOL):
        for subscribe, handle in KINDS:
            name = f"{handle.kind}_more_{begin}"
            STREAMS.append({"name": name, "func": subscribe, "args": (symbols[begin : begin + POOL], handle)})
    raise SystemExit(run())
