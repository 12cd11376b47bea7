"""Hundreds of WSS clients in one process, cheap enough not to be what is measured.

`python -m benchmarks.wss_swarm`; commands come as JSON lines. Reads sockets by hand: of each message its symbol, its
number and its age, found without parsing JSON. Some clients never read.
"""

import base64
import json
import re
import selectors
import socket
import struct
import sys
import time
from array import array
from typing import Any

from benchmarks.wss_servers import KEY, SYMBOLS, USER

READ_BYTES = 256 * 1024
LIMIT_S = 20.0  # to connect and be answered
STUCK_BUFFER_BYTES = 4096
ROUND_S = 0.005  # between two rounds of reading: what came meanwhile is read together
MESSAGE = re.compile(rb'"S(\d+)USDT","interval":60000,"timestamp":(\d+),[^t]*"trade_count":(\d+)')
CLOSE = 0x88


class Reader:
    """One client. `wanted` are its symbols; None is all of them."""

    def __init__(self, port: int, wanted: list[str] | None, *, reads: bool) -> None:
        self.wanted, self.reads = wanted, reads
        self.received = self.out_of_order = 0
        self.closed: str | None = None
        self._next = dict.fromkeys(range(len(SYMBOLS)), 0)
        self._rest = b""
        self.socket = socket.socket()
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STUCK_BUFFER_BYTES)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(("127.0.0.1", port))
        login = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Basic {login}\r\n\r\n".encode()
        )
        self._until(b'{"status":"authenticated"}')
        topics = ["*"] if wanted is None else [f"kline.1m.{symbol}" for symbol in wanted]
        self._send(json.dumps({"op": "subscribe", "args": topics}).encode())
        self._until(b'"success":true')
        self.socket.setblocking(False)

    def read(self, ages_us: "array[int]", *, is_checked: bool) -> None:
        """Read what has arrived; with `is_checked` look at every message, else count them and look at the last."""
        try:
            chunk = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            chunk, self.closed = b"", str(error)
        if not chunk:
            self.closed = self.closed or "end of file"
            return
        now_us = time.monotonic_ns() // 1000
        data = self._rest + chunk
        end = data.rfind(b"}]}") + 3
        if end < 3:
            self._rest = data
            self._look_for_close(data)
            return
        self._rest = data[end:]
        self._look_for_close(self._rest)
        if is_checked:
            self._check(data[:end], now_us, ages_us)
        else:
            self.received += data.count(b"}]}", 0, end)
            last = MESSAGE.search(data, data.rfind(b'{"exchange"', 0, end), end)
            if last:
                ages_us.append(now_us - int(last[3]))

    def _check(self, data: bytes, now_us: int, ages_us: "array[int]") -> None:
        for symbol, start, offered_us in MESSAGE.findall(data):
            number, index = int(start) // 60_000, int(symbol)
            self.out_of_order += number != self._next[index]
            self._next[index] = number + 1
            self.received += 1
            ages_us.append(now_us - int(offered_us))

    def _look_for_close(self, rest: bytes) -> None:
        if len(rest) >= 4 and rest[0] == CLOSE:
            self.closed = f"{int.from_bytes(rest[2:4], 'big')} {rest[4:].decode()}"

    def _send(self, payload: bytes) -> None:
        """One masked text frame; the mask is zero."""
        self.socket.sendall(struct.pack("!BBH4x", 0x81, 0x80 | 126, len(payload)) + payload)

    def _until(self, mark: bytes) -> None:
        while mark not in self._rest:
            chunk = self.socket.recv(READ_BYTES)
            if not chunk:
                raise ConnectionError(self._rest.decode(errors="replace"))
            self._rest += chunk
        self._rest = self._rest[self._rest.index(mark) + len(mark) :].lstrip(b"}")


class Swarm:
    """All clients."""

    def __init__(self, port: int, readers: int, stuck: int, per_client: int, checked: int) -> None:
        count = len(SYMBOLS)
        self.readers = [Reader(port, self._wanted(number, per_client), reads=True) for number in range(readers)]
        self.stuck = [Reader(port, None, reads=False) for _ in range(stuck)]
        self.checked = set(self.readers[:checked])
        self.ages_us: array[int] = array("q")
        self._selector = selectors.DefaultSelector()
        for reader in self.readers:
            self._selector.register(reader.socket, selectors.EVENT_READ, reader)
        assert per_client <= count

    @staticmethod
    def _wanted(number: int, per_client: int) -> list[str] | None:
        count = len(SYMBOLS)
        if per_client == count:
            return None
        return [SYMBOLS[(number * 7 + step * (count // per_client)) % count] for step in range(per_client)]

    def read(self, seconds: float, quiet_s: float = 2.0) -> None:
        """Read for so long, and on until nothing came for `quiet_s`."""
        end_s = quiet_at_s = time.monotonic() + seconds
        limit_s = end_s + LIMIT_S
        while time.monotonic() < min(max(end_s, quiet_at_s), limit_s):
            time.sleep(ROUND_S)
            for key, _ in self._selector.select(0.1):
                quiet_at_s = time.monotonic() + quiet_s
                key.data.read(self.ages_us, is_checked=key.data in self.checked)
                if key.data.closed:
                    self._selector.unregister(key.fileobj)

    def look_at_stuck(self) -> None:
        """Read what the stuck clients were sent, to see why they were closed."""
        unread: array[int] = array("q")
        for reader in self.stuck:
            end_s = time.monotonic() + 1.0
            while not reader.closed and time.monotonic() < end_s:
                reader.read(unread, is_checked=False)

    def close(self) -> None:
        """Close every socket."""
        self._selector.close()
        for reader in (*self.readers, *self.stuck):
            reader.socket.close()

    def result(self, offered: int) -> dict[str, Any]:
        """The counts and ages of all messages."""
        per_symbol = {
            symbol: offered // len(SYMBOLS) + (i < offered % len(SYMBOLS)) for i, symbol in enumerate(SYMBOLS)
        }
        missing = 0
        for reader in self.readers:
            missing += sum(per_symbol[symbol] for symbol in reader.wanted or SYMBOLS) - reader.received
        ages = sorted(self.ages_us)
        reasons = [reader.closed for reader in self.stuck if reader.closed]
        return {
            "received": sum(reader.received for reader in self.readers),
            "missing": missing,
            "out_of_order": sum(reader.out_of_order for reader in self.readers),
            "checked": len(self.checked),
            "closed_readers": sum(reader.closed is not None for reader in self.readers),
            "p50_ms": ages[len(ages) // 2] / 1000 if ages else None,
            "p99_ms": ages[len(ages) * 99 // 100] / 1000 if ages else None,
            "max_ms": ages[-1] / 1000 if ages else None,
            "stuck_closed": len(reasons),
            "stuck_reasons": sorted(set(reasons)),
        }


def main() -> None:
    """Answer commands: `connect`, `read`, `result`."""
    swarm: Swarm | None = None
    for line in sys.stdin:
        command = json.loads(line)
        do = command.pop("do")
        answer: dict[str, Any] = {}
        if do == "connect":
            begin_s = time.monotonic()
            swarm = Swarm(**command)
            answer["connect_s"] = time.monotonic() - begin_s
        elif swarm is not None and do == "read":
            swarm.read(command["seconds"])
            swarm.look_at_stuck()
            answer = swarm.result(command["offered"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
