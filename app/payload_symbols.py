"""The symbols of raw payloads, found by an exchange's protocol. Pure; one thread.

A payload's key is found without parsing it, and stands for its symbol once one payload that has it was read.
"""

from collections.abc import Callable, Mapping, Sequence

from consumers.redis.channels import raw_channel
from model.markets import MarketSpec
from model.ports import SymbolOf
from model.protocol import Data, StreamProtocol
from model.records import Kind
from model.symbols import canonical, is_symbol

KEYS_MOST = 10_000  # remembered; an exchange lists some 3,000 symbols


def symbols_by_channel(
    exchange: str,
    collected: Sequence[str],
    markets: Mapping[str, MarketSpec],
    protocol_of: Callable[[str], StreamProtocol],
) -> SymbolOf:
    """Return the SymbolOf of an exchange's raw channels. `collected`: the markets of the settings, the main one first.

    Protocols are made at the first payload of their market.
    """
    places: dict[str, tuple[str, Kind]] = {}
    for market, spec in markets.items():
        beside = None if market == collected[0] else market
        places |= {raw_channel(exchange, kind, beside): (market, kind) for kind in spec.kinds}
    readers: dict[str, Callable[[bytes], str]] = {}

    def symbol_of(channel: str, payload: bytes) -> str:
        if channel not in places:
            return ""
        if channel not in readers:
            market, kind = places[channel]
            readers[channel] = symbol_reader(protocol_of(market), kind)
        return readers[channel](payload)

    return symbol_of


def symbol_reader(protocol: StreamProtocol, kind: Kind) -> Callable[[bytes], str]:
    """Return what reads the symbol of a payload of a kind; "" where it cannot be read."""
    key_in = protocol.frames(kind, ()).key_in
    known: dict[bytes, str] = {}

    def read(payload: bytes) -> str:
        key = key_in(payload)
        if key in known:
            return known[key]
        message = protocol.read(payload)
        if not isinstance(message, Data) or not message.topic:
            return ""
        symbol = protocol.symbol_of(message.topic)
        if not is_symbol(canonical(symbol)):  # of a message that a user's program made
            return ""
        if len(known) >= KEYS_MOST:
            known.clear()
        return known.setdefault(key, symbol)

    return read
