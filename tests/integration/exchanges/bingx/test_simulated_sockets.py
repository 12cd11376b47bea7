"""The sockets of the simulated BingX: what the documentation and the recordings say of the real one."""

import itertools
from decimal import Decimal

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from exchanges.simulated.bingx.dialect import DIALECT
from tests.integration.exchanges.bingx.conftest import LIMIT_S, Client
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

TRADES, BOOK = "BTC-USDT@trade", "BTC-USDT@incrDepth"


def test_each_market_acknowledges_in_its_own_shape_and_an_error_names_the_id_alone(simulator):
    """Also for a symbol in lower case, a channel that is none, and one of the other market."""
    with Client(simulator) as swaps, Client(simulator, "spot") as spot:
        expected = {"id": "a-1", "code": 0, "msg": "", "dataType": "", "data": None}
        assert swaps.ask(TRADES, "a-1") == expected
        assert swaps.ask(TRADES, "a-1") == expected  # once more
        answer = spot.ask(TRADES, "a-2")
        assert answer.pop("timestamp") > 0
        assert answer == {"code": 0, "id": "a-2", "msg": "SUCCESS"}
        wrong = ("NONE-USDT@trade", "btc-usdt@trade", "BTC-USDT@none", "BTC-USDT@kline_1min", "BTCUSDT@trade", "")
        for number, topic in enumerate(wrong):
            refused = swaps.ask(topic, f"b-{number}")
            assert refused == {**expected, "id": f"b-{number}", "code": 80015, "msg": "dataType not support"}
        assert spot.ask("BTC-USDT@kline_1m")["code"] == 80015
        assert spot.ask("BTC-USDT@kline_1min")["code"] == 0


@pytest.mark.parametrize("odd", ["nonsense", "[1]", '{"id":"9","reqType":"sub","dataType":["BTC-USDT@trade"]}', "{"])
def test_what_is_no_request_of_one_topic_is_not_answered(simulator, odd):
    """A list of topics neither: the answer of the next request comes first."""
    with Client(simulator) as client:
        client.ws.send(odd)
        assert client.ask("ETH-USDT@ticker", "next")["id"] == "next"


def test_nothing_comes_of_a_topic_that_was_left(simulator):
    """It is acknowledged."""
    with Client(simulator) as client:
        client.ask(TRADES)
        client.take(1, TRADES)
        assert client.ask(TRADES, "left", "unsub")["id"] == "left"
        client.held.clear()
        client.ask("ETH-USDT@trade")
        client.take(20, "ETH-USDT@trade")
        assert not any(message["dataType"] == TRADES for message in client.held)


def test_pings_are_texts_every_five_seconds_and_who_does_not_answer_is_cut():
    """They go on without an answer; the end has no close frame. After 30.5 seconds, here after six."""
    with (
        SimulatorProcess("--rate", 0, "--symbols", 1, "--idle-timeout-s", 6, exchange="bingx") as simulator,
        Client(simulator, answers_pings=False) as silent,
        Client(simulator, "spot") as lively,
    ):
        while lively.pings < 3:
            assert lively.receive() == "Ping"
        with pytest.raises(ConnectionClosed) as caught:
            silent.receive_until_the_end()
        assert simulator.stats()["counters"]["pongless_closed"] == 1

    assert caught.value.rcvd is None
    assert silent.pings == 2
    assert (DIALECT.limits.ping_every_s, DIALECT.limits.pong_within_s) == (5, 30.5)


def test_swap_trades_have_no_id_come_newest_first_and_may_be_equal():
    """A message has trades of one or several moments; each message is later than the one before."""
    arguments = ("--rate", 3000, "--symbols", 1, "--illiquid", 0, "--categories", "linear")
    with SimulatorProcess(*arguments, exchange="bingx") as simulator, Client(simulator) as client:
        client.ask(TRADES)
        messages = client.take(3000, TRADES)  # so many that two equal ones are among them
    frames = [message["data"] for message in messages]
    wire = [trade for frame in frames for trade in reversed(frame)]

    assert all(list(message) == ["code", "dataType", "data"] for message in messages)
    assert {tuple(trade) for trade in wire} == {("q", "p", "T", "m", "s")}
    assert all(a["T"] >= b["T"] for frame in frames for a, b in itertools.pairwise(frame))
    assert all(a["T"] <= b["T"] for a, b in itertools.pairwise(wire))
    assert any(frame[0]["T"] > frame[-1]["T"] for frame in frames)
    assert any(a == b for frame in frames for a, b in itertools.pairwise(frame))
    assert {trade["m"] for trade in wire} == {True, False}


