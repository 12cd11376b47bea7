"""The simulated exchange as a process: sockets, truth, faults, the end."""

import hashlib
import http.client
import json
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from exchanges.simulated.bybit.topics import CATEGORIES, topic_of
from exchanges.simulated.replay import payload_of
from tests.integration.simulator.client import PlainClient
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def shared_sim() -> Iterator[SimulatorProcess]:
    """A busy market that tests share; they must leave it without faults."""
    with SimulatorProcess("--rate", "2000", "--symbols", "4", "--true-seconds") as sim:
        yield sim


def trades_of(texts: list[str]) -> list[dict[str, Any]]:
    """Every trade of the received messages."""
    messages = [json.loads(text) for text in texts]
    return [trade for m in messages if m.get("topic", "").startswith("publicTrade.") for trade in m["data"]]


def test_truth_equals_the_trades_a_client_got(shared_sim: SimulatorProcess) -> None:
    """Every closed second that was fully watched, in Decimal."""
    with PlainClient(shared_sim.ws_url("spot")) as client:
        client.subscribe("publicTrade.ETHUSDT")
        first_ms = client.data(1)[0]["data"][0]["T"]
        while json.loads(client.texts[-1])["ts"] < first_ms + 3500:
            client.receive()
        trades = trades_of(client.texts)
    start = first_ms - first_ms % 1000 + 1000
    candles = shared_sim.klines("ETHUSDT", 1000, "spot", start=start, end=start + 1000)
    assert [candle["start"] for candle in candles] == [start, start + 1000]
    for candle in candles:
        own = [t for t in trades if candle["start"] <= t["T"] < candle["start"] + 1000]
        prices = [Decimal(candle["open"]), *(Decimal(t["p"]) for t in own)]
        assert candle["trade_count"] == len(own) > 5
        assert Decimal(candle["close"]) == prices[-1]
        assert (Decimal(candle["high"]), Decimal(candle["low"])) == (max(prices), min(prices))
        assert Decimal(candle["volume"]) == sum(Decimal(t["v"]) for t in own)
        assert Decimal(candle["turnover"]) == sum(Decimal(t["v"]) * Decimal(t["p"]) for t in own)


def test_rest_keeps_connections_alive(shared_sim: SimulatorProcess) -> None:
    """One TCP connection for many requests, limit headers on each."""
    connection = http.client.HTTPConnection("127.0.0.1", shared_sim.rest_port, timeout=5)
    connection.connect()
    socket = connection.sock
    for _ in range(3):
        connection.request("GET", "/v5/market/time?unused=1")
        answer = connection.getresponse()
        assert answer.headers["X-Bapi-Limit"] == "600"
        assert abs(int(json.load(answer)["result"]["timeSecond"]) - time.time()) < 5
        assert connection.sock is socket
    connection.close()


@pytest.mark.parametrize("code", [1000, 1012])
def test_drop_with_a_close_code(shared_sim: SimulatorProcess, code: int) -> None:
    """Only those who have the topic, by a clean handshake."""
    with PlainClient(shared_sim.ws_url()) as victim, PlainClient(shared_sim.ws_url()) as bystander:
        victim.subscribe("publicTrade.ETHUSDT")
        bystander.subscribe("publicTrade.BTCUSDT")
        assert shared_sim.command("drop", code=code, topic="publicTrade.ETHUSDT") == {"connections": 1}
        with pytest.raises(ConnectionClosed) as closed:
            victim.data(100_000)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
        assert bystander.data(5)


@pytest.mark.parametrize("code", ["abort", "rst"])
def test_drop_without_a_close_frame(shared_sim: SimulatorProcess, code: str) -> None:
    """The connection is simply gone."""
    with PlainClient(shared_sim.ws_url()) as victim:
        victim.subscribe("publicTrade.ETHUSDT")
        shared_sim.command("drop", code=code, topic="publicTrade.ETHUSDT")
        with pytest.raises(ConnectionClosedError) as closed:
            victim.data(100_000)
        assert closed.value.rcvd is None


