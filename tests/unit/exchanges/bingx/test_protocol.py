"""BingX's streams: addresses, topics, requests, and what every recorded message is."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.bingx.protocol import BingxProtocol
from exchanges.contract import Endpoints
from model.protocol import Answer, Data, Malformed, Ping, Problem, Unknown
from tests.unit.exchanges.bingx.recorded import frames

LINEAR, SPOT = BingxProtocol("linear"), BingxProtocol("spot")
BOTH = {"linear": LINEAR, "spot": SPOT}


def read(message):
    return LINEAR.read(json.dumps(message).encode())


# -- topics -------------------------------------------------------------------------------------------------------


def test_topics_are_symbol_and_channel():
    """Without repeats, names as people write them."""
    assert LINEAR.topics("trades", ["btc-usdt", "BTC-USDT", "ETH-USDT"], 20) == ["BTC-USDT@trade", "ETH-USDT@trade"]
    assert SPOT.topics("ticker", "BTC-USDT", 20) == ["BTC-USDT@ticker"]


def test_a_depth_says_which_channel_a_book_is_of():
    """Whole books of swaps come at one of two speeds, which is in the name (docs: swap, market depth)."""
    assert [LINEAR.topics("orderbook", ["BTC-USDT", "SOL-USDT"], depth) for depth in (5, 1000)] == [
        ["BTC-USDT@depth5@200ms", "SOL-USDT@depth5@500ms"],
        ["BTC-USDT@incrDepth", "SOL-USDT@incrDepth"],
    ]
    assert [SPOT.topics("orderbook", "BTC-USDT", depth)[0] for depth in (20, 1000)] == [
        "BTC-USDT@depth20",
        "BTC-USDT@incrDepth",
    ]


@pytest.mark.parametrize(
    ("protocol", "kind", "symbols", "depth", "text"),
    [
        (LINEAR, "liquidations", "BTC-USDT", 20, "no public liquidations"),
        (LINEAR, "orderbook", "BTC-USDT", 25, "BingX has 5, 10, 20, 50, 100"),
        (SPOT, "orderbook", "BTC-USDT", 5, "BingX has 20"),
        (LINEAR, "orderbook", "BTC-USDT", True, "BingX has"),
        (LINEAR, "trades", [], 20, "no symbol given"),
        (LINEAR, "topics", "BTC-USDT", 20, "topic is"),
        (LINEAR, "topics", [7], 20, "topic is 7"),
    ],
)
def test_what_bingx_has_not_is_refused(protocol, kind, symbols, depth, text):
    """With what there is instead."""
    with pytest.raises(ValueError, match=text):
        protocol.topics(kind, symbols, depth)


def test_topics_of_users_keep_the_case_of_their_channel():
    """kline_1m is a minute, kline_1M a month."""
    assert LINEAR.topics("topics", ["btc-usdt@kline_1M", "BTC-USDT@kline_1m", "btc-usdt@kline_1m"], 20) == [
        "BTC-USDT@kline_1M",
        "BTC-USDT@kline_1m",
    ]


@pytest.mark.parametrize(
    ("protocol", "topic", "of"),
    [
        (LINEAR, "btc-usdt@trade", ("trades", None, "BTC-USDT")),
        (SPOT, "BTC-USDT@ticker", ("ticker", None, "BTC-USDT")),
        (LINEAR, "BTC-USDT@depth100@200ms", ("orderbook", 100, "BTC-USDT")),
        (SPOT, "BTC-USDT@depth20", ("orderbook", 20, "BTC-USDT")),
        (SPOT, "BTC-USDT@incrDepth", ("orderbook", 1000, "BTC-USDT")),
        (LINEAR, "BTC-USDT@depth100@100ms", None),  # another one than a depth of 100 is
        (SPOT, "BTC-USDT@depth20@500ms", None),
        (LINEAR, "BTC-USDT@depth7", None),
        (LINEAR, "BTC-USDT@kline_1m", None),
        (LINEAR, "@trade", None),
        (LINEAR, "BTC-USDT", None),
    ],
)
def test_a_topic_names_its_kind_only_where_the_kind_has_just_that(protocol, topic, of):
    """What a user names otherwise stays a topic of its own."""
    assert protocol.read_topic(topic) == of


def test_addresses_are_those_of_the_market_the_demo_or_the_user():
    """The path stays."""
    assert LINEAR.endpoint("trades", ()) == "wss://open-api-swap.bingx.com/swap-market"
    assert SPOT.endpoint("trades", ()) == "wss://open-api-ws.bingx.com/market"
    demo = BingxProtocol("linear", Endpoints(testnet=True))
    assert demo.endpoint("ticker", ()) == "wss://vst-open-api-ws.bingx.com/swap-market"
    moved = BingxProtocol("spot", Endpoints(ws_url="ws://127.0.0.1:1"))
    assert moved.endpoint("ticker", ()) == "ws://127.0.0.1:1/market"
    assert BingxProtocol("spot", Endpoints(stream="ws://127.0.0.1:1/x")).endpoint("ticker", ()) == "ws://127.0.0.1:1/x"


# -- requests and answers -----------------------------------------------------------------------------------------


def test_a_request_has_one_topic_and_its_own_id():
    """An answer names nothing but the id."""
    assert LINEAR.subscribe("7", ["BTC-USDT@trade"]) == '{"id":"7","reqType":"sub","dataType":"BTC-USDT@trade"}'
    assert json.loads(LINEAR.unsubscribe("8", ["BTC-USDT@trade"]))["reqType"] == "unsub"


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({"id": "7", "code": 0, "msg": "", "dataType": "", "data": None}, Answer(True, "7")),
        ({"code": 0, "id": "7", "msg": "SUCCESS", "timestamp": 1788336366000}, Answer(True, "7")),
        ({"id": "7", "code": 80403, "msg": "over max 200"}, Answer(False, "7", "80403 over max 200")),
        ({"id": "", "code": 80015, "msg": "no"}, Problem("80015 no")),
        ({"code": 0, "msg": ""}, Unknown()),
        ({"code": 0, "dataType": "BTC-USDT@trade", "data": []}, Data("BTC-USDT@trade")),
        ({"ping": "a1", "time": "t"}, Ping('{"pong":"a1","time":"t"}')),
    ],
)
def test_answers_are_found_by_their_id(message, found):
    """One without id is an error of no request; spot's ping of 2023 is answered in its own form."""
    assert read(message) == found


