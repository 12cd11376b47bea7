"""The sockets of the simulated Bitget: what the documentation and the recordings say of the real one."""

import itertools
import json
from decimal import Decimal

import pytest
from websockets.exceptions import ConnectionClosed

from exchanges.simulated.__main__ import Simulator
from exchanges.simulated.bitget.dialect import DIALECT
from exchanges.simulated.limits import Window
from exchanges.simulated.options import Options
from tests.integration.exchanges.bitget.conftest import FUTURES, LIMIT_S, SPOT, Client, arg
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

DAY_MS, HOUR_MS, MINUTE_MS = 86_400_000, 3_600_000, 60_000
TOO_MANY = {"event": "error", "code": 30006, "msg": "request too many"}


def ids_of(message):
    return [int(row["tradeId"]) for row in message["data"]]


def test_each_arg_is_answered_by_itself_before_all_data(simulator):
    """A wrong one costs the others nothing, and the error names it."""
    wrong, unknown = arg("trade", name="NOPEUSDT"), arg("candle1h", SPOT)
    with Client(simulator) as client:
        client.request("subscribe", arg("ticker"), wrong, arg("books"), unknown, arg("trade", SPOT))
        answers = [client.next() for _ in range(5)]
        brought = client.data(1, arg("books")) + client.data(1, arg("trade", SPOT))

    text = "instType:USDT-FUTURES,channel:trade,instId:NOPEUSDT,precision:null doesn't exist"
    assert answers == [
        {"event": "subscribe", "arg": arg("ticker")},
        {"event": "error", "arg": wrong, "code": 30001, "msg": text, "op": "subscribe"},
        {"event": "subscribe", "arg": arg("books")},
        {"event": "error", "arg": unknown, "code": 30016, "msg": "Param error", "op": "subscribe"},
        {"event": "subscribe", "arg": arg("trade", SPOT)},
    ]
    assert len(brought) == 2


def test_a_symbol_of_another_product_is_acknowledged_and_silent(simulator):
    """One that no product has is refused."""
    elsewhere = [arg("trade", name="BTCPERP"), arg("ticker", SPOT, "BTCUSD"), arg("books", "USDC-FUTURES", "BTCPERP")]
    with Client(simulator) as client:
        client.request("subscribe", *elsewhere, arg("trade", "MOON-FUTURES"), arg("trade"))
        answers = client.answers(5)
        brought = [client.next() for _ in range(50)]

    assert [answer["event"] for answer in answers] == ["subscribe"] * 3 + ["error", "subscribe"]
    assert all(message["arg"] == arg("trade") for message in brought)


def test_both_markets_are_on_one_socket(simulator):
    """Their symbols are named alike."""
    with Client(simulator) as client:
        client.request("subscribe", arg("trade", SPOT), arg("trade"))
        spot, futures = client.data(10, arg("trade", SPOT)), client.data(10, arg("trade"))

    assert not {number for message in spot for number in ids_of(message)}.intersection(*map(ids_of, futures))


def test_trades_come_newest_first_with_ids_that_only_grow(simulator):
    """Even ones, of which none follows another."""
    with Client(simulator) as client:
        client.request("subscribe", arg("trade"))
        messages = client.data(60, arg("trade"))

    assert any(len(message["data"]) > 1 for message in messages[1:])
    assert all(ids_of(message) == sorted(ids_of(message), reverse=True) for message in messages)
    ids = [number for message in messages for number in reversed(ids_of(message))]
    assert ids == sorted(set(ids))
    assert {number % 2 for number in ids} == {0}
    assert all(len(str(number)) == 19 for number in ids)
    assert not any(later - number in (1, 2) for number, later in itertools.pairwise(ids))
    assert all(0 <= message["ts"] - int(message["data"][0]["ts"]) < 1000 for message in messages[1:])
    assert {row["side"] for message in messages for row in message["data"]} == {"buy", "sell"}


