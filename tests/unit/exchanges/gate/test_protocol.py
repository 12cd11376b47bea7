"""Gate's streams: addresses, topics, requests, and what every recorded message is."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.conformance.recordings import read_folder
from exchanges.contract import Endpoints
from exchanges.gate.protocol import GateProtocol
from exchanges.gate.trades import TRADE_KEYS
from exchanges.gate.venue import VENUE
from model.batches import batches
from model.protocol import NEVER, Answer, Data, Malformed, Notice, Pong, Problem, Unknown

LINEAR, SPOT = GateProtocol("linear"), GateProtocol("spot")
ACK = {"time": 1790359189, "time_ms": 1790359189780, "conn_id": "a", "channel": "spot.trades", "event": "subscribe"}


def read(message, protocol=SPOT):
    return protocol.read(json.dumps(message).encode())


# -- topics -------------------------------------------------------------------------------------------------------


def test_topics_are_channel_and_what_they_are_of():
    """Without repeats, names as people write them; of a book also how deep it is."""
    assert SPOT.topics("trades", ["btc_usdt", "BTC_USDT", "ETH_USDT"], 50) == [
        "spot.trades:BTC_USDT",
        "spot.trades:ETH_USDT",
    ]
    assert LINEAR.topics("ticker", "BTC_USDT", 50) == ["futures.tickers:BTC_USDT"]
    assert LINEAR.topics("orderbook", "BTC_USDT", 400) == ["futures.obu:ob.BTC_USDT.400"]
    assert LINEAR.topics("liquidations", "BTC_USDT", 50) == ["futures.public_liquidates:BTC_USDT"]


@pytest.mark.parametrize(
    ("protocol", "kind", "symbols", "depth", "text"),
    [
        (SPOT, "liquidations", "BTC_USDT", 50, "Gate has no liquidations for spot"),
        (LINEAR, "orderbook", "BTC_USDT", 25, "Gate has 50 and 400"),
        (LINEAR, "trades", [], 50, "no symbol given"),
        (LINEAR, "topics", "spot.trades:BTC_USDT", 50, "topic is"),
        (LINEAR, "topics", "futures.trades", 50, "topic is"),
        (LINEAR, "topics", [7], 50, "topic is 7"),
    ],
)
def test_what_gate_has_not_is_refused(protocol, kind, symbols, depth, text):
    """With what there is instead."""
    with pytest.raises(ValueError, match=text):
        protocol.topics(kind, symbols, depth)


def test_addresses_are_of_the_market():
    """Each has its own host, and one on the testnet; both can be replaced."""
    assert SPOT.endpoint("trades", ()) == "wss://api.gateio.ws/ws/v4/"
    assert LINEAR.endpoint("trades", ()) == "wss://fx-ws.gateio.ws/v4/ws/usdt"
    assert "testnet" in GateProtocol("spot", Endpoints(testnet=True)).endpoint("trades", ())
    there = Endpoints(ws_url="ws://127.0.0.1:1")
    assert GateProtocol("linear", there).endpoint("trades", ()) == "ws://127.0.0.1:1/v4/ws/usdt"
    assert GateProtocol("linear", Endpoints(stream="ws://x/y")).endpoint("trades", ()) == "ws://x/y"


def test_topics_are_read_back():
    """Kind, depth and symbol, of either market; what belongs to no kind is none."""
    assert SPOT.read_topic("futures.trades:BTC_USDT") == ("trades", None, "BTC_USDT")
    assert SPOT.read_topic("spot.trades:BTC_USDT") == ("trades", None, "BTC_USDT")
    assert LINEAR.read_topic("futures.obu:ob.BTC_USDT.50") == ("orderbook", 50, "BTC_USDT")
    for topic in (
        *("swap.trades:BTC_USDT", "spot.obu:BTC_USDT", "spot.trades:ob.BTC_USDT.50", "spot.trades:", "spot.trades"),
        *("spot.candlesticks:1m,BTC_USDT", "spot.public_liquidates:BTC_USDT", ""),
    ):
        assert SPOT.read_topic(topic) is None
    assert SPOT.symbol_of("spot.candlesticks:1m,BTC_USDT") == "BTC_USDT"
    assert LINEAR.symbol_of("futures.order_book:BTC_USDT,20,0") == "BTC_USDT"


# -- requests -----------------------------------------------------------------------------------------------------


def test_a_request_is_of_one_channel_and_says_when_it_is_made(monkeypatch):
    """Within 60 s of the exchange's time, or it is refused."""
    monkeypatch.setattr("time.time", lambda: 1790000000.9)
    topics = SPOT.topics("orderbook", ["BTC_USDT", "ETH_USDT"], 50)

    assert json.loads(SPOT.subscribe("7", topics)) == {
        "time": 1790000000,
        "id": 7,
        "channel": "spot.obu",
        "event": "subscribe",
        "payload": ["ob.BTC_USDT.50", "ob.ETH_USDT.50"],
    }
    assert json.loads(SPOT.unsubscribe("8", topics))["event"] == "unsubscribe"
    assert SPOT.keep_alive.text is not None
    assert json.loads(SPOT.keep_alive.text("")) == {"time": 1790000000, "channel": "spot.ping"}
    assert SPOT.keep_alive.most_s < 30