def test_text_pings_are_answered_as_they_are_written():
    """Both spellings; no JSON otherwise."""
    assert (LINEAR.read(b"Ping"), SPOT.read(b"ping")) == (Ping("Pong"), Ping("pong"))
    assert LINEAR.read(b"Pong!") == Malformed()


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["id", "code", "msg", "dataType", "data", "ping", "time"]), x)))  # fmt: skip
def test_nothing_that_is_json_raises(message):
    """Whatever stands where."""
    LINEAR.read(json.dumps(message).encode())


def test_a_frame_is_inflated_at_once():
    """One gzip member; anything else raises what the session counts."""
    assert SPOT.inflate(gzip.compress(b"Ping")) == b"Ping"
    with pytest.raises(zlib.error):
        SPOT.inflate(b"Ping")


# -- frames -------------------------------------------------------------------------------------------------------

RECORDED = [  # what its note begins with, market, topic, kind, time
    ("swap trade", "linear", "BTC-USDT@trade", "trades", b"1788348255196"),
    ("swap trades, many", "linear", "ETH-USDT@trade", "trades", b"1714650253104"),
    ("spot trade", "spot", "BTC-USDT@trade", "trades", b"1788336366302"),
    ("swap incrDepth snap", "linear", "BTC-USDT@incrDepth", "orderbook", b"1790127586998"),
    ("swap incrDepth upd", "linear", "BTC-USDT@incrDepth", "orderbook", b"1790127587285"),
    ("swap kline", "linear", "BTC-USDT@kline_1m", "topics", None),
    ("spot kline", "spot", "ETH-USDT@kline_8hour", "topics", b"1764244387664"),
    ("swap ticker", "linear", "ETH-USDT@ticker", "ticker", b"1714650656745"),
    ("spot ticker", "spot", "BTC-USDT@ticker", "ticker", b"1727163468053"),
]


@pytest.mark.parametrize(("what", "market", "topic", "kind", "sent"), RECORDED)
def test_recorded_data_are_known_by_their_bytes(shared_data, what, market, topic, kind, sent):
    """Topic, kind and time without a parse; the parse says the same."""
    payload, protocol = frames(shared_data, what)[0], BOTH[market]
    declared = protocol.frames(kind, [topic])

    assert declared.is_data(payload)
    assert declared.key_in(payload) == protocol.key_of(kind, topic) == topic.encode()
    assert protocol.read(payload) == Data(topic)
    found = declared.sent.search(payload)
    assert (found and found[1]) == sent


def test_a_trade_of_one_market_is_none_of_the_other(shared_data):
    """Spot's of 2023 begins as those of swaps, but its data are no list."""
    swap, spot, old = (frames(shared_data, what)[-1] for what in ("swap trade", "spot trade", "spot trade"))

    assert not SPOT.frames("trades", ()).is_data(swap)
    assert not LINEAR.frames("trades", ()).is_data(spot)
    assert not LINEAR.frames("trades", ()).is_data(old)
    assert SPOT.frames("trades", ()).is_data(old)


def test_the_recorded_refusal_is_of_its_request(shared_data):
    """It has the shape of an acknowledgement, and another code; no kind takes it for data."""
    (refusal,) = frames(shared_data, "subscribe error")

    assert LINEAR.read(refusal) == Answer(False, "1", "80015 dataType not support")
    for protocol in BOTH.values():
        for kind in ("trades", "orderbook", "ticker", "topics"):
            assert not protocol.frames(kind, ()).is_data(refusal)


def test_a_book_as_changes_begins_with_a_whole_one(shared_data):
    """Its ids skip without a loss: nothing is proven by them. Other books are whole each time."""
    whole, change = frames(shared_data, "swap incrDepth")
    declared = LINEAR.frames("orderbook", ["BTC-USDT@incrDepth"])

    assert declared.snapshot is not None
    assert declared.snapshot.search(whole)
    assert not declared.snapshot.search(change)
    assert declared.sequence is None
    assert LINEAR.frames("orderbook", ["BTC-USDT@depth20@200ms"]).snapshot is None


@pytest.mark.parametrize(("what", "price"), [("swap ticker", b"2986.23"), ("spot ticker", b"2642.27")])
def test_the_price_of_a_ticker_is_found(shared_data, what, price):
    """A text of swaps, a number of spot."""
    pattern = LINEAR.frames("ticker", ()).price
    assert pattern is not None
    found = pattern.search(frames(shared_data, what)[0])
    assert found is not None
    assert found[1] == price
