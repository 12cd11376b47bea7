"""The exchange's own protocol, over real sockets: by hand, and with the exchange's own package."""

import json
from decimal import Decimal
from typing import Any

import pybit.unified_trading
import pytest
from websockets.exceptions import ConnectionClosed

from consumers.web.dialect import RawFeedBridge
from consumers.worker import Worker
from exchanges.binance.dialect.dialect import BinanceDialect
from exchanges.bybit.dialect.dialect import BybitDialect
from model.dialect import DialectOptions, passed_on
from tests.integration.consumers.web.conftest import Serve, client
from tests.support.klines import kline, klines
from tests.support.waiting import wait_until

SYMBOLS = {"linear": ("BTCUSDT", "ETHUSDT"), "spot": ("BTCUSDT",)}
BOOK = b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1672304484978,"data":{"s":"BTCUSDT","b":[["16493.50","0.006"],["16493.00","0.100"]],"a":[["16611.00","0.029"],["16612.00","0.213"]],"u":18521288,"seq":7961638724},"cts":1672304484976}'  # noqa: E501
DELTA = b'{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1672304485078,"data":{"s":"BTCUSDT","b":[["16493.00","0"],["16492.00","1.5"]],"a":[["16611.00","0.030"]],"u":18521289,"seq":7961638800},"cts":1672304485076}'  # noqa: E501
NEXT_DELTA = DELTA.replace(b"18521289", b"18521290").replace(b"0.030", b"0.040")
TRADE = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950","BT":false,"RPI":false,"seq":1783284617}]}'  # noqa: E501
TICKER = b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","lastPrice":"66666.60","ask1Size":"23775.469","preQty":""},"cs":9532239429,"ts":1760325052630}'  # noqa: E501
TICKER_DELTA = b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","ask1Size":"20.1"},"cs":9532239501,"ts":1760325052730}'  # noqa: E501
LIQUIDATION = b'{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,"s":"BTCUSDT","S":"Sell","v":"20000","p":"0.04499"}]}'  # noqa: E501


@pytest.fixture
def bridge():
    return RawFeedBridge()


@pytest.fixture
def bybit(serve: Serve, bridge) -> Worker:
    """An output with open Bybit paths, fed by `bridge`."""
    return serve(bridge=bridge, **options())


def options(*, is_open: bool = True) -> dict[str, object]:
    dialect = DialectOptions(("linear", "spot"), intervals=("1m", "1D"), symbols=lambda market: SYMBOLS[market])
    return {"dialect": BybitDialect(dialect), "dialect_is_open": is_open, "open_klines_s": 0.05}


def ask(connection, op, *args, req_id="r1"):
    """Send a frame and return its answer."""
    connection.send(json.dumps({"req_id": req_id, "op": op, "args": list(args)}))
    return json.loads(connection.recv(timeout=30))


def test_answers_are_bybits(bybit):
    """Each market's own shape, for subscribe, unsubscribe and ping."""
    with client(bybit, "/v5/public/linear", additional_headers={}) as linear:
        answer = ask(linear, "subscribe", "publicTrade.BTCUSDT")
        assert answer == {
            "success": True,
            "ret_msg": "",
            "conn_id": answer["conn_id"],
            "req_id": "r1",
            "op": "subscribe",
        }
        assert ask(linear, "unsubscribe", "publicTrade.BTCUSDT")["op"] == "unsubscribe"
        linear.send('{"op":"ping"}')
        pong = json.loads(linear.recv(timeout=30))
        assert pong | {"conn_id": ""} == {"success": True, "ret_msg": "pong", "conn_id": "", "req_id": "", "op": "ping"}
    with client(bybit, "/v5/public/spot", additional_headers={}) as spot:
        assert ask(spot, "subscribe", "publicTrade.BTCUSDT")["ret_msg"] == "subscribe"
        spot.send('{"op":"ping"}')
        assert json.loads(spot.recv(timeout=30)).keys() == {"success", "ret_msg", "conn_id", "op"}


