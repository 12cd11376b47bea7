"""The names of Redis channels, built here alone.

Pure; any thread. Subscribers depend on these names: they are part of the product's contract.
"""

import json

_TOPIC = b'"topic":"'


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


def symbol_of_payload(payload: bytes) -> str:
    """Read the symbol at the end of `"topic":"publicTrade.BTCUSDT"`; "" where there is none. Little JSON is parsed."""
    begin = payload.find(_TOPIC)
    if begin < 0:
        return ""
    topic = payload[begin + len(_TOPIC) : payload.find(b'"', begin + len(_TOPIC))]
    symbol = topic.rpartition(b".")[2]
    if b"\\" in symbol:  # a Chinese name, written as \u5e01
        try:
            symbol = json.loads(b'"' + symbol + b'"').encode()
        except ValueError:  # of a message that a user's program made: no text, or none that UTF-8 has
            return ""
    return symbol.decode(errors="replace")
