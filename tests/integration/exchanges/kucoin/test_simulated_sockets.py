"""The sockets of the simulated KuCoin: what the documentation and the recordings say of the real one."""

import itertools
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from exchanges.simulated.kucoin.dialect import DIALECT
from model.intervals import MINUTE_MS
from tests.integration.exchanges.kucoin.conftest import LIMIT_S, Client, bullet, dialled
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SPOT, FUTURES = "/market/match:BTC-USDT", "/contractMarket/execution:XBTUSDTM"


# tokens


def test_a_dial_needs_a_token(simulator):
    """The answer to the request names where to dial, and how often to ping; each has a new token."""
    given, other = bullet(simulator), bullet(simulator)
    server = given["instanceServers"][0]

    assert given["token"] != other["token"]
    assert server == {
        "endpoint": f"{simulator.ws_base}/",
        "encrypt": False,
        "protocol": "websocket",
        "pingInterval": 18000,
        "pingTimeout": 10000,
    }
    for query in ({}, {"token": "guessed"}):
        with pytest.raises(InvalidStatus) as refused, dialled(server["endpoint"], **query):
            pass
        assert refused.value.response.status_code == 401
    with dialled(server["endpoint"], token=given["token"], connectId="a b") as ws:
        assert ws.recv(timeout=LIMIT_S) == '{"id":"a b","type":"welcome"}'


def test_an_expired_token_is_told_of_on_the_socket(simulator):
    """Then the connection ends; a new one is welcome."""
    given = bullet(simulator)
    simulator.command("expire_tokens")
    with dialled(given["instanceServers"][0]["endpoint"], token=given["token"]) as ws:
        error = json.loads(ws.recv(timeout=LIMIT_S))
        assert (error["type"], error["code"], error["data"]) == ("error", 401, "token is expired")
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=LIMIT_S)
    with Client(simulator):
        pass


# pings


def test_pings_are_answered_by_their_id(simulator):
    """As a text, with microseconds."""
    with Client(simulator) as client:
        for sent, back in (("1545910590801", "1545910590801"), (12, "12")):
            client.send(id=sent, type="ping")
            pong = client.read()
            assert (pong["id"], pong["type"]) == (back, "pong")
            assert abs(pong["timestamp"] / 1_000_000 - time.time()) < LIMIT_S


def test_a_silent_client_gets_nothing_any_more_and_is_cut_later():
    """Neither data nor ping frames keep a connection; a ping brings the data back."""
    options = ("--exchange", "kucoin", "--rate", 200, "--symbols", 1, "--illiquid", 0, "--idle-timeout-s", 4)
    with SimulatorProcess(*options) as simulator, Client(simulator) as client:
        server = bullet(simulator)["instanceServers"][0]
        assert (server["pingInterval"], server["pingTimeout"]) == (1200, 667)
        client.subscribe(SPOT)
        client.data(1, SPOT)
        client.ws.ping()
        wait_until(lambda: simulator.stats()["counters"].get("given_up") == 1, LIMIT_S)
        client.send(id="1", type="ping")
        client.take(1, lambda message: message["type"] == "pong")
        client.data(3, SPOT)

        error = client.take(1, lambda message: message["type"] == "error")[0]
        assert (error["code"], error["data"]) == (400, "ping timeout")
        with pytest.raises(ConnectionClosed) as closed:
            client.read()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "Bye")


def test_limits_of_sockets():
    """The engine keeps to them (tests/integration/simulator/test_sockets.py)."""
    limits = DIALECT.limits
    assert (limits.idle_s, limits.pings_keep_alive, limits.data_keep_alive) == (60, False, False)
    assert (limits.connects, limits.connects_window_s, limits.open_most, limits.life_s) == (60, 60, 800, 86_400)


# topics


