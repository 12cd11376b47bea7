"""The sockets of the simulated Gate: what the documentation and the recordings say of the real one.

A plain client, nothing of ours.
"""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from exchanges.simulated.gate.dialect import DIALECT
from tests.integration.exchanges.gate.conftest import Client
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

MARKETS = ("spot", "futures")
CATEGORY = {"spot": "spot", "futures": "linear"}
BTC, DECIMAL = "BTC_USDT", "SOL_USDT"  # the other is a contract whose sizes have decimals


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """One market for all tests: none of them changes it for the others."""
    with SimulatorProcess("--rate", 600, "--symbols", 3, "--illiquid", 0, exchange="gate") as process:
        yield process


def trades_of(client: Client, count: int) -> list[dict[str, Any]]:
    """The next trades, and maybe more."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        result = client.take(1, "trades")[0]["result"]
        found += result if isinstance(result, list) else [result]
    return found


@pytest.mark.parametrize("market", MARKETS)
def test_a_request_has_one_answer_for_all_its_names(simulator, market):
    """It repeats the payload, and an id where there was one."""
    with Client(simulator, market) as client:
        answer = client.request("trades", BTC, "ETH_USDT", id=7)

    assert (answer["channel"], answer["event"], answer["id"]) == (f"{market}.trades", "subscribe", 7)
    assert (answer["payload"], answer["result"]) == ([BTC, "ETH_USDT"], {"status": "success"})
    assert "error" not in answer


@pytest.mark.parametrize(("market", "unknown"), [("spot", "unknown currency pair"), ("futures", "unknown contract")])
def test_a_name_that_is_none_refuses_its_request_and_is_named(simulator, market, unknown):
    """Nothing of the request is subscribed; a request without it is."""
    with Client(simulator, market) as client:
        answer = client.request("trades", BTC, "NOPE_USDT")
        assert answer["error"] == {"code": 2, "message": f"{unknown} NOPE_USDT"}
        assert answer["result"] == {"status": "fail"}
        assert client.request("tickers", BTC)["result"] == {"status": "success"}
        client.take(2, "tickers")
        assert not client.held
        client.request("trades", BTC)
        assert client.take(1, "trades")


def test_on_command_a_name_that_is_none_refuses_itself_alone(simulator):
    """Which of both is Gate's is not known; the answer is the same error."""
    simulator.command("assume", atomic=False)
    try:
        with Client(simulator) as client:
            answer = client.request("trades", BTC, "NOPE_USDT")
            assert answer["error"]["message"].endswith("NOPE_USDT")
            assert client.take(1, "trades")
    finally:
        simulator.command("assume", atomic=True)


def test_books_that_do_not_exist_are_acknowledged_and_silent(simulator):
    """And a second subscription of one that does is refused."""
    with Client(simulator) as client:
        for name in ("ob.NOPE_USDT.50", "ob.BTC_USDT.17", "nothing"):
            assert client.request("obu", name)["result"] == {"status": "success"}
        assert client.request("obu", "ob.BTC_USDT.50")["result"] == {"status": "success"}
        again = client.request("obu", "ob.BTC_USDT.50")
        assert again["error"] == {"code": 2, "message": "Alert sub ob.BTC_USDT.50"}
        assert {message["result"]["s"] for message in client.take(20, "obu")} == {"ob.BTC_USDT.50"}


@pytest.mark.parametrize(
    ("channel", "payload", "code", "text"),
    [
        ("candlesticks", ["1m_BTC_USDT"], 1, "request payload does not follow json schema"),
        ("candlesticks", ["1m", BTC, "ETH_USDT"], 1, "request payload does not follow json schema"),
        ("trades", [], 1, "request payload does not follow json schema"),
        ("order_book_update", [BTC, "100ms", "100", "ETH_USDT"], 1, "request payload does not follow json schema"),
        ("nothing", [BTC], 2, "Unknown channel futures.nothing"),
    ],
)
def test_requests_that_make_no_sense_are_refused(simulator, channel, payload, code, text):
    """Candles and most books take one symbol a request."""
    with Client(simulator) as client:
        assert client.request(channel, *payload)["error"] == {"code": code, "message": text}


