"""What users may hand to handle_trades and the others, and what becomes of it."""

import json
import queue
import threading
from collections import OrderedDict, UserDict
from contextlib import contextmanager
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from callbacks.liquidations import handle_liquidations
from callbacks.orderbook import handle_orderbook, handle_spot_orderbook
from callbacks.payload import NOT_A_MESSAGE, PayloadCallback
from callbacks.ticker import handle_spot_ticker, handle_ticker
from callbacks.trades import handle_spot_trades, handle_trades
from model.context import StreamContext, StreamThread, current, set_current

HANDLERS = [
    (handle_trades, "trades", None),
    (handle_orderbook, "orderbook", None),
    (handle_ticker, "ticker", None),
    (handle_liquidations, "liquidations", None),
    (handle_spot_trades, "trades", "spot"),
    (handle_spot_orderbook, "orderbook", "spot"),
    (handle_spot_ticker, "ticker", "spot"),
]
MESSAGE = {"topic": "publicTrade.BTCUSDT", "ts": 1, "data": [{"p": "1.10", "v": "2", "L": "\u4eba", "BT": False}]}
TEXT = json.dumps(MESSAGE, separators=(",", ":"), ensure_ascii=False)


class Hostile:
    """Whatever is done with it fails."""

    def __iter__(self):
        raise RuntimeError("no")

    def __str__(self):
        raise RuntimeError("no")


class HostileDict(UserDict[str, object]):
    """A mapping that fails when it is read."""

    def __iter__(self):
        raise KeyError("no")


@pytest.fixture
def taken():
    """Calls of the pipeline: (market, payloads)."""
    return []


@pytest.fixture
def faults():
    """Causes and samples reported."""
    return []


class Sink:
    """A pipeline that records what it is given."""

    def __init__(self, market, taken):
        self.put_all = lambda payloads: taken.append((market, list(payloads)))
        self.mark = taken.append


class Running:
    """A collector of the main market linear."""

    is_running = True

    def __init__(self, taken, faults):
        self.taken = taken
        self.report = lambda cause, sample: faults.append((cause, sample))

    def pipeline(self, market, _kind):
        return Sink(market or "linear", self.taken)


@pytest.fixture
def collector(taken, faults):
    return Running(taken, faults)


@pytest.fixture
def callback(collector):
    """A callback called on the thread of a stream."""
    set_current(StreamContext("test", collector=collector))
    return PayloadCallback("trades")


@pytest.fixture
def stream(collector):
    """The thread of a stream that runs elsewhere in the process, until it is stopped."""
    with running(collector) as thread:
        yield thread


@contextmanager
def running(collector):
    end = threading.Event()
    thread = StreamThread(StreamContext("elsewhere", collector=collector), end.wait)
    thread.start()
    try:
        yield thread
    finally:
        end.set()
        thread.join()


def call_elsewhere(callback, message):
    """Call on a thread of the user's own."""
    thread = threading.Thread(target=callback, args=(message,))
    thread.start()
    thread.join()


@pytest.mark.parametrize(("handler", "kind", "market"), HANDLERS)
def test_handlers_have_their_kind_and_market(handler, kind, market):
    """The raw channel's name is built from these two."""
    assert (handler.kind, handler.market) == (kind, market)