def test_a_list_has_one_answer_and_a_topic_for_each_symbol(simulator):
    """Ids come back as texts; without `response` there is no answer; unsubscribing is alike."""
    with Client(simulator) as client:
        assert client.subscribe("/market/match:BTC-USDT,ETH-USDT", id=3) == {"id": "3", "type": "ack"}
        topics = {message["topic"] for message in client.data(60, "/market/match:")}
        assert topics == {"/market/match:BTC-USDT", "/market/match:ETH-USDT"}

        client.send(id="4", type="unsubscribe", topic="/market/match:BTC-USDT,ETH-USDT")
        client.send(id="5", type="subscribe", topic=FUTURES)
        client.data(1, FUTURES)
        assert {message["type"] for message in client.held} <= {"message"}
        client.held.clear()
        assert {message.get("topic") for message in (client.read() for _ in range(30))} == {FUTURES}


def test_unknown_symbols_are_acknowledged_and_silent(simulator):
    """They spoil no list; a channel that does not exist is refused with the whole text of the request."""
    with Client(simulator) as client:
        assert client.subscribe("/contractMarket/execution:XBTUSDTM,BTCUSDT")["type"] == "ack"
        assert client.subscribe("/market/match:XBTUSDTM,BTCUSDT")["type"] == "ack"
        assert {message["topic"] for message in client.data(30, "/")} == {FUTURES}

        for topic in ("/contractMarket/liquidation:XBTUSDTM,ETHUSDTM", "/market/match", "BTC-USDT"):
            error = client.subscribe(topic)
            assert error == {"code": 404, "data": f"topic {topic} is not found", "id": "7", "type": "error"}


def test_a_hundred_symbols_are_taken_at_once_and_three_hundred_in_all(simulator):
    """Those that do not exist count."""
    names = [f"COIN{number}-USDT" for number in range(310)]
    with Client(simulator) as client:
        assert client.subscribe(f"/market/match:{','.join(names[:101])}")["data"].endswith("of 100 per time")
        for first in (0, 100, 200):
            assert client.subscribe(f"/market/match:{','.join(names[first : first + 100])}")["type"] == "ack"
        error = client.subscribe(f"/market/match:{names[300]}")
        assert error["data"] == "exceed max subscription count limitation of 300 per session"
        client.send(id="1", type="unsubscribe", topic=f"/market/match:{names[0]}")
        assert client.subscribe(f"/market/match:{names[300]}")["type"] == "ack"


def test_on_command_an_unknown_symbol_spoils_its_list_of_spot(simulator):
    """Seen in 2019; whether it is so is not known. Neither is how many topics a session may have."""
    simulator.command("assume", spoils=True, topics=2)
    with Client(simulator) as client:
        error = client.subscribe("/market/match:BTC-USDT,NOPE-USDT")
        assert (error["code"], error["data"]) == (404, "topic /market/match:BTC-USDT,NOPE-USDT is not found")
        assert client.subscribe("/contractMarket/execution:XBTUSDTM,NOPEUSDTM")["type"] == "ack"
        assert {message["topic"] for message in client.data(20, "/")} == {FUTURES}
        assert client.subscribe(SPOT)["data"] == "exceed max subscription count limitation of 2 per session"


def test_on_command_fields_come_in_the_order_of_2021(simulator):
    """Data first; by which no topic can be told."""
    simulator.command("assume", alphabetical=True)
    with Client(simulator) as client:
        client.subscribe(SPOT)
        while not (text := str(client.ws.recv(timeout=LIMIT_S))).startswith('{"data":{'):
            assert "topic" not in text

    assert text.endswith(f'"subject":"trade.l3match","topic":"{SPOT}","type":"message"}}')


def test_more_than_a_hundred_messages_in_ten_seconds_are_refused(simulator):
    """The connection lives."""
    with Client(simulator) as client:
        for number in range(101):
            client.send(id=number, type="ping")
        answers = [client.read() for _ in range(101)]

    assert {answer["type"] for answer in answers[:100]} == {"pong"}
    assert (answers[100]["code"], answers[100]["data"]) == (509, "exceed max permits per second")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 400),
        ("[]", 400),
        ('{"id":[1],"type":"dance"}', 415),
        ('{"id":"1","type":"subscribe"}', 406),
        ('{"id":"1","type":"subscribe","topic":{}}', 406),
        ('{"id":"1","type":"subscribe","topic":"/market/match:BTC-USDT","privateChannel":true}', 403),
    ],
)
def test_a_malformed_request_is_refused(simulator, text, code):
    """An error has neither topic nor subject."""
    with Client(simulator) as client:
        client.ws.send(text)
        error = client.read()

    assert (error["type"], error["code"], set(error)) == ("error", code, {"type", "code", "data", "id"})


