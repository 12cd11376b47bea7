"""Endpoints, topics, requests and received messages of Binance's public streams."""

import json
import re

import pytest

from exchanges.binance.protocol import TRADE_KEYS, BinanceProtocol
from exchanges.contract import Endpoints
from model.protocol import Answer, Data, Malformed, Notice, Problem, Unknown

from .recorded import combined, frames

MARKETS = ("spot", "linear", "inverse")
DATA_KINDS = {"trade": "trades", "ticker": "ticker", "forceOrder": "liquidations", "depth@100ms": "orderbook"}


@pytest.fixture(params=MARKETS)
def protocol(request):
    return BinanceProtocol(request.param)


def test_recorded_frames_are_data_of_their_topic(shared_data):
    """Each of the 5,600 names its own topic, alike for the whole reading and for the marker; the rest are answers."""
    count = 0
    for market, frame in frames(shared_data):
        payload = combined(frame)
        protocol = BinanceProtocol(market)
        message, shape = protocol.read(payload), protocol.frames("topics", ())
        if b'"result"' in payload:
            assert message == Answer(True, str(json.loads(payload)["id"]))
            assert not payload.startswith(shape.prefix)
            continue
        topic = json.loads(payload)["stream"]
        assert message == Data(topic)
        assert payload.startswith(shape.prefix)
        assert shape.key_in(payload) == protocol.key_of("topics", topic)
        count += 1
    assert count > 5_000


def test_recorded_frames_belong_to_their_kind_and_symbol(shared_data):
    """By the event that the frame is: trades, tickers, liquidations, changes of books; no others."""
    events = {"trade": "trades", "24hrTicker": "ticker", "forceOrder": "liquidations", "depthUpdate": "orderbook"}
    seen = set()
    for market, frame in frames(shared_data):
        message = json.loads(combined(frame))
        if "stream" not in message or message.get("generated"):
            continue
        topic, data = message["stream"], message["data"]
        if topic.endswith(("@0ms", "@depthUpdate")):
            continue  # a speed that Binance does not document
        read = BinanceProtocol(market).read_topic(topic)
        kind = events.get(data.get("e"))
        assert (read and read[0]) == kind
        if read:
            assert read[2] == data.get("s") or data["o"]["s"]
            seen.add(kind)
    assert seen == set(events.values())


def test_recorded_books_follow_one_another_by_the_declared_sequence(shared_data):
    """Spot counts on by one, futures name the message before: no break in any recording of one run."""
    last: dict[tuple[str, bytes], int] = {}
    followed = broken = 0
    for market, frame in frames(shared_data):
        if b"@depth@" not in frame or b"depthUpdate" not in frame:
            continue
        protocol = BinanceProtocol(market)
        shape = protocol.frames("orderbook", ())
        assert shape.sequence
        own = shape.sequence.own.search(frame)
        assert own
        key = market, shape.key_in(frame)
        if key in last:
            is_next = shape.sequence.link % (last[key] + shape.sequence.step) in frame
            followed, broken = followed + is_next, broken + (not is_next)
        last[key] = int(own[1])
    assert followed > 1_500
    assert broken <= 6  # where one recording ends and another begins


def test_book_of_some_levels_has_no_sequence():
    """Each is whole: spot's have no ids of changes, futures' look like changes."""
    protocol = BinanceProtocol("linear")

    assert protocol.frames("orderbook", ["btcusdt@depth20@100ms"]).sequence is None
    assert protocol.frames("orderbook", ["btcusdt@depth@100ms"]).sequence


def test_notice_of_a_shutdown_is_no_data():
    """It begins as all data does, but with a name that is less than any symbol's."""
    notice = b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}'
    for kind in ("trades", "topics"):
        shape = BinanceProtocol("spot").frames(kind, ())
        assert notice.startswith(shape.prefix)
        assert notice < shape.floor
        assert shape.floor <= b'{"stream":"1000satsusdt@trade","data":{}}'
    assert BinanceProtocol("spot").read(notice) == Notice("serverShutdown")


def test_sent_time_and_last_price_are_found(shared_data):
    """E of every recorded event that has one; c of tickers."""
    for market, frame in frames(shared_data):
        payload = combined(frame)
        data = json.loads(payload).get("data", {})
        shape = BinanceProtocol(market).frames("ticker", ())
        found = shape.sent.search(payload)
        assert (int(found[1]) if found else None) == data.get("E")
        if data.get("e") == "24hrTicker":
            assert shape.price
            assert shape.price.findall(payload) == [data["c"].encode()]


