"""The one place where names of Redis channels are built.

Pure; any thread. Subscribers depend on these names: they are part of the product's contract.
"""


def raw_channel(exchange: str, kind: str, market: str | None = None) -> str:
    """Name the channel of untouched payloads of one kind (`trades`, `orderbook`, `ticker`, `liquidations`).

    `market` is given only for a market collected beside the main one: `stream:bybit_spot_trades`.
    """
    if market:
        return f"stream:{exchange}_{market}_{kind}"
    return f"stream:{exchange}_{kind}"


def klines_channel(exchange: str) -> str:
    """Name the channel of closed klines, whatever their market: the envelope's `channel` says it."""
    return f"stream:{exchange}_klines"


def status_channel(exchange: str) -> str:
    """Name the channel of changes of state: connected, disconnected, gap, repaired, ..."""
    return f"stream:{exchange}_status"