@pytest.mark.parametrize(
    "text", ["", "[]", "7", '{"a":', '{"channel":7}', "[" * 100_000, '{"channel":"futures.trades"}']
)
def test_what_is_no_request_is_refused_and_ends_nothing(simulator, text):
    """The connection goes on."""
    with Client(simulator) as client:
        assert client.send(text)["error"]["code"] == 1
        assert client.request("trades", BTC)["result"] == {"status": "success"}


def test_a_request_whose_time_is_over_a_minute_off_is_refused(simulator):
    """Before and after."""
    with Client(simulator) as client:
        for off_s, is_taken in ((-90, False), (90, False), (-30, True), (30, True)):
            answer = client.request("trades", BTC, time=int(time.time()) + off_s)
            assert ("error" not in answer) == is_taken, off_s


def test_each_market_has_a_socket_and_pings_of_its_own(simulator):
    """Of the other one channels are unknown, and pings, too."""
    for market, other in (MARKETS, MARKETS[::-1]):
        with Client(simulator, market) as client:
            pong = client.send(json.dumps({"time": int(time.time()), "channel": f"{market}.ping"}))
            assert (pong["channel"], pong["event"], pong["error"]) == (f"{market}.pong", "", None)
            for name in ("ping", "trades"):
                answer = client.ask(f"{other}.{name}", BTC)
                assert answer["error"]["message"] == f"Unknown channel {other}.{name}"


def test_a_silent_connection_ends_after_half_a_minute_without_a_closing_handshake():
    """Pings of its own keep another."""
    assert DIALECT.limits.idle_s == 30
    options = ("--rate", 0, "--symbols", 1, "--illiquid", 0, "--idle-timeout-s", 1.0)
    with SimulatorProcess(*options, exchange="gate") as simulator, Client(simulator) as idle, Client(simulator) as kept:
        for _ in range(4):
            time.sleep(0.4)
            assert kept.send(json.dumps({"time": int(time.time()), "channel": "futures.ping"}))["result"] is None
        end = idle.end()

        assert end.rcvd is None  # 1006
        assert simulator.stats()["counters"]["idle_closed"] == 1


def test_an_upgrade_is_announced(simulator):
    """By futures.system."""
    with Client(simulator) as client:
        client.request("trades", BTC)
        simulator.command("notice", s=1)
        message = client.take(1, "system")[0]

    assert (message["event"], message["result"]["type"]) == ("update", "upgrade")


@pytest.mark.parametrize("market", MARKETS)
def test_ids_of_trades_have_no_hole_and_times_are_those_of_rest(simulator, market):
    """Milliseconds with decimals as text on spot; of futures integers on the socket, and seconds on REST."""
    with Client(simulator, market) as client:
        client.request("trades", BTC)
        found = trades_of(client, 60)
    name, path = ("currency_pair", "spot") if market == "spot" else ("contract", "futures/usdt")
    rows = simulator.get(f"/api/v4/{path}/trades", **{name: BTC, "limit": 1000}).json()
    of_rest = {int(row["id"]): row for row in rows}
    common = [trade for trade in found if trade["id"] in of_rest]

    assert all(b["id"] == a["id"] + 1 for a, b in pairwise(found))
    assert [int(row["id"]) for row in rows] == sorted(of_rest, reverse=True)
    assert len(common) == len(found)
    for trade in common:
        row = of_rest[trade["id"]]
        assert (row[name], row["price"]) == (trade[name], trade["price"])
        if market == "spot":
            whole, _, decimals = trade["create_time_ms"].partition(".")
            assert (len(whole), len(decimals)) == (13, 6)
            assert row["create_time_ms"] == trade["create_time_ms"]
            assert (trade["id_market"], trade["range"]) == (trade["id"], f"{trade['id']}-{trade['id']}")
            assert (row["amount"], row["side"]) == (trade["amount"], trade["side"])
        else:
            assert isinstance(trade["create_time_ms"], int)
            assert row["create_time_ms"] == row["create_time"] == trade["create_time_ms"] / 1000
            assert row["size"] == int(trade["size"])


