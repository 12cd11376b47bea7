"""A subscriber that is never the bottleneck: reads in bulk, checks every byte, keeps how old each message was.

A process of its own, driven by JSON lines on stdin, answering on stdout; one thread. The age comes from the
microseconds that the flooder writes at the end of each payload, taken once per read of the socket.
"""

import argparse
import json
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import hiredis

from benchmarks.ages import Ages
from benchmarks.children import open_progress

KLINES, TRADES = "stream:bybit_klines", "stream:bybit_trades"
READ_BYTES = 1 << 20
STAMP = slice(-17, -1)  # `...,"us":1700000000123000}`, with and without spaces between
UNSTAMPED = (b"_klines", b"_status")


class Subscriber:
    """Subscribed to `channels` of the server at `port` on this machine; messages of `kept` are held until a dump."""

    def __init__(self, port: int, channels: list[str], kept: list[str], progress: Path) -> None:
        self._progress = open_progress(progress)
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._reader = hiredis.Reader()
        self._keep = {name.encode() for name in kept}
        self._kept: list[tuple[int, bytes, bytes]] = []
        self._reset()
        parts = ["SUBSCRIBE", *channels]
        self._sock.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p.encode()) for p in parts))
        self._confirmed = 0
        while self._confirmed < len(channels):
            self._read()

    def _reset(self, *, is_kept: bool = False) -> None:
        self._counts: Counter[bytes] = Counter()
        self._bytes: Counter[bytes] = Counter()
        self._digest: Counter[bytes] = Counter()
        self._ages = Ages(is_kept=is_kept)
        self._first_s = self._last_s = 0.0
        self._last_us = 0
        struct.pack_into("q", self._progress, 0, 0)

    def serve(self) -> None:
        """Serve until stdin or the server ends."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(sys.stdin, select.POLLIN)
        while True:
            ready = dict(poll.poll(1000))
            if self._sock.fileno() in ready:
                self._read()
            if sys.stdin.fileno() in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                print(json.dumps(self._obey(json.loads(line))), flush=True)

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["do"] == "reset":
            self._reset(is_kept=bool(command.get("is_kept")))
        elif command["do"] == "ages":
            return self._ages.found()
        elif command["do"] == "timeline":
            self._ages.save(Path(command["path"]))
        elif command["do"] == "dump":
            with Path(command["path"]).open("wb") as file:
                file.writelines(b"%d %b %b\n" % line for line in self._kept)
            self._kept.clear()
        return {
            "counts": _named(self._counts),
            "bytes": _named(self._bytes),
            "digest": _named(self._digest),
            "span_s": self._last_s - self._first_s,
            "last_us": self._last_us,
        }

    def _read(self) -> None:
        data = self._sock.recv(READ_BYTES)
        if not data:
            raise SystemExit("the server closed the connection")
        now_us = time.time_ns() // 1000
        now_s = time.monotonic()
        self._reader.feed(data)
        gets, counts, sizes, digest, sent = (
            self._reader.gets, self._counts, self._bytes, self._digest, self._ages.sent_us.append,
        )  # fmt: skip
        while (reply := gets()) is not False:
            what, channel, payload = reply
            if what != b"message":
                self._confirmed += 1
                continue
            if channel in self._keep:
                self._kept.append((now_us, channel, payload))
            if channel.endswith(UNSTAMPED):
                continue
            counts[channel] += 1
            sizes[channel] += len(payload)
            digest[channel] += crc32(payload)
            sent(int(payload[STAMP]))
            self._last_us, self._last_s = now_us, now_s
            self._first_s = self._first_s or now_s
        self._ages.arrived(now_us)
        struct.pack_into("q", self._progress, 0, counts.total())


class Kept(NamedTuple):
    """One message of a dump; the time is the subscriber's, microseconds since the epoch."""

    at_us: int
    channel: str
    payload: bytes


def read(path: Path) -> Iterator[Kept]:
    """Read the messages of a dump in their order."""
    for line in path.read_bytes().splitlines():
        at_us, channel, payload = line.split(b" ", 2)
        yield Kept(int(at_us), channel.decode(), payload)


def klines_of(kept: Kept) -> list[dict[str, Any]]:
    """Decode the klines of a message; numbers as Decimal."""
    return list(json.loads(kept.payload, parse_float=Decimal)["data"])


def _named(counts: Counter[bytes]) -> dict[str, int]:
    return {channel.decode(): count for channel, count in counts.items()}


def main() -> None:
    """Print `{"ready": true}` once subscribed, and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subscriber", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("channels", nargs="+")
    parser.add_argument("--keep", nargs="*", default=[], help="channels whose messages can be dumped")
    parser.add_argument("--progress", type=Path, required=True, help="file in which to count, for the flooder")
    arguments = parser.parse_args()
    subscriber = Subscriber(arguments.port, arguments.channels, arguments.keep, arguments.progress)
    print(json.dumps({"ready": True}), flush=True)
    subscriber.serve()


if __name__ == "__main__":
    main()
