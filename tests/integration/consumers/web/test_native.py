"""The collector's own protocol over real sockets: who gets what, in which coding."""

import gzip
import json
import socket

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import ClientConnection

from model.envelope import Envelope
from tests.integration.consumers.web.conftest import client
from tests.support.klines import kline, klines, price
from tests.support.waiting import wait_until


def ask(connection, **request):
    """Send a request and return its answer."""
    connection.send(json.dumps(request))
    return json.loads(connection.recv(timeout=30))


def logged_in(connection):
    assert json.loads(connection.recv(timeout=30)) == {"status": "authenticated"}
    return connection


def symbols(connection, count):
    """The symbols of the next messages."""
    return [[item["symbol"] for item in json.loads(connection.recv(timeout=30))["data"]] for _ in range(count)]


def test_a_client_narrows_what_it_gets(serve):
    """Its first subscribe replaces everything, a second adds, unsubscribe takes away."""
    worker = serve()
    with client(worker) as connection:
        logged_in(connection)
        worker.offer(price(symbol="FIRST"))
        assert symbols(connection, 1) == [["FIRST"]]
        answer = ask(connection, op="subscribe", args=["kline.1m.BTCUSDT", "ticker.*"], req_id=7)
        assert answer == {"op": "subscribe", "success": True, "args": ["kline.1m.BTCUSDT", "ticker.*"], "req_id": 7}
        both = Envelope("bybit", "linear", "klines", (kline(symbol="ETHUSDT"), kline(), kline(interval=300_000)))
        for envelope in (both, price(), Envelope("bybit", "linear", "ticker", ({"symbol": "XRPUSDT"},)), klines()):
            worker.offer(envelope)
        assert sorted(symbols(connection, 3)) == [["BTCUSDT"], ["BTCUSDT"], ["XRPUSDT"]]  # klines may overtake
        ask(connection, op="subscribe", args=["price.*"])
        assert ask(connection, op="unsubscribe", args=["ticker.*"])["success"]
        assert ask(connection, op="subscriptions")["args"] == ["kline.1m.BTCUSDT", "price.*"]
        worker.offer(Envelope("bybit", "linear", "ticker", ({"symbol": "XRPUSDT"},)))
        worker.offer(price(symbol="LAST"))
        assert symbols(connection, 1) == [["LAST"]]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"op": "subscribe"}, "args is empty"),
        ({"op": "subscribe", "args": ["ticker.*", "candles.1m"]}, "not a topic: 'candles.1m'; allowed: kline"),
        ({"op": "subscribe", "args": ["ticker.*"] + [f"ticker.S{n}" for n in range(1_000)]}, "more than 1000"),
        ({"op": "subscribe", "args": [f"ticker.S{n}*" for n in range(101)]}, "more than 100 patterns with"),
        ({"op": "subscribe", "args": "ticker.*"}, "not understood: Expected `array | null`"),
        ({"op": "unsubscribe", "args": ["ticker.*"]}, "not subscribed: ticker.*; subscribed: *.*"),
        ({"op": "dance"}, "unknown op; allowed: subscribe"),
        ({"op": "ping", "req_id": "x" * 65}, "more than 64 characters"),
        ([], "not understood"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_answered_with_what_is_right(serve, request_, error):
    """Nothing of it is applied, and the connection lives."""
    with client(serve()) as connection:
        logged_in(connection)
        connection.send(json.dumps(request_))
        answer = json.loads(connection.recv(timeout=30))
        assert answer["success"] is False
        assert error in answer["error"]
        assert ask(connection, op="subscriptions")["args"] == ["*.*"]


@pytest.mark.parametrize("garbage", ["", "{", "[" * 30_000, '{"op":' * 5_000, b"\xff\xfe\x00", '{"op":"\ud83d"}'])
def test_nonsense_is_answered_and_the_connection_lives(serve, garbage):
    """Deep, cut off, not even text."""
    with client(serve()) as connection:
        logged_in(connection)
        connection.send(garbage.encode("utf-8", "surrogatepass") if isinstance(garbage, str) else garbage)
        assert json.loads(connection.recv(timeout=30))["success"] is False
        assert ask(connection, op="ping") == {"op": "pong", "success": True}


def test_pings_of_earlier_systems(serve):
    """As the text, as the type."""
    with client(serve()) as connection:
        logged_in(connection)
        connection.send("ping")
        assert connection.recv(timeout=30) == "pong"
        assert ask(connection, type="ping") == {"type": "pong"}


def test_the_last_closed_klines_come_on_request(serve):
    """By the URL, by the first message, and by a request: the newest of each, before what comes next."""
    worker = serve()
    for envelope in (klines(1), klines(2), klines(1, symbol="ETHUSDT")):
        worker.offer(envelope)
    wait_until(lambda: worker.stats().delivered == 3)
    newest = {("BTCUSDT", kline(2).timestamp), ("ETHUSDT", kline(1).timestamp)}
    with client(worker, "/?last_closed=true") as connection:
        logged_in(connection)
        last = json.loads(connection.recv(timeout=30))
        assert {(item["symbol"], item["timestamp"]) for item in last["data"]} == newest
    with client(worker, additional_headers={}) as connection:
        first = {"user": "admin", "key": "s3cret", "subscribe": ["kline.1m.ETHUSDT"], "last_closed": True}
        assert ask(connection, **first) == {"status": "authenticated"}
        assert json.loads(connection.recv(timeout=30))["op"] == "subscribe"
        assert symbols(connection, 1) == [["ETHUSDT"]]
    with client(worker, "/?subscribe=kline.1m.BTCUSDT,ticker.*") as connection:
        logged_in(connection)
        assert json.loads(connection.recv(timeout=30))["args"] == ["kline.1m.BTCUSDT", "ticker.*"]
        assert ask(connection, op="last_closed")["success"]
        assert symbols(connection, 1) == [["BTCUSDT"]]


def test_a_client_narrows_to_an_exchange(serve):
    """Of a relay's: the same symbol of another is not for it; the answer shows what it asked for."""
    worker = serve()
    with client(worker, "/?subscribe=okx:price.*") as connection:
        logged_in(connection)
        assert json.loads(connection.recv(timeout=30))["args"] == ["okx:*:price.*"]
        for number, name in enumerate(("bybit", "okx", "binance", "okx")):
            worker.offer(Envelope(name, "linear", "price", ({"symbol": "BTCUSDT", "price": number},)))
        wait_until(lambda: worker.stats().delivered == 4)
        newest = json.loads(connection.recv(timeout=30))
        while newest["data"][0]["price"] != 3:
            newest = json.loads(connection.recv(timeout=30))
            assert newest["exchange"] == "okx"


def test_a_client_that_sleeps_wakes_to_the_newest_price(serve):
    """Prices conflate while klines wait: none of the klines is left out, and it is not closed for the prices."""
    worker = serve(client_queue=200)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)  # else the kernel takes 32 MB for the sleeper
    narrow.connect(("127.0.0.1", worker.consumer.port))
    with client(worker, sock=narrow, max_queue=1) as connection:
        logged_in(connection)
        for number in range(200):
            worker.offer(klines(number, symbol="X" * 20_000))
        for number in range(2_000):
            worker.offer(price(str(number), symbol="P" * 5_000))
        wait_until(lambda: worker.stats().delivered == 2_200)
        times, prices = [], [-1]
        while prices[-1] < 1_999:
            item = json.loads(connection.recv(timeout=30))["data"][0]
            times += [item["timestamp"]] if "timestamp" in item else []
            prices += [item["price"]] if "price" in item else []
        assert times == [kline(number).timestamp for number in range(200)]
        assert len(prices) < 500
        assert worker.stats().extra["closed_slow"] == 0


