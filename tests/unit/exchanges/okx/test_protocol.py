"""OKX's streams: addresses, topics, requests, and what every recorded message is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.contract import Endpoints
from exchanges.okx.protocol import LIMITS, TRADE_KEYS, OkxProtocol
from model.protocol import NEVER, Answer, Data, Malformed, Notice, Pong, Problem, Unknown
from tests.unit.exchanges.okx.recorded import frames, of_channel

LINEAR, SPOT = OkxProtocol("linear"), OkxProtocol("spot")
SWAP = "BTC-USDT-SWAP"
NO_SUCH = "Wrong URL or channel:{} doesn't exist. Please use the correct URL, channel and parameters."


def read(message):
    return LINEAR.read(json.dumps(message).encode())


# -- topics -------------------------------------------------------------------------------------------------------


def test_topics_are_channel_and_instrument():
    """Without repeats, names as people write them; a book's depth says which channel."""
    assert LINEAR.topics("trades", ["btc-usdt-swap", SWAP, "ETH-USDT-SWAP"], 400) == [
        "trades:BTC-USDT-SWAP",
        "trades:ETH-USDT-SWAP",
    ]
    assert LINEAR.topics("ticker", SWAP, 400) == ["tickers:BTC-USDT-SWAP"]
    assert [LINEAR.topics("orderbook", SWAP, depth)[0] for depth in (400, 50, 5, 1)] == [
        "books:BTC-USDT-SWAP",
        "books:BTC-USDT-SWAP",
        "books5:BTC-USDT-SWAP",
        "bbo-tbt:BTC-USDT-SWAP",
    ]


def test_liquidations_are_one_topic_of_all_swaps():
    """A payload is wanted where it has one of the symbols, which are of one market."""
    assert LINEAR.topics("liquidations", [SWAP, "ETH-USDT-SWAP"], 400) == ["liquidation-orders:SWAP"]
    payload = b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"instId":"BTC-USDT-SWAP"}]}'
    assert LINEAR.is_wanted(payload, frozenset([SWAP]))
    assert not LINEAR.is_wanted(payload, frozenset(["BTC-USDT", "SWAP"]))


@pytest.mark.parametrize(
    ("protocol", "kind", "symbols", "depth", "text"),
    [
        (SPOT, "liquidations", "BTC-USDT", 400, "no liquidations for spot"),
        (LINEAR, "orderbook", SWAP, 25, "OKX has 400"),
        (LINEAR, "orderbook", SWAP, True, "OKX has 400"),
        (LINEAR, "trades", [], 400, "no symbol given"),
        (LINEAR, "trades", "BTC+USDT", 400, "symbol is"),
        (LINEAR, "topics", "candle1m.BTC-USDT", 400, "topic is"),
        (LINEAR, "topics", [7], 400, "topic is 7"),
    ],
)
def test_what_okx_has_not_is_refused(protocol, kind, symbols, depth, text):
    """With what there is instead."""
    with pytest.raises(ValueError, match=text):
        protocol.topics(kind, symbols, depth)


def test_topics_of_users_go_to_the_path_that_has_them():
    """Candles and single matches are on /business; one connection cannot have both."""
    public, business = "wss://ws.okx.com:8443/ws/v5/public", "wss://ws.okx.com:8443/ws/v5/business"

    assert LINEAR.endpoint("trades", ["trades:BTC-USDT-SWAP"]) == public
    assert LINEAR.endpoint("topics", ["funding-rate:BTC-USDT-SWAP", "mark-price:BTC-USDT"]) == public
    for topic in ("candle1m:BTC-USDT", "trades-all:BTC-USDT", "mark-price-candle1H:BTC-USDT", "index-candle1D:BTC-USD"):
        assert LINEAR.endpoint("topics", [topic]) == business
    with pytest.raises(ValueError, match="two connections"):
        LINEAR.endpoint("topics", ["candle1m:BTC-USDT", "trades:BTC-USDT"])


def test_another_host_keeps_the_paths():
    """The demo has hosts of its own; a whole endpoint stands for all."""
    assert OkxProtocol("spot", Endpoints(ws_url="ws://127.0.0.1:9")).endpoint("topics", ["candle1m:BTC-USDT"]) == (
        "ws://127.0.0.1:9/ws/v5/business"
    )
    assert (
        OkxProtocol("spot", Endpoints(testnet=True)).endpoint("trades", []) == "wss://wspap.okx.com:8443/ws/v5/public"
    )
    assert OkxProtocol("spot", Endpoints(stream="ws://x/y")).endpoint("trades", []) == "ws://x/y"


