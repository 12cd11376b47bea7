"""Bybit's feed over real sockets: every payload exact, every fault survived."""

import contextlib
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from model.records import FeedMarker
from streams import ConnectBudget, Dialer, current
from tests.integration.streams.conftest import Harness
from tests.support.callbacks import Recorded
from tests.support.scripted_exchange import ScriptedExchange
from tests.support.waiting import wait_until

Misdeed = Callable[[ScriptedExchange], None]


def trade(number: int, symbol: str = "BTCUSDT", padding: int = 0) -> bytes:
    return b'{"topic":"publicTrade.%s","n":%d,"pad":"%s"}' % (symbol.encode(), number, b"x" * padding)


def text_frame(payload: bytes, first: int = 0x81) -> bytes:
    return bytes([first, 126]) + struct.pack("!H", len(payload)) + payload


def test_every_payload_arrives_exact_and_in_order(harness: Harness, exchange: ScriptedExchange) -> None:
    """Small, 16-bit, 64-bit and fragmented, with spaces and without."""
    sent = [trade(number, padding=size) for number, size in enumerate([0, 50, 60, 70, 400, 65_600, 1, 300_000, 2])]
    sent.append(b'{"topic":"publicTrade.BTCUSDT", "spaced" : true }')
    sink = Recorded()
    harness.start(("T", harness.feed().run, ("trades", "BTCUSDT", sink)))
    harness.wait(lambda: harness.state() == "live")
    exchange.send(*sent)
    whole = trade(77, padding=500)
    exchange.send_raw(
        b"".join(text_frame(part, first) for first, part in [(0x01, whole[:100]), (0x00, whole[100:300])])
    )
    exchange.send_raw(b"\x89\x00" + text_frame(whole[300:], 0x80))
    harness.wait(lambda: len(sink.payloads) == len(sent) + 1)
    assert sink.payloads == [*sent, whole]
    assert sink.marks == [("up", ("BTCUSDT",))]
    assert harness.faults == []


def test_bad_input_is_counted_and_the_stream_lives(harness: Harness, exchange: ScriptedExchange) -> None:
    """Garbage, binary, compressed, a 5 MB message: one connection takes them all."""
    sink = Recorded()
    harness.start(("T", harness.feed().run, ("trades", "BTCUSDT", sink)))
    harness.wait(lambda: harness.state() == "live")
    large = trade(1, padding=5_000_000)
    exchange.send(b"garbage", large)
    exchange.send_raw(text_frame(b'{"topic":"publicTrade.BTCUSDT" compressed', 0xC1))
    exchange.send_raw(text_frame(b"binary", 0x82))
    exchange.send(b'{"topic":"tickers.BTCUSDT"}', b'{"topic":"publicTrade.BTCUSDT","cut', trade(2))
    harness.wait(lambda: trade(2) in sink.payloads)
    assert harness.causes == [
        "malformed_json",
        "large_message",
        "compressed_frame",
        "not_text",
        "unknown_topic",
        "malformed_json",
    ]
    assert sink.payloads == [large, b'{"topic":"tickers.BTCUSDT"}', b'{"topic":"publicTrade.BTCUSDT","cut', trade(2)]
    assert exchange.requests == 1


def test_a_raising_callback_costs_only_its_message(harness: Harness, exchange: ScriptedExchange) -> None:
    """The messages before and after it in the same read are delivered."""
    got: list[bytes] = []

    def callback(payload: bytes) -> None:
        if payload == trade(3):
            raise ConnectionError("even this kind of error is the callback's own")
        got.append(payload)

    harness.start(("T", harness.feed().run, ("trades", "BTCUSDT", callback)))
    harness.wait(lambda: harness.state() == "live")
    exchange.send_raw(b"".join(text_frame(trade(number)) for number in range(6)))
    harness.wait(lambda: trade(5) in got)
    assert got == [trade(number) for number in (0, 1, 2, 4, 5)]
    assert harness.faults == [("callback_error", trade(3))]
    assert exchange.requests == 1