@pytest.mark.parametrize("code", ["abort", "rst", 1000])
def test_what_is_dropped_counts_no_more(shared_sim: SimulatorProcess, code: str | int) -> None:
    """From the answer on, also where the client reads nothing and so never ends the handshake."""
    with PlainClient(shared_sim.ws_url()) as victim:
        victim.subscribe("publicTrade.ETHUSDT")
        there = shared_sim.stats()
        shared_sim.command("drop", code=code, topic="publicTrade.ETHUSDT")
        left = shared_sim.stats()
        assert left["subscriptions"] == there["subscriptions"] - 1
        assert left["connections"] == there["connections"] - 1


def test_stall_is_silence_without_pongs_and_then_everything(shared_sim: SimulatorProcess) -> None:
    """Kept messages follow when the stall is over."""
    with PlainClient(shared_sim.ws_url()) as client:
        client.subscribe("publicTrade.SOLUSDT")
        client.data(3)
        shared_sim.command("stall", s=60, topic="publicTrade.SOLUSDT")
        client.drain(quiet_s=0.5)
        before = len(trades_of(client.texts))
        client.send(op="ping")
        assert client.drain(quiet_s=0.5) == []
        shared_sim.command("stall", s=0, topic="publicTrade.SOLUSDT")
        client.answer()
        assert len(trades_of(client.texts)) > before
        seqs = [trade["seq"] for trade in trades_of(client.texts)]
        assert seqs == sorted(seqs)


def test_ban_answers_403_until_lifted(shared_sim: SimulatorProcess) -> None:
    """Open connections live on."""
    with PlainClient(shared_sim.ws_url()) as old:
        old.subscribe("publicTrade.BTCUSDT")
        shared_sim.command("ban", s=60)
        with pytest.raises(InvalidStatus) as refused:
            PlainClient(shared_sim.ws_url())
        assert refused.value.response.status_code == 403
        assert old.data(3)
        shared_sim.command("ban", s=0)
        PlainClient(shared_sim.ws_url()).close()


def test_risk_limits_of_all_symbols_come_page_by_page() -> None:
    """As ccxt reads leverage tiers, which freqtrade needs to trade futures."""
    found, cursor = [], None
    with SimulatorProcess("--symbols", 20, "--categories", "linear") as sim:
        while cursor != "":
            answer = sim.get("/v5/market/risk-limit", category="linear", cursor=cursor or "").json()["result"]
            found += [row["symbol"] for row in answer["list"]]
            cursor = answer["nextPageCursor"].replace("%3D", "=")
    assert len(found) == 3 * 20
    assert len(set(found)) == 20


def test_requests_of_clients_are_counted_by_path(shared_sim: SimulatorProcess) -> None:
    """Not those of the control port."""
    path = "/v5/market/time"
    before = shared_sim.stats()["asked"].get(path, 0)
    for _ in range(2):
        shared_sim.get(path, any=1)
    assert shared_sim.stats()["asked"][path] == before + 2
    assert not [each for each in shared_sim.stats()["asked"] if each.startswith("/sim/")]


def test_outage_ends_connections_while_the_market_goes_on(shared_sim: SimulatorProcess) -> None:
    """No connection is accepted, trades happen, then all is as before."""
    with PlainClient(shared_sim.ws_url()) as client:
        client.subscribe("publicTrade.BTCUSDT")
        before = shared_sim.stats()["trades"]
        shared_sim.command("outage", s=60)
        with pytest.raises(ConnectionClosedError):
            client.data(100_000)
    with pytest.raises((InvalidHandshake, OSError, EOFError)):
        PlainClient(shared_sim.ws_url())
    wait_until(lambda: shared_sim.stats()["trades"] > before)
    shared_sim.command("outage", s=0)
    with PlainClient(shared_sim.ws_url()) as client:
        assert client.subscribe("publicTrade.BTCUSDT")["success"] is True


def test_unknown_path_is_404(shared_sim: SimulatorProcess) -> None:
    """As any stream that does not exist."""
    with pytest.raises(InvalidStatus) as refused:
        PlainClient(shared_sim.ws_base + "/v5/public/moon")
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize("what", ["malformed_json", "not_an_object", "unknown_topic", "negative_size", "bad_pong"])
def test_garbage_arrives_and_the_market_goes_on(shared_sim: SimulatorProcess, what: str) -> None:
    """Legal frames with nonsense in them, once each, and the truth unmoved."""
    with PlainClient(shared_sim.ws_url()) as client:
        client.subscribe("publicTrade.SOLUSDT")
        assert shared_sim.command("garbage", what=what, topic="publicTrade.SOLUSDT", connections=1)["frames"] == 1
        for _ in range(200):
            text = str(client.socket.recv(timeout=30))
            if '"data":[{"T"' not in text or '"v":"-1"' in text:
                break
        else:
            pytest.fail("no garbage came")
        assert json.loads(str(client.socket.recv(timeout=30)))["topic"] == "publicTrade.SOLUSDT"
    assert all(Decimal(candle["volume"]) >= 0 for candle in shared_sim.klines("SOLUSDT", 1000))


