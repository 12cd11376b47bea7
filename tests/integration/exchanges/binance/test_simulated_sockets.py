"""The sockets of the simulated Binance: what the documentation and the recordings say of the real one.

The traps are those of the protocol reference. A plain client, nothing of ours.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from exchanges.simulated.binance.control import SPOT_LIMITS
from exchanges.simulated.binance.dialect import DIALECT
from tests.integration.exchanges.binance.conftest import LIMIT_S, Client
from tests.support.simulator import SimulatorProcess

FOREIGN = "币安人生"
OPTIONS = ("--exchange", "binance", "--symbols", 13, "--illiquid", 0, "--rate", 1500)
SPOT_BOOK, FUTURES_BOOK = "btcusdt@depth@100ms", "btcusd_perp@depth@100ms"


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """One market for all tests: none of them changes it for the others."""
    with SimulatorProcess(*OPTIONS) as process:
        yield process


def end_of(client: Client) -> tuple[int, str]:
    """How the exchange ended the connection: close code and reason."""
    try:
        while True:
            client.held.append(json.loads(client.ws.recv(timeout=LIMIT_S)))
    except ConnectionClosed as end:
        return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (1006, "")


def streams_of(client: Client, count: int) -> set[str]:
    """The streams of the next messages."""
    return {json.loads(client.ws.recv(timeout=LIMIT_S))["stream"] for _ in range(count)}


def test_streams_that_do_not_exist_are_acknowledged_and_silent(simulator):
    """T2: unknown ones, and those in capitals; a list of subscriptions echoes the names."""
    names = ["nonesuch@trade", "BTCUSDT@trade", "btcusdt@nothing", "btcusdt@trade"]
    with Client(simulator) as client:
        assert client.request("SUBSCRIBE", *names, number=7) == {"result": None, "id": 7}
        assert client.request("LIST_SUBSCRIPTIONS", number=8)["result"] == names
        assert {message["stream"] for message in client.held} | streams_of(client, 60) == {"btcusdt@trade"}


def test_streams_on_the_wrong_path_are_acknowledged_and_silent(simulator):
    """T1: USD-M has books and trades on /public, all else on /market."""
    public, market = {"btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@bookTicker"}, {"btcusdt@aggTrade"}
    for path, heard in (("public/stream", public), ("market/stream", market)):
        with Client(simulator, path) as client:
            assert client.request("SUBSCRIBE", *sorted(public | market))["result"] is None
            found = {message["stream"] for message in client.held}
            while not heard <= found:
                found |= streams_of(client, 1)
            assert found | streams_of(client, 60) == heard


def test_a_request_above_4096_bytes_is_dropped_without_an_answer(simulator):
    """T3: the next request is answered, and nothing of the dropped one is subscribed."""
    with Client(simulator) as client:
        for number, size in ((1, 4097), (2, 4096)):
            text = json.dumps({"method": "SUBSCRIBE", "params": [f"coin{number}@trade"], "id": number})
            client.ws.send(text + " " * (size - len(text)))
        assert json.loads(client.ws.recv(timeout=LIMIT_S)) == {"result": None, "id": 2}
        assert client.request("LIST_SUBSCRIPTIONS")["result"] == ["coin2@trade"]


def test_above_1024_streams_a_request_is_refused(simulator):
    """With code 4, in the shape of futures."""
    with Client(simulator) as client:
        for first in (0, 250, 500, 750):
            client.request("SUBSCRIBE", *(f"c{number}@trade" for number in range(first, first + 250)))
        answer = client.request("SUBSCRIBE", *(f"d{number}@trade" for number in range(25)), number=19)
        assert answer == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19}


@pytest.mark.parametrize(("path", "allowed"), [("stream", 5), ("public/stream", 10)])
def test_one_message_too_many_a_second_ends_the_connection(simulator, path, allowed):
    """T4: five on spot, ten on futures, pings included."""
    with Client(simulator, path) as client:
        for number in range(allowed - 1):
            client.request("LIST_SUBSCRIPTIONS", number=number)
        client.ws.ping()
        time.sleep(1.1)  # a second later there are as many again
        client.ws.ping()
        for number in range(allowed - 1):
            client.request("LIST_SUBSCRIPTIONS", number=number)
        client.ws.ping()
        assert end_of(client) == (1008, "Too many requests")


def test_coin_m_has_the_limits_of_futures_though_spot_shares_its_path(simulator):
    """One address stands for the hosts: the first stream of COIN-M tells."""
    with Client(simulator, "stream") as client:
        client.request("SUBSCRIBE", "btcusd_perp@ticker")
        for number in range(8):
            assert client.request("LIST_SUBSCRIPTIONS", number=number)["id"] == number


def test_pings_and_life_are_those_of_the_documentation():
    """The engine keeps to them (tests/integration/simulator/test_sockets.py); spot's pings are its own."""
    assert (SPOT_LIMITS.ping_every_s, SPOT_LIMITS.pong_within_s, SPOT_LIMITS.messages_per_s) == (20, 60, 5)
    limits = DIALECT.limits
    assert (limits.ping_every_s, limits.pong_within_s, limits.messages_per_s) == (180, 600, 10)
    assert (limits.life_s, limits.connects, limits.connects_window_s) == (86_400, 300, 300)


