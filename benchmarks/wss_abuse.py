"""Abuse of the WSS output: wrong logins by the thousand, hostile frames by the hundred thousand.

`python -m benchmarks.wss_abuse [--seconds 60] [--frames 100000]`. The server is a process of its own, so that its CPU
time and its memory are its own. Fails where a guess gets in, a right login does not, or something stays behind.
"""

import argparse
import base64
import contextlib
import json
import os
import random
import select
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.children import Child
from benchmarks.wss_servers import KEY, USER

LIMIT_S = 15.0
AT_ONCE = 4  # connections that send hostile frames
STRANGER_EVERY = 7  # of so many batches one comes from nobody
LOOK_S = 0.002  # after each frame, for the server to end the connection
CLOSE_FRAME = 0x88
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
)
FIN, TEXT, BINARY, CONTINUATION, MASKED = 0x80, 0x1, 0x2, 0x0, 0x80
WORDS = ("subscribe", "unsubscribe", "last_closed", "ping", "auth", "", "subscriptions")


class Guesses(NamedTuple):
    """How often a wrong login was let in, refused, or disconnected without an answer."""

    opened: int
    refused: int
    silent: int


def _basic(user: str, key: str) -> bytes:
    return b"Authorization: Basic " + base64.b64encode(f"{user}:{key}".encode()) + b"\r\n"


def guess_logins(port: int, count: int, at_once: int, per_s: float | None = None) -> Callable[[], Guesses]:
    """Try wrong logins, half by HTTP Basic and half by first message; returns a function that waits for the result."""
    outcomes: list[str] = []
    numbers = iter(range(count))
    begin_s, lock = time.monotonic(), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            if per_s:
                time.sleep(max(0.0, begin_s + number / per_s - time.monotonic()))
            outcomes.append(_guess(port, number))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()

    def result() -> Guesses:
        for thread in threads:
            thread.join()
        return Guesses(*(outcomes.count(name) for name in ("opened", "refused", "silent")))

    return result


def _guess(port: int, number: int) -> str:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as one:
        if number % 2:
            one.sendall(HANDSHAKE + _basic(USER, f"guess{number}") + b"\r\n")
        else:
            one.sendall(HANDSHAKE + b"\r\n" + frame(f'{{"user":"{USER}","key":"guess{number}"}}'.encode()))
        answer = b""
        while chunk := one.recv(4096):
            answer += chunk
            if b"authenticated" in answer:
                return "opened"
        is_no = b" 401 " in answer or b"wrong user or key" in answer or b" 429 " in answer or b"too many" in answer
        return "refused" if is_no else "silent"
    return "silent"


