"""Bitget's protocol: topics, requests, what each recorded message is, and how data looks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.bitget.protocol import LIMITS, TRADE_KEYS, BitgetProtocol
from model.batches import batches
from model.protocol import NEVER, Answer, Backlog, Data, Malformed, Pong, Problem, Unknown
from tests.unit.exchanges.bitget.recorded import frames, of_channel, v2

SPOT, LINEAR = BitgetProtocol("spot"), BitgetProtocol("linear")
ARG = {"instType": "USDT-FUTURES", "channel": "books", "instId": "NOPEUSDT"}


def read(message, protocol=LINEAR):
    return protocol.read(json.dumps(message).encode())


# -- topics -------------------------------------------------------------------------------------------------------


def test_topics_name_the_product_the_channel_and_the_symbol():
    """Each once; spot and contracts are on one socket."""
    assert SPOT.topics("trades", ["btcusdt", "BTCUSDT", "ETHUSDT"], 500) == ["SPOT:trade:BTCUSDT", "SPOT:trade:ETHUSDT"]
    assert LINEAR.topics("ticker", "BTCUSDT", 500) == ["USDT-FUTURES:ticker:BTCUSDT"]
    assert [SPOT.topics("orderbook", "BTCUSDT", depth)[0] for depth in (500, 15, 5, 1)] == [
        "SPOT:books:BTCUSDT",
        "SPOT:books15:BTCUSDT",
        "SPOT:books5:BTCUSDT",
        "SPOT:books1:BTCUSDT",
    ]


def test_liquidations_are_one_topic_of_the_newer_socket():
    """v2 has none; a payload is wanted where it has one of the symbols."""
    topics = LINEAR.topics("liquidations", ["BTCUSDT", "ETHUSDT"], 500)

    assert topics == ["usdt-futures:liquidation"]
    assert LINEAR.endpoint("liquidations", topics) == "wss://ws.bitget.com/v3/ws/public"
    assert LINEAR.endpoint("trades", ["USDT-FUTURES:trade:BTCUSDT"]) == "wss://ws.bitget.com/v2/ws/public"
    assert json.loads(LINEAR.subscribe("1", topics)) == {
        "op": "subscribe",
        "args": [{"instType": "usdt-futures", "topic": "liquidation"}],
    }


def test_topics_of_users_are_of_the_market_unless_they_name_another_product():
    """Any channel of v2, as Bitget writes it, and liquidations; one connection cannot have both."""
    topics = LINEAR.topics("topics", ["candle1H:btcusdt", "coin-futures:ticker:BTCUSD", "liquidation"], 500)

    assert topics == ["USDT-FUTURES:candle1H:BTCUSDT", "COIN-FUTURES:ticker:BTCUSD", "usdt-futures:liquidation"]
    assert SPOT.topics("topics", "coin-futures:liquidation", 500) == ["coin-futures:liquidation"]
    assert LINEAR.endpoint("topics", topics[:2]) == "wss://ws.bitget.com/v2/ws/public"
    assert LINEAR.endpoint("topics", topics[2:]) == "wss://ws.bitget.com/v3/ws/public"
    with pytest.raises(ValueError, match="two connections"):
        LINEAR.endpoint("topics", topics)


@pytest.mark.parametrize(
    ("protocol", "kind", "symbols", "depth", "text"),
    [
        (SPOT, "liquidations", "BTCUSDT", 500, "no liquidations for spot"),
        (LINEAR, "orderbook", "BTCUSDT", 50, "Bitget has 500"),
        (LINEAR, "orderbook", "BTCUSDT", True, "Bitget has 500"),
        (LINEAR, "trades", [], 500, "no symbol given"),
        (LINEAR, "topics", "candle1m", 500, "topic is"),
        (LINEAR, "topics", "FUTURES:candle1m:BTCUSDT", 500, "topic is"),
        (LINEAR, "topics", [7], 500, "topic is 7"),
        (LINEAR, "topics", "spot:trade:BTCUSDT", 500, "of spot: make a STREAMS entry"),
    ],
)
def test_what_bitget_has_not_is_refused(protocol, kind, symbols, depth, text):
    """With what there is instead."""
    with pytest.raises(ValueError, match=text):
        protocol.topics(kind, symbols, depth)


def test_topics_are_read_back():
    """Kind, depth and symbol, of both markets; what belongs to no kind, or to another product, is none."""
    assert LINEAR.read_topic("USDT-FUTURES:trade:BTCUSDT") == ("trades", None, "BTCUSDT")
    assert LINEAR.read_topic("USDT-FUTURES:books:BTCUSDT") == ("orderbook", 500, "BTCUSDT")
    assert LINEAR.read_topic("USDT-FUTURES:books1:BTCUSDT") == ("orderbook", 1, "BTCUSDT")
    assert LINEAR.read_topic("usdt-futures:liquidation") == ("liquidations", None, "usdt-futures")
    assert LINEAR.read_topic("SPOT:trade:BTCUSDT") == ("trades", None, "BTCUSDT")
    for topic in ("COIN-FUTURES:trade:BTCUSD", "SPOT:candle1m:BTCUSDT", "USDT-FUTURES:trade:", "trade:BTCUSDT", ""):
        assert LINEAR.read_topic(topic) is None
    assert SPOT.read_topic("spot:liquidation") is None


# -- requests -----------------------------------------------------------------------------------------------------


def test_requests_have_an_arg_for_each_topic_and_no_id():
    """As the recorded ones of 2022."""
    assert LINEAR.unsubscribe("7", ["USDT-FUTURES:trade:BTCUSDT", "SPOT:candle1m:ETHUSDT"]) == (
        '{"op":"unsubscribe","args":[{"instType":"USDT-FUTURES","channel":"trade","instId":"BTCUSDT"},'
        '{"instType":"SPOT","channel":"candle1m","instId":"ETHUSDT"}]}'
    )


def test_no_request_is_longer_than_bitget_takes():
    """4,096 bytes; sixty args of 3,957 were accepted."""
    topics = LINEAR.topics("orderbook", [f"COIN{number}USDT" for number in range(1000)], 15)
    parts = list(batches(topics[: LIMITS.topics], LIMITS))

    assert all(len(LINEAR.subscribe("1", part)) < 4096 for part in parts)
    assert len(parts) == 2


# -- messages -----------------------------------------------------------------------------------------------------


def test_every_recorded_message_is_what_it_is(shared_data):
    """Data by their arg, the past trades of a subscription, acknowledgements, refusals, and too many requests."""
    for frame in v2(shared_data):
        message, found = json.loads(frame), SPOT.read(frame)
        topic = ":".join(message["arg"].values()) if "arg" in message else ""
        if message.get("event") == "subscribe":
            assert found == Answer(True, accepted=(topic,))
        elif message.get("event") == "error":
            text = f"{message['code']} {message['msg']}"
            assert found == (Answer(False, message=text, refused=(topic,)) if topic else Problem(text))
        elif message["arg"]["channel"] == "trade" and message["action"] == "snapshot":
            assert found == Backlog(topic)
        else:
            assert found == Data(topic)


def test_only_trades_have_a_backlog():
    """The snapshot of a book is its beginning, that of a ticker the ticker."""
    for channel, kind in (("trade", Backlog), ("books", Data), ("books5", Data), ("ticker", Data), ("candle1m", Data)):
        arg = {"instType": "USDT-FUTURES", "channel": channel, "instId": "BTCUSDT"}
        assert read({"action": "snapshot", "arg": arg, "data": []}) == kind(f"USDT-FUTURES:{channel}:BTCUSDT")


def test_recorded_data_begin_and_are_named_as_declared(shared_data):
    """Each channel's frames are told without being read, and no others are."""
    recorded = v2(shared_data)
    data = {frame: message.topic for frame in recorded if isinstance(message := SPOT.read(frame), Data)}

    assert len(data) > 20
    for frame, topic in data.items():
        declared = SPOT.frames("topics", [topic])
        assert declared.is_data(frame)
        assert declared.key_in(frame) == SPOT.key_of("topics", topic)
        others = [other for other in recorded if data.get(other, "").rpartition(":")[0] != topic.rpartition(":")[0]]
        assert not any(declared.is_data(other) for other in others)