# trades, tickers


def test_times_of_trades_are_nanoseconds_as_text_or_number(simulator):
    """One trade a message; ids are their sequences, which grow and are not consecutive; sizes of futures are lots."""
    now_ns = time.time_ns()
    with Client(simulator) as client:
        client.subscribe(SPOT)
        client.subscribe(FUTURES)
        spot, futures = ([message["data"] for message in client.data(40, topic)] for topic in (SPOT, FUTURES))

    assert {type(trade["time"]) for trade in spot} == {type(trade["price"]) for trade in futures} == {str}
    assert {type(trade["ts"]) for trade in futures} == {type(trade["size"]) for trade in futures} == {int}
    assert all(abs(int(trade.get("time", trade.get("ts"))) - now_ns) < 60 * 10**9 for trade in spot + futures)
    assert all(str(trade["sequence"]) == trade["tradeId"] for trade in spot + futures)
    for trades in (spot, futures):
        steps = [int(b["tradeId"]) - int(a["tradeId"]) for a, b in itertools.pairwise(trades)]
        assert min(steps) > 0
        assert len(set(steps)) > 1
    contracts = simulator.get("/api/v1/contracts/active").json()["data"]
    sizes = {row["symbol"]: (row["multiplier"], row["isInverse"]) for row in contracts}
    assert sizes["XBTUSDTM"] == (0.001, False)
    assert sizes["XBTUSDM"] == (-1, True)


def test_a_topic_of_all_tickers_names_the_symbol_in_its_subject(simulator):
    """And in no other place."""
    with Client(simulator) as client:
        client.subscribe("/market/ticker:all")
        subjects = {message["subject"] for message in client.data(30, "/market/ticker:all")}
        client.subscribe("/market/ticker:BTC-USDT")
        assert client.data(1, "/market/ticker:BTC-USDT")[0]["subject"] == "trade.ticker"

    assert subjects == {"BTC-USDT", "ETH-USDT", "SOL-USDT"}


# books


def test_changes_of_spot_join_the_sequence_of_the_message_before(simulator):
    """Each level has its id; a price of 0 only advances it. The book of REST needs a key, a hundred levels do not."""
    topic = "/market/level2:BTC-USDT"
    with Client(simulator) as client:
        client.subscribe(topic)
        messages = [message["data"] for message in client.data(40, topic)]
    ids = [
        sorted(int(level[2]) for side in ("asks", "bids") for level in message["changes"][side]) for message in messages
    ]

    assert all(b["sequenceStart"] == a["sequenceEnd"] + 1 for a, b in itertools.pairwise(messages))
    assert ids == [list(range(message["sequenceStart"], message["sequenceEnd"] + 1)) for message in messages]
    assert any(level[:2] == ["0", "0"] for message in messages for level in message["changes"]["bids"])
    refused = simulator.get("/api/v3/market/orderbook/level2", symbol="BTC-USDT")
    assert (refused.status_code, refused.json()["code"]) == (401, "400001")
    shown = simulator.get("/api/v1/market/orderbook/level2_100", symbol="BTC-USDT").json()["data"]
    assert len(shown["bids"]) == len(shown["asks"]) == 100