def test_past_trades_come_after_each_subscribe(simulator):
    """In a snapshot of fifty at most; all others are updates. Who is subscribed already gets none."""
    path, query = "/api/v2/spot/market/fills", {"symbol": "BTCUSDT"}
    wait_until(lambda: len(simulator.get(path, **query).json()["data"]) > 50, LIMIT_S, poll_s=0.2)
    of = arg("trade", SPOT)
    with Client(simulator) as client:
        client.request("subscribe", of)
        first, *updates = client.data(20, of)
        client.request("subscribe", of)
        client.answers(2)
        updates += client.data(20, of)
        client.request("unsubscribe", of)
        assert client.answers(1) == [{"event": "unsubscribe", "arg": of}]
        updates += [message for message in client.held if message.get("arg") == of]
        client.held.clear()
        client.request("subscribe", of)
        again = client.data(1, of)[0]

    assert (first["action"], len(first["data"])) == (again["action"], len(again["data"])) == ("snapshot", 50)
    assert {message["action"] for message in updates} == {"update"}
    assert set(ids_of(again)) & {number for message in updates for number in ids_of(message)}


def test_a_book_is_a_chain_of_ids(simulator):
    """A snapshot with pseq 0, then each names the one before; a new subscription brings the snapshot again."""
    of = arg("books")
    with Client(simulator) as client:
        client.request("subscribe", of)
        first, *updates = client.data(40, of)
        client.request("unsubscribe", of)
        client.answers(2)
        client.held.clear()
        client.request("subscribe", of)
        again = client.data(1, of)[0]
    rows = [message["data"][0] for message in (first, *updates)]

    assert (first["action"], again["action"], rows[0]["pseq"], again["data"][0]["pseq"]) == ("snapshot",) * 2 + (0,) * 2
    assert {message["action"] for message in updates} == {"update"}
    assert len(rows[0]["bids"]) == len(rows[0]["asks"]) == 500
    assert all(row["pseq"] == before["seq"] for before, row in itertools.pairwise(rows))
    assert any(row["seq"] - row["pseq"] > 1 for row in rows[1:])
    assert all(set(row) == {"asks", "bids", "ts", "seq", "pseq"} for row in rows)
    best = [Decimal(rows[0][side][0][0]) for side in ("bids", "asks")]
    assert best[0] < best[1]
    assert Decimal(rows[0]["bids"][1][0]) < best[0]


def test_a_maintenance_begins_the_ids_of_a_book_anew(simulator):
    """With a snapshot."""
    with Client(simulator) as client:
        client.request("subscribe", arg("books"))
        client.data(5, arg("books"))
        simulator.command("restart_u")
        messages = client.data(30, arg("books"))

    rows = [message["data"][0] for message in messages]
    (anew,) = (number for number, message in enumerate(messages) if message["action"] == "snapshot")
    assert rows[anew]["pseq"] == 0
    assert rows[anew + 1]["pseq"] == rows[anew]["seq"] < rows[anew - 1]["seq"]


def test_small_books_are_whole_and_show_the_same_book(simulator):
    """One, five and fifteen levels."""
    with Client(simulator) as client:
        client.request("subscribe", *(arg(channel) for channel in ("books", "books1", "books5", "books15")))
        first, *updates = (message["data"][0] for message in client.data(30, arg("books")))
        small = {levels: client.data(25, arg(f"books{levels}")) for levels in (1, 5, 15)}
    book = {side: dict(first[side]) for side in ("bids", "asks")}
    shown = {first["seq"]: {side: list(map(list, levels.items())) for side, levels in book.items()}}
    for update in updates:
        for side, levels in book.items():
            levels.update(update[side])
            for price, size in update[side]:
                if size == "0":
                    del levels[price]
        ordered = {side: sorted(map(list, book[side].items()), key=lambda row: float(row[0])) for side in book}
        shown[update["seq"]] = {"bids": ordered["bids"][::-1], "asks": ordered["asks"]}

    for depth, messages in small.items():
        assert {message["action"] for message in messages} == {"snapshot"}
        rows = [message["data"][0] for message in messages]
        assert {row["pseq"] for row in rows} == {0}
        known = [row for row in rows if row["seq"] in shown]
        assert len(known) > 5
        for row in known:
            assert [row[side] for side in ("bids", "asks")] == [
                shown[row["seq"]][side][:depth] for side in ("bids", "asks")
            ]


def test_tickers_are_whole(simulator):
    """Each time; the change is a fraction."""
    with Client(simulator) as client:
        client.request("subscribe", arg("ticker"), arg("ticker", SPOT))
        for of in (arg("ticker"), arg("ticker", SPOT)):
            messages = client.data(3, of)
            rows = [message["data"][0] for message in messages]
            assert {message["action"] for message in messages} == {"snapshot"}
            assert all(set(row) == set(rows[0]) for row in rows)
            assert all(abs(Decimal(row["change24h"])) < 1 for row in rows)
            assert ("markPrice" in rows[0]) == (of["instType"] == FUTURES)


