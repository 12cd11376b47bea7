"""exchanges.okx.dialect: what needs no server."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest

from exchanges.okx.dialect.dialect import ARGS_AT_ONCE, ARGS_WAITING, OkxDialect
from model.dialect import DialectOptions
from tests.support.klines import kline

PUBLIC, BUSINESS = "/ws/v5/public", "/ws/v5/business"
SYMBOLS = {"linear": ["BTC-USDT-SWAP"], "spot": ["BTC-USDT"], "inverse": ["BTC-USD-SWAP"]}
EVERY_KIND = ("trades", "orderbook", "ticker", "liquidations")
OPTIONS: dict[str, Any] = {
    "markets": ("linear", "spot", "inverse"),
    "kinds": EVERY_KIND,
    "depth": 400,
    "intervals": ("1m", "1D", "15s"),
    "symbols": lambda market: SYMBOLS[market],
    "contract_sizes": lambda market, _symbol: {"linear": Decimal("0.01"), "inverse": Decimal(100)}[market],
}
TRADE = b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"1","px":"2","sz":"3","side":"buy","ts":"4","count":"1","source":"0","seqId":5}]}'  # noqa: E501
TICKER = b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instType":"SPOT","last":"63707.30"}]}'
BOOK = b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"%s","data":[{"asks":[["11","%d","0","1"]],"bids":[["10","2","0","1"]],"ts":"1","checksum":0,"prevSeqId":%d,"seqId":%d}]}'  # noqa: E501
SNAPSHOT, UPDATE = BOOK % (b"snapshot", 3, -1, 70), BOOK % (b"update", 4, 70, 80)


class Server:
    """The clients of one dialect, each with what it got; all in one thread, and a loop that is turned by hand."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, **changes: object) -> None:
        self.loop = asyncio.new_event_loop()
        self.dialect = OkxDialect(DialectOptions(**(OPTIONS | changes)), clock)
        self.dialect.start(self)
        self.clients: list[FakeClient] = []

    def is_wanted(self, market: str, topic: str) -> bool:
        return any((market, topic) in client.topics for client in self.clients)

    def publish(self, market: str, topic: str, payload: bytes, conflate: object = None) -> None:
        for client in self.clients:
            if (market, topic) in client.topics:
                client.got.append(payload)

    def interrupt(self, market: str, topic: str) -> None:
        raise AssertionError(f"{market} {topic}: nothing is passed on")

    def client(self, path: str = PUBLIC) -> "FakeClient":
        made = FakeClient(self, path)
        self.clients.append(made)
        return made

    def turn(self, action: Callable[[], object]) -> None:
        async def run() -> None:
            action()
            await asyncio.sleep(0)

        self.loop.run_until_complete(run())


class FakeClient:
    """A model.dialect.DialectClient."""

    connection_id = "accb8e21-0000-0000-0000-000000000000"
    query = ""
    is_open = True

    def __init__(self, server: Server, path: str) -> None:
        self.got: list[bytes] = []
        self.topics: set[tuple[str, str]] = set()
        self._server, self.received = server, server.dialect.session(path, self)

    def send(self, payload: bytes) -> None:
        self.got.append(payload)

    def answer(self, text: str) -> None:
        self.got.append(text.encode())

    def subscribe(self, market: str, topics: Iterable[str]) -> None:
        self.topics = {(market, topic) for topic in topics}

    def say(self, message: str | bytes) -> list[Any]:
        """Send a message; returns what came since the last one."""
        self._server.turn(lambda: self.received(message))
        return self.take()

    def ask(self, op: str, *args: object, **more: object) -> list[Any]:
        return self.say(json.dumps({**more, "op": op, "args": args}))

    def take(self) -> list[Any]:
        got, self.got = self.got, []
        return [json.loads(each) if each != b"pong" else "pong" for each in got]


@pytest.fixture
def server():
    made = Server()
    yield made
    made.loop.close()


def arg(channel: str, symbol: str = "BTC-USDT") -> dict[str, str]:
    return {"channel": channel, "instId": symbol}


