"""The floor: what Python can do at best. A picows receive loop, PUBLISH packed by hand, no klines, no reconnect.

Run with benchmarks/requirements-floor.txt. One asyncio loop; what one round of it reads leaves in one write.
FLOOR_PLAN names a file with what floor_plan.py gives.
"""

import asyncio
import json
import os
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect  # type: ignore[import-not-found]

GZIP = 31  # of zlib.decompress
IS_DATA = slice(-22, -17)  # `"us":1700000000123000}` ends all that is to be published, and no acknowledgement
MARK_WITHIN = 120  # bytes


class Publisher(asyncio.Protocol):
    """The connection to Redis, which is asked for no replies: nothing is known of what arrived."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and begin with nothing waiting."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n")
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
    """One connection. `marks`: by which bytes a payload's kind is found, and the head of its command."""

    def __init__(
        self, requests: list[str], marks: list[tuple[bytes, bytes]], publisher: Publisher, *, is_gzip: bool
    ) -> None:
        super().__init__()
        self._requests, self._marks, self._is_gzip = requests, marks, is_gzip
        self._add = publisher.add

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Subscribe."""
        for request in self._requests:
            transport.send(WSMsgType.TEXT, request.encode())

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        """Publish data; the acknowledgement is not."""
        payload = frame.get_payload_as_bytes()
        if self._is_gzip:
            payload = zlib.decompress(payload, GZIP)
        if payload[IS_DATA] != b'"us":':
            return
        for mark, head in self._marks:
            if payload.find(mark, 0, MARK_WITHIN) >= 0:
                self._add(b"%b%d\r\n%b\r\n" % (head, len(payload), payload))
                return


async def main() -> None:
    """Run until killed."""
    redis = urlsplit(os.environ["REDIS_URL"])
    plan = json.loads(Path(os.environ["FLOOR_PLAN"]).read_text())
    marks = [
        (mark.encode(), b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$" % (len(channel), channel.encode()))
        for mark, channel in plan["marks"]
    ]
    loop = asyncio.get_running_loop()
    _, publisher = await loop.create_connection(Publisher, redis.hostname or "", redis.port or 6379)
    for requests in plan["requests"]:
        await ws_connect(
            lambda *_, r=requests: Listener(r, marks, publisher, is_gzip=plan["is_gzip"]), os.environ["FLOOR_URL"]
        )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