def test_futures_are_arrays_of_one_contract_with_signed_sizes(simulator):
    """In the order of matching; spot sends one a message."""
    with Client(simulator) as client, Client(simulator, "spot") as spot:
        client.request("trades", BTC, "ETH_USDT", DECIMAL)
        spot.request("trades", BTC)
        messages = [message["result"] for message in client.take(120, "trades")]
        assert all(isinstance(message["result"], dict) for message in spot.take(20, "trades"))

    assert all(len({trade["contract"] for trade in message}) == 1 for message in messages)
    assert any(len(message) > 1 for message in messages)
    assert {trade["size"][0] == "-" for message in messages for trade in message} == {True, False}
    for message in messages:
        assert all(b["id"] == a["id"] + 1 for a, b in pairwise(message))


def test_sizes_have_decimals_for_those_who_ask_for_them(simulator):
    """Others get integers, cut: on the socket and on REST."""
    path, query = "/api/v4/futures/usdt/trades", {"contract": DECIMAL, "limit": 1000}
    with Client(simulator) as asking, Client(simulator, headers={}) as other:
        for client in (asking, other):
            client.request("trades", DECIMAL)
        exact = {trade["id"]: trade["size"] for trade in trades_of(asking, 40)}
        cut = {trade["id"]: trade["size"] for trade in trades_of(other, 40)}
    rows = simulator.get(path, **query).json()
    common = exact.keys() & cut.keys()

    assert len(common) > 10
    assert any("." in exact[each] for each in common)
    assert all(cut[each] == int(Decimal(exact[each])) for each in common)
    assert all(isinstance(row["size"], int) for row in rows)
    assert all(row["size"] == int(Decimal(exact[row["id"]])) for row in rows if row["id"] in exact)