@pytest.mark.parametrize(
    "topic",
    [
        "publicTrade.XXXUSDT",
        "orderbook.500.BTCUSDT",
        "kline.3.BTCUSDT",
        "kline.1m.BTCUSDT",
        "order",
        "",
        "tickers",
        "publicTrade.*",
    ],
)
def test_unknown_topics_take_their_neighbours_down(bybit, topic):
    """As at Bybit: nothing of the frame is applied, and the offender is named."""
    with client(bybit, "/v5/public/linear", additional_headers={}) as connection:
        answer = ask(connection, "subscribe", "publicTrade.BTCUSDT", topic)
        assert (answer["success"], answer["ret_msg"]) == (False, f"error:handler not found,topic:{topic}")
        assert ask(connection, "subscribe", "publicTrade.BTCUSDT")["success"]
        again = ask(connection, "subscribe", "publicTrade.BTCUSDT")
        assert again["ret_msg"] == "error:already subscribed,topic:publicTrade.BTCUSDT"


def test_limits_are_bybits(bybit):
    """Ten topics per frame on spot; 21,000 characters per connection."""
    with client(bybit, "/v5/public/spot", additional_headers={}) as spot:
        assert ask(spot, "subscribe", *["publicTrade.BTCUSDT"] * 11)["ret_msg"] == "args size >10"
    with client(bybit, "/v5/public/linear", additional_headers={}) as linear:
        assert ask(linear, "subscribe", *["publicTrade.BTCUSDT"] * 1_000)["ret_msg"] == "error:args length >21000"


@pytest.mark.parametrize("garbage", ["", "[]", "{", '{"op":7}', "[" * 30_000, '{"op":"nonsense"}', b"\xff\xfe"])
def test_nonsense_is_refused_and_the_connection_lives(bybit, garbage):
    """An error answer, whatever it was."""
    with client(bybit, "/v5/public/linear", additional_headers={}) as connection:
        connection.send(garbage)
        assert json.loads(connection.recv(timeout=30))["success"] is False
        assert ask(connection, "ping")["ret_msg"] == "pong"


def test_raw_payloads_go_on_byte_for_byte(bybit, bridge):
    """Trades and liquidations are what the exchange sent, to those who asked."""
    with client(bybit, "/v5/public/linear", additional_headers={}) as connection:
        ask(connection, "subscribe", "publicTrade.BTCUSDT", "allLiquidation.BTCUSDT")
        bridge.sink("linear", "trades")([TRADE])
        bridge.sink("spot", "trades")([TRADE.replace(b"16578", b"1")])
        bridge.sink("linear", "liquidations")([LIQUIDATION])
        assert connection.recv(timeout=30, decode=False) == TRADE
        assert connection.recv(timeout=30, decode=False) == LIQUIDATION


def test_a_book_begins_with_its_snapshot(bybit, bridge):
    """Who comes late gets the book as it is now, with the last update id, then the deltas that follow."""
    sink = bridge.sink("linear", "orderbook")
    sink([BOOK])
    sink([DELTA])
    wait_until(lambda: bridge.taken == 2)
    with client(bybit, "/v5/public/linear", additional_headers={}) as connection:
        assert ask(connection, "subscribe", "orderbook.50.BTCUSDT")["success"]
        assert json.loads(connection.recv(timeout=30)) == {
            "topic": "orderbook.50.BTCUSDT",
            "type": "snapshot",
            "ts": 1672304485078,
            "data": {
                "s": "BTCUSDT",
                "b": [["16493.50", "0.006"], ["16492.00", "1.5"]],
                "a": [["16611.00", "0.030"], ["16612.00", "0.213"]],
                "u": 18521289,
                "seq": 7961638800,
            },
            "cts": 1672304485076,
        }
        sink([NEXT_DELTA])
        assert connection.recv(timeout=30, decode=False) == NEXT_DELTA


