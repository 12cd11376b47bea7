"""The floor: what Python can do at best. A picows receive loop, PUBLISH packed by hand, no klines, no reconnect.

Run with the packages of benchmarks/requirements.txt. One asyncio loop; what one round of it reads leaves in one write.
"""

import asyncio
import json
import os
from urllib.parse import urlsplit

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect  # type: ignore[import-not-found]

HEADS = {
    "publicTrade": b"stream:bybit_trades",
    "orderbook.50": b"stream:bybit_orderbook",
    "tickers": b"stream:bybit_ticker",
    "allLiquidation": b"stream:bybit_liquidations",
}


class Publisher(asyncio.Protocol):
    """The connection to Redis; replies are thrown away."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and begin with nothing waiting."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._waiting: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def add(self, command: bytes) -> None:
        """Queue a message, sent with the others of this round of the loop."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(command)

    def _flush(self) -> None:
        self._transport.write(b"".join(self._waiting))
        self._waiting.clear()


class Listener(WSListener):  # type: ignore[misc]  # picows is not in the project's environment
    """One topic of one symbol."""

    def __init__(self, head: str, symbol: str, publisher: Publisher) -> None:
        super().__init__()
        self._topic = f"{head}.{symbol}"
        name = HEADS[head]
        self._prefix = b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$" % (len(name), name)
        self._add = publisher.add

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Subscribe."""
        transport.send(WSMsgType.TEXT, json.dumps({"op": "subscribe", "args": [self._topic]}).encode())

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        """Publish data; the acknowledgement is not."""
        payload = frame.get_payload_as_bytes()
        if payload.startswith(b'{"topic"'):
            self._add(b"%b%d\r\n%b\r\n" % (self._prefix, len(payload), payload))


async def main() -> None:
    """Run until killed."""
    redis = urlsplit(os.environ["REDIS_URL"])
    loop = asyncio.get_running_loop()
    _, publisher = await loop.create_connection(Publisher, redis.hostname or "", redis.port or 6379)
    for symbol in os.environ["SYMBOLS"].split(","):
        for head in HEADS:
            await ws_connect(lambda *_, h=head, s=symbol: Listener(h, s, publisher), os.environ["BYBIT_WS_URL"])
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