def test_candles_begin_with_many_rows_and_open_at_the_close_before(simulator):
    """The last of them is open; no column says that one has closed."""
    of = arg("candle1m", SPOT)
    with Client(simulator) as client:
        client.request("subscribe", of)
        first, *updates = client.data(3, of)
    rows = first["data"]

    assert (first["action"], {message["action"] for message in updates}) == ("snapshot", {"update"})
    assert len(rows) == 500
    assert {len(row) for row in rows} == {8}
    assert all(int(later[0]) - int(row[0]) == MINUTE_MS for row, later in itertools.pairwise(rows))
    assert all(later[1] == row[4] for row, later in itertools.pairwise(rows))
    assert [len(message["data"]) for message in updates] == [1, 1]
    assert int(updates[0]["data"][0][0]) - int(rows[-1][0]) in (0, MINUTE_MS)


@pytest.mark.parametrize(
    ("channel", "phase"), [("candle6H", 4), ("candle6Hutc", 0), ("candle1D", 16), ("candle1Dutc", 0)]
)
def test_plain_long_candles_begin_in_the_east(simulator, channel, phase):
    """At 16:00 UTC, those with the suffix at midnight; the row that is open, too."""
    step = 6 * HOUR_MS if "6H" in channel else DAY_MS
    with Client(simulator) as client:
        client.request("subscribe", arg(channel))
        first, update = client.data(2, arg(channel))

    starts = [int(row[0]) for row in first["data"] + update["data"]]
    assert {start % step for start in starts} == {phase * HOUR_MS % step}
    assert starts[-1] == starts[-2]
    assert starts[-1] <= update["ts"] < starts[-1] + step


def test_ping_is_a_text(simulator):
    """And so is its answer."""
    with Client(simulator) as client:
        client.ws.send("ping")
        assert client.ws.recv(timeout=LIMIT_S) == "pong"


def test_who_does_not_ping_is_closed_though_data_flow():
    """After two minutes, here after two seconds; ping frames do not count, the text does."""
    assert (DIALECT.limits.idle_s, DIALECT.limits.life_s, DIALECT.limits.bare_s) == (120, 86_400, 30)
    options = ("--exchange", "bitget", "--rate", 200, "--symbols", 1, "--illiquid", 0, "--idle-timeout-s", 2)
    with SimulatorProcess(*options) as simulator, Client(simulator) as silent, Client(simulator) as pinging:
        for client in (silent, pinging):
            client.request("subscribe", arg("trade"))
        received = 0
        for _ in silent.until_closed():
            received += 1
            if received % 50 == 0:
                silent.ws.ping()
                pinging.ws.send("ping")
        for _ in range(received):
            pinging.ws.recv(timeout=LIMIT_S)

    assert received > 100


def test_the_eleventh_message_of_a_second_ends_the_connection(simulator):
    """Pings are messages, too; an error comes first."""
    with Client(simulator) as client:
        for _ in range(11):
            client.ws.send("ping")
        answers = [client.ws.recv(timeout=LIMIT_S) for _ in range(11)]
        with pytest.raises(ConnectionClosed):
            client.ws.recv(timeout=LIMIT_S)

    assert answers[:10] == ["pong"] * 10
    assert json.loads(answers[10]) == TOO_MANY


class Unpaced:
    """A session without a socket, which may send as quickly as it likes."""

    def __init__(self):
        self.simulator = Simulator(Options(categories=("linear", "spot"), symbols=2, illiquid=0, rate=0), "bitget")
        self.session = self.simulator.hub.open("v2", "1")
        self.session.wrap = lambda body: body
        self.simulator.service.opened(self.session, "/v2/ws/public")
        self.session.own["messages"] = Window(0.0)

    def ask(self, op, *args):
        self.simulator.service.handle(self.session, json.dumps({"op": op, "args": args}))
        answers, self.session.pending = self.session.pending, []
        return [json.loads(answer) for answer in answers if b'"event"' in answer]


