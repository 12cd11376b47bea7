"""KuCoin's streams: addresses, topics, requests, and what every recorded message is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.contract import Endpoints
from exchanges.kucoin.protocol import CHANNELS, TRADE_KEYS, KucoinProtocol
from model.batches import batches
from model.protocol import Answer, Data, Malformed, Pong, Problem, Unknown, Welcome
from tests.unit.exchanges.kucoin.recorded import frames, of_channel

LINEAR, SPOT = KucoinProtocol("linear"), KucoinProtocol("spot")


def read(message: Any) -> Any:
    return SPOT.read(json.dumps(message).encode())


# -- topics -------------------------------------------------------------------------------------------------------


def test_topics_are_channel_and_symbol():
    """Without repeats, names as people write them; a book's depth says which channel."""
    assert SPOT.topics("trades", ["btc-usdt", "BTC-USDT", "ETH-USDT"], 50) == [
        "/market/match:BTC-USDT",
        "/market/match:ETH-USDT",
    ]
    assert [SPOT.topics("orderbook", "BTC-USDT", depth)[0] for depth in (50, 5, 1000)] == [
        "/spotMarket/level2Depth50:BTC-USDT",
        "/spotMarket/level2Depth5:BTC-USDT",
        "/market/level2:BTC-USDT",
    ]
    assert LINEAR.topics("trades", "xbtusdtm", 50) == ["/contractMarket/execution:XBTUSDTM"]
    assert LINEAR.topics("ticker", "XBTUSDTM", 50) == ["/contractMarket/snapshot:XBTUSDTM"]
    assert [LINEAR.topics("orderbook", "XBTUSDTM", depth)[0] for depth in (50, 5, 1000)] == [
        "/contractMarket/level2Depth50:XBTUSDTM",
        "/contractMarket/level2Depth5:XBTUSDTM",
        "/contractMarket/level2:XBTUSDTM",
    ]
    named = ["/market/candles:BTC-USDT_1min", "/market/ticker:all", "/market/candles:BTC-USDT_1min"]
    assert SPOT.topics("topics", named, 50) == named[:2]


@pytest.mark.parametrize(
    ("protocol", "kind", "symbols", "depth", "text"),
    [
        (SPOT, "liquidations", "BTC-USDT", 50, "no public liquidations"),
        (LINEAR, "liquidations", "XBTUSDTM", 50, "no public liquidations"),
        (LINEAR, "orderbook", "XBTUSDTM", 25, "KuCoin has 50 and 5"),
        (LINEAR, "orderbook", "XBTUSDTM", True, "KuCoin has 50 and 5"),
        (LINEAR, "trades", [], 50, "no symbol given"),
        (SPOT, "trades", "BTC+USDT", 50, "symbol is"),
        (SPOT, "topics", "market/match", 50, "topic is"),
        (SPOT, "topics", "/market/match:A-B,C-B", 50, "topic is"),
        (SPOT, "topics", [7], 50, "topic is 7"),
    ],
)
def test_what_kucoin_has_not_is_refused(protocol, kind, symbols, depth, text):
    """With what there is instead; a topic is of one symbol, for its data are found by it."""
    with pytest.raises(ValueError, match=text):
        protocol.topics(kind, symbols, depth)


def test_topics_are_read_back():
    """Kind, depth and symbol, of either market: an entry of STREAMS is read before its market is known."""
    for protocol in (SPOT, LINEAR):
        for channel in (*CHANNELS["spot"], *CHANNELS["linear"]):
            assert protocol.read_topic(f"{channel.name}:X-Y") == (channel.kind, channel.depth, "X-Y")
    for topic in ("/market/ticker:BTC-USDT", "/market/match", "/market/match:", "/contractMarket/tickerV2:A", ""):
        assert SPOT.read_topic(topic) is None
    assert SPOT.symbol_of("/market/candles:BTC-USDT_1min") == "BTC-USDT"
    assert SPOT.symbol_of("/market/match:BTC-USDT") == "BTC-USDT"


def test_the_endpoint_is_without_a_token_and_may_be_moved():
    """The slash stays: without a path the exchange answers 400."""
    assert SPOT.endpoint("trades", []) == "wss://ws-api-spot.kucoin.com/"
    assert LINEAR.endpoint("topics", []) == "wss://ws-api-futures.kucoin.com/"
    assert KucoinProtocol("spot", Endpoints(ws_url="ws://127.0.0.1:9")).endpoint("trades", []) == "ws://127.0.0.1:9/"
    assert KucoinProtocol("spot", Endpoints(stream="ws://x/y")).endpoint("trades", []) == "ws://x/y"