def test_internal_trades_have_ids_among_the_others_and_count_in_no_candle():
    """Their prices are off the market; the sum of the others is the candle's volume, in contracts of so many coins."""
    with (
        SimulatorProcess("--rate", 0, "--symbols", 1, "--illiquid", 0, exchange="gate") as simulator,
        Client(simulator) as client,
    ):
        client.request("trades", BTC)
        simulator.command("rate", trades=900)
        found = trades_of(client, 1500)
        simulator.command("rate", trades=0)
        wait_until(lambda: simulator.stats()["rate"] == 0, 5)
        total = simulator.stats()["sent"]["trades"]
        while simulator.stats()["sent"]["trades"] != total:
            total = simulator.stats()["sent"]["trades"]
        last_id = simulator.get("/api/v4/futures/usdt/trades", contract=BTC, limit=1).json()[0]["id"]
        while found[-1]["id"] < last_id:
            found += trades_of(client, 1)
        rows = simulator.get("/api/v4/futures/usdt/candlesticks", contract=BTC, interval="1m", limit=10).json()
    internal = [trade for trade in found if "is_internal" in trade]
    counted = [trade for trade in found if "is_internal" not in trade]
    first_s = found[0]["create_time"] // 60 * 60
    volume = sum(row["v"] for row in rows if row["t"] >= first_s)

    assert all(b["id"] == a["id"] + 1 for a, b in pairwise(found))
    assert len(internal) > 5
    for before, trade in pairwise(found):
        if "is_internal" in trade and "is_internal" not in before:
            assert Decimal(trade["price"]) > Decimal(before["price"]) + 10
    assert volume == sum(abs(int(trade["size"])) for trade in counted)
    for row in rows:
        if prices := [Decimal(trade["price"]) for trade in counted if trade["create_time"] // 60 * 60 == row["t"]]:
            shown = [Decimal(row[name]) for name in "ohlc"]
            assert shown == [prices[0], max(prices), min(prices), prices[-1]]  # the first trade opens


def test_candles_begin_flat_and_their_volumes_change_places():
    """Before the first trade at the close before; `v` is the turnover on spot and contracts on futures."""
    options = ("--rate", 0, "--symbols", 1, "--illiquid", 0)
    found: dict[str, tuple[Any, Any]] = {}
    with SimulatorProcess(*options, exchange="gate") as simulator:
        for market in MARKETS:
            with Client(simulator, market) as client:
                client.request("candlesticks", "1m", BTC)
                flat = client.take(1, "candlesticks")[0]["result"]
                simulator.command("rate", trades=400)
                while not Decimal(_row(traded := client.take(1, "candlesticks")[0]["result"])["v"]):
                    pass
                found[market] = flat, traded
    assert [isinstance(flat, dict) for flat, _ in found.values()] == [True, False]
    spot, futures = (_row(traded) for _, traded in found.values())

    flat = _row(found["spot"][0])
    assert flat["o"] == flat["h"] == flat["l"] == flat["c"]
    assert Decimal(flat["v"]) == 0
    assert "w" not in flat
    assert [type(row["t"]) for row in (spot, futures)] == [str, int]
    for row, volume, turnover in ((spot, "a", "v"), (futures, "v", "a")):
        coins = Decimal(row[volume]) * (1 if row is spot else Decimal("0.0001"))
        assert row["n"] == f"1m_{BTC}"
        assert row["w"] in (True, False)
        assert coins * Decimal(row["l"]) <= Decimal(row[turnover]) <= coins * Decimal(row["h"])


def _row(result: Any) -> dict[str, Any]:
    return result if isinstance(result, dict) else result[0]


@pytest.mark.parametrize("market", MARKETS)
def test_books_follow_each_other_by_their_ids(simulator, market):
    """From a whole book; a whole one in the middle replaces what was before, and every message adds up to it."""
    with Client(simulator, market) as client:
        client.request("obu", "ob.ETH_USDT.50")
        messages = [each["result"] for each in client.take(60, "obu")]
        simulator.command("restart_u", symbol="ETH_USDT")
        while not (renewed := client.take(1, "obu")[0]["result"]).get("full"):
            messages.append(renewed)
        follower = client.take(1, "obu")[0]["result"]
    whole, *changes = messages
    sides: dict[str, dict[str, str]] = {side: dict(whole[side]) for side in "ab"}
    for change in changes:
        for side in "ab":
            sides[side] |= dict(change[side])
            sides[side] = {price: size for price, size in sides[side].items() if size != "0"}

    assert whole["full"] is True
    assert all(b["U"] == a["u"] + 1 for a, b in pairwise(messages))
    assert renewed["u"] < messages[-1]["u"]
    assert follower["U"] == renewed["u"] + 1
    assert {side: dict(renewed[side]) for side in "ab"} == sides
    assert all(len(levels) == 50 for levels in sides.values())
    assert max(map(Decimal, sides["b"])) < min(map(Decimal, sides["a"]))


@pytest.mark.parametrize("market", MARKETS)
def test_changes_join_the_book_of_rest(simulator, market):
    """By its id: U <= id + 1 <= u, then each follows the one before."""
    words = [BTC, "100ms"] if market == "spot" else [BTC, "100ms", "100"]
    path, name = ("spot", "currency_pair") if market == "spot" else ("futures/usdt", "contract")
    with Client(simulator, market) as client:
        client.request("order_book_update", *words)
        client.take(1, "order_book_update")
        book = simulator.get(f"/api/v4/{path}/order_book", **{name: BTC, "with_id": "true", "limit": 100}).json()
        changes = [each["result"] for each in client.take(40, "order_book_update")]
    joined = [change for change in changes if change["u"] > book["id"]]

    assert len(joined) > 10
    assert joined[0]["U"] <= book["id"] + 1 <= joined[0]["u"]
    assert all(b["U"] == a["u"] + 1 for a, b in pairwise(joined))


def test_liquidations_of_a_contract_come_in_batches():
    """All within a second in one array, at once when they are twenty; !all is every contract."""
    with (
        SimulatorProcess("--rate", 0, "--symbols", 2, "--illiquid", 0, exchange="gate") as simulator,
        Client(simulator) as client,
    ):
        client.request("public_liquidates", "!all")
        simulator.command("rate", liquidation=8)
        messages = client.take(4, "public_liquidates")
        simulator.command("rate", liquidation=200)
        fast = [message["result"] for message in client.take(8, "public_liquidates")]

    slow = [message["result"] for message in messages]

    assert all(isinstance(batch, list) for batch in slow + fast)
    assert all(message["time_ms"] - message["result"][0]["time"] >= 1000 for message in messages)
    assert all(len({row["contract"] for row in batch}) == 1 for batch in slow + fast)
    assert any(len(batch) > 1 for batch in slow)
    assert max(map(len, fast)) == 20
    assert all(batch[-1]["time"] - batch[0]["time"] < 1500 for batch in slow + fast)
    assert {row["size"].startswith("-") for batch in slow + fast for row in batch} == {True, False}


def test_some_tickers_of_futures_lack_their_volumes(simulator):
    """So that they must be merged; spot's are whole."""
    with Client(simulator) as client, Client(simulator, "spot") as spot:
        client.request("tickers", BTC)
        spot.request("tickers", BTC)
        rows = [row for message in client.take(6, "tickers") for row in message["result"]]
        assert all("quote_volume" in message["result"] for message in spot.take(3, "tickers"))

    assert {"volume_24h" in row for row in rows} == {True, False}
    assert all(row["contract"] == BTC and Decimal(row["last"]) > 0 for row in rows)


def test_a_contract_that_changes_its_size_says_so():
    """Listing, turnovers and candles have the new one from then on."""
    with (
        SimulatorProcess("--rate", 0, "--symbols", 1, "--illiquid", 0, exchange="gate") as simulator,
        Client(simulator) as client,
    ):
        client.request("contract_info", "!all")
        simulator.command("multiplier", symbol=BTC, quanto_multiplier="0.001")
        (message,) = client.take(1, "contract_info")
        listed = simulator.get(f"/api/v4/futures/usdt/contracts/{BTC}").json()
        simulator.command("rate", trades=100)
        client.request("trades", BTC)
        trades_of(client, 10)
        row = simulator.get("/api/v4/futures/usdt/candlesticks", contract=BTC, interval="1m", limit=1).json()[0]

    assert (message["result"]["contract"], message["result"]["quanto_multiplier"]) == (BTC, "0.001")
    assert listed["quanto_multiplier"] == "0.001"
    worth = row["v"] * Decimal("0.001")
    assert worth * Decimal(row["l"]) <= Decimal(row["sum"]) <= worth * Decimal(row["h"])


def test_on_command_a_message_of_spot_has_several_ids():
    """Of matches at one price; the next begins at the id after its range."""
    with (
        SimulatorProcess("--rate", 400, "--symbols", 1, "--illiquid", 0, exchange="gate") as simulator,
        Client(simulator, "spot") as client,
    ):
        simulator.command("assume", merged=True)
        client.request("trades", BTC)
        found = trades_of(client, 200)
        past = {
            int(row["id"]): row for row in simulator.get(f"/api/v4/spot/trades?currency_pair={BTC}&limit=1000").json()
        }
    ranges = [tuple(map(int, trade["range"].split("-"))) for trade in found]

    assert all(b[0] == a[1] + 1 for a, b in pairwise(ranges))
    assert any(last > first for first, last in ranges)
    for trade, (first, last) in zip(found, ranges, strict=True):
        assert trade["id"] == last
        assert Decimal(trade["amount"]) == sum(Decimal(past[each]["amount"]) for each in range(first, last + 1))


def test_unsubscribed_topics_bring_nothing_more(simulator):
    """The others go on."""
    with Client(simulator) as client:
        client.request("trades", BTC, "ETH_USDT")
        assert client.request("trades", BTC, event="unsubscribe")["event"] == "unsubscribe"
        client.held.clear()
        assert {row["contract"] for row in trades_of(client, 40)} == {"ETH_USDT"}


def test_recorded_payloads_have_topics(shared_data):
    """All of 2021 and later that are data; answers to requests have none."""
    raws = []
    for path in sorted((shared_data / "gate").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            message = json.loads(line)
            if message.get("dir") != "out":
                raws.append(message.get("raw", line))
    data = [raw for raw in raws if json.loads(raw).get("event") in ("update", "all")]
    found = {DIALECT.topic_of(raw.encode()) for raw in data}

    assert len(data) > 300
    assert {"spot.trades:BTC_USDT", "futures.trades:BTC_USDT", "futures.obu:ob.ETH_USDT.50"} <= found
    assert {"futures.public_liquidates:HEI_USDT", "spot.candlesticks:1m,NANO_USDT"} <= found
    assert {DIALECT.topic_of(raw.encode()) for raw in raws if '"event":"subscribe"' in raw} == {None}