def frame(payload: bytes, first: int = FIN | TEXT, mask: bytes = b"\0\0\0\0") -> bytes:
    """One frame as clients send it."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, MASKED | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", first, MASKED | 127, size)
    return head + mask + payload


def hostile_frames(count: int, seed: int) -> Iterator[bytes]:
    """Frames that break the protocol, or keep it with nonsense in them; the same for the same seed."""
    draw = random.Random(seed)
    kinds = [_random_bytes, _wrong_opcode, _huge_length, _bad_text, _deep, _unmasked, _fragments, _bad_deflate,
             _big_control, _nonsense_request, _many_patterns, _close_codes]  # fmt: skip
    for _ in range(count):
        yield draw.choice(kinds)(draw)


def _random_bytes(draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(1, 200))


def _wrong_opcode(draw: random.Random) -> bytes:
    return frame(b"x", FIN | draw.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)) | draw.choice((0, 0x20, 0x10)))


def _huge_length(draw: random.Random) -> bytes:
    return struct.pack("!BBQ", FIN | TEXT, MASKED | 127, draw.choice((2**63, 2**64 - 1, 2**40, 65_537))) + b"\0\0\0\0xx"


def _bad_text(draw: random.Random) -> bytes:
    return frame(draw.choice((b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b'{"op":"\xf5"}')))


def _deep(draw: random.Random) -> bytes:
    return frame((draw.choice((b"[", b'{"args":', b'{"op":[')) * 6_000)[: draw.randrange(10, 50_000)])


def _unmasked(_draw: random.Random) -> bytes:
    return b"\x81\x02hi"


def _fragments(draw: random.Random) -> bytes:
    return frame(b"x" * 100, TEXT) + frame(b"y", draw.choice((TEXT, CONTINUATION, FIN | TEXT, FIN | CONTINUATION)))


def _bad_deflate(draw: random.Random) -> bytes:
    return frame(draw.choice((draw.randbytes(50), b"\xc2\xc0\x01" + b"\0" * 1_000)), FIN | 0x40 | TEXT)


def _big_control(draw: random.Random) -> bytes:
    return frame(b"p" * draw.choice((5, 126, 5_000)), FIN | draw.choice((8, 9, 10)))


def _nonsense_request(draw: random.Random) -> bytes:
    args = draw.choice(("[]", "null", '["*"]', '["kline.*.*"]', "[1]", '[["x"]]', '"x"', '["ticker.\\ud800"]'))
    return frame(f'{{"op":"{draw.choice(WORDS)}","args":{args},"req_id":{draw.choice(("1", "null", "[]"))}}}'.encode())


def _many_patterns(_draw: random.Random) -> bytes:
    return frame(json.dumps({"op": "subscribe", "args": [f"ticker.{'A*' * 20}{n}" for n in range(200)]}).encode())


def _close_codes(draw: random.Random) -> bytes:
    return frame(draw.choice((b"\x03", b"\x00\x00", b"\x03\xe8", b"\x03\xed", b"\xff\xffbye")), FIN | 8)


def send_hostile(port: int, frames: Iterator[bytes], per_socket: int) -> int:
    """Send them all over several connections at once, `per_socket` to one that lives so long; returns how many."""
    sent = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal sent
        while True:
            with lock:
                batch = list(islice(frames, per_socket))
                is_known = sent % STRANGER_EVERY != 0
                sent += len(batch)
            if not batch:
                return
            _send(port, batch, is_known=is_known)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent


def _send(port: int, waiting: list[bytes], *, is_known: bool) -> None:
    """One after another, each looked after: what comes behind a frame that broke the connection needs a new one."""
    while waiting:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as one:
            one.sendall(HANDSHAKE + (_basic(USER, KEY) if is_known else b"") + b"\r\n")
            while b"\r\n\r\n" not in one.recv(65_536):
                pass
            while waiting:
                one.sendall(waiting.pop())
                if not is_known:
                    waiting.clear()  # the first was its login, a wrong one; the answer takes seconds
                elif _is_ending(one):
                    break


def _is_ending(one: socket.socket) -> bool:
    readable, _, _ = select.select([one], [], [], LOOK_S)
    answer = one.recv(65_536) if readable else b"x"
    return not answer or answer[0] == CLOSE_FRAME or b"\x88" in answer[-130:]


def _login_s(port: int) -> float:
    """Log in rightly; returns how long it took, in seconds."""
    begin_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as one:
        one.sendall(HANDSHAKE + _basic(USER, KEY) + b"\r\n")
        answer = b""
        while b"authenticated" not in answer:
            chunk = one.recv(4096)
            if not chunk:
                raise ConnectionError(answer.decode(errors="replace"))
            answer += chunk
    return time.monotonic() - begin_s


def _memory(pid: int) -> tuple[float, int]:
    """Resident megabytes and open descriptors of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(f"/proc/{pid}/fd"))


def main() -> int:
    """Run both; print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guesses", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Child(["-m", "benchmarks.wss_servers", "ours"], Path(folder) / "server.log") as server,
    ):
        port = server.answer()["port"]
        before, memory = server.cpu(), _memory(server.pid)
        guesses = guess_logins(port, options.guesses, at_once=100, per_s=options.guesses / options.seconds)
        end_s, logins = time.monotonic() + options.seconds, []
        while time.monotonic() < end_s:
            logins.append(_login_s(port))
            time.sleep(options.seconds / 30)
        result, cpu, after = guesses(), server.cpu().since(before), _memory(server.pid)
        print(f"wrong logins: {result}; right ones meanwhile: {len(logins)}, slowest {max(logins) * 1000:.0f} ms; "
              f"CPU {cpu.total_s:.2f} s; memory {memory[0]:.1f} -> {after[0]:.1f} MB")  # fmt: skip
        for part in range(4):
            before_s, before = time.monotonic(), server.cpu()
            send_hostile(port, hostile_frames(options.frames // 4, options.seed + part), per_socket=40)
            time.sleep(2)
            memory = _memory(server.pid)
            print(f"{options.frames // 4} hostile frames in {time.monotonic() - before_s:.0f} s; "
                  f"CPU {server.cpu().since(before).total_s:.1f} s; memory {memory[0]:.1f} MB, "
                  f"{memory[1]} descriptors; a right login takes {_login_s(port) * 1000:.0f} ms")  # fmt: skip
        time.sleep(11)  # sockets that were never logged in are given ten seconds
        print(server.ask(10, do="state"), "descriptors:", _memory(server.pid)[1])
        print((Path(folder) / "server.log").read_text()[-2_000:])
    return int(result.opened > 0 or result.refused < options.guesses)


if __name__ == "__main__":
    sys.exit(main())