def test_topics_are_read_back():
    """Kind, depth and symbol; what belongs to no kind is none."""
    assert LINEAR.read_topic("trades:BTC-USDT-SWAP") == ("trades", None, SWAP)
    assert LINEAR.read_topic("books:BTC-USDT-SWAP") == ("orderbook", 400, SWAP)
    assert LINEAR.read_topic("bbo-tbt:BTC-USDT-SWAP") == ("orderbook", 1, SWAP)
    assert LINEAR.read_topic("liquidation-orders:SWAP") == ("liquidations", None, "SWAP")
    for topic in ("candle1m:BTC-USDT", "trades-all:BTC-USDT", "trades:", "trades", "trades:A+B", ""):
        assert LINEAR.read_topic(topic) is None
    assert SPOT.read_topic("liquidation-orders:SWAP") is None


# -- requests -----------------------------------------------------------------------------------------------------


def test_requests_are_as_the_exchange_wants_them():
    """Each topic an arg, of an instrument or of a type of them; names stay UTF-8."""
    topics = ["trades:BTC-USDT", "liquidation-orders:SWAP", "candle1m:币-USDT"]

    assert json.loads(LINEAR.subscribe("s1", topics)) == {
        "id": "s1",
        "op": "subscribe",
        "args": [
            {"channel": "trades", "instId": "BTC-USDT"},
            {"channel": "liquidation-orders", "instType": "SWAP"},
            {"channel": "candle1m", "instId": "币-USDT"},
        ],
    }
    assert "币" in LINEAR.unsubscribe("u2", topics)
    assert json.loads(LINEAR.unsubscribe("u2", topics))["op"] == "unsubscribe"


def test_a_request_is_no_longer_than_its_topics_are_counted():
    """So that what fits the limits is below the 64 KB of the exchange."""
    topics = [f"trades:COIN{number}-USDT-SWAP" for number in range(1000)] + ["liquidation-orders:SWAP", "opt-summary:X"]
    args = LINEAR.subscribe("", topics).partition("[")[2]

    assert len(args) <= sum(map(LIMITS.cost, topics))
    assert LIMITS.bytes <= 64 * 1024


# -- messages -----------------------------------------------------------------------------------------------------


def test_every_recorded_message_is_what_it_is(shared_data):
    """Of 2021 to 2026: data by their arg, acknowledgements, the errors and the notice."""
    found = frames(shared_data)
    kinds = [type(LINEAR.read(frame)) for frame in found]
    data = [frame for frame, kind in zip(found, kinds, strict=True) if kind is Data]

    assert len(found) > 440
    assert kinds.count(Notice) == 1
    assert kinds.count(Answer) == sum(b'"event":"subscribe"' in frame or b'"60018"' in frame for frame in found) > 20
    assert {*kinds} == {Data, Answer, Notice}
    for frame in data:
        arg = json.loads(frame)["arg"]
        assert LINEAR.read(frame) == Data(f"{arg['channel']}:{arg.get('instId') or arg['instType']}")


def test_recorded_data_begin_and_are_named_as_declared(shared_data):
    """Each channel's prefix is that of all its messages and of no other; the key is what the topic is of."""
    data: dict[str, list[bytes]] = {}
    for frame in frames(shared_data):
        if isinstance(message := LINEAR.read(frame), Data):
            data.setdefault(message.topic, []).append(frame)
    for topic, own in data.items():
        declared = LINEAR.frames("topics", [topic])
        for frame in own:
            assert frame.startswith(declared.prefix)
            assert declared.key_in(frame) == LINEAR.key_of("topics", topic)
        others = [
            frame for other in data if other.partition(":")[0] != topic.partition(":")[0] for frame in data[other]
        ]
        assert not any(frame.startswith(declared.prefix) for frame in others)


def test_time_price_and_ids_are_found_without_parsing(shared_data):
    """What the watches and REDUNDANCY read of a payload."""
    for payload in of_channel(shared_data, "tickers"):
        declared, row = LINEAR.frames("ticker", ["tickers:X"]), json.loads(payload)["data"][0]
        sent, price = declared.sent.search(payload), declared.price and declared.price.search(payload)
        assert sent
        assert price
        assert (sent[1].decode(), price[1].decode()) == (row["ts"], row["last"])
    for payload in of_channel(shared_data, "trades"):
        assert TRADE_KEYS.ids.findall(payload) == [row["tradeId"].encode() for row in json.loads(payload)["data"]]
        assert payload.startswith(TRADE_KEYS.marker)
    for payload in of_channel(shared_data, "books", "books5", "bbo-tbt"):
        sent = LINEAR.frames("orderbook", ["books:X"]).sent.search(payload)
        assert sent
        assert sent[1].decode() == json.loads(payload)["data"][0]["ts"]


def test_topics_of_several_channels_have_no_prefix():
    """Each message of such an entry is read."""
    declared = LINEAR.frames("topics", ["trades:BTC-USDT", "tickers:BTC-USDT"])

    assert declared.prefix == NEVER
    assert declared.key_in(b'{"arg":{"channel":"trades","instId":"BTC-USDT"}}') not in (b"trades", b"BTC-USDT")