def test_topics_of_several_words_and_of_other_channels_have_requests_of_their_own():
    """Candles take one symbol a request; a request has one channel."""
    topics = LINEAR.topics(
        "topics",
        [f"futures.{name}" for name in ("trades:A_USDT", "candlesticks:1m,A_USDT", "candlesticks:1m,B_USDT")]
        + ["futures.trades:B_USDT", "futures.public_liquidates:!all", "futures.order_book:A_USDT,20,0"],
        50,
    )
    requests = [json.loads(LINEAR.subscribe("1", batch)) for batch in batches(topics, LINEAR.limits)]

    assert sorted((each["channel"], each["payload"]) for each in requests) == [
        ("futures.candlesticks", ["1m", "A_USDT"]),
        ("futures.candlesticks", ["1m", "B_USDT"]),
        ("futures.order_book", ["A_USDT", "20", "0"]),
        ("futures.public_liquidates", ["!all"]),
        ("futures.trades", ["A_USDT", "B_USDT"]),
    ]


# -- messages -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(shared_data):
    """Everything that was received."""
    return read_folder(VENUE, shared_data / "gate")


def test_every_recorded_message_is_what_it_is(recorded):
    """Of v4; of v3 (2020), and trades without milliseconds, nothing is known."""
    kinds = Counter(type(message).__name__ for _, message in recorded.messages)
    unknown = [payload for payload, message in recorded.messages if isinstance(message, Unknown)]
    unacknowledged = [json.loads(p) for p, m in recorded.messages if isinstance(m, Answer) and not m.success]

    assert kinds.keys() == {"Data", "Answer", "Unknown"}
    assert kinds["Data"] > 400
    assert all(b'"method"' in p or b'"event":"snapshot"' in p or p[:11] <= b'{"time":162' for p in unknown)
    assert [each["error"]["code"] for each in unacknowledged] == [1]
    for payload, message in recorded.messages:
        if isinstance(message, Data):
            channel, _, of = message.topic.partition(":")
            assert json.loads(payload)["channel"] == channel
            assert all(word.encode() in payload for word in of.split(","))


def test_recorded_data_are_told_without_reading_them(recorded):
    """The channel, which answers have too, with the event; books by what they are of, in whatever order of fields."""
    for payload, message in recorded.messages:
        protocol = SPOT if b'"spot.' in payload else LINEAR
        of = protocol.read_topic(message.topic) if isinstance(message, Data) else None
        for kind in ("trades", "ticker", "orderbook", "liquidations"):
            if kind not in VENUE.markets[protocol.market].kinds:
                continue
            declared = protocol.frames(kind, ())
            assert declared.is_data(payload) == bool(of and of[0] == kind and payload >= declared.floor)
            if of and of[0] == kind:
                assert declared.key_in(payload) == protocol.key_of(kind, message.topic)


def test_time_price_and_ids_are_found_without_parsing(recorded):
    """What the watches and REDUNDANCY read of a payload."""
    for kind in ("trades", "ticker", "orderbook", "liquidations"):
        for _, frame in recorded.of_kind(kind):
            declared, row = frame.protocols[0].frames(kind, ()), json.loads(frame.payload)
            result = row["result"]
            while isinstance(result, list):
                result = result[0]
            ms = row.get("time_ms") if kind != "orderbook" or frame.payload.startswith(b'{"time"') else result["t"]
            sent = declared.sent.search(frame.payload)
            if ms:
                assert sent
                assert int(sent[1]) == ms
            if kind == "ticker":
                price = declared.price and declared.price.search(frame.payload)
                assert price
                assert price[1].decode() == result["last"]
            if kind == "trades":
                trades = row["result"] if isinstance(row["result"], list) else [row["result"]]
                assert TRADE_KEYS.symbols is not None
                assert TRADE_KEYS.ids.findall(frame.payload) == [b"%d" % each["id"] for each in trades]
                assert len(TRADE_KEYS.symbols.findall(frame.payload)) == len(trades)