def test_trade_ids_are_found_without_parsing(shared_data):
    """One a payload."""
    for _, frame in frames(shared_data):
        payload = combined(frame)
        data = json.loads(payload).get("data", {})
        if data.get("e") == "trade":
            assert TRADE_KEYS.ids.findall(payload) == [str(data["t"]).encode()]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b'{"result":null,"id":1}', Answer(True, "1")),
        (b'{"id":1000,"result":null}', Answer(True, "1000")),
        (b'{"result":["btcusdt@trade"],"id":3}', Answer(True, "3")),
        (b'{"result":null,"id":null}', Answer(True)),
        (b'{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}', Answer(False, "19", "Too many subscriptions")),
        (b'{"code":2,"msg":"Invalid request: x","id":7}', Answer(False, "7", "Invalid request: x")),
        (b'{"code":3,"msg":"Invalid JSON: x"}', Problem("Invalid JSON: x")),
        (b'{"error":{"code":3,"msg":"Invalid JSON"},"id":null}', Problem("Invalid JSON")),
        (b'{"error":"odd"}', Problem("odd")),
        (b'{"e":"serverShutdown","E":1770123456789}', Notice("serverShutdown")),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}', Notice("serverShutdown")),
        (b'{"stream":"!miniTicker@arr","data":[{"e":"24hrMiniTicker"}]}', Data("!miniTicker@arr")),
        (b'{"e":"trade","E":1,"s":"BTCUSDT"}', Unknown()),  # of which stream is not known
        (b"[]", Unknown()),
        (b"{}", Unknown()),
        (b"1", Unknown()),
        (b"", Malformed()),
        (b'{"stream":"btc', Malformed()),
        (b"\xff\xfe", Malformed()),
        (b"[" * 100_000, Malformed()),
    ],
)
def test_messages_are_what_they_are(protocol, payload, message):
    """Answers in both shapes, errors with and without a request, notices, garbage."""
    assert protocol.read(payload) == message


@pytest.mark.parametrize(
    ("market", "kind", "topics", "url"),
    [
        ("spot", "trades", ["btcusdt@trade"], "wss://stream.binance.com:9443/stream"),
        ("spot", "topics", ["btcusdt@kline_1m"], "wss://stream.binance.com:9443/stream"),
        ("linear", "trades", ["btcusdt@trade"], "wss://fstream.binance.com/public/stream"),
        ("linear", "orderbook", ["btcusdt@depth@100ms"], "wss://fstream.binance.com/public/stream"),
        ("linear", "ticker", ["btcusdt@ticker"], "wss://fstream.binance.com/market/stream"),
        ("linear", "liquidations", ["btcusdt@forceOrder"], "wss://fstream.binance.com/market/stream"),
        ("linear", "topics", ["btcusdt@kline_1m"], "wss://fstream.binance.com/market/stream"),
        ("linear", "topics", ["btcusdt@aggTrade"], "wss://fstream.binance.com/market/stream"),
        ("linear", "topics", ["!markPrice@arr@1s"], "wss://fstream.binance.com/market/stream"),
        ("linear", "topics", ["tradingSession"], "wss://fstream.binance.com/market/stream"),
        ("linear", "topics", ["btcusdt@bookTicker"], "wss://fstream.binance.com/public/stream"),
        ("linear", "topics", ["!bookTicker"], "wss://fstream.binance.com/public/stream"),
        ("linear", "topics", ["btcusdt@depth20@100ms"], "wss://fstream.binance.com/public/stream"),
        ("linear", "topics", ["btcusdt@rpiDepth@500ms"], "wss://fstream.binance.com/public/stream"),
        ("inverse", "ticker", ["btcusd_perp@ticker"], "wss://dstream.binance.com/stream"),
    ],
)
def test_endpoint_is_that_of_the_kind(market, kind, topics, url):
    """USD-M has two paths; on the wrong one nothing comes."""
    assert BinanceProtocol(market).endpoint(kind, topics) == url


def test_endpoint_moves_to_another_host_and_keeps_its_path():
    """WS_URL names scheme, host and port; a whole endpoint replaces all."""
    moved = BinanceProtocol("linear", Endpoints(ws_url="ws://127.0.0.1:9000", testnet=True))

    assert moved.endpoint("ticker", ["btcusdt@ticker"]) == "ws://127.0.0.1:9000/market/stream"
    assert BinanceProtocol("linear", Endpoints(stream="ws://h/x")).endpoint("trades", ["btcusdt@trade"]) == "ws://h/x"
    assert (
        BinanceProtocol("spot", Endpoints(testnet=True)).endpoint("trades", [])
        == "wss://stream.testnet.binance.vision/stream"
    )


@pytest.mark.parametrize(
    ("kind", "symbols", "depth", "topics"),
    [
        ("trades", "BTCUSDT", 1000, ["btcusdt@trade"]),
        ("trades", ["BTCUSDT", "btcusdt", "ETHUSDT"], 1000, ["btcusdt@trade", "ethusdt@trade"]),
        ("trades", ["币安人生USDT"], 1000, ["币安人生usdt@trade"]),
        ("ticker", "BTCUSD_PERP", 1000, ["btcusd_perp@ticker"]),
        ("orderbook", "BTCUSDT", 1000, ["btcusdt@depth@100ms"]),
        ("orderbook", "BTCUSDT", 20, ["btcusdt@depth20@100ms"]),
        ("topics", ["BTCUSDT@kline_1M"], 1000, ["btcusdt@kline_1M"]),
        ("topics", ["btcusdt@aggtrade", "btcusdt@AGGTRADE"], 1000, ["btcusdt@aggTrade"]),
        ("topics", ["!miniticker@arr"], 1000, ["!miniTicker@arr"]),
        ("topics", ["tradingsession"], 1000, ["tradingSession"]),
        ("topics", ["btcusdt_perpetual@continuousKline_1m"], 1000, ["btcusdt_perpetual@continuousKline_1m"]),
        ("topics", ["btcusdt@brandNew_5"], 1000, ["btcusdt@brandNew_5"]),
    ],
)
def test_topics_are_written_as_binance_writes_them(protocol, kind, symbols, depth, topics):
    """Symbols in small letters, names of streams in their own: of a wrong one nothing comes and no error."""
    assert protocol.topics(kind, symbols, depth) == topics