def test_a_delta_before_its_snapshot_is_withheld(bybit, bridge):
    """Clients die of it; the snapshot that comes later is the first they see."""
    sink = bridge.sink("linear", "orderbook")
    with client(bybit, "/v5/public/linear", additional_headers={}) as connection:
        ask(connection, "subscribe", "orderbook.50.BTCUSDT")
        for payload in (DELTA, BOOK, DELTA, NEXT_DELTA):
            sink([payload])
        assert [connection.recv(timeout=30, decode=False) for _ in range(3)] == [BOOK, DELTA, NEXT_DELTA]


def test_the_best_levels_are_made_of_the_book_there_is(bybit, bridge):
    """orderbook.1 is snapshots alone: one at once, one for each change."""
    sink = bridge.sink("linear", "orderbook")
    sink([BOOK])
    wait_until(lambda: bridge.taken == 1)
    with client(bybit, "/v5/public/linear", additional_headers={}) as connection:
        ask(connection, "subscribe", "orderbook.1.BTCUSDT")
        assert json.loads(connection.recv(timeout=30))["data"]["a"] == [["16611.00", "0.029"]]
        sink([DELTA])
        changed = json.loads(connection.recv(timeout=30))
        assert (changed["topic"], changed["type"]) == ("orderbook.1.BTCUSDT", "snapshot")
        assert (changed["data"]["b"], changed["data"]["a"]) == ([["16493.50", "0.006"]], [["16611.00", "0.030"]])


def test_a_ticker_begins_with_its_snapshot(bybit, bridge):
    """The deltas merged; then deltas as they come."""
    sink = bridge.sink("linear", "ticker")
    sink([TICKER])
    sink([TICKER_DELTA])
    wait_until(lambda: bridge.taken == 2)
    with client(bybit, "/v5/public/linear", additional_headers={}) as connection:
        ask(connection, "subscribe", "tickers.BTCUSDT")
        first = json.loads(connection.recv(timeout=30))
        assert (first["type"], first["cs"], first["ts"]) == ("snapshot", 9532239501, 1760325052730)
        assert first["data"] == {"symbol": "BTCUSDT", "lastPrice": "66666.60", "ask1Size": "20.1", "preQty": ""}
        sink([TICKER_DELTA])
        assert connection.recv(timeout=30, decode=False) == TICKER_DELTA


def test_klines_open_and_closed(bybit, bridge):
    """Open ones have confirm false until the closed one has gone out, never after it; what lacks trades does not go."""
    with client(bybit, "/v5/public/linear", additional_headers={}) as connection:
        ask(connection, "subscribe", "kline.1.BTCUSDT")
        bridge.offer_open("linear", [kline(1)])
        opened = json.loads(connection.recv(timeout=30))
        bybit.offer(klines(1, complete=False, volume=Decimal(1)))
        bybit.offer(klines(1))
        closed = json.loads(connection.recv(timeout=30))
        bridge.offer_open("linear", [kline(1), kline(1, symbol="ETHUSDT")])
        bridge.offer_open("linear", [kline(2)])
        after = json.loads(connection.recv(timeout=30))
    assert closed["data"] == [
        {
            "start": 1767717000000,
            "end": 1767717059999,
            "interval": "1",
            "open": "92967.8",
            "close": "92846.1",
            "high": "92970.8",
            "low": "92815.5",
            "volume": "33.404285",
            "turnover": "3104285.99121",
            "confirm": True,
            "timestamp": 1767717059999,
        }
    ]
    assert opened["data"][0] | {"confirm": True} == closed["data"][0]
    assert (closed["topic"], closed["type"]) == ("kline.1.BTCUSDT", "snapshot")
    assert (after["data"][0]["start"], after["data"][0]["confirm"]) == (1767717060000, False)