@pytest.mark.parametrize("what", ["rsv1", "masked", "not_utf8"])
def test_broken_frames_end_a_strict_client(shared_sim: SimulatorProcess, what: str) -> None:
    """The `websockets` client closes with 1002 or 1007."""
    with PlainClient(shared_sim.ws_url()) as client:
        client.subscribe("publicTrade.SOLUSDT")
        shared_sim.command("garbage", what=what, topic="publicTrade.SOLUSDT")
        with pytest.raises(ConnectionClosedError) as closed:
            client.data(100_000)
        assert closed.value.sent is not None
        assert closed.value.sent.code in (1002, 1007)


def test_huge_and_binary_and_fragmented_messages_arrive_whole(shared_sim: SimulatorProcess) -> None:
    """Five megabytes, a binary frame, three fragments."""
    with connect(shared_sim.ws_url("inverse"), compression=None, max_size=1 << 23) as socket:
        for what in ("huge", "binary", "fragmented"):
            shared_sim.command("garbage", what=what, category="inverse")
        huge, binary, joined = (socket.recv(timeout=30) for _ in range(3))
    assert len(huge) == 5_000_000
    assert isinstance(binary, bytes)
    assert json.loads(joined)["data"][0]["p"] == "abc"


def test_duplicates_are_sent_twice_and_counted(shared_sim: SimulatorProcess) -> None:
    """Twice the bytes, once the trade."""
    with PlainClient(shared_sim.ws_url()) as client:
        client.subscribe("publicTrade.ETHUSDT")
        shared_sim.command("duplicate", count=3, topic="publicTrade.ETHUSDT")
        client.data(30)
        assert len(client.texts) - len(set(client.texts)) == 3


def test_refused_symbol_is_unknown_until_allowed(shared_sim: SimulatorProcess) -> None:
    """On the socket and on REST."""
    shared_sim.command("refuse", topics=["SOLUSDT"])
    with PlainClient(shared_sim.ws_url()) as client:
        refusal = client.subscribe("publicTrade.BTCUSDT", "tickers.SOLUSDT")
        assert refusal["ret_msg"] == "error:handler not found,topic:tickers.SOLUSDT"
        assert shared_sim.get("/v5/market/tickers", category="linear", symbol="SOLUSDT").json()["retCode"] == 10001
        shared_sim.command("allow")
        assert client.subscribe("tickers.SOLUSDT")["success"] is True


def test_wrong_command_is_refused_with_a_sentence(shared_sim: SimulatorProcess) -> None:
    """400 for what is asked wrongly, 404 for what does not exist."""
    url = shared_sim.rest_url + "/sim/"
    assert requests.post(url + "stall", json={}, timeout=5).status_code == 400
    assert requests.post(url + "garbage", json={"what": "?"}, timeout=5).status_code == 400
    assert requests.post(url + "nothing", json={}, timeout=5).status_code == 404
    assert requests.get(url + "klines?symbol=BTCUSDT&interval=1500", timeout=5).status_code == 400


def test_totals_after_stop_market_equal_what_clients_got() -> None:
    """The final stats are final, digests included."""
    with SimulatorProcess("--rate", "5000", "--symbols", "3", "--digest") as sim, PlainClient(sim.ws_url()) as client:
        client.subscribe("publicTrade.BTCUSDT", "orderbook.50.BTCUSDT", "tickers.BTCUSDT", "orderbook.1.ETHUSDT")
        client.data(500)
        final = sim.command("stop_market")
        client.drain()
        counts = {"trades": "publicTrade.", "orderbook": "orderbook.", "ticker": "tickers."}
        for kind, head in counts.items():
            texts = [text for text in client.texts if text.startswith(f'{{"topic":"{head}')]
            digest = hashlib.sha256("".join(text + "\n" for text in texts).encode()).hexdigest()
            assert final["sent"][kind] == len(texts) > 0
            assert final["digests"][0]["sha256"][kind] == digest
        assert sim.stats()["sent"] == final["sent"]