@pytest.mark.parametrize(
    "misdeed",
    [
        pytest.param(lambda exchange: exchange.send_raw(b"\x88\x02\x03\xe8"), id="close-frame-alone"),
        pytest.param(lambda exchange: exchange.close(1000), id="close-1000"),
        pytest.param(lambda exchange: exchange.close(1012), id="close-1012"),
        pytest.param(lambda exchange: exchange.cut(), id="end-of-stream"),
        pytest.param(lambda exchange: exchange.reset(), id="reset"),
        pytest.param(lambda exchange: exchange.send_raw(b"\x81\x83mask" + b"abc"), id="masked-frame"),
        pytest.param(lambda exchange: exchange.send_raw(b"\x83\x00"), id="bad-opcode"),
        pytest.param(lambda exchange: exchange.send_raw(b"\x81\x7f" + b"\x00\x00\x00\xff" + b"\x00" * 4), id="1 TB"),
    ],
)
def test_whatever_ends_a_connection_it_comes_back_with_markers(
    harness: Harness, exchange: ScriptedExchange, misdeed: Misdeed
) -> None:
    """Down stands between the last payload before and the first after, up follows it."""
    exchange.first = [trade(1)]
    sink = Recorded()
    feed = harness.feed(ping_interval_s=60)  # no ping may find it
    harness.start(("T", feed.run, ("trades", "BTCUSDT", sink)))
    harness.wait(lambda: len(sink.payloads) == 1)
    misdeed(exchange)
    harness.wait(lambda: len(sink.payloads) == 2)
    kinds = [item.kind if isinstance(item, FeedMarker) else item for item in sink.seen]
    assert kinds == ["up", trade(1), "down", "up", trade(1)]
    down, up = (item for item in sink.seen[2:4] if isinstance(item, FeedMarker))
    assert down.at_ms <= up.at_ms


def test_a_silent_exchange_is_disconnected(harness: Harness, exchange: ScriptedExchange) -> None:
    """Half open: the ping has no answer within its deadline."""
    harness.start(("T", harness.feed().run, ("trades", "BTCUSDT", Recorded())))
    harness.wait(lambda: harness.state() == "live")
    exchange.is_answering = False
    harness.wait(lambda: exchange.requests == 2)
    exchange.is_answering = True
    harness.wait(lambda: harness.state() == "live")


def test_quiet_trades_are_kept_and_silent_books_are_not(harness: Harness, exchange: ScriptedExchange) -> None:
    """Both have pongs; only the book must have data."""
    book = harness.feed(silence_timeout_s=0.4)
    harness.start(
        ("T", harness.feed().run, ("trades", "BTCUSDT", Recorded())),
        ("B", book.run, ("orderbook", "BTCUSDT", Recorded())),
    )
    harness.wait(lambda: exchange.subscribed.count(["orderbook.50.BTCUSDT"]) == 3)
    assert exchange.subscribed.count(["publicTrade.BTCUSDT"]) == 1
    assert exchange.pings > 0


def test_a_subscription_without_an_answer_is_tried_on_a_new_connection(
    harness: Harness, exchange: ScriptedExchange
) -> None:
    """An open socket is no success."""
    exchange.is_answering = False
    feed = harness.feed(subscribe_timeout_s=0.2, ping_interval_s=5)
    harness.start(("T", feed.run, ("trades", "BTCUSDT", Recorded())))
    harness.wait(lambda: exchange.requests == 2)
    exchange.is_answering = True
    harness.wait(lambda: harness.state() == "live")


def test_a_bad_topic_is_kept_out_while_its_neighbours_run(harness: Harness, exchange: ScriptedExchange) -> None:
    """Refused without a name: halved until it stands alone; subscribed again when its time is over."""
    bad = "publicTrade.C7USDT"
    exchange.refuse = lambda topics: "refused" if bad in topics else None
    sink = Recorded()
    symbols = [f"C{number}USDT" for number in range(25)]
    feed = harness.feed("spot", quarantine_s=0.5)
    harness.start(("T", feed.run, ("trades", symbols, sink)))
    good = {symbol for symbol in symbols if symbol != "C7USDT"}
    harness.wait(lambda: {symbol for _, marked in sink.marks for symbol in marked} == good)
    assert max(len(topics) for topics in exchange.subscribed) == 10
    harness.wait(lambda: feed.quarantined() == {"trades": 1})
    exchange.refuse = lambda topics: None
    harness.wait(lambda: ("up", ("C7USDT",)) in sink.marks)
    assert feed.quarantined() == {}
    assert exchange.requests == 1


def test_a_stream_of_bad_topics_alone_stays_connected_and_does_not_storm(
    harness: Harness, exchange: ScriptedExchange
) -> None:
    """It waits for the retry, with pings."""
    exchange.refuse = lambda topics: f"error:handler not found,topic:{topics[0]}"
    harness.start(("T", harness.feed().run, ("trades", ["AUSDT", "BUSDT"], Recorded())))
    harness.wait(lambda: exchange.pings >= 3)
    assert exchange.requests == 1
    assert exchange.subscribed == [["publicTrade.AUSDT", "publicTrade.BUSDT"], ["publicTrade.BUSDT"]]


