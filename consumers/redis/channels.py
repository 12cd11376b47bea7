"""The names of Redis channels, built here alone.

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
    """Name the channel of closed klines, whatever their market, which is the envelope's `channel`."""
    return f"stream:{exchange}_klines"


def status_channel(exchange: str) -> str:
    """Name the channel of changes of state: connected, disconnected, gap, repaired, ..."""
    return f"stream:{exchange}_status"


def symbol_channel(channel: str, symbol: str) -> str:
    """Name one symbol's part of a channel, where a cluster carries every symbol in a slot of its own."""
    return f"{channel}:{symbol}"