def test_time_price_and_ids_are_found_without_parsing(shared_data):
    """What the watches and REDUNDANCY read of a payload: the time is that of sending."""
    for payload in of_channel(shared_data, "ticker"):
        declared, message = SPOT.frames("ticker", ["SPOT:ticker:X"]), json.loads(payload)
        sent, price = declared.sent.search(payload), declared.price and declared.price.search(payload)
        assert sent
        assert price
        assert (int(sent[1]), price[1].decode()) == (message["ts"], message["data"][0]["lastPr"])
    for payload in of_channel(shared_data, "trade"):
        assert TRADE_KEYS.ids.findall(payload) == [row["tradeId"].encode() for row in json.loads(payload)["data"]]
        assert TRADE_KEYS.marker + json.loads(payload)["arg"]["instId"].encode() + b'"' in payload


def test_recorded_liquidations_are_told_by_their_topic(shared_data):
    """v3 writes the product small; no other message of v3 is one."""
    declared, found = LINEAR.frames("liquidations", ()), []
    for frame in frames(shared_data, "v3_*.jsonl"):
        if declared.is_data(frame):
            found.append(frame)
            assert LINEAR.read(frame) == Data("usdt-futures:liquidation")
            assert declared.key_in(frame) == LINEAR.key_of("liquidations", "usdt-futures:liquidation")
            assert LINEAR.is_wanted(frame, frozenset({"APEUSDT"}))
            assert not LINEAR.is_wanted(frame, frozenset({"BTCUSDT"}))

    assert len(found) == 1
    assert declared.is_market_wide