def test_spot_trades_come_alone_numbered_without_a_hole_and_not_always_in_order(simulator):
    """The id is a text; sizes have up to 19 decimals."""
    with Client(simulator, "spot") as client:
        client.ask(TRADES)
        messages = client.take(200, TRADES)
    trades = [message["data"] for message in messages]
    numbers = [int(trade["t"]) for trade in trades]
    settled = sorted(numbers)[5:-5]

    assert all(list(message) == ["code", "data", "dataType", "success", "timestamp"] for message in messages)
    assert {tuple(trade) for trade in trades} == {("E", "T", "e", "m", "p", "q", "s", "t")}
    assert settled == list(range(settled[0], settled[-1] + 1))
    assert numbers != sorted(numbers)
    assert max(len(trade["q"].partition(".")[2]) for trade in trades) == 19
    assert all(trade["E"] >= trade["T"] for trade in trades)


def test_m_says_that_the_buyer_was_the_maker(simulator):
    """The taker sold, at the bid; who bought paid the ask, one tick above. REST says the same of an id."""
    with Client(simulator, "spot") as client:
        client.ask(TRADES)
        sides = {int(m["data"]["t"]): m["data"]["m"] for m in client.take(100, TRADES)}
    answer = simulator.get("/openApi/spot/v1/market/trades", symbol="BTC-USDT", limit=500).json()
    rows = {row["id"]: row["buyerMaker"] for row in answer["data"]}

    assert set(sides.values()) == {True, False}
    assert len(sides.keys() & rows.keys()) > 50
    assert all(rows[number] == side for number, side in sides.items() if number in rows)


def test_a_book_of_changes_begins_whole_and_its_ids_rise_and_skip(simulator):
    """Whole for each new subscriber; a size of zero deletes; asks come worst first; it is never crossed."""
    with Client(simulator) as client:
        client.ask(BOOK)
        first, *updates = (message["data"] for message in client.take(40, BOOK))
        ids = [data["lastUpdateId"] for data in (first, *updates)]
        bids, asks = ({Decimal(p): Decimal(q) for p, q in first[side]} for side in ("bids", "asks"))
        for update in updates:
            for side, levels in (("bids", bids), ("asks", asks)):
                levels |= {Decimal(p): Decimal(q) for p, q in update[side]}

        assert (first["action"], len(first["bids"]), len(first["asks"])) == ("all", 1000, 1000)
        assert {update["action"] for update in updates} == {"update"}
        steps = {b - a for a, b in itertools.pairwise(ids)}
        assert min(steps) >= 1
        assert max(steps) > 1
        assert any(q == "0.0000" for update in updates for _, q in (*update["bids"], *update["asks"]))
        assert all(
            [Decimal(p) for p, _ in update["asks"]] == sorted((Decimal(p) for p, _ in update["asks"]), reverse=True)
            for update in (first, *updates)
        )
        assert max(p for p, q in bids.items() if q) < min(p for p, q in asks.items() if q)

        with Client(simulator) as other:
            other.ask(BOOK)
            assert other.take(1, BOOK)[0]["data"]["action"] == "all"


def test_small_books_are_whole_each_time(simulator):
    """Of swaps with the time beside the data."""
    with Client(simulator) as swaps, Client(simulator, "spot") as spot:
        swaps.ask("BTC-USDT@depth5@500ms")
        spot.ask("BTC-USDT@depth20")
        for message in swaps.take(5, "BTC-USDT@depth5@500ms"):
            assert (len(message["data"]["bids"]), len(message["data"]["asks"])) == (5, 5)
            assert message["ts"] > 0
        for message in spot.take(5, "BTC-USDT@depth20"):
            assert (len(message["data"]["bids"]), len(message["data"]["asks"])) == (20, 20)


def test_klines_say_their_start_as_t_in_swaps_and_their_end_in_spot(simulator):
    """Every second, without a mark for the last one, and without a turnover of swaps."""
    with Client(simulator) as swaps, Client(simulator, "spot") as spot:
        swaps.ask("BTC-USDT@kline_1m")
        spot.ask("BTC-USDT@kline_1min")
        (swap,) = swaps.take(1, "BTC-USDT@kline_1m")
        (pair,) = spot.take(1, "BTC-USDT@kline_1min")

    (bar,) = swap["data"]
    assert (swap["s"], set(bar), bar["T"] % 60_000) == ("BTC-USDT", set("cohlvT"), 0)
    bar = pair["data"]["K"]
    assert (bar["t"] % 60_000, bar["T"] - bar["t"], bar["i"]) == (0, 59_999, "1min")
    assert float(bar["q"]) == pytest.approx(float(bar["v"]) * float(bar["c"]), rel=0.1)


def test_more_than_ten_messages_in_a_second_end_the_connection(simulator):
    """Requests and pongs together."""
    with Client(simulator) as client:
        for _ in range(15):
            client.request(TRADES)
        with pytest.raises(ConnectionClosed):
            client.receive_until_the_end()


def test_sixty_connections_are_all_that_there_may_be(simulator):
    """Of both sockets together."""
    clients = [Client(simulator, "spot" if number % 2 else "linear") for number in range(60)]
    try:
        for client in clients:
            client.__enter__()
        wait_until(lambda: simulator.stats()["connections"] == 60, LIMIT_S)
        with pytest.raises(InvalidStatus), Client(simulator):
            pass
    finally:
        for client in clients:
            client.__exit__(None, None, None)