def test_a_kind_without_topics_looks_like_its_usual_channel():
    """Asked before the topics are known: by the clock, and by what is of all symbols."""
    assert LINEAR.frames("ticker", ()) == LINEAR.frames("ticker", ["tickers:X"])
    assert LINEAR.frames("orderbook", ()) == LINEAR.frames("orderbook", ["books:X"])
    assert LINEAR.frames("liquidations", ()).is_market_wide
    assert not LINEAR.frames("trades", ()).is_market_wide


def test_a_book_goes_on_where_its_message_names_the_one_before():
    """Beats have equal ids; after a maintenance the new id is lower and links all the same."""
    sequence = LINEAR.frames("orderbook", ["books:BTC-USDT"]).sequence
    assert sequence

    def ids(before, own):
        return b'"ts":"1","checksum":0,"prevSeqId":%d,"seqId":%d}]}' % (before, own)

    for before, own in ((10, 15), (15, 15), (15, 3)):
        found = sequence.own.search(ids(before, own))
        assert sequence.link % before in ids(before, own)
        assert found
        assert int(found[1]) == own
    assert sequence.link % 1 not in ids(10, 15)
    snapshot = LINEAR.frames("orderbook", ["books:BTC-USDT"]).snapshot
    assert snapshot
    assert snapshot.search(b'{"arg":{"channel":"books","instId":"X"},"action":"snapshot","data":[')
    for channel in ("books5", "bbo-tbt"):
        assert LINEAR.frames("orderbook", [f"{channel}:BTC-USDT"]).sequence is None


def test_an_acknowledgement_is_of_one_topic():
    """Whether the id came back or not."""
    arg = {"channel": "trades", "instId": SWAP}

    assert read({"id": "s1", "event": "subscribe", "arg": arg, "connId": "a"}) == Answer(
        True, "s1", accepted=("trades:BTC-USDT-SWAP",)
    )
    assert read({"event": "unsubscribe", "arg": {"channel": "liquidation-orders", "instType": "SWAP"}}) == Answer(
        True, accepted=("liquidation-orders:SWAP",), is_unsubscribe=True
    )


def test_a_refused_topic_is_named_in_the_text():
    """The others of the request go on: they are answered by themselves."""
    for of, topic in (
        ("candle1m,instId:BTC-USDT", "candle1m:BTC-USDT"),
        ("trades,instId:BTC-USD_UM_XPERP-310404", "trades:BTC-USD_UM_XPERP-310404"),
        ("liquidation-orders,instType:SPOT", "liquidation-orders:SPOT"),
    ):
        text = NO_SUCH.format(of)
        assert read({"event": "error", "msg": text, "code": "60018", "connId": "a"}) == Answer(
            False, "", f"60018 {text}", refused=(topic,)
        )


def test_a_malformed_request_is_refused_as_a_whole():
    """It names no topic."""
    message = {"id": "s1", "event": "error", "code": "60012", "msg": "Invalid request: {}", "connId": "a"}

    assert read(message) == Answer(False, "s1", "60012 Invalid request: {}")


def test_too_many_requests_refuse_no_topic():
    """The connection is closed then; a topic must not be quarantined for it."""
    message = {"id": "s1", "event": "error", "code": "60014", "msg": "Requests too frequent", "connId": "a"}

    assert read(message) == Problem("60014 Requests too frequent")


def test_the_notice_of_an_upgrade_is_one_whatever_its_event():
    """Sixty seconds later the connection is closed."""
    for event in ("notice", "error"):
        assert isinstance(read({"event": event, "msg": "closed soon", "code": "64008", "connId": "a"}), Notice)
    assert isinstance(read({"event": "notice", "msg": "something else", "code": "1"}), Problem)


def test_keep_alive_is_a_text():
    """Neither ping nor pong is JSON."""
    assert LINEAR.keep_alive.text is not None
    assert LINEAR.keep_alive.text("p1") == "ping"
    assert LINEAR.keep_alive.most_s < 30
    assert LINEAR.read(b"pong") == Pong()


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b"", Malformed),
        (b"{", Malformed),
        (b"[" * 1_000_000, Malformed),
        (b"\xff", Malformed),
        (b"[]", Unknown),
        (b"{}", Unknown),
        (b'{"arg":7,"data":[]}', Unknown),
        (b'{"arg":{"channel":"trades"}}', Unknown),
        (b'{"event":"channel-conn-count","channel":"x","connCount":"2"}', Unknown),
        (b'{"event":[]}', Unknown),
        (b'{"event":"subscribe"}', Unknown),
        (b'{"event":"error","msg":null}', Answer),
    ],
)
def test_anything_else_is_named_for_what_it_is(payload, found):
    """Never an exception."""
    assert isinstance(LINEAR.read(payload), found)


@given(st.binary(max_size=60))
def test_reading_never_raises(payload):
    """Whatever bytes come."""
    LINEAR.read(payload)