def headers_of(connection: ClientConnection) -> Headers:
    assert connection.response
    return connection.response.headers


def test_compression_is_negotiated(serve):
    """A client that offers permessage-deflate gets it, with the window it wants; one that does not gets text."""
    worker = serve()
    small = ClientPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=True)
    with (
        client(worker, compression="deflate") as deflated,
        client(worker, compression=None, extensions=[small]) as windowed,
        client(worker) as plain,
    ):
        for connection in (deflated, windowed, plain):
            logged_in(connection)
        assert "permessage-deflate" in str(headers_of(deflated)["Sec-WebSocket-Extensions"])
        assert "server_max_window_bits=9" in str(headers_of(windowed)["Sec-WebSocket-Extensions"])
        assert "Sec-WebSocket-Extensions" not in headers_of(plain)
        wait_until(lambda: worker.stats().extra["clients"] == 3)
        for number in range(20):
            worker.offer(klines(number))
        for connection in (deflated, windowed, plain):
            assert [connection.recv(timeout=30) for _ in range(20)] == [klines(n).json.decode() for n in range(20)]
        assert ask(deflated, op="subscribe", args=["kline." + "1m" + f".S{n}" for n in range(90)])["success"]


def test_gzip_sends_binary_messages(serve):
    """As the earlier system did; answers stay text."""
    worker = serve(compression="gzip")
    with client(worker, compression="deflate") as connection:
        logged_in(connection)
        wait_until(lambda: worker.stats().extra["clients"] == 1)
        worker.offer(klines())
        assert gzip.decompress(connection.recv(timeout=30, decode=False)) == klines().json
        connection.send("ping")
        assert connection.recv(timeout=30) == "pong"


def test_a_full_server_closes_unauthenticated_clients(serve):
    """Sockets that do not log in make room for new ones; authenticated ones stay."""
    worker = serve(max_clients=3)
    with client(worker) as one, client(worker) as two:
        logged_in(one), logged_in(two)
        with client(worker, additional_headers={}) as unknown, client(worker) as three:
            logged_in(three)
            with pytest.raises(ConnectionClosed):
                unknown.recv(timeout=30)
            with pytest.raises((OSError, EOFError, InvalidHandshake, ConnectionClosed)), client(worker):
                pass
        assert ask(one, op="ping")["success"]