def test_changes_of_futures_count_up_by_one_and_join_the_book_of_rest(simulator):
    """Together they are the book that the channel of whole ones shows."""
    changes, whole = "/contractMarket/level2:XBTUSDTM", "/contractMarket/level2Depth50:XBTUSDTM"
    with Client(simulator) as client:
        client.subscribe(changes)
        client.subscribe(whole)
        messages = client.data(20, changes)
        shown = simulator.get("/api/v1/level2/snapshot", symbol="XBTUSDTM").json()["data"]
        messages += client.data(300, changes)
        tops = {message["data"]["sequence"]: message["data"] for message in client.data(5, whole)}
        tops |= {m["data"]["sequence"]: m["data"] for m in client.held if m.get("topic") == whole}
    sequences = [message["data"]["sequence"] for message in messages]
    book = {side: dict(map(tuple, shown[side])) for side in ("bids", "asks")}
    compared = 0
    for message in messages:
        sequence = message["data"]["sequence"]
        price, side, size = message["data"]["change"].split(",")
        if sequence > shown["sequence"]:
            levels = book["bids" if side == "buy" else "asks"]
            levels[float(price)] = int(size)
            if size == "0":
                del levels[float(price)]
            if (top := tops.get(sequence)) is not None:
                compared += 1
                bids, asks = sorted(book["bids"].items(), reverse=True)[:50], sorted(book["asks"].items())[:50]
                assert [(float(price), size) for price, size in top["bids"]] == bids
                assert [(float(price), size) for price, size in top["asks"]] == asks

    assert [message["sn"] for message in messages] == sequences
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert sequences[0] <= shown["sequence"] < sequences[-1]
    assert len(shown["bids"]) == len(shown["asks"]) == 1000
    assert compared


def test_whole_books_of_futures_come_unchanged(simulator):
    """Those of spot do not."""
    topics = ("/contractMarket/level2Depth5:XBTUSDTM", "/spotMarket/level2Depth5:BTC-USDT")
    with Client(simulator) as client:
        for topic in topics:
            client.subscribe(topic)
            client.data(2, topic)
        simulator.command("rate", rate=0)
        client.send(id="9", type="ping")
        client.take(1, lambda message: message["type"] == "pong")
        client.held.clear()
        messages = [client.read() for _ in range(3)]

    assert {message["topic"] for message in messages} == {topics[0]}
    assert len({json.dumps([message["data"]["bids"], message["data"]["sequence"]]) for message in messages}) == 1


# candles


def test_candles_change_with_their_trades_and_have_no_mark_of_their_end(simulator):
    """Futures have the turnover before the lots; times are milliseconds there and nanoseconds in spot."""
    spot, futures = "/market/candles:BTC-USDT_1min", "/contractMarket/limitCandle:XBTUSDTM_1min"
    with Client(simulator) as client:
        for topic in (spot, futures):
            client.subscribe(topic)
        added, updated = client.data(2, spot)
        *_, stick = client.data(2, futures)

    assert added["subject"] == "trade.candles.add"
    assert updated["subject"] in ("trade.candles.update", "trade.candles.add")  # a minute may begin between them
    assert len(str(added["data"]["time"])) == 19
    assert (stick["subject"], len(str(stick["data"]["time"]))) == ("candle.stick", 13)
    start, opened, _, _, _, turnover, lots = stick["data"]["candles"]
    assert int(start) * 1000 % MINUTE_MS == 0
    assert float(turnover) == pytest.approx(float(opened) * int(lots) * 0.001, rel=0.01)


def test_a_recording_comes_back_as_it_is(tmp_path, shared_data):
    """Byte for byte, with whatever order of fields."""
    lines = (shared_data / "kucoin" / "spot_session_2021-04-25.jsonl").read_text().splitlines()
    frames = [line["raw"] for line in map(json.loads, lines) if line["dir"] == "in"]
    wanted = [frame for frame in frames if '"type":"message"' in frame and "/market/match:" in frame]
    topics = {json.loads(frame)["topic"] for frame in wanted}
    (tmp_path / "session.jsonl").write_text("\n".join(frames))
    options = ("--rate", 0, "--replay", tmp_path / "session.jsonl", "--replay-when-subscribed", len(topics))
    with SimulatorProcess("--exchange", "kucoin", *options) as simulator, Client(simulator) as client:
        client.subscribe("/market/match:" + ",".join(topic.partition(":")[2] for topic in topics))
        received: list[str] = []
        while len(received) < len(wanted):
            received.append(str(client.ws.recv(timeout=LIMIT_S)))

    assert len(wanted) == 18
    assert received == wanted
