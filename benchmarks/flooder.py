"""An exchange of one trick: acknowledges subscriptions, then sends prepared frames at a rate, or in a flood.

A process of its own, driven by JSON lines on stdin, answering on stdout; one thread. The simulator makes every message
anew and would be the bottleneck; this speaks just enough of its protocol. One topic per connection.
"""

import argparse
import base64
import hashlib
import json
import select
import socket
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.children import open_progress
from benchmarks.pool import Slot, kind_of, render, symbols_of, topics_of
from exchanges.bybit.simulator.frames import frame, text_frame

POOL_MESSAGES = 20_000  # 10 MB; a circle lasts a tenth of a second at flood, and trade ids are new on each
FLOOD_BATCH = 400  # messages between two looks at who is behind
HIGH_BYTES = 64 * 1024  # a flood waits while any client has this much unsent: the mix of kinds stays what it is
WINDOW = 10_000  # messages of a flood between exchange and subscriber: many per read, and no queue overflows
SEND_BUFFER_BYTES = 128 * 1024  # per connection in the kernel, so that a slow client's backlog is bounded
TICK_MS = 1  # a paced message is sent within this of its time
FINISH_LIMIT_S = 30.0  # for what is half sent at the end
TEXT, PING, FIN_PONG = 0x1, 0x9, 0x8A
WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Client:
    """One connection: what it subscribed, what waits for it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.topic = ""
        self.inbox = bytearray()
        self.is_upgraded = False
        self.chunks: deque[tuple[memoryview, int, int]] = deque()  # bytes left, messages, payload bytes
        self.unsent = 0
        self.is_begun = False

    def put(self, data: bytes, messages: int = 0, payload_bytes: int = 0) -> None:
        """Queue bytes that belong together."""
        self.chunks.append((memoryview(data), messages, payload_bytes))
        self.unsent += len(data)

    def flush(self, sent: Counter[str], sent_bytes: Counter[str]) -> None:
        """Send what the kernel takes; count a chunk when its last byte is gone."""
        try:
            while self.chunks:
                data, messages, payload_bytes = self.chunks[0]
                size = self.sock.send(data)
                self.unsent -= size
                self.is_begun = size < len(data)
                if self.is_begun:
                    self.chunks[0] = (data[size:], messages, payload_bytes)
                    return
                self.chunks.popleft()
                if messages:
                    sent[kind_of(self.topic)] += messages
                    sent_bytes[kind_of(self.topic)] += payload_bytes
        except BlockingIOError:
            return

    def forget_unsent(self) -> None:
        """Drop what waits, except a chunk of which a part is gone."""
        while len(self.chunks) > self.is_begun:
            self.unsent -= len(self.chunks.pop()[0])


class Flooder:
    """The server. `send` blocks while it sends; between sends `serve` answers clients and commands."""

    def __init__(self, symbols: int, progress: Path) -> None:
        self.symbols = symbols_of(symbols)
        self._progress = open_progress(progress)
        self._offered = 0
        self._pool = render(self.symbols, POOL_MESSAGES)
        self._slots: Iterator[Slot] = iter(())
        self._clients: dict[int, Client] = {}
        self._by_topic: dict[str, Client] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted ones inherit it
        self.port = int(self._listener.getsockname()[1])
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._sent: Counter[str] = Counter()
        self._sent_bytes: Counter[str] = Counter()

    def serve(self) -> None:
        """Until stdin ends."""
        self._poll.register(sys.stdin, select.POLLIN)
        while True:
            if self._step(1000):
                line = sys.stdin.readline()
                if not line:
                    return
                print(json.dumps(self._obey(json.loads(line))), flush=True)

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["do"] == "status":
            return {"subscribed": len(self._by_topic)}
        return self.send(float(command["rate"]), float(command["seconds"]))

    def send(self, rate: float, seconds: float) -> dict[str, Any]:
        """`rate` messages a second, 0 as fast as they reach the subscriber; what is not taken in time is never sent."""
        self._slots = cycle(self._pool)
        self._sent.clear()
        self._sent_bytes.clear()
        begin_s = now_s = time.monotonic()
        self._offered = 0
        while now_s - begin_s < seconds:
            due = self._due(rate, now_s - begin_s)
            self._queue(due)
            self._offered += due
            self._step(TICK_MS if rate or not due else 0)
            now_s = time.monotonic()
        self._finish(begin_s + seconds + FINISH_LIMIT_S)
        return {
            "sent": dict(self._sent),
            "bytes": dict(self._sent_bytes),
            "offered": self._offered,
            "seconds": time.monotonic() - begin_s,
        }

    def _due(self, rate: float, elapsed_s: float) -> int:
        if rate:
            return int(elapsed_s * rate) - self._offered
        return 0 if self._is_congested() else FLOOD_BATCH

    def _is_congested(self) -> bool:
        if self._offered - struct.unpack_from("q", self._progress)[0] > WINDOW:
            return True
        return any(client.unsent > HIGH_BYTES for client in self._clients.values())

    def _queue(self, count: int) -> None:
        """Stamp the next `count` frames; those of one client leave in one write."""
        now_us = time.time_ns() // 1000
        ms, end = b"%d" % (now_us // 1000), b"%d}" % now_us
        frames: dict[str, list[bytes]] = {}
        sizes: Counter[str] = Counter()
        for topic, parts, size in islice(self._slots, count):
            frames.setdefault(topic, []).append(ms.join(parts) + end)
            sizes[topic] += size
        for topic, chunk in frames.items():
            if client := self._by_topic.get(topic):
                client.put(b"".join(chunk), len(chunk), sizes[topic])
                client.flush(self._sent, self._sent_bytes)

    def _finish(self, deadline_s: float) -> None:
        for client in self._clients.values():
            client.forget_unsent()
        while any(client.chunks for client in self._clients.values()) and time.monotonic() < deadline_s:
            self._step(10)

    def _step(self, timeout_ms: int) -> bool:
        """One look at all sockets; True if stdin has a command."""
        is_commanded = False
        for client in self._clients.values():
            self._poll.modify(client.sock, select.POLLIN | (select.POLLOUT if client.chunks else 0))
        for number, event in self._poll.poll(timeout_ms):
            if number == self._listener.fileno():
                self._accept()
            elif number not in self._clients:
                is_commanded = True
            elif event & ~select.POLLOUT:
                self._read(number, self._clients[number])
            else:
                self._clients[number].flush(self._sent, self._sent_bytes)
        return is_commanded

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        self._clients[sock.fileno()] = Client(sock)
        self._poll.register(sock, select.POLLIN)

    def _read(self, number: int, client: Client) -> None:
        try:
            data = client.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(number)
            client.sock.close()
            del self._clients[number]
            self._by_topic.pop(client.topic, None)
            return
        client.inbox += data
        if not client.is_upgraded:
            upgrade(client)
        if client.is_upgraded:
            for opcode, payload in take_frames(client.inbox):
                if opcode == PING:
                    client.put(frame(FIN_PONG, payload))
                elif opcode == TEXT:
                    self._answer(client, payload)
        client.flush(self._sent, self._sent_bytes)

    def _answer(self, client: Client, payload: bytes) -> None:
        """Acknowledge subscribe and ping as a linear socket does."""
        request = json.loads(payload)
        op, req_id = request["op"], request.get("req_id", "")
        if op == "subscribe":
            (client.topic,) = request["args"]
            self._by_topic[client.topic] = client
        ret_msg = "pong" if op == "ping" else ""
        answer = {"success": True, "ret_msg": ret_msg, "conn_id": "flooder", "req_id": req_id, "op": op}
        client.put(text_frame(json.dumps(answer).encode()))


def upgrade(client: Client) -> None:
    """Answer the HTTP request of a WebSocket handshake once it is complete."""
    head, end, rest = bytes(client.inbox).partition(b"\r\n\r\n")
    if not end:
        return
    (key,) = [
        line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")
    ]
    accept = base64.b64encode(hashlib.sha1(key + WS_GUID).digest())
    client.put(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    client.inbox[:] = rest
    client.is_upgraded = True


def take_frames(inbox: bytearray) -> Iterator[tuple[int, bytes]]:
    """Unmask and remove the complete frames of a client, all of them short: opcode and payload."""
    while len(inbox) >= 6:
        opcode = inbox[0] & 0x0F
        size, start = inbox[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(inbox[2:4], "big"), 4
        if len(inbox) < start + 4 + size:
            return
        mask = inbox[start : start + 4]
        body = inbox[start + 4 : start + 4 + size]
        del inbox[: start + 4 + size]
        yield opcode, bytes(byte ^ mask[i & 3] for i, byte in enumerate(body))


def main() -> None:
    """Print `{"port", "symbols", "topics", "mean_bytes"}` and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flooder", description=__doc__)
    parser.add_argument("--symbols", type=int, default=4, help="four kinds each: 4 symbols are 16 streams")
    parser.add_argument("--progress", type=Path, required=True, help="file in which the subscriber counts")
    arguments = parser.parse_args()
    flooder = Flooder(arguments.symbols, arguments.progress)
    pool = flooder._pool
    ready = {
        "port": flooder.port,
        "symbols": flooder.symbols,
        "topics": len(topics_of(flooder.symbols)),
        "mean_bytes": sum(slot.size for slot in pool) / len(pool),
        "mix": {kind: count / len(pool) for kind, count in Counter(kind_of(slot.topic) for slot in pool).items()},
    }
    print(json.dumps(ready), flush=True)
    flooder.serve()


if __name__ == "__main__":
    main()