# -- requests -----------------------------------------------------------------------------------------------------


def test_a_request_is_a_list_of_one_channel():
    """The form that was recorded; without `response` there is no answer."""
    assert json.loads(SPOT.subscribe("7", ["/market/match:BTC-USDT", "/market/match:ETH-USDT"])) == {
        "id": "7",
        "type": "subscribe",
        "topic": "/market/match:BTC-USDT,ETH-USDT",
        "privateChannel": False,
        "response": True,
    }
    assert json.loads(SPOT.unsubscribe("8", ["/market/ticker:all"]))["type"] == "unsubscribe"


def test_channels_are_not_mixed_and_a_list_has_a_hundred_symbols():
    """Candles have no lists; what is of all symbols stands alone."""
    topics = [f"/market/match:C{number}-USDT" for number in range(150)]
    others = ["/market/candles:A-B_1min", "/market/candles:C-D_1min", "/market/ticker:all", "/market/ticker:A-B"]
    made = batches([*topics, *others], SPOT.limits)
    assert sorted(map(len, made)) == [1, 1, 1, 1, 50, 100]
    assert sorted(topic for batch in made for topic in batch) == sorted([*topics, *others])


# -- messages -----------------------------------------------------------------------------------------------------


def test_every_recorded_message_is_what_it_is(shared_data):
    """Of 2021 to 2026: data by their topic, in any order of the fields; the answers to requests; errors."""
    found = [(frame, json.loads(frame)) for frame in frames(shared_data)]
    assert len(found) > 400
    kinds = {"message": Data, "ack": Answer, "welcome": Welcome, "pong": Pong, "error": Answer}
    for frame, message in found:
        if "type" in message:
            assert isinstance(SPOT.read(frame), kinds[message["type"]])
        if message.get("type") == "message":
            assert SPOT.read(frame) == Data(message["topic"])


def test_recorded_data_are_known_and_named_without_parsing(shared_data):
    """Whatever field comes first; no other message is taken for data; the key leads to the topic."""
    every = frames(shared_data)
    seen = set()
    for protocol in (SPOT, LINEAR):
        for channel in CHANNELS[protocol.market]:
            own = of_channel(shared_data, channel.name)
            seen |= {frame[:8] for frame in own}
            topics = [json.loads(frame)["topic"] for frame in own]
            declared = protocol.frames(channel.kind, [f"{channel.name}:X"])
            assert all(declared.is_data(frame) for frame in own)
            assert not any(declared.is_data(frame) for frame in every if frame not in own)
            assert [declared.key_in(frame) for frame in own] == [protocol.key_of(channel.kind, t) for t in topics]
    assert len(seen) == 3  # {"data":, {"type":, {"topic":
    for frame in every:
        is_data = json.loads(frame).get("type") == "message"
        assert SPOT.frames("topics", ()).is_data(frame) == is_data
        assert not is_data or SPOT.frames("topics", ()).key_in(frame).decode() == json.loads(frame)["topic"]


def test_times_prices_and_ids_are_found_without_parsing(shared_data):
    """Nanoseconds, as a text or a number, are cut to milliseconds."""
    for protocol, name, field in ((SPOT, "/market/match", "time"), (LINEAR, "/contractMarket/execution", "ts")):
        recorded = of_channel(shared_data, name)
        assert recorded
        for frame in recorded:
            data = json.loads(frame)["data"]
            sent = protocol.frames("trades", ()).sent.search(frame)
            assert sent
            assert int(sent[1]) == int(data[field]) // 1_000_000
            assert TRADE_KEYS.ids.findall(frame) == [str(data["sequence"]).encode()]
    (frame,) = of_channel(shared_data, "/contractMarket/snapshot")
    declared = LINEAR.frames("ticker", ())
    price, sent = declared.price and declared.price.search(frame), declared.sent.search(frame)
    assert price
    assert sent
    assert (price[1], sent[1]) == (b"84556.7", b"1790993335003")