def test_a_book_goes_on_where_a_message_begins_behind_the_last_one():
    """Its U is the last u and one; the order of both differs between the markets."""
    sequence = LINEAR.frames("orderbook", ()).sequence
    snapshot = LINEAR.frames("orderbook", ()).snapshot
    assert sequence
    assert snapshot
    for ids in (b'"U":8,"u":11,', b'"u":11,"U":8,'):
        payload = b'{"result":{"t":1,"s":"ob.BTC_USDT.50",' + ids + b'"b":[],"a":[]}}'
        found = sequence.own.search(payload)
        assert sequence.link % (7 + sequence.step) in payload
        assert sequence.link % 7 not in payload
        assert found
        assert int(found[1]) == 11
        assert not snapshot.search(payload)
    assert snapshot.search(b'{"result":{"t":1789456334981,"full":true,"s":"ob.ETH_USDT.50","u":108552472643')


def test_an_answer_repeats_the_payload_or_not():
    """And the id where one was given; older ones have neither."""
    assert read({**ACK, "result": {"status": "success"}}) == Answer(True)
    assert read({**ACK, "id": 7, "payload": ["A_USDT", "B_USDT"], "error": None}) == Answer(
        True, "7", of=("spot.trades:A_USDT", "spot.trades:B_USDT")
    )
    candles = {**ACK, "channel": "spot.candlesticks", "event": "unsubscribe", "payload": ["1m", "A_USDT"]}
    assert read(candles) == Answer(True, is_unsubscribe=True, of=("spot.candlesticks:1m,A_USDT",))


def test_a_refusal_names_what_it_is_about():
    """A pair that does not exist; a book that is subscribed already, which is none."""
    unknown = read(
        {**ACK, "payload": ["A_USDT", "NOPE_USDT"], "error": {"code": 2, "message": "unknown currency pair NOPE_USDT"}}
    )
    again = read(
        {
            **ACK,
            "channel": "spot.obu",
            "payload": ["ob.A_USDT.50"],
            "error": {"code": 2, "message": "Alert sub ob.A_USDT.50"},
        }
    )

    assert isinstance(unknown, Answer)
    assert not unknown.success
    assert "spot.trades:NOPE_USDT" in unknown.named
    assert "spot.trades:A_USDT" not in unknown.named
    assert isinstance(again, Answer)
    assert again.is_active
    assert "spot.obu:ob.A_USDT.50" in again.named


def test_pongs_notices_and_errors():
    """A pong has the exchange's time in futures; an upgrade closes the connection soon."""
    pong = {"time": 1545404023, "channel": "spot.pong", "event": "", "error": None, "result": None}
    assert read(pong) == Pong()
    timed = read({**pong, "time_ms": 1545404023123, "channel": "futures.pong"}, LINEAR)
    assert isinstance(timed, Pong)
    assert timed.time_ms == 1545404023123
    upgrade = {"time": 1, "channel": "futures.system", "event": "update", "result": {"type": "upgrade", "msg": "soon"}}
    assert isinstance(read(upgrade, LINEAR), Notice)
    assert read({"time": 1, "channel": "spot.trades", "event": "update", "error": {"code": 3, "message": "x"}}) == (
        Problem("spot.trades x")
    )


def test_changed_contracts_are_told_of_beside_trades():
    """All of them: a size that changes is read with the listing."""
    message = {"time": 1, "channel": "futures.contract_info", "event": "update", "result": {"contract": "A_USDT"}}

    assert LINEAR.listing_topics == ("futures.contract_info:!all",)
    assert json.loads(LINEAR.subscribe("0", LINEAR.listing_topics))["payload"] == ["!all"]
    assert read(message, LINEAR) == Data("futures.contract_info:A_USDT", is_listing=True)
    assert not SPOT.listing_topics


def test_topics_of_several_channels_have_no_prefix():
    """Each message of such an entry is read; of one channel they are told as of a kind."""
    assert SPOT.frames("topics", ["spot.trades:A_USDT", "spot.tickers:A_USDT"]).prefix == NEVER
    candle = b'{"time":1606292600,"time_ms":1606292600376,"channel":"spot.candlesticks","event":"update","result":{}}'
    assert SPOT.frames("topics", ["spot.candlesticks:1m,A_USDT"]).is_data(candle)


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b"", Malformed),
        (b"[]", Unknown),
        (b"{}", Unknown),
        (b'{"channel":7}', Unknown),
        (b'{"channel":"spot.trades","event":"update","result":[[]]}', Unknown),
        (b'{"channel":"spot.trades","event":[],"error":[]}', Unknown),
        (b'{"channel":"spot.trades","event":"subscribe","payload":7,"error":{"message":null}}', Answer),
    ],
)
def test_anything_else_is_named_for_what_it_is(payload, found):
    """Never an exception."""
    assert isinstance(SPOT.read(payload), found)


@given(st.binary(max_size=60))
def test_reading_never_raises(payload):
    """Whatever bytes come."""
    SPOT.read(payload)