def test_topics_of_several_channels_have_no_prefix():
    """Each message of such an entry is read."""
    assert LINEAR.frames("topics", ["SPOT:trade:BTCUSDT", "SPOT:ticker:BTCUSDT"]).prefix == NEVER
    assert LINEAR.frames("topics", ["SPOT:trade:BTCUSDT", "USDT-FUTURES:trade:BTCUSDT"]).prefix == NEVER


def test_a_kind_without_topics_looks_like_its_usual_channel():
    """Asked before the topics are known."""
    assert LINEAR.frames("ticker", ()) == LINEAR.frames("ticker", ["USDT-FUTURES:ticker:X"])
    assert LINEAR.frames("trades", ()) == LINEAR.frames("trades", ["USDT-FUTURES:trade:X"])
    assert LINEAR.frames("orderbook", ()) == LINEAR.frames("orderbook", ["USDT-FUTURES:books:X"])


def test_a_book_goes_on_where_its_message_names_the_one_before():
    """`pseq` of a change is `seq` of the message before."""
    declared = SPOT.frames("orderbook", ["SPOT:books:BTCUSDT"])
    sequence = declared.sequence
    message = (
        b'{"action":"update","arg":{},"data":[{"asks":[],"bids":[],"ts":"1","seq":850169288983,"pseq":850169286126}]}'
    )
    assert sequence
    own = sequence.own.search(message)

    assert sequence.link % 850169286126 in message
    assert sequence.link % 850169288983 not in message
    assert own
    assert int(own[1]) == 850169288983
    assert declared.snapshot
    assert not declared.snapshot.search(message)
    for depth in (15, 5, 1):
        assert SPOT.frames("orderbook", [f"SPOT:books{depth}:BTCUSDT"]).sequence is None


def test_too_many_requests_refuse_no_topic():
    """With or without an arg: a topic must not be quarantined for it."""
    for arg in ({}, {"arg": ARG}):
        message = {"event": "error", **arg, "code": 30006, "msg": "request too many"}
        assert read(message) == Problem("30006 request too many")


def test_what_is_left_is_answered_by_topic():
    """With the same arg."""
    assert read({"event": "unsubscribe", "arg": ARG}) == Answer(
        True, accepted=("USDT-FUTURES:books:NOPEUSDT",), is_unsubscribe=True
    )


def test_keep_alive_is_a_text_and_a_connection_is_replaced_within_a_day():
    """Neither ping nor pong is JSON."""
    assert LINEAR.keep_alive.text
    assert LINEAR.keep_alive.text("p1") == "ping"
    assert LINEAR.keep_alive.most_s < 30
    assert LINEAR.read(b"pong") == Pong()
    assert LINEAR.lifetime_s == 24 * 3600


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b"", Malformed),
        (b"{", Malformed),
        (b"[" * 1_000_000, Malformed),
        (b"[]", Unknown),
        (b"{}", Unknown),
        (b'{"arg":7,"data":[]}', Unknown),
        (b'{"arg":{"instType":"SPOT","channel":[],"instId":"X"},"data":[]}', Unknown),
        (b'{"arg":{"instType":"SPOT","channel":"trade","instId":"X"}}', Unknown),
        (b'{"event":[]}', Unknown),
        (b'{"event":"subscribe"}', Unknown),
        (b'{"event":"error","msg":null}', Problem),
    ],
)
def test_anything_else_is_named_for_what_it_is(payload, found):
    """Never an exception."""
    assert isinstance(LINEAR.read(payload), found)


@given(st.binary(max_size=60))
def test_reading_never_raises(payload):
    """Whatever bytes come."""
    LINEAR.read(payload)