def test_the_last_price_of_spot_is_found():
    """By the form of 2026."""
    frame = (
        b'{"topic":"/market/snapshot:BTC-USDT","type":"message","subject":"trade.snapshot","data":{"sequence":"35915",'
        b'"data":{"buy":77320.7,"datetime":1787423030030,"lastTradedPrice":77320.7,"symbol":"BTC-USDT"}}}'
    )
    declared = SPOT.frames("ticker", ["/market/snapshot:BTC-USDT"])
    price, sent = declared.price and declared.price.search(frame), declared.sent.search(frame)
    assert declared.is_data(frame)
    assert price
    assert sent
    assert (price[1], sent[1]) == (b"77320.7", b"1787423030030")


def test_changes_of_a_book_follow_by_their_sequence(shared_data):
    """Of spot a message may stand for several; of futures it is one."""
    spot = SPOT.frames("orderbook", ["/market/level2:X"]).sequence
    linear = LINEAR.frames("orderbook", ["/contractMarket/level2:X"]).sequence
    assert spot
    assert linear
    several = b'"sequenceEnd":1636276324365,"sequenceStart":1636276324362,"symbol"'
    own = spot.own.search(several)
    assert own
    assert int(own[1]) == 1636276324365
    assert spot.link % (1636276324361 + spot.step) in several
    first, second = of_channel(shared_data, "/contractMarket/level2")[2:4]
    own = linear.own.search(first)
    assert own
    assert linear.link % (int(own[1]) + linear.step) in second
    assert SPOT.frames("orderbook", ["/spotMarket/level2Depth50:X"]).sequence is None


@pytest.mark.parametrize(
    ("message", "is_what"),
    [
        ({"id": "7", "type": "ack"}, Answer(True, "7")),
        ({"id": "x", "type": "welcome"}, Welcome()),
        ({"id": "9", "type": "pong"}, Pong(0, "9")),
        ({"type": "message", "topic": "/market/ticker:all", "subject": "A-B", "data": {}}, Data("/market/ticker:all")),
        ({"type": "message", "topic": 7, "data": {}}, Unknown()),
        ({"type": "message", "topic": "/market/match:A-B"}, Unknown()),
        ({"type": ["message"]}, Unknown()),
        (
            {"code": 404, "data": "topic /market/level2:A-B is not found", "id": "3", "type": "error"},
            Answer(False, "3", "404 topic /market/level2:A-B is not found", named=("/market/level2:A-B",)),
        ),
        (
            {
                "id": "3",
                "type": "error",
                "code": 509,
                "data": "exceed max subscription count limitation of 100 per time",
            },
            Answer(False, "3", "509 exceed max subscription count limitation of 100 per time"),
        ),
        (
            {"id": "3", "type": "error", "code": 509, "data": "exceed max permits per second"},
            Problem("509 exceed max permits per second"),
        ),
        ({"id": "3", "type": "error", "code": 500, "data": "system error"}, Problem("500 system error")),
        ({"id": "3", "type": "error", "code": 400, "data": "ping timeout"}, Problem("400 ping timeout")),
        ({"type": "error", "code": 401, "data": "token is invalid"}, Problem("401 token is invalid")),
        ({"type": "error"}, Problem("None None")),
    ],
)
def test_a_message_is_read(message, is_what):
    """Errors have neither topic nor subject; those of the rate refuse no topic, and so is a ping that did not come."""
    assert read(message) == is_what


def test_the_time_of_a_pong_is_in_microseconds():
    """Another unit is no time."""
    pongs = [read({"id": "1", "type": "pong", "timestamp": us}) for us in (1787423030030123, 1787423030030, "x", None)]
    assert [pong.time_ms for pong in pongs] == [1787423030030, 0, 0, 0]


def test_a_ping_is_a_text_of_its_own():
    """Sent before the 18 s that the exchange gives; nothing is sent before the welcome."""
    keep_alive = SPOT.keep_alive
    assert keep_alive.text
    assert json.loads(keep_alive.text("5")) == {"id": "5", "type": "ping"}
    assert (keep_alive.most_s, keep_alive.is_welcomed) == (15.0, True)


@given(st.binary(max_size=60))
def test_no_bytes_raise(payload):
    """Whatever arrives is something."""
    assert not isinstance(SPOT.read(payload), Data)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda c: st.lists(c, max_size=2), max_leaves=3))
def test_no_field_raises(value):
    """Of any type."""
    for kind in ("message", "ack", "welcome", "pong", "error"):
        fields = ("id", "topic", "data", "code", "timestamp")
        assert not isinstance(read({"type": kind, **dict.fromkeys(fields, value)}), Malformed)
