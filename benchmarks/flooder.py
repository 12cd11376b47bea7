"""The flooding exchange: acknowledges subscriptions, then sends prepared frames at a rate, or in a flood.

A process of its own, driven by JSON lines on stdin, answering on stdout; one thread. The simulator makes every message
anew and would be the bottleneck; this has just enough of its protocol. ws and wss, each on a port of its own.
"""

import argparse
import json
import select
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from zlib import crc32

from benchmarks.children import open_progress
from benchmarks.exchange_pool import BYBIT, EXCHANGES, Pool, render_exchange
from benchmarks.pool import CATEGORY, KINDS, Slot, render, symbols_of, topics_of
from benchmarks.wire import WOULD_BLOCK, Client, Part, empty_tally, take_frames, upgrade
from exchanges.simulated.frames import frame, text_frame

POOL_MESSAGES = 20_000  # 10 MB; a circle lasts a tenth of a second at flood, and trade ids are new on each
FLOOD_BATCH = 400  # messages between two looks at who is behind
HIGH_BYTES = 64 * 1024  # a flood waits while any client has this much unsent: the mix of kinds stays what it is
WINDOW = 10_000  # messages of a flood between exchange and subscriber: many per read, and no queue overflows
SEND_BUFFER_BYTES = 128 * 1024  # per connection in the kernel, so that a slow client's backlog is bounded
FINISH_LIMIT_S = 30.0  # for what is half sent at the end
TEXT, PING, FIN_PONG = 0x1, 0x9, 0x8A