def test_flood_sends_exactly_so_many() -> None:
    """As fast as the client takes them, then it stops."""
    with SimulatorProcess("--rate", "0", "--flood", "20000", "--symbols", "3", "--categories", "linear") as sim:
        with PlainClient(sim.ws_url()) as client:
            client.subscribe("publicTrade.BTCUSDT", "orderbook.50.BTCUSDT")
            while sim.stats()["flood_left"]:
                client.drain(quiet_s=0.1)
            client.drain(quiet_s=0.5)
        sent = sim.stats()["sent"]
        assert sum(sent.values()) - 1 == 20_000  # and the book's first snapshot
        assert len([text for text in client.texts if '"topic"' in text]) == 20_001


def test_idle_connection_is_closed() -> None:
    """No ping, no data: ten minutes at Bybit, less here; a ping keeps it."""
    with SimulatorProcess("--rate", "0", "--symbols", "1", "--idle-timeout-s", "3") as sim:
        with PlainClient(sim.ws_url()) as idle, PlainClient(sim.ws_url()) as lively:
            while not sim.stats()["counters"].get("idle_closed"):
                lively.send(op="ping")
                lively.answer()
            with pytest.raises(ConnectionClosed):
                idle.receive()
        assert sim.stats()["counters"]["idle_closed"] == 1


@pytest.mark.parametrize("file", ["publicTrade_BTCUSDC_spot.jsonl", "bybit_raw_stream_sample.txt", "all"])
def test_replay_is_byte_for_byte(shared_data: Path, tmp_path: Path, file: str) -> None:
    """In file order, whatever the topics; control lines are skipped."""
    path = shared_data / "ws" / file
    if file == "all":
        path = tmp_path / "all.jsonl"
        path.write_bytes(b"\n".join(p.read_bytes() for p in sorted((shared_data / "ws").iterdir())))
    bodies = [body for line in path.read_bytes().splitlines() if topic_of(body := payload_of(line, CATEGORIES))]
    topics = list(dict.fromkeys(str(topic_of(body)) for body in bodies))
    with SimulatorProcess("--rate", "0", "--replay", str(path), "--replay-when-subscribed", str(len(topics))) as sim:
        with PlainClient(sim.ws_url()) as client:
            assert client.subscribe(*topics)["success"] is True
            wait_until(lambda: sim.stats()["replay"]["done"])
            client.drain()
        assert [text.encode() for text in client.texts[1:]] == bodies
        assert sim.stats()["replay"]["payloads"] == len(bodies)


def test_killed_simulator_comes_back_on_its_ports() -> None:
    """And a terminated one ends with 0."""
    with SimulatorProcess("--symbols", "2", "--rate", "50") as sim:
        ports = (sim.ws_port, sim.rest_port)
        client = PlainClient(sim.ws_url())
        sim.kill()
        with pytest.raises(ConnectionClosedError):
            client.receive()
        client.close()
        sim.start()
        assert (sim.ws_port, sim.rest_port) == ports
        with PlainClient(sim.ws_url()) as again:
            assert again.subscribe("publicTrade.BTCUSDT")["success"] is True
            assert sim.stop() == 0


def test_interrupted_simulator_ends_with_0() -> None:
    """SIGINT, as from a terminal."""
    with SimulatorProcess("--symbols", "2", "--rate", "5000") as sim:
        assert sim.process is not None
        process = sim.process
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
        assert not sim.stderr


def test_client_that_does_not_read_holds_up_neither_memory_nor_the_end() -> None:
    """A flood waits for it, and SIGTERM does not."""
    arguments = ("--rate", "0", "--flood", "10000000", "--symbols", "2")
    with SimulatorProcess(*arguments) as sim, PlainClient(sim.ws_url()) as deaf:
        deaf.send(op="subscribe", args=["publicTrade.BTCUSDT"])
        wait_until(lambda: sim.stats()["sent"]["trades"] > 1000)
        wait_until(lambda: sim.stats()["sent"] == sim.stats()["sent"])
        assert sim.stop() == 0  # it is killed after some seconds