@pytest.mark.parametrize(
    ("market", "kind", "symbols", "depth", "said"),
    [
        ("spot", "liquidations", "BTCUSDT", 1000, "no liquidations for spot"),
        ("linear", "orderbook", "BTCUSDT", 50, "1000 (the whole book, as changes) and 5, 10, 20"),
        ("linear", "orderbook", "BTCUSDT", True, "depth is True"),
        ("linear", "trades", [], 1000, "no symbol given"),
        ("linear", "trades", "BTC@USDT", 1000, "BTC@USDT"),
        ("linear", "topics", "btcusdt", 1000, "must be the name of a stream"),
        ("linear", "topics", "btc/usdt@trade", 1000, "must be the name of a stream"),
        ("linear", "topics", 'a"b@trade', 1000, "must be the name of a stream"),
        ("linear", "topics", ["btcusdt@depth", "btcusdt@aggTrade"], 1000, "btcusdt@depth and btcusdt@aggTrade"),
        ("spot", "topics", "!ticker@arr", 1000, "!miniTicker@arr"),
    ],
)
def test_request_that_binance_cannot_serve_is_refused(market, kind, symbols, depth, said):
    """With what is allowed in its place."""
    with pytest.raises(ValueError, match=re.escape(said)):
        BinanceProtocol(market).topics(kind, symbols, depth)


@pytest.mark.parametrize(
    ("topic", "read"),
    [
        ("btcusdt@trade", ("trades", None, "BTCUSDT")),
        ("btcusd_perp@ticker", ("ticker", None, "BTCUSD_PERP")),
        ("btcusdt@depth@100ms", ("orderbook", 1000, "BTCUSDT")),
        ("btcusdt@depth", ("orderbook", 1000, "BTCUSDT")),
        ("btcusdt@depth5@500ms", ("orderbook", 5, "BTCUSDT")),
        ("btcusdt@depth7", None),
        ("btcusdt@aggTrade", None),
        ("btcusdt@kline_1m", None),
        ("!miniTicker@arr", None),
        ("btcusdt", None),
        ("@trade", None),
        ("", None),
    ],
)
def test_topic_is_read(protocol, topic, read):
    """Kind, depth and symbol."""
    assert protocol.read_topic(topic) == read


def test_liquidations_are_read_of_futures_only():
    """Spot has none."""
    assert BinanceProtocol("linear").read_topic("btcusdt@forceOrder") == ("liquidations", None, "BTCUSDT")
    assert BinanceProtocol("spot").read_topic("btcusdt@forceOrder") is None


def test_symbol_of_a_topic_is_in_capitals(protocol):
    """As exchangeInfo writes it; what is of no symbol stands for itself."""
    assert protocol.symbol_of("币安人生usdt@trade") == "币安人生USDT"
    assert protocol.symbol_of("btcusd_perp@depth@100ms") == "BTCUSD_PERP"
    assert protocol.symbol_of("!miniTicker@arr") == "!miniTicker@arr"


def test_request_of_any_size_stays_below_what_binance_drops(protocol):
    """Frames above 4,096 bytes get no answer: what the limits let into one message is shorter, non-ASCII names too."""
    for name in ("币安人生usdt@depth@100ms", "btcusdt@trade"):
        count = protocol.limits.bytes_per_message // protocol.limits.cost(name)
        assert len(protocol.subscribe("9" * 18, [name] * count).encode()) < 4_096


def test_request_has_a_number_as_its_id(protocol):
    """Futures take 64-bit integers only."""
    assert json.loads(protocol.subscribe("7", ["a@trade"])) == {"method": "SUBSCRIBE", "params": ["a@trade"], "id": 7}
    assert json.loads(protocol.unsubscribe("8", ["a@trade"]))["method"] == "UNSUBSCRIBE"


def test_limits_leave_room_for_pings(protocol):
    """Binance closes a connection that sends more than 5 (spot) or 10 messages a second."""
    assert protocol.limits.messages_per_s < (5 if protocol.market == "spot" else 10)


def test_payload_of_all_symbols_is_wanted_for_one_of_them(protocol):
    """By its symbol, whole."""
    payload = b'{"stream":"!forceOrder@arr","data":{"e":"forceOrder","o":{"s":"BTCUSDT"}}}'

    assert protocol.is_wanted(payload, frozenset({"ETHUSDT", "BTCUSDT"}))
    assert not protocol.is_wanted(payload, frozenset({"BTCUSD"}))