def test_placeholders_retail_and_insurance_prints_of_futures_keep_the_ids_without_a_hole(simulator):
    """T5: a placeholder has no price; an insurance print is off the market; neither is in REST nor in a candle."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    seen: set[str] = set()
    with Client(simulator) as client:
        client.request("SUBSCRIBE", "btcusdt@trade", "ethusdt@trade")
        simulator.command("flood", messages=10_000_000)
        while not {"NA", "RPI", "MARKET", "INSURANCE_FUND"} <= seen:
            trade = json.loads(client.ws.recv(timeout=LIMIT_S))["data"]
            found[trade["s"]].append(trade)
            seen.add(trade["X"])
        simulator.command("flood", messages=0)
    trades = [trade for rows in found.values() for trade in rows]
    blank = [trade for trade in trades if trade["X"] == "NA"]
    outlier = next(trade for trade in trades if trade["X"] == "INSURANCE_FUND")
    rows = simulator.get("/fapi/v1/klines", symbol=outlier["s"], interval="1m", limit=5).json()
    kept = simulator.get("/fapi/v1/trades", symbol=outlier["s"], limit=1000).json()

    assert all(b["t"] == a["t"] + 1 for rows in found.values() for a, b in pairwise(rows))
    assert {(trade["p"], trade["q"], trade["st"]) for trade in blank} == {("0", "0", 1)}
    assert float(outlier["p"]) < 0.95 * min(float(row[3]) for row in rows)
    assert all(float(row["price"]) > 0 for row in kept)
    assert kept[-1]["id"] - kept[0]["id"] >= len(kept)  # the ids of those that are left out
    assert any(row["isRPITrade"] for row in kept)


def test_books_of_futures_are_chained_by_pu_alone(simulator):
    """T8: U is not the u before plus one; of spot it is."""
    with Client(simulator, "stream") as client:
        client.request("SUBSCRIBE", SPOT_BOOK, FUTURES_BOOK)
        spot, futures = client.take(30, SPOT_BOOK), client.take(30, FUTURES_BOOK)

    assert all(b["U"] == a["u"] + 1 for a, b in pairwise(spot))
    assert all(b["pu"] == a["u"] for a, b in pairwise(futures))
    assert any(b["U"] > a["u"] + 1 for a, b in pairwise(futures))
    assert all(message["U"] <= message["u"] for message in spot + futures)


@pytest.mark.parametrize(("stream", "path"), [(SPOT_BOOK, "/api/v3/depth"), (FUTURES_BOOK, "/dapi/v1/depth")])
def test_a_depth_snapshot_joins_the_stream_of_changes(simulator, stream, path):
    """At a message's end and inside one; the book that is kept by the changes is the exchange's."""
    symbol, is_spot = stream.partition("@")[0].upper(), path.startswith("/api")
    is_inside = is_compared = False
    with Client(simulator, "stream") as client:
        client.request("SUBSCRIBE", stream)
        client.take(1, stream)
        while not (is_inside and is_compared):
            shown = simulator.get(path, symbol=symbol, limit=1000).json()
            book = {side: dict(shown[side]) for side in ("bids", "asks")}
            last = shown["lastUpdateId"]
            while (message := client.take(1, stream)[0])["u"] < last + is_spot:
                pass
            if is_spot:
                assert message["U"] <= last + 1 <= message["u"]
            else:
                assert message["U"] <= last <= message["u"] or message["pu"] == last
            is_inside |= message["U"] <= last < message["u"]
            apply(book, message)
            then = simulator.get(path, symbol=symbol, limit=500).json()
            while (before := message["u"]) < then["lastUpdateId"]:
                message = client.take(1, stream)[0]
                assert message["U"] == before + 1 if is_spot else message["pu"] == before
                apply(book, message)
            if message["u"] == then["lastUpdateId"]:
                is_compared = True
                assert tops(book) == [then["bids"], then["asks"]]


def apply(book: dict[str, dict[str, str]], message: dict[str, Any]) -> None:
    for side, key in (("bids", "b"), ("asks", "a")):
        for price, size in message[key]:
            if float(size):
                book[side][price] = size
            else:
                book[side].pop(price, None)


def tops(book: dict[str, dict[str, str]]) -> list[list[list[str]]]:
    """The best 500 levels of each side."""
    bids = sorted(book["bids"].items(), key=lambda level: -float(level[0]))
    asks = sorted(book["asks"].items(), key=lambda level: float(level[0]))
    return [[list(level) for level in side[:500]] for side in (bids, asks)]


def test_best_prices_and_small_books_are_the_top_of_the_one_book(simulator):
    """T13: those of spot have neither symbol nor time; T14: keys have another order in each market."""
    with Client(simulator, "stream") as client:
        client.request("SUBSCRIBE", "btcusdt@bookTicker", "btcusdt@depth5@100ms", "btcusd_perp@bookTicker")
        best = {message["u"]: message for message in client.take(30, "btcusdt@bookTicker")}
        small = {message["lastUpdateId"]: message for message in client.take(25, "btcusdt@depth5@100ms")}
        inverse = client.take(1, "btcusd_perp@bookTicker")[0]
    with Client(simulator) as client:
        client.request("SUBSCRIBE", "btcusdt@bookTicker")
        linear = client.take(1, "btcusdt@bookTicker")[0]
    both = best.keys() & small.keys()

    assert len(both) > 10
    for number in both:
        top, levels = best[number], small[number]
        assert ([top["b"], top["B"]], [top["a"], top["A"]]) == (levels["bids"][0], levels["asks"][0])
        assert set(levels) == {"lastUpdateId", "bids", "asks"}
        assert set(top) == {"u", "s", "b", "B", "a", "A"}
    assert list(inverse)[:2] == ["u", "e"]
    assert list(linear)[:2] == ["e", "u"]


def test_streams_of_the_whole_market_have_both_kinds_of_futures(simulator):
    """T10: the field st tells them apart."""
    for name in ("!forceOrder@arr", "!ticker@arr", "!miniTicker@arr", "!markPrice@arr@1s"):
        kinds: set[int] = set()
        with Client(simulator, "market/stream") as client:
            client.request("SUBSCRIBE", name)
            for data in client.take(40, name):
                kinds |= {event["st"] for event in (data if isinstance(data, list) else [data])}
        assert kinds == {1, 2}, name


def test_a_stream_that_was_asked_for_before_its_symbol_is_listed_begins_with_it():
    """It was acknowledged, for nobody says what exists; of spot its life ends with a word, of futures without."""
    with (
        SimulatorProcess("--exchange", "binance", "--symbols", 2, "--illiquid", 0, "--lifetime-s", 4) as simulator,
        Client(simulator) as futures,
        Client(simulator, "stream") as spot,
    ):
        for client in (futures, spot):
            client.request("SUBSCRIBE", "solusdt@trade", "btcusdt@ticker")
        simulator.command("list", category="linear")
        assert futures.take(1, "solusdt@trade")[0]["s"] == "SOLUSDT"
        said: list[str] = []
        for client in (futures, spot):
            assert end_of(client) == (1000, "")
            said.append(" ".join(sorted({message.get("stream", "") for message in client.held})))
    assert "!serverShutdown" not in said[0]
    assert "!serverShutdown" in said[1]
    assert "solusdt@trade" not in said[1]


def test_symbols_that_are_not_ascii_are_streamed_and_read(simulator):
    """T12: in small letters, encoded as UTF-8, in the URL by percent signs."""
    name = f"{FOREIGN}usdt@trade"
    with Client(simulator, f"public/ws/{name}") as client:
        assert json.loads(client.ws.recv(timeout=LIMIT_S))["s"] == f"{FOREIGN}USDT"
    with Client(simulator) as client:
        client.request("SUBSCRIBE", name)
        assert client.take(1, name)[0]["s"] == f"{FOREIGN}USDT"
    rows = simulator.get("/fapi/v1/klines", symbol=f"{FOREIGN}USDT", interval="1m", limit=3).json()
    assert len(rows) == 3


def test_raw_and_combined_connections_carry_the_same_data(simulator):
    """A raw one without the stream's name, until its property is set."""
    with Client(simulator, "ws/btcusdt@trade") as client:
        assert list(json.loads(client.ws.recv(timeout=LIMIT_S)))[:2] == ["e", "E"]
        assert client.request("GET_PROPERTY", "combined")["result"] is False
        client.ws.send(json.dumps({"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}))
        while json.loads(client.ws.recv(timeout=LIMIT_S)) != {"result": None, "id": 5}:
            pass
        assert json.loads(client.ws.recv(timeout=LIMIT_S))["stream"] == "btcusdt@trade"


def test_subscribing_twice_brings_data_once_and_unsubscribing_ends_them(simulator):
    """What is not subscribed may be unsubscribed as well."""
    with Client(simulator, "stream?streams=btcusdt@trade") as client:
        assert client.request("SUBSCRIBE", "btcusdt@trade")["result"] is None
        ids = [trade["t"] for trade in client.take(50, "btcusdt@trade")]
        assert ids == list(range(ids[0], ids[0] + 50))
        assert client.request("UNSUBSCRIBE", "btcusdt@trade", "ethusdt@trade")["result"] is None
        client.held.clear()
        client.request("SUBSCRIBE", "ethusdt@trade")
        assert streams_of(client, 20) == {"ethusdt@trade"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 3),
        ("[]", 2),
        ('{"method":"DANCE","params":[],"id":1}', 2),
        ('{"params":[],"id":1}', 2),
        ('{"method":"SUBSCRIBE","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 1),
        ('{"method":"SUBSCRIBE","params":["a@trade"],"id":1.5}', 2),
        ('{"method":"GET_PROPERTY","params":["nothing"],"id":1}', 0),
    ],
)
def test_a_wrong_request_is_refused_with_a_code(simulator, text, code):
    """At the top on spot, under `error` and with the id on futures."""
    with Client(simulator, "stream") as client:
        client.ws.send(text)
        assert json.loads(client.ws.recv(timeout=LIMIT_S))["code"] == code
    with Client(simulator) as client:
        client.ws.send(text)
        assert json.loads(client.ws.recv(timeout=LIMIT_S))["error"]["code"] == code
