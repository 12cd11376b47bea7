"""What a read hands out: whole batches where it can, one by one where it must, and always the same."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as st

from model.context import StreamContext
from streams.connection import Connection, all_begin, all_have

PREFIX = b'{"topic":"publicTrade.'
DATA = [PREFIX + b'%d"}' % number for number in range(300)]
OTHERS = [b'{"op":"pong"}', PREFIX + b"cut", b"", b"{", b'{"topic":"tickers.X"}', b"\xff", PREFIX[:-1] + b"/}"]


ERROR = ValueError("no")


class Socket:
    """Gives what it was made with, and stops the stream with the last of it."""

    def __init__(self, chunks: Sequence[bytes], context: StreamContext) -> None:
        self.chunks, self.context = list(chunks), context

    def settimeout(self, _limit_s: float) -> None:
        """Never wait."""

    def recv_into(self, view: memoryview) -> int:
        chunk = self.chunks.pop(0)
        if not self.chunks:
            self.context.stop.set()
        view[: len(chunk)] = chunk
        return len(chunk)


class Taker:
    """A receiver that records everything; takes many at once, or not. Fails where the test sets it."""

    never_blocks = True
    prefix = PREFIX
    floor = b""

    def __init__(self, *, many: bool, failing: bytes = b"no such", error: BaseException = ERROR) -> None:
        self.many, self.failing, self.error = many, failing, error
        self.seen: list[tuple[str, bytes]] = []
        self.calls: list[int] = []

    @property
    def deliver_all(self):
        return self.take_all if self.many else None

    def take_all(self, payloads: Sequence[bytes]) -> None:
        self.calls.append(len(payloads))
        for payload in payloads:
            self.deliver(payload)

    def deliver(self, payload: bytes) -> None:
        self.seen.append(("data", payload))
        if payload == self.failing:
            raise self.error

    def other(self, payload: bytes) -> bool:
        self.seen.append(("other", payload))
        return False

    def ping(self) -> None: ...

    def pong(self, payload: bytes) -> None:
        self.seen.append(("pong", payload))

    def failed(self, payload: bytes, error: BaseException) -> None:
        self.seen.append(("failed", payload))

    def fault(self, cause: str, sample: bytes) -> None:
        self.seen.append((cause, sample))

    def tick(self, now_s: float) -> None: ...


def frame(payload: bytes, opcode: int = 0x1) -> bytes:
    """One whole frame of a server."""
    size = len(payload)
    return bytes((0x80 | opcode,)) + (bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload


def read(
    chunks: Sequence[bytes], taker: Taker, inflate: Callable[[bytes], bytes] | None = None, infix: bytes = b""
) -> Connection:
    """Read all there is."""
    context, ws = StreamContext("test"), websocket.WebSocket()
    ws.sock = Socket(chunks, context)  # type: ignore[assignment]
    connection = Connection(ws, context)
    if chunks:
        connection.read_until_closed(
            taker, ping_interval_s=20.0, pong_timeout_s=10.0, tick_s=1.0, inflate=inflate, infix=infix
        )
    return connection


def test_data_that_came_together_is_handed_on_together() -> None:
    """A call for each costs half of its way."""
    taker = Taker(many=True)
    connection = read([b"".join(map(frame, DATA)), frame(DATA[0])], taker)
    assert taker.calls == [300, 1]
    assert taker.seen == [("data", payload) for payload in (*DATA, DATA[0])]
    assert connection.context.stats.messages == 301


@given(
    st.lists(st.one_of(st.sampled_from(DATA), st.sampled_from(OTHERS), st.just(None))),
    st.lists(st.integers(0, 4000), max_size=6),
)
def test_together_or_one_by_one_the_same_arrives(payloads: list[bytes | None], cuts: list[int]) -> None:
    """Whatever else is among them, and wherever the network cuts; None is a binary frame."""
    stream = b"".join(frame(b"b", 0x2) if payload is None else frame(payload) for payload in payloads)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[begin:end] for begin, end in pairwise(edges)]
    takers = [Taker(many=many) for many in (True, False)]
    counts = [read(chunks, taker).context.stats.messages for taker in takers]
    assert takers[0].seen == takers[1].seen
    assert counts[0] == counts[1]


def test_a_batch_that_fails_costs_no_other() -> None:
    """A callback that raises is reported once; the stream lives."""
    taker = Taker(many=True, failing=DATA[1])
    read([b"".join(map(frame, DATA[:3])), frame(DATA[4])], taker)
    assert ("failed", DATA[0]) in taker.seen
    assert taker.seen[-1] == ("data", DATA[4])


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
@pytest.mark.parametrize("many", [True, False])
def test_a_callback_that_leaves_ends_no_thread(error: BaseException, many: bool) -> None:
    """It would be started again at once, and again, past every pause between two connects."""
    taker = Taker(many=many, failing=DATA[1], error=error)
    read([frame(DATA[1]), frame(DATA[2])], taker)
    assert taker.seen == [("data", DATA[1]), ("failed", DATA[1]), ("data", DATA[2])]


@pytest.mark.parametrize("other", OTHERS)
def test_one_that_begins_or_ends_otherwise_is_noticed(other: bytes) -> None:
    """At either end of the order, and in the middle."""
    assert all_begin(DATA, PREFIX)
    assert not all_begin([*DATA, other], PREFIX)
    assert not all_begin([other], PREFIX)


@given(st.lists(st.text("abx", max_size=8), min_size=1, max_size=8))
def test_an_infix_is_found_wherever_it_stands(texts: list[str]) -> None:
    """In all of them or not, at one place or at several."""
    assert all_have([text.encode() for text in texts], b"ab") == all("ab" in text for text in texts)


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize("texts", [DATA[:2], DATA[:20]])
def test_what_is_below_the_floor_is_no_data(many: bool, texts: list[bytes]) -> None:
    """It is handed on as other, in its place, however many came with it."""
    taker = Taker(many=many)
    taker.floor = PREFIX + b"0"
    below = PREFIX + b'!bye"}'
    assert below < taker.floor <= min(texts)
    sent = [*texts, below, *texts]
    read([b"".join(map(frame, sent))], taker)
    assert taker.seen == [("other" if payload == below else "data", payload) for payload in sent]
    assert all_begin(texts, PREFIX, taker.floor)
    assert not all_begin(sent, PREFIX, taker.floor)


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize("texts", [DATA[:2], DATA[:20]])
def test_what_lacks_the_infix_is_no_data(many: bool, texts: list[bytes]) -> None:
    """Of an exchange whose answers begin as its data do; in its place, however many came with it."""
    data = [text[:-1] + b',"event":"update"}' for text in texts]
    taker = Taker(many=many)
    infix = b'"event":"update"'
    sent = [*data, texts[0], *data]
    read([b"".join(map(frame, sent))], taker, infix=infix)
    assert taker.seen == [("other" if payload == texts[0] else "data", payload) for payload in sent]
    taker.seen.clear()
    taker.calls.clear()
    read([b"".join(map(frame, data))], taker, infix=infix)
    assert taker.seen == [("data", payload) for payload in data]
    assert taker.calls == ([len(data)] if many else [])


@pytest.mark.parametrize(("deflate", "inflate"), [(gzip.compress, gzip.decompress), (zlib.compress, zlib.decompress)])
def test_binary_frames_are_inflated_and_taken_as_texts(
    deflate: Callable[[bytes], bytes], inflate: Callable[[bytes], bytes]
) -> None:
    """Among texts and pings, in their order; one that cannot be inflated costs itself."""
    taker, other = Taker(many=True), b'{"op":"pong"}'
    cut = deflate(DATA[1])[:-7]
    frames = [
        frame(deflate(DATA[0]), 0x2),
        frame(DATA[1]),
        frame(b"", 0xA),
        frame(b"garbage", 0x2),
        frame(cut, 0x2),
        frame(deflate(other), 0x2),
        frame(deflate(DATA[2]), 0x2),
    ]
    connection = read([b"".join(frames[:5]), b"".join(frames[5:]), frame(DATA[3])], taker, inflate)
    faults = [("not_inflated", b"garbage"), ("not_inflated", cut)]
    assert [item for item in taker.seen if item in faults] == faults
    assert [item for item in taker.seen if item not in faults] == [
        ("data", DATA[0]), ("data", DATA[1]), ("pong", b""), ("other", other), ("data", DATA[2]), ("data", DATA[3])
    ]  # fmt: skip
    assert connection.context.stats.messages == 4


def test_inflated_messages_go_on_many_at_once() -> None:
    """As those that came as texts do."""
    taker = Taker(many=True)
    read([b"".join(frame(gzip.compress(payload), 0x2) for payload in DATA[:4])], taker, gzip.decompress)
    assert taker.calls == [4]
    assert taker.seen == [("data", payload) for payload in DATA[:4]]


def test_a_binary_frame_of_an_exchange_that_sends_text_is_a_fault() -> None:
    """Its message is not known."""
    taker = Taker(many=True)
    packed = gzip.compress(DATA[0])
    read([frame(packed, 0x2) + frame(DATA[1])], taker)
    assert taker.seen == [("not_text", packed), ("data", DATA[1])]