def test_a_hole_in_what_is_passed_on_closes_its_subscribers_connections(serve, bridge):
    """As the exchange's own end; who wants nothing of it stays."""
    options = DialectOptions(markets=("linear",), symbols=lambda _market: ("BTCUSDT",), pass_on=len)
    worker = serve(bridge=bridge, dialect=BinanceDialect(options), dialect_is_open=True)
    kline = b'{"stream":"btcusdt@kline_1m","data":{"e":"kline"}}'
    with (
        client(worker, "/market/ws/btcusdt@kline_1m", additional_headers={}) as hit,
        client(worker, "/market/ws/btcusdt@ticker", additional_headers={}) as other,
    ):
        put = bridge.sink(passed_on("linear"), "topics")
        wait_until(lambda: bridge.has_subscribers)
        put([kline])
        assert hit.recv(timeout=30) == '{"e":"kline"}'
        bridge.lose(passed_on("linear"), ["btcusdt@kline_1m"])
        with pytest.raises(ConnectionClosed):
            hit.recv(timeout=30)
        assert (hit.close_code, "connect again" in str(hit.close_reason)) == (1001, True)
        other.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        assert json.loads(other.recv(timeout=30)) == {"result": ["btcusdt@ticker"], "id": 1}


def test_a_login_is_required(serve, bridge):
    """With auth, HTTP Basic opens, the first message opens, and nothing else does."""
    worker = serve(bridge=bridge, **options(is_open=False))
    with client(worker, "/v5/public/linear") as connection:
        assert ask(connection, "subscribe", "publicTrade.BTCUSDT")["success"]
    with client(worker, "/v5/public/linear", additional_headers={}) as connection:
        connection.send('{"user":"admin","key":"s3cret"}')
        assert json.loads(connection.recv(timeout=30))["success"]
        assert ask(connection, "subscribe", "publicTrade.BTCUSDT")["success"]
    with client(worker, "/v5/public/linear", additional_headers={}) as connection:
        assert ask(connection, "subscribe", "publicTrade.BTCUSDT")["success"] is False
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=30)


def test_paths_are_closed_unless_asked_for(serve):
    """Off is the default."""
    with client(serve(), "/v5/public/linear") as connection:
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=30)
        assert connection.close_code == 4404


def test_pybit_streams(bybit, bridge, monkeypatch):
    """The exchange's own package, unmodified but for the address: every kind of topic."""
    address = f"ws://127.0.0.1:{bybit.consumer.port}/v5/public/{{CHANNEL_TYPE}}"
    monkeypatch.setattr(pybit.unified_trading, "PUBLIC_WSS", address)
    for kind, payload in (("orderbook", BOOK), ("ticker", TICKER)):
        bridge.sink("linear", kind)([payload])
    got: dict[str, list[Any]] = {"trades": [], "book": [], "ticker": [], "kline": [], "liquidations": []}
    socket = pybit.unified_trading.WebSocket(channel_type="linear", testnet=False)
    socket.trade_stream("BTCUSDT", got["trades"].append)
    socket.orderbook_stream(50, "BTCUSDT", lambda m: got["book"].append(json.loads(json.dumps(m))))
    socket.ticker_stream("BTCUSDT", got["ticker"].append)
    socket.kline_stream(1, ["BTCUSDT", "ETHUSDT"], got["kline"].append)
    socket.all_liquidation_stream("BTCUSDT", got["liquidations"].append)

    def feed() -> bool:
        bridge.sink("linear", "trades")([TRADE])
        bridge.sink("linear", "liquidations")([LIQUIDATION])
        bridge.sink("linear", "ticker")([TICKER_DELTA])
        bybit.offer(klines(1))
        return all(got.values())

    wait_until(feed, poll_s=0.1)
    bridge.sink("linear", "orderbook")([DELTA])
    wait_until(lambda: len(got["book"]) == 2)
    assert socket.is_connected()
    assert [book["data"]["u"] for book in got["book"]] == [18521288, 18521289]
    assert got["trades"][0] == json.loads(TRADE)
    assert got["ticker"][-1]["data"]["ask1Size"] == "20.1"
    assert got["kline"][0]["data"][0]["confirm"] is True
    socket.exit()