class Flooder:
    """The server. `send` blocks while it sends; between sends `serve` answers clients and commands.

    `goes_on`: ids of the pool go on from one round to the next, and from one send to the next, so that all is sent.
    When the last client has gone, the next one finds a new round, with what a new subscriber gets first.
    """

    def __init__(
        self,
        pool: list[Slot],
        progress: Path,
        tls: ssl.SSLContext | None,
        window: int,
        exchange: str = BYBIT,
        *,
        goes_on: bool = False,
    ) -> None:
        self._exchange, self._goes_on, self._round = exchange, goes_on, 0
        self._answer_text, self._wrap = EXCHANGES[exchange].answer, EXCHANGES[exchange].wrap
        self._welcome = EXCHANGES[exchange].welcome
        self._progress = open_progress(progress)
        self._offered = 0
        self._pool = self._whole = pool
        self._usual = [slot for slot in pool if not slot.is_first]
        self._window, self._batch = window, min(FLOOD_BATCH, max(window // 4, 1))
        self._position = self._round_ms = 0
        self._clients: dict[int, Client] = {}
        self._by_topic: dict[str, Client] = {}
        self._poll = select.poll()
        self._listeners: dict[int, tuple[socket.socket, ssl.SSLContext | None]] = {}
        self.port = self._listen(None)
        self.tls_port = self._listen(tls) if tls else 0
        self._tally = empty_tally()

    def _listen(self, tls: ssl.SSLContext | None) -> int:
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted ones inherit it
        self._listeners[listener.fileno()] = listener, tls
        self._poll.register(listener, select.POLLIN)
        return int(listener.getsockname()[1])

    def serve(self) -> None:
        """Serve until stdin ends."""
        self._poll.register(sys.stdin, select.POLLIN)
        while True:
            if self._step(1000):
                line = sys.stdin.readline()
                if not line:
                    return
                print(json.dumps(self._obey(json.loads(line))), flush=True)

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["do"] == "status":
            return {"subscribed": len(self._by_topic), "connections": len(self._clients)}
        rate, seconds = float(command["rate"]), float(command["seconds"])
        return self.send(rate, seconds, int(command.get("tick_ms", 1)), is_whole=bool(command.get("is_whole")))

    def send(self, rate: float, seconds: float, tick_ms: int, *, is_whole: bool) -> dict[str, Any]:
        """`rate` messages a second, 0 as fast as they reach the subscriber; what is not taken in time is never sent.

        Messages leave within `tick_ms` of their time, those of one connection together. `is_whole`: all is sent,
        however late it is taken.
        """
        self._tally = empty_tally()
        if not self._goes_on:
            self._position, self._round_ms = 0, time.time_ns() // 1_000_000  # from the snapshots on
        begin_s = now_s = time.monotonic()
        self._offered = 0
        while now_s - begin_s < seconds:
            due = self._due(rate, now_s - begin_s)
            self._offered += self._queue(due)
            self._step(tick_ms if rate or not due else 0)
            now_s = time.monotonic()
        while is_whole and self._offered < int(rate * seconds):
            self._offered += self._queue(int(rate * seconds) - self._offered)
        sent_s = now_s - begin_s
        self._finish(begin_s + seconds + FINISH_LIMIT_S, is_whole=is_whole or self._goes_on)
        tally = {name: dict(counts) for name, counts in self._tally._asdict().items()}
        return {
            **tally,
            "exchange": self._exchange,
            "offered": self._offered,
            "seconds": sent_s,
            "end_us": time.time_ns() // 1000,
        }

    def _due(self, rate: float, elapsed_s: float) -> int:
        if rate:
            return int(elapsed_s * rate) - self._offered
        return 0 if self._is_congested() else self._batch

    def _is_congested(self) -> bool:
        if self._offered - struct.unpack_from("q", self._progress)[0] > self._window:
            return True
        return any(client.unsent > HIGH_BYTES for client in self._clients.values())

    def _queue(self, count: int) -> int:
        """Stamp and queue up to `count` frames; returns how many. Those of one client leave in one write.

        A round of the pool never shares a millisecond with the one before: ids of trades would be the same.
        """
        now_us = time.time_ns() // 1000
        if not self._position and now_us // 1000 <= self._round_ms:
            return 0
        rounds, slots = self._round, self._pool[self._position : self._position + count]
        self._position += len(slots)
        if self._position == len(self._pool):
            self._position, self._round_ms = 0, now_us // 1000
            self._round += 1
            if self._goes_on:
                self._pool = self._usual
        ms, end = b"%d" % (now_us // 1000), b"%d}" % now_us
        chunks: dict[Client, tuple[list[bytes], dict[str, list[int]]]] = {}
        of_topic = self._by_topic.get
        for topic, kind, parts, size, trades, ids, step, _ in slots:
            client = of_topic(topic)
            if client is None:
                continue
            data = ms.join(parts)
            if ids:
                data %= tuple([number + step * rounds for number in ids])
            data += end
            if client not in chunks:
                chunks[client] = ([], {})
            frames, kinds = chunks[client]
            frames.append(self._wrap(data) if self._wrap else data)
            counts = kinds.setdefault(kind, [0, 0, 0, 0])
            counts[0] += 1
            counts[1] += size
            counts[2] += trades
            counts[3] += crc32(data[-size:])
        for client, (frames, kinds) in chunks.items():
            client.put(b"".join(frames), tuple(Part(kind, *counts) for kind, counts in kinds.items()))
            client.flush(self._tally)
        return len(slots)

    def _finish(self, deadline_s: float, *, is_whole: bool) -> None:
        for client in self._clients.values():
            if not is_whole:
                client.forget_unsent()
        while any(client.chunks for client in self._clients.values()) and time.monotonic() < deadline_s:
            self._step(10)

    def _step(self, timeout_ms: int) -> bool:
        """Poll all sockets once; True if stdin has a command."""
        is_commanded = False
        for client in self._clients.values():
            self._poll.modify(client.sock, select.POLLIN | (select.POLLOUT if client.chunks else 0))
        for number, event in self._poll.poll(timeout_ms):
            if number in self._listeners:
                self._accept(*self._listeners[number])
            elif number not in self._clients:
                is_commanded = True
            elif event & ~select.POLLOUT:
                self._read(number, self._clients[number])
            else:
                self._clients[number].flush(self._tally)
        return is_commanded

    def _accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        sock, _ = listener.accept()
        try:
            client = Client(sock, tls)
        except OSError as error:
            print(f"refused: {error}", file=sys.stderr)
            sock.close()
            return
        self._clients[client.sock.fileno()] = client
        self._poll.register(client.sock, select.POLLIN)

    def _read(self, number: int, client: Client) -> None:
        try:
            data = client.sock.recv(65536)
        except WOULD_BLOCK:
            return
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(number)
            client.sock.close()
            del self._clients[number]
            for topic in client.topics:
                if self._by_topic.get(topic) is client:
                    del self._by_topic[topic]
            if self._goes_on and not self._clients:
                self._begin_round()
            return
        client.inbox += data
        if not client.is_upgraded:
            upgrade(client)
            if client.is_upgraded and self._welcome:
                client.put(text_frame(self._welcome))
        if client.is_upgraded:
            for opcode, payload in take_frames(client.inbox):
                if opcode == PING:
                    client.put(frame(FIN_PONG, payload))
                elif opcode == TEXT:
                    self._answer(client, payload)
        client.flush(self._tally)

    def _begin_round(self) -> None:
        """Begin the next round with all of the pool: its snapshots have the ids that the last round would end with."""
        self._round += self._position > 0 or self._pool is not self._whole
        self._pool, self._position = self._whole, 0

    def _answer(self, client: Client, payload: bytes) -> None:
        """Acknowledge subscribe and ping as the exchange's sockets do; only Bybit's paths end in a category."""
        names, answers = self._answer_text(payload)
        category = "spot" if client.category == "spot" else CATEGORY
        topics = [f"{category}/{name}" for name in names]
        client.topics += topics
        self._by_topic.update(dict.fromkeys(topics, client))
        for answer in answers:
            client.put((self._wrap or text_frame)(answer.encode()))


def main() -> None:
    """Print `{"port", "tls_port", "exchange", "symbols", "topics", "mean_bytes", "mix", ...}` and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flooder", description=__doc__)
    parser.add_argument("--exchange", choices=EXCHANGES, help="that one's messages, ids without a gap, linear only")
    parser.add_argument("--linear", type=int, default=4, help="symbols")
    parser.add_argument("--spot", type=int, default=0, help="symbols")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--pool", type=int, default=POOL_MESSAGES, help="frames prepared")
    parser.add_argument("--window", type=int, default=WINDOW, help="messages of a flood on their way at most")
    parser.add_argument("--payload-bytes", type=int, default=0, help="fill every payload up to so many")
    parser.add_argument("--progress", type=Path, required=True, help="file in which the subscriber counts")
    parser.add_argument("--certificate", type=Path, help="PEM with key and certificate; without it no wss")
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    counts = {name: count for name in ("linear", "spot") if (count := getattr(arguments, name))}
    if name := arguments.exchange:
        pool = render_exchange(name, arguments.linear, arguments.pool)
    else:
        symbols = {category: symbols_of(count, category) for category, count in counts.items()}
        topics = sum(len(topics_of(names, category, kinds)) for category, names in symbols.items())
        pool = Pool(render(counts, arguments.pool, kinds, arguments.payload_bytes), symbols, topics)
    tls = None
    if arguments.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.certificate)
    flooder = Flooder(pool.slots, arguments.progress, tls, arguments.window, name or BYBIT, goes_on=bool(name))
    usual = [slot for slot in pool.slots if not slot.is_first]
    ready = {
        "port": flooder.port,
        "tls_port": flooder.tls_port,
        "exchange": name or BYBIT,
        "symbols": pool.symbols,
        "topics": pool.topics,
        "mean_bytes": sum(slot.size for slot in usual) / len(usual),
        "mix": {kind: count / len(usual) for kind, count in Counter(slot.kind for slot in usual).items()},
        "trades_per_message": sum(slot.trades for slot in usual) / len(usual),
    }
    print(json.dumps(ready), flush=True)
    flooder.serve()


if __name__ == "__main__":
    main()