def test_two_hundred_and_forty_subscribes_an_hour_are_allowed():
    """Requests, not args; what is one too many is not subscribed, and the connection lives."""
    client = Unpaced()
    answers = [client.ask("subscribe", arg("trade"), arg("books"))[0] for _ in range(240)]
    refused = client.ask("subscribe", arg("ticker"))

    assert answers == [{"event": "subscribe", "arg": arg("trade")}] * 240
    assert refused == [TOO_MANY]
    assert client.session.ending is None
    assert len(client.session.topics) == 2
    assert client.ask("unsubscribe", arg("trade"))[0]["event"] == "unsubscribe"


def test_a_thousand_topics_are_allowed():
    """On a connection."""
    client = Unpaced()
    topic = client.simulator.hub.topic("spot", "whatever", "other", "BTCUSDT")
    client.session.topics |= dict.fromkeys(map(str, range(999)), topic)

    answers = client.ask("subscribe", arg("trade"), arg("books"), arg("trade"))
    assert [answer.get("code") for answer in answers] == [None, 30007, None]


def test_args_above_4096_bytes_are_refused_together(simulator):
    """Below it they are not, however many."""
    names = [f"COIN{number:03}USDT" for number in range(59)]
    with Client(simulator) as client:
        client.request("subscribe", arg("trade"), *(arg("trade", name=name) for name in names[:55]))
        assert [answer["event"] for answer in client.answers(56)] == ["subscribe"] + ["error"] * 55
        client.request("subscribe", arg("books"), *(arg("trade", name=name) for name in names))
        assert client.answers(1) == [TOO_MANY]
        assert all(message["arg"] != arg("books") for message in client.data(20, arg("trade")))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 30003),
        ("[]", 30003),
        ('{"op":"dance","args":[{}]}', 30003),
        ('{"op":"subscribe","args":[]}', 30016),
        ('{"op":"subscribe","args":["trade"]}', 30016),
        ('{"op":"subscribe","args":[{"channel":["x"]}]}', 30016),
    ],
)
def test_a_malformed_request_is_refused(simulator, text, code):
    """Nothing is raised."""
    with Client(simulator) as client:
        client.ws.send(text)
        answer = client.answers(1)[0]
        assert (answer["event"], answer["code"]) == ("error", code)


def test_liquidations_are_on_the_newer_socket_alone(simulator):
    """Of all contracts in one topic; the amount is in the quote coin. Others are refused in the text alone."""
    of = {"instType": "usdt-futures", "topic": "liquidation"}
    simulator.command("rate", liquidation=200)
    with Client(simulator) as client, Client(simulator, "v3") as newer:
        client.request("subscribe", arg("liquidation"))
        newer.request("subscribe", of, {**of, "instType": "coin-futures"}, {**of, "instType": "spot"})
        answers = newer.answers(3)
        messages = newer.data(20, of)
        assert client.answers(1)[0]["code"] == 30016
    rows = [row for message in messages for row in message["data"]]

    assert [answer["event"] for answer in answers] == ["subscribe", "subscribe", "error"]
    assert "arg" not in answers[2]
    assert "spot" in answers[2]["msg"]
    assert {row["symbol"] for row in rows} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    assert {row["side"] for row in rows} == {"buy", "sell"}
    assert any(len(message["data"]) > 1 for message in messages)
    amounts = [Decimal(row["amount"]) / Decimal(row["price"]) for row in rows if row["symbol"] == "BTCUSDT"]
    assert all(amount == round(amount, 3) for amount in amounts)


def test_a_recording_comes_back_as_it_is(tmp_path, shared_data):
    """Byte for byte."""
    lines = (shared_data / "bitget" / "live_2026.jsonl").read_text().splitlines()
    texts = [json.loads(line)["raw"] for line in lines]
    wanted = [text for text in texts if text.startswith('{"action"')]
    args = {tuple(json.loads(text)["arg"].values()) for text in wanted}
    (tmp_path / "live.jsonl").write_text("\n".join(texts))
    options = ("--rate", 0, "--replay", tmp_path / "live.jsonl", "--replay-when-subscribed", len(args))
    with SimulatorProcess("--exchange", "bitget", *options) as simulator, Client(simulator) as client:
        client.request("subscribe", *(arg(channel, product, name) for product, channel, name in args))
        received: list[str] = []
        while len(received) < len(wanted):
            text = str(client.ws.recv(timeout=LIMIT_S))
            received += [text] if text.startswith('{"action"') else []

    assert received == wanted
    assert len(wanted) > 7