@pytest.mark.parametrize(
    ("payload", "topic"),
    [
        (TRADE, "trades:BTC-USDT"),
        (b'{"data":[], "arg" : {"instId":"X","channel":"books"}}', "books:X"),
        (b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[]}', "liquidation-orders:SWAP"),
        (b"", ""),
        (b"{}", ""),
        (b"[" * 100_000, ""),
    ],
)
def test_the_topic_of_a_payload_is_found(server, payload, topic):
    """First in the message as OKX has it, or anywhere."""
    assert server.dialect.topic_of(payload) == topic


@pytest.mark.parametrize(
    ("changes", "channels"),
    [
        ({}, {"trades", "tickers", "books", "books5", "bbo-tbt"}),
        ({"depth": 50}, {"trades", "tickers", "books", "books5", "bbo-tbt"}),
        ({"depth": 5}, {"trades", "tickers", "books5", "bbo-tbt"}),
        ({"depth": 1}, {"trades", "tickers", "bbo-tbt"}),
        ({"kinds": ("ticker",)}, {"tickers"}),
        ({"kinds": ()}, set()),
    ],
)
def test_a_client_may_subscribe_what_is_collected(changes, channels):
    """By kind, and books with no more levels than the collected ones; candles in any case, of intervals OKX has."""
    dialect = OkxDialect(DialectOptions(**(OPTIONS | changes)))
    names = ["trades", "trades-all", "tickers", "books", "books5", "bbo-tbt", "books50-l2-tbt", "mark-price", ""]
    names += ["candle1m", "candle3m", "candle1D", "candle1Dutc", "candle15s", "candle", "liquidation-orders"]
    for symbol in ("BTC-USDT", "BTC-USD-SWAP", "BTC-USDT-SWAP"):
        assert {name for name in names if dialect.has(name, symbol)} == channels | {"candle1m", "candle1Dutc"}
    assert not any(dialect.has(name, symbol) for name in names for symbol in ("BTCUSDT", "", "ETH-USDT"))


def test_answers_are_okxs(server):
    """One for each arg, with the id of the request; what else an arg has is dropped."""
    client = server.client()
    answer = {"id": "a1", "event": "subscribe", "arg": arg("trades"), "connId": "accb8e21"}
    assert client.ask("subscribe", {**arg("trades"), "more": 1}, id="a1") == [answer]
    assert client.ask("unsubscribe", arg("trades")) == [
        {"event": "unsubscribe", "arg": arg("trades"), "connId": "accb8e21"}
    ]
    assert client.say("ping") == client.say(b"ping") == ["pong"]
    assert client.ask("login", {"apiKey": "a"}) == [{"event": "login", "code": "0", "msg": "", "connId": "accb8e21"}]


