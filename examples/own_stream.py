"""A stream of one's own beside those of the settings: a function gets each payload, and what it counts is published.

python -m examples.own_stream
"""

from main import STREAMS, handle_trades, run, subscribe_trades


def large_trades(payload: bytes) -> None:
    """Print what is not small, and have it published and counted as every trade is."""
    if len(payload) > 200:
        print("a message of", len(payload), "bytes", flush=True)
    handle_trades(payload)


STREAMS.append({"name": "Trades_ETHUSDT", "func": subscribe_trades, "args": ("ETHUSDT", large_trades)})
raise SystemExit(run())
