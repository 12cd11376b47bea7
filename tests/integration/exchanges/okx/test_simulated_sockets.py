"""The sockets of the simulated OKX: what the documentation and the recordings say of the real one."""

import itertools
import json
import re

import pytest
from websockets.exceptions import ConnectionClosed

from exchanges.simulated.okx.dialect import DIALECT
from tests.integration.exchanges.okx.conftest import LIMIT_S, Client
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SWAP = "BTC-USDT-SWAP"


def arg(channel, of=SWAP):
    return {"channel": channel, "instId": of}


def test_each_arg_is_answered_by_itself(simulator):
    """A wrong one costs the others nothing, and is named in the text alone."""
    with Client(simulator) as client:
        client.request("subscribe", arg("trades"), arg("trades", "NO-USDT"), arg("tickers"), id="a1")
        answers = client.take(3)

        assert [answer["event"] for answer in answers] == ["subscribe", "error", "subscribe"]
        assert [answer["id"] for answer in answers] == ["a1"] * 3
        assert answers[1]["code"] == "60018"
        assert re.search("channel:trades,instId:NO-USDT doesn't exist", answers[1]["msg"])
        assert "arg" not in answers[1]


def test_a_channel_on_the_wrong_socket_is_refused(simulator):
    """Candles are on /business alone, and trades not there."""
    for path, wrong, right in (("public", "candle1m", "trades"), ("business", "trades", "candle1m")):
        with Client(simulator, path) as client:
            client.request("subscribe", arg(wrong), arg(right))

            refused, accepted = client.take(2)
            assert (refused["code"], accepted["event"]) == ("60018", "subscribe")
            assert refused["msg"].startswith(f"Subscribe failed, wrong URL or channel:{wrong},")


def test_trades_are_one_message_per_price_and_their_ids_have_no_hole(simulator):
    """Also with the single matches of trades-all and of REST."""
    with Client(simulator) as client, Client(simulator, "business") as other:
        client.request("subscribe", arg("trades"))
        other.request("subscribe", arg("trades-all"))
        rows = [message["data"][0] for message in client.take(60, channel="trades")]
        singles = [int(message["data"][0]["tradeId"]) for message in other.take(60, channel="trades-all")]

    assert all(int(b["tradeId"]) - int(b["count"]) == int(a["tradeId"]) for a, b in itertools.pairwise(rows))
    assert {row["count"] for row in rows} > {"1"}
    assert all(set(message) == set(rows[0]) for message in rows)
    assert singles == list(range(singles[0], singles[0] + len(singles)))
    answer = simulator.get("/api/v5/market/history-trades", instId=SWAP, after=int(rows[-1]["tradeId"]) + 1, limit=10)
    assert [int(row["tradeId"]) for row in answer.json()["data"]] == [int(rows[-1]["tradeId"]) - n for n in range(10)]


def test_the_last_trade_comes_again_for_a_new_subscriber(simulator):
    """It may be as old as it is."""

    def newest():
        return simulator.get("/api/v5/market/trades", instId=SWAP, limit=1).json()["data"]

    wait_until(newest, LIMIT_S)
    simulator.command("rate", rate=0)
    last = newest()[0]
    with Client(simulator) as client:
        client.request("subscribe", arg("trades"))

        assert client.take(1, channel="trades")[0]["data"][0]["tradeId"] == last["tradeId"]


def test_a_book_is_a_chain_of_ids(simulator):
    """A snapshot with -1, then each names the one before, after a maintenance too; the checksum is dead."""
    with Client(simulator) as client:
        client.request("subscribe", arg("books"))
        messages = client.take(20, channel="books")
        simulator.command("restart_u")
        messages += client.take(20, channel="books")
        rows = [message["data"][0] for message in messages]

        assert messages[0]["action"] == "snapshot"
        assert (len(rows[0]["bids"]), rows[0]["prevSeqId"]) == (400, -1)
        assert {message["action"] for message in messages[1:]} == {"update"}
        assert all(row["prevSeqId"] == before["seqId"] for before, row in itertools.pairwise(rows))
        assert any(row["seqId"] < row["prevSeqId"] for row in rows[1:])
        assert {row["checksum"] for row in rows} == {0}

        client.request("subscribe", arg("books"))
        client.take(2, "subscribe")
        assert {message["action"] for message in client.take(10, channel="books")} == {"update"}
        client.request("unsubscribe", arg("books"))
        client.take(1, "unsubscribe")
        client.held.clear()
        client.request("subscribe", arg("books"))
        assert client.take(1, channel="books")[0]["action"] == "snapshot"


def test_small_books_are_whole(simulator):
    """Five levels, and one."""
    with Client(simulator) as client:
        client.request("subscribe", arg("books5"), arg("bbo-tbt"))
        for channel, levels in (("books5", 5), ("bbo-tbt", 1)):
            for message in client.take(5, channel=channel):
                assert "action" not in message
                assert {len(message["data"][0][side]) for side in ("bids", "asks")} == {levels}