@pytest.mark.parametrize(
    ("path", "wrong", "begin"),
    [
        (PUBLIC, arg("trades", "NONE-USDT"), "Wrong URL or channel:trades,instId:NONE-USDT doesn't exist."),
        (PUBLIC, arg("candle1m"), "Subscribe failed, wrong URL or channel:candle1m,instId:BTC-USDT doesn't exist."),
        (BUSINESS, arg("books"), "Subscribe failed, wrong URL or channel:books,instId:BTC-USDT doesn't exist."),
        (BUSINESS, arg("candle7m"), "Wrong URL or channel:candle7m,instId:BTC-USDT doesn't exist."),
        (PUBLIC, {"channel": "tickers"}, "Wrong URL or channel:tickers,instId:null doesn't exist."),
        (
            PUBLIC,
            {"channel": "liquidation-orders", "instType": "SWAP"},
            "Wrong URL or channel:liquidation-orders,instType:SWAP doesn't exist.",
        ),
    ],
)
def test_a_wrong_arg_costs_the_others_nothing(server, path, wrong, begin):
    """It is named in the text of its error, as at OKX."""
    client, right = server.client(path), arg("trades" if path == PUBLIC else "candle1m")
    first, refused, last = client.ask("subscribe", right, wrong, right)
    assert first == last
    assert (first["event"], refused["event"], refused["code"]) == ("subscribe", "error", "60018")
    assert refused["msg"].startswith(begin)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", "60012"), ("[]", "60012"), ("{", "60012"), ('{"op":7}', "60012"), ("[" * 30_000, "60012"),
        (b"\xff\xfe", "60012"), ('{"id":"a-b","op":"subscribe","args":[]}', "60012"),
        ('{"id":"' + "a" * 33 + '","op":"subscribe"}', "60012"), ('{"op":"dance"}', "60019"),
        ('{"op":"subscribe"}', "60013"), ('{"op":"subscribe","args":[]}', "60013"),
        ('{"op":"subscribe","args":["trades"]}', "60013"), ('{"op":"subscribe","args":[{"channel":7}]}', "60013"),
        ('{"op":"unsubscribe","args":[{"channel":"trades","instId":' + "[" * 900 + "]" * 900 + "}]}", "60013"),
        ('{"op":"subscribe","args":[{"instId":"BTC-USDT"}]}', "60013"),
        (json.dumps({"op": "subscribe", "args": [arg("x")] * (ARGS_WAITING + 1)}), "60014"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_the_connection_lives(server, message, code):
    """An error with OKX's code, whatever it was; the text repeats no more than a part of it."""
    client = server.client()
    (refused,) = client.say(message)
    assert (refused["event"], refused["code"], refused["connId"]) == ("error", code, "accb8e21")
    assert len(refused["msg"]) < 600
    assert client.ask("subscribe", arg("trades"))[0]["event"] == "subscribe"


def test_many_args_are_answered_a_part_at_a_time(server):
    """The snapshots of a thousand books do not hold up the other clients."""
    client, at_once = server.client(), []
    args = [arg("trades", f"NONE{number}") for number in range(2 * ARGS_AT_ONCE)]

    def ask() -> None:
        client.received(json.dumps({"op": "subscribe", "args": args}))
        at_once.append(len(client.got))

    server.turn(ask)
    assert at_once == [ARGS_AT_ONCE]
    named = [each["msg"].partition("instId:")[2].split()[0] for each in client.take()]
    assert named == [each["instId"] for each in args]


def test_raw_payloads_go_on_byte_for_byte(server):
    """To those who asked; books that none could use are withheld."""
    client = server.client()
    client.ask("subscribe", arg("trades"), arg("books"))
    server.dialect.take_raw([("spot", UPDATE), ("spot", TRADE), ("spot", SNAPSHOT), ("spot", b"{}")], [])
    assert client.got == [TRADE, SNAPSHOT]
    assert (server.dialect.withheld, server.dialect.unreadable) == (1, 0)


def test_who_comes_late_begins_with_the_state(server):
    """A snapshot of the book as it is now, the newest ticker; to subscribe again brings none."""
    server.dialect.take_raw([("spot", SNAPSHOT), ("spot", UPDATE), ("spot", TICKER)], [])
    client = server.client()
    _, book, _, ticker = client.ask("subscribe", arg("books"), arg("tickers"))
    data = book["data"][0]
    assert (book["action"], data["prevSeqId"], data["seqId"], data["asks"][0][1]) == ("snapshot", -1, 80, "4")
    assert ticker == json.loads(TICKER)
    assert [each["event"] for each in client.ask("subscribe", arg("books"))] == ["subscribe"]
    client.ask("unsubscribe", arg("books"))
    assert len(client.ask("subscribe", arg("books"))) == 2


def test_the_newest_state_is_there_for_rest(server):
    """Of books and tickers, where they are collected with so many levels."""
    server.dialect.take_raw([("spot", SNAPSHOT), ("spot", TICKER), ("spot", TRADE)], [])
    names = ("books", "books5", "tickers", "trades", "candle1m", "")
    kept = {name for name in names if server.dialect.latest("spot", f"{name}:BTC-USDT")}
    assert kept == {"books", "books5", "tickers"}
    assert server.dialect.latest("spot", "tickers:BTC-USDT") == TICKER


def test_a_book_of_few_levels_is_not_the_state_of_one_with_more():
    """Its snapshot would be answered half."""
    server = Server(depth=5)
    payload = SNAPSHOT.replace(b'"books"', b'"books5"').replace(b'"action":"snapshot",', b"")
    server.dialect.take_raw([("spot", payload)], [])
    assert server.dialect.latest("spot", "books:BTC-USDT") is None
    assert server.dialect.latest("spot", "books5:BTC-USDT") is not None
    server.loop.close()


@pytest.mark.parametrize(
    "broken", [UPDATE.replace(b'"11"', b'"?"'), b'{"arg":{"channel":"books","instId":"BTC-USDT"}}']
)
def test_a_book_that_lacks_a_message_is_not_shown(server, broken):
    """Unreadable, or dropped before it came here; until the next snapshot."""
    server.dialect.take_raw([("spot", SNAPSHOT), ("spot", broken)], [])
    assert server.dialect.unreadable == 1
    server.dialect.take_raw([("spot", SNAPSHOT)], [("spot", "trades:BTC-USDT")])
    client = server.client()
    assert len(client.ask("subscribe", arg("books"))) == 2
    server.dialect.take_raw([("spot", UPDATE)], [("spot", "books:BTC-USDT")])
    assert client.take() == []


def test_smaller_books_are_made_of_the_collected_one(server):
    """Whole messages, when their levels change."""
    client = server.client()
    server.dialect.take_raw([("spot", SNAPSHOT)], [])
    first = client.ask("subscribe", arg("bbo-tbt"), arg("books5"))
    assert [each["data"][0]["asks"] for each in first[1::2]] == [[["11", "3", "0", "1"]]] * 2
    server.dialect.take_raw([("spot", UPDATE)], [])
    assert [each["arg"]["channel"] for each in client.take()] == ["bbo-tbt", "books5"]
    assert client.ask("unsubscribe", arg("books5"))[0]["event"] == "unsubscribe"


def test_candles_open_and_closed(server):
    """Open ones have confirm 0 until the closed one has gone out, never after it; of contracts `vol` is in these."""
    client = server.client(BUSINESS)
    client.ask("subscribe", arg("candle1m", "BTC-USDT-SWAP"), arg("candle1m"))
    server.dialect.opened([("linear", kline(1, symbol="BTC-USDT-SWAP")), ("spot", kline(1, symbol="BTC-USDT"))])
    rows = {each["arg"]["instId"]: each["data"][0] for each in client.take()}
    swap, spot = rows["BTC-USDT-SWAP"], rows["BTC-USDT"]
    server.dialect.closed(
        "linear", [kline(1, symbol="BTC-USDT-SWAP"), kline(1, interval=15_000, symbol="BTC-USDT-SWAP")]
    )
    server.dialect.opened([("linear", kline(1, symbol="BTC-USDT-SWAP"))])
    (closed,) = client.take()
    prices = ["1767717000000", "92967.8", "92970.8", "92815.5", "92846.1"]
    assert swap == [*prices, "3340.4285", "33.404285", "3104285.99121", "0"]
    assert spot == [*prices, "33.404285", "3104285.99121", "3104285.99121", "0"]
    assert closed == {"arg": arg("candle1m", "BTC-USDT-SWAP"), "data": [[*swap[:-1], "1"]]}
    late = server.client(BUSINESS)
    assert late.ask("subscribe", arg("candle1m"))[1]["data"] == [spot]


def test_a_closed_candle_that_is_incomplete_is_sent_when_it_is_whole(server):
    """OKX's own never lack trades, and its clients take the first with confirm 1 for good."""
    client = server.client(BUSINESS)
    client.ask("subscribe", arg("candle1m"))
    server.dialect.closed("spot", [kline(1, symbol="BTC-USDT", complete=False)])
    assert client.take() == []
    server.dialect.closed("spot", [kline(1, symbol="BTC-USDT", revision=1)])
    assert [each["data"][0][-1] for each in client.take()] == ["1"]


def test_no_candle_is_sent_while_the_size_of_its_contract_is_not_known():
    """A wrong number of contracts would be worse than none."""
    server = Server(contract_sizes=lambda *_: None)
    client = server.client(BUSINESS)
    client.ask("subscribe", arg("candle1m", "BTC-USDT-SWAP"))
    server.dialect.closed("linear", [kline(1, symbol="BTC-USDT-SWAP")])
    assert client.take() == []
    server.loop.close()


def test_logins_are_answered_in_okxs_form(server):
    """Where paths ask for one: the answer is the server's, its form the exchange's."""
    right, wrong = (json.loads(make("a-b")) for make in (server.dialect.authorized, server.dialect.unauthorized))
    assert right == {"event": "login", "code": "0", "msg": "", "connId": "ab"}
    assert (wrong["event"], wrong["code"]) == ("error", "60011")