@pytest.mark.parametrize(
    "message",
    [
        TEXT.encode(),
        TEXT,
        bytearray(TEXT.encode()),
        memoryview(TEXT.encode()),
        MESSAGE,
        OrderedDict(MESSAGE),
        UserDict(MESSAGE),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_is_taken_in_whatever_form(callback, taken, faults, message):
    """The exchange's bytes, its text, or what a parser made of it, pybit's for example: alone, or among others."""
    callback(message)
    callback.put_all([message, b"next"])

    assert taken == [("linear", [TEXT.encode()]), ("linear", [TEXT.encode(), b"next"])]
    assert faults == []


def test_bytes_go_on_as_they_came(callback, taken):
    """The same object: no copy, no parsing, whatever the bytes are."""
    payload = b'\xff{"no": json'
    callback(payload)

    assert taken[0][1][0] is payload


def test_what_is_given_on_is_bytes_of_its_own(callback, taken):
    """Nothing in a queue may change, or hold on to a buffer, when its owner uses it again."""
    buffer = bytearray(b"one")
    callback(buffer)
    callback(memoryview(buffer))
    buffer[:] = b"two"

    assert [payload for _, payloads in taken for payload in payloads] == [b"one", b"one"]
    assert {type(payload) for _, payloads in taken for payload in payloads} == {bytes}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        1.5,
        b"",
        "",
        bytearray(),
        object(),
        Hostile(),
        Hostile,
        HostileDict(),
        {1: object()},
        {"d": object()},
        "\ud800",
        print,
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_a_wrong_thing_costs_itself(callback, taken, faults, wrong):
    """Counted by cause; those before and after it go on, in one call, and nobody is interrupted."""
    callback.put_all([b"1", wrong, b"2"])
    callback(wrong)

    assert taken == [("linear", [b"1", b"2"])]
    assert [cause for cause, _ in faults] == [NOT_A_MESSAGE] * 2


def test_a_ring_of_dicts_costs_itself(callback, taken, faults):
    """A message that contains itself has no JSON."""
    ring: dict[str, object] = {}
    ring["data"] = ring
    callback.put_all([ring, b"1"])

    assert taken == [("linear", [b"1"])]
    assert [cause for cause, _ in faults] == [NOT_A_MESSAGE]


@pytest.mark.parametrize("one", [b"one", "one", bytearray(b"one"), memoryview(b"one")])
def test_one_message_where_many_are_due_is_one(callback, taken, one):
    """Not the numbers or letters it consists of; a dict is not its keys."""
    callback.put_all(one)
    callback.put_all(MESSAGE)

    assert taken == [("linear", [b"one"]), ("linear", [TEXT.encode()])]


@pytest.mark.parametrize("nothing", [[], (), iter(())])
def test_no_messages_are_no_call(callback, taken, faults, nothing):
    """An empty list is no mistake."""
    callback.put_all(nothing)

    assert (taken, faults) == ([], [])


@pytest.mark.parametrize("wrong", [None, 3])
def test_no_list_is_a_wrong_thing(callback, taken, faults, wrong):
    """Like one alone."""
    callback.put_all(wrong)

    assert (taken, len(faults)) == ([], 1)


def test_what_came_before_an_iterable_failed_goes_on(callback, taken):
    """The failure is the caller's own, and is raised there."""

    def messages():
        yield b"1"
        raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        callback.put_all(messages())
    assert taken == [("linear", [b"1"])]


def test_numbers_of_a_parsed_message_stay_what_they_were(callback, taken):
    """To the digit, where they were parsed as decimals."""
    callback({"p": Decimal("0.10000000000000000001"), "T": 1795175374772})

    assert taken == [("linear", [b'{"p":"0.10000000000000000001","T":1795175374772}'])]


def test_a_mark_goes_to_its_own_market(callback, taken):
    """Whatever market the callback is of."""

    class Marker:
        market = "spot"

    marker = Marker()
    callback.mark(marker)

    assert taken == [marker]


def test_on_a_streams_thread_the_market_is_the_streams(callback, taken):
    """Whatever market the callback is of."""
    current().market = "inverse"
    callback(b"1")
    PayloadCallback("trades", "spot")(b"2")

    assert taken == [("inverse", [b"1"]), ("inverse", [b"2"])]


def test_the_callbacks_market_counts_outside_of_streams(stream, taken):
    """On a thread of the user's own the callback's name gives the market."""
    PayloadCallback("trades", "spot")(b"1")
    call_elsewhere(PayloadCallback("trades"), b"2")

    assert taken == [("spot", [b"1"]), ("linear", [b"2"])]


@pytest.mark.parametrize("ran_before", [False, True])
def test_without_a_collector_a_message_is_an_error(collector, ran_before):
    """Before run and after it there is nowhere to go: silence would hide the mistake."""
    callback = PayloadCallback("ticker")
    if ran_before:
        with running(collector):
            callback(b"1")
        collector.is_running = False

    with pytest.raises(RuntimeError, match="no collector runs"):
        callback(b"{}")


def test_a_library_that_calls_before_the_run_is_not_ended_by_it(collector, taken):
    """pybit's thread ends for good with the first exception, silently: it is logged once, and goes on when it may."""
    callback = PayloadCallback("trades")
    messages: queue.Queue[bytes | None] = queue.Queue()
    answers: queue.Queue[object] = queue.Queue()

    def library():
        while message := messages.get():
            answers.put(callback(message))

    def call(message):
        messages.put(message)
        answers.get(timeout=5)

    thread = threading.Thread(target=library)
    thread.start()
    with capture_logs() as logs:
        call(b"1")
        call(b"2")
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("message_dropped", "error")]
    assert "no collector runs" in logs[0]["problem"]
    with running(collector):
        call(b"3")
    assert taken == [("linear", [b"3"])]
    collector.is_running = False
    with capture_logs() as logs:
        call(b"4")
        call(b"5")
    assert [entry["log_level"] for entry in logs] == ["info"]
    messages.put(None)
    thread.join()


def test_of_several_collectors_a_thread_of_neither_must_not_choose(stream, taken, faults):
    """On the thread of a stream each has its own; elsewhere the message would go to the wrong Redis."""
    with running(Running([], [])), pytest.raises(RuntimeError, match="several collectors run"):
        PayloadCallback("trades")(b"1")
    assert taken == []


def test_the_repr_of_a_handler_names_it():
    """A log line with a callback in it is read by a person."""
    assert repr(handle_spot_ticker) == "<callback for spot ticker>"
    assert repr(handle_ticker) == "<callback for main market ticker>"
