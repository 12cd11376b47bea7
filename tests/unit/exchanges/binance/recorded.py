"""The recorded frames of ../shared/data/binance/ws: each with its market, and how it would arrive on /stream."""

import json
from collections.abc import Iterator
from pathlib import Path

MARKETS = {"spot": "spot", "usdm": "linear", "coinm": "inverse"}
# Raw frames name no stream; of which stream an event is.
STREAM_OF = {"24hrTicker": "ticker", "24hrMiniTicker": "miniTicker", "kline": "kline_1m"}


def frames(shared_data: Path) -> Iterator[tuple[str, bytes]]:
    """Every recorded frame as (market, text), REST answers among them left out."""
    for path in sorted((shared_data / "binance" / "ws").iterdir()):
        for line in path.read_bytes().splitlines():
            start = line.find(b"{")
            if start < 0 or line.startswith(b"wss://"):
                continue
            frame = line[start:]
            if frame.startswith(b'{"lastUpdateId"'):
                continue  # a snapshot that the recorder asked for
            yield market_of(path.name, frame), frame


def market_of(name: str, frame: bytes) -> str:
    """Return the market of a frame of a recording."""
    known = next((market for key, market in MARKETS.items() if key in name), None)
    if known:
        return known
    return "inverse" if b"_PERP" in frame else "linear" if b'"st":' in frame else "spot"


def combined(frame: bytes) -> bytes:
    """Return a frame as it comes on /stream: raw ones are wrapped."""
    message = json.loads(frame)
    if "stream" in message or "result" in message:
        return frame
    name = STREAM_OF.get(message.get("e", "bookTicker"), message.get("e", "bookTicker"))
    symbol = message.get("s") or message["o"]["s"]
    return b'{"stream":"%s@%s","data":%s}' % (symbol.lower().encode(), name.encode(), frame)