def test_all_channels_and_rest_show_one_book(simulator):
    """By the id of a message; REST's snapshot joins the changes by it."""
    with Client(simulator) as client:
        client.request("subscribe", arg("books"), arg("books5"), arg("bbo-tbt"))
        first, *updates = (message["data"][0] for message in client.take(40, channel="books"))
        small, best = (
            {message["data"][0]["seqId"]: message["data"][0] for message in client.take(30, channel=channel)}
            for channel in ("books5", "bbo-tbt")
        )
        shown = simulator.get("/api/v5/market/books", instId=SWAP, sz=400).json()["data"][0]
        updates += [message["data"][0] for message in client.take(20, channel="books")]
    book = {side: {row[0]: row for row in first[side]} for side in ("bids", "asks")}
    compared: set[str] = set()
    for update in updates:
        for side, levels in book.items():
            levels.update((row[0], row) for row in update[side])
            for row in update[side]:
                if row[1] == "0":
                    del levels[row[0]]
        tops = [sorted(book["bids"].values(), key=lambda row: -float(row[0]))]
        tops += [sorted(book["asks"].values(), key=lambda row: float(row[0]))]
        for name, known in (("books5", small), ("bbo-tbt", best), ("rest", {shown["seqId"]: shown})):
            if (other := known.get(update["seqId"])) is not None:
                compared.add(name)
                size = len(other["bids"])
                assert [other["bids"], other["asks"]] == [rows[:size] for rows in tops], name

    assert compared == {"books5", "bbo-tbt", "rest"}
    assert any(update["prevSeqId"] <= shown["seqId"] < update["seqId"] for update in updates)


def test_thirty_seconds_are_borne_without_data_and_without_a_subscription():
    """The engine keeps to them (tests/integration/simulator/test_sockets.py); ping frames count for nothing."""
    limits = DIALECT.limits
    assert (limits.idle_s, limits.idle_code, limits.pings_keep_alive) == (30, 4004, False)
    assert (limits.bare_s, limits.bare_code) == (30, 4004)
    assert (limits.connects, limits.connects_window_s) == (3, 1)


def test_liquidations_of_products_that_nobody_has_are_silent(simulator):
    """They are acknowledged, as all types that exist."""
    with Client(simulator) as client:
        client.request("subscribe", *({"channel": "liquidation-orders", "instType": of} for of in ("FUTURES", "MOON")))
        assert [answer["event"] for answer in client.take(2)] == ["subscribe", "error"]


def test_liquidations_are_of_all_swaps(simulator):
    """Of one symbol there are none."""
    with Client(simulator) as client:
        client.request("subscribe", arg("liquidation-orders"), {"channel": "liquidation-orders", "instType": "SWAP"})
        found = {message["data"][0]["instId"] for message in client.take(40, channel="liquidation-orders")}

        assert [answer["event"] for answer in client.take(2)] == ["error", "subscribe"]
    assert any(name.endswith("-USDT-SWAP") for name in found)
    assert any(name.endswith("-USD-SWAP") for name in found)


def test_ping_is_a_text(simulator):
    """And so is its answer."""
    with Client(simulator) as client:
        client.ws.send("ping")
        assert client.ws.recv(timeout=LIMIT_S) == "pong"


def test_a_silent_connection_is_closed_although_it_pings_by_frames():
    """Only a message counts."""
    with (
        SimulatorProcess("--exchange", "okx", "--rate", 0, "--idle-timeout-s", 1) as simulator,
        Client(simulator) as client,
    ):
        client.request("subscribe", arg("tickers"))
        client.take(1, channel="tickers")
        client.ws.ping()
        with pytest.raises(ConnectionClosed) as closed:
            client.ws.recv(timeout=LIMIT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4004


def test_too_many_requests_an_hour_end_the_connection(simulator):
    """480 are allowed."""
    with Client(simulator) as client:
        for _ in range(480):
            client.request("unsubscribe", arg("trades"))
        client.take(480, "unsubscribe")
        client.request("subscribe", arg("trades"))

        assert client.take(1)[0]["code"] == "60014"
        with pytest.raises(ConnectionClosed):
            client.ws.recv(timeout=LIMIT_S)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "60012"),
        ("[]", "60012"),
        ('{"op":7,"args":[]}', "60012"),
        ('{"op":"dance","args":[]}', "60019"),
        ('{"id":"a-b","op":"subscribe","args":[{"channel":"trades"}]}', "60012"),
        ('{"op":"subscribe","args":[]}', "60013"),
        ('{"op":"subscribe","args":["trades"]}', "60013"),
    ],
)
def test_a_malformed_request_is_refused_as_a_whole(simulator, text, code):
    """It names no topic."""
    with Client(simulator) as client:
        client.ws.send(text)
        assert client.take(1)[0]["code"] == code


def test_args_above_64_kilobytes_are_refused(simulator):
    """Together."""
    with Client(simulator) as client:
        client.request("subscribe", *(arg("trades", f"COIN{number}-USDT-SWAP") for number in range(1600)))
        assert client.take(1)[0]["code"] == "60012"


def test_an_end_is_announced(simulator):
    """Then the connection is closed."""
    with Client(simulator) as client:
        client.request("subscribe", arg("tickers"))
        client.take(1, channel="tickers")
        simulator.command("notice", s=1)
        notice = client.take(1, "notice")[0]

        assert (notice["code"], set(notice)) == ("64008", {"event", "msg", "code", "connId"})
        simulator.command("rate", rate=0)
        with pytest.raises(ConnectionClosed):
            client.take(1, "no such event")


def test_a_recording_comes_back_as_it_is(tmp_path, shared_data):
    """Byte for byte; on the socket that has its channel."""
    lines = (shared_data / "okx" / "ws" / "v5_live_2026.jsonl").read_text().splitlines()
    wanted = [line for line in lines if line.startswith('{"arg":{"channel":"t')]
    topics = {tuple(json.loads(line)["arg"].values()) for line in wanted}
    (tmp_path / "live.jsonl").write_text("\n".join(lines))
    options = ("--rate", 0, "--replay", tmp_path / "live.jsonl", "--replay-when-subscribed", len(topics))
    with SimulatorProcess("--exchange", "okx", *options) as simulator, Client(simulator) as client:
        client.request("subscribe", *(arg(channel, of) for channel, of in topics))
        received: list[str] = []
        while len(received) < len(wanted):
            text = str(client.ws.recv(timeout=LIMIT_S))
            received += [text] if text.startswith('{"arg"') else []

    assert received == wanted