def test_a_websocket_ping_is_answered(harness: Harness, exchange: ScriptedExchange) -> None:
    """With its own payload."""
    harness.start(("T", harness.feed().run, ("trades", "BTCUSDT", Recorded())))
    harness.wait(lambda: harness.state() == "live")
    assert exchange.sessions[0].ping(b"are you there").wait(5)


def test_403_closes_the_host_for_everybody(harness: Harness, exchange: ScriptedExchange) -> None:
    """One answer is enough: the address is banned for as long as it keeps connecting."""
    exchange.status = 403  # type: ignore[assignment]
    dialer = Dialer(harness.budget, reader=harness.reader)
    feed = harness.feed(dialer=dialer)
    harness.start(("T", feed.run, ("trades", "BTCUSDT", Recorded())))
    harness.wait(lambda: harness.state() == "waiting_for_budget")
    harness.streams.append({"name": "U", "func": feed.run, "args": ("trades", "ETHUSDT", Recorded())})
    harness.wait(lambda: harness.state("U") == "waiting_for_budget")
    assert exchange.requests == 1
    assert harness.budget.try_acquire("127.0.0.1") > 590


def test_tls_is_read_as_well(harness: Harness, certificate: tuple[Path, Path]) -> None:
    """More than one TLS record at a time, and nothing left in its buffer when the burst is over."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificate[0]))
    server.load_cert_chain(*certificate)
    sent = [trade(number, padding=number * 7) for number in range(400)] + [trade(1, padding=900_000)]
    with ScriptedExchange(tls=server) as exchange:
        exchange.first = sent
        harness.exchange = exchange
        sink = Recorded()
        feed = harness.feed(
            dialer=Dialer(harness.budget, tls=client, reader=harness.reader), ping_interval_s=20, pong_timeout_s=10
        )
        supervisor = harness.start(("T", feed.run, ("trades", "BTCUSDT", sink)))
        harness.wait(lambda: len(sink.payloads) == len(sent))
        assert sink.payloads == sent
        assert supervisor.stop(2) == []


def test_a_certificate_that_is_not_trusted_is_refused(harness: Harness, certificate: tuple[Path, Path]) -> None:
    """The default verifies."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    with ScriptedExchange(tls=server) as exchange:
        harness.exchange = exchange
        supervisor = harness.start(
            ("T", harness.feed().run, ("trades", "BTCUSDT", Recorded())), reconnect_max_attempts=1
        )
        harness.wait(lambda: supervisor.gave_up == ["T"])
        assert exchange.requests == 0


def test_a_feed_runs_on_a_thread_of_the_users_own(exchange: ScriptedExchange) -> None:
    """Without a supervisor: its context is made for it, and stops it."""
    harness, sink, contexts = Harness(exchange), Recorded(), []
    exchange.first = [trade(1)]

    def run() -> None:
        contexts.append(current())
        harness.feed(dialer=Dialer(ConnectBudget())).run("trades", "BTCUSDT", sink)

    thread = threading.Thread(target=run, name="my-own")
    thread.start()
    wait_until(lambda: sink.payloads == [trade(1)])
    contexts[0].abort()
    thread.join(5)
    assert not thread.is_alive()
    assert sink.marks == [("up", ("BTCUSDT",)), ("down", ("BTCUSDT",))]


def test_a_frame_that_drips_is_no_sign_of_life(harness: Harness, exchange: ScriptedExchange) -> None:
    """Bytes of a frame that never ends: the connection is given up like a silent one."""
    harness.start(("T", harness.feed().run, ("trades", "BTCUSDT", Recorded())))
    harness.wait(lambda: harness.state() == "live")
    exchange.is_answering = False
    exchange.send_raw(b"\x81\x7e\x7f\xff")

    def drip() -> bool:
        with contextlib.suppress(OSError):
            exchange.send_raw(b"a")
        return exchange.requests > 1

    harness.wait(drip)


def test_a_message_that_never_ends_is_given_up(harness: Harness, exchange: ScriptedExchange) -> None:
    """Although control frames arrive between its own, and empty ones."""
    dialer = Dialer(harness.budget, reader=harness.reader, message_limit_s=1.0)
    harness.start(("T", harness.feed(dialer=dialer).run, ("trades", "BTCUSDT", Recorded())))
    harness.wait(lambda: harness.state() == "live")
    exchange.is_answering = False
    exchange.send_raw(b"\x01\x01a")

    def go_on() -> bool:
        with contextlib.suppress(OSError):
            exchange.send_raw(b"\x8a\x00\x00\x00")
        return exchange.requests > 1

    harness.wait(go_on)
