"""exchanges.binance.dialect: streams, framings, requests and refusals, without a server."""

import json
from typing import Any

import pytest

from exchanges.binance.dialect.dialect import BinanceDialect
from model.dialect import DialectOptions, passed_on

SYMBOLS = {"spot": ["BTCUSDT", "币安人生USDT"], "linear": ["BTCUSDT", "ETHUSDT"], "inverse": ["BTCUSD_PERP"]}
EVERY_KIND = ("trades", "orderbook", "ticker", "liquidations")
DATA = b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02","T":1,"m":true}'
TRADE = b'{"stream":"btcusdt@trade","data":' + DATA + b"}"
DIFF = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","s":"BTCUSDT","U":5,"u":7,"b":[["1.50","2"]],"a":[]}}'
)
LEVELS = b'[["3.0","1"],["2.0","1"],["1.0","1"],["0.9","1"],["0.8","1"],["0.7","1"]]'
PARTIAL = b'{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":9,"bids":' + LEVELS + b',"asks":[]}}'


class Client:
    """A client, and the publisher that knows what it wants."""

    connection_id = "c1"
    is_open = True

    def __init__(self, query: str = "") -> None:
        self.query = query
        self.got: list[bytes] = []
        self.wanted: set[tuple[str, str]] = set()
        self.interrupted = False

    def send(self, payload: bytes) -> None:
        self.got.append(payload)

    def answer(self, text: str) -> None:
        self.got.append(text.encode())

    def subscribe(self, market: str, topics: Any) -> None:
        self.wanted = {(market, topic) for topic in topics}

    def is_wanted(self, market: str, topic: str) -> bool:
        return (market, topic) in self.wanted

    def publish(self, market: str, topic: str, payload: bytes, conflate: object = None) -> None:
        self.got.append(payload)

    def interrupt(self, market: str, topic: str) -> None:
        if (market, topic) in self.wanted:
            self.interrupted = True

    def take(self) -> list[bytes]:
        taken, self.got = self.got, []
        return taken


def dialect_of(client: Client, **options: Any) -> BinanceDialect:
    values: dict[str, Any] = {"markets": tuple(SYMBOLS), "kinds": EVERY_KIND, "depth": 1000}
    values |= {"symbols": SYMBOLS.__getitem__}
    made = BinanceDialect(DialectOptions(**values | options))
    made.start(client)
    return made


def connected(path: str, *names: str, query: str = "", **options: Any) -> tuple[BinanceDialect, Client, Any]:
    """A client on a path that has subscribed to these streams."""
    client = Client(query)
    dialect = dialect_of(client, **options)
    received = dialect.session(path, client)
    if names:
        received(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
        assert client.take() == [b'{"result":null,"id":1}']
    return dialect, client, received


def asked(received: Any, client: Client, request: object) -> Any:
    received(request if isinstance(request, str | bytes) else json.dumps(request))
    (answer,) = client.take()
    return json.loads(answer)


def test_payloads_go_on_byte_for_byte_wrapped_or_not():
    """Combined streams have the payload as it was collected, raw ones its data."""
    for path, expected in (("/stream", TRADE), ("/ws", DATA), ("/ws/0", DATA), ("/stream/", TRADE)):
        dialect, client, _ = connected(path, "btcusdt@trade")
        dialect.take_raw([("spot", TRADE), ("linear", TRADE), ("spot", DIFF)], [])
        assert client.take() == [expected]


@pytest.mark.parametrize(
    ("path", "query", "market"),
    [
        ("/ws/btcusdt@trade/btcusdt@depth", "", "spot"),
        ("/ws/btcusdt%40trade", "", "spot"),
        ("/stream", "streams=btcusdt@trade/btcusdt%40ticker", "spot"),
        ("/public/stream", "streams=btcusdt@trade", "linear"),
        ("/market/ws/btcusdt@trade", "", "linear"),
        ("/ws/stream/0/btcusdt@trade", "", "spot"),
    ],
)
def test_streams_in_the_url_are_subscribed_without_an_answer(path, query, market):
    """As at Binance: the first message is data."""
    dialect, client, received = connected(path, query=query)
    dialect.take_raw([(market, TRADE), ("inverse", TRADE)], [])
    assert client.take() == [TRADE if "stream?" in f"{path}?" else DATA]
    assert "btcusdt@trade" in asked(received, client, {"method": "LIST_SUBSCRIPTIONS", "id": 3})["result"]


def test_paths_are_binances():
    """Of USD-M below /public and /market; names may follow."""
    paths = BinanceDialect(DialectOptions()).paths
    assert all(path in paths for path in ("/ws", "/ws/a@trade/b@trade", "/stream", "/public/ws", "/market/stream"))
    assert not any(path in paths for path in ("/", "", "/wss", "/streams", "/private/ws", "/x/ws", "/v5/public/linear"))


@pytest.mark.parametrize(
    ("path", "name", "is_here"),
    [
        *(
            ("/ws", name, True)
            for name in ("btcusdt@trade", "btcusdt@ticker", "btcusdt@depth", "btcusd_perp@forceOrder")
        ),
        *(("/ws", f"btcusdt@depth@{speed}ms", True) for speed in (100, 250, 500, 1000)),
        ("/ws", "币安人生usdt@trade", True),
        ("/ws", "btcusd_perp@trade", True),
        ("/public/ws", "btcusd_perp@trade", True),
        ("/public/ws", "ethusdt@forceOrder", True),
        ("/ws", "ethusdt@trade", False),  # USD-M is not on this path: a client of spot must not get futures
        ("/ws", "btcusdt@forceOrder", False),
        *(
            ("/ws", name, False)
            for name in ("BTCUSDT@trade", "xusdt@trade", "btcusdt@aggTrade", "btcusdt@depth20", "@", "")
        ),
        ("/ws", "!ticker@arr", False),
        ("/ws", "btcusdt@trade/btcusdt@ticker", False),
    ],
)
def test_a_stream_that_is_not_collected_is_refused_with_all_of_its_request(path, name, is_here):
    """Binance would acknowledge it and stay silent: here the error names it."""
    _, client, received = connected(path)
    answer = asked(received, client, {"method": "SUBSCRIBE", "params": ["btcusd_perp@trade", name], "id": 7})
    if is_here:
        assert answer == {"result": None, "id": 7}
        return
    assert (answer["id"], answer["error"]["code"]) == (7, 2)
    assert f"there is no stream {name} here" in answer["error"]["msg"]
    assert client.wanted == set()


def test_what_the_settings_leave_out_is_refused():
    """Kinds and intervals that are not collected, markets too."""
    for options in ({"kinds": ("ticker",)}, {"markets": ("linear",)}, {"symbols": lambda _market: ()}):
        _, client, received = connected("/ws", **options)
        assert "error" in asked(received, client, {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})


def test_a_book_of_changes_is_served_under_every_speed():
    """The changes of 100 ms, by the name that was asked for: their ids are the same chain."""
    dialect, client, _ = connected("/stream", "btcusdt@depth", "btcusdt@depth@100ms")
    dialect.take_raw([("spot", DIFF)], [("spot", "btcusdt@depth@100ms")])
    assert sorted(client.take()) == sorted([DIFF, DIFF.replace(b"depth@100ms", b"depth")])


def test_whole_books_are_cut_to_fewer_levels_and_never_made_deeper():
    """Every level as it was written; the fields in their order."""
    dialect, client, _ = connected("/ws", "btcusdt@depth5@100ms", "btcusdt@depth20", depth=20)
    dialect.take_raw([("spot", PARTIAL)], [])
    whole = PARTIAL[len(b'{"stream":"btcusdt@depth20@100ms","data":') : -1]
    assert sorted(client.take()) == sorted([whole, whole.replace(b',["0.7","1"]', b"")])
    _, client, received = connected("/ws", depth=10)
    assert "error" in asked(received, client, {"method": "SUBSCRIBE", "params": ["btcusdt@depth20"], "id": 1})
    assert "error" in asked(received, client, {"method": "SUBSCRIBE", "params": ["btcusdt@depth"], "id": 1})


def test_mini_tickers_are_made_of_tickers():
    """ccxt asks for them where a ticker is wanted. The form is that of a frame recorded in 2026."""
    ticker = (
        b'{"e":"24hrTicker","E":7,"s":"BTCUSDT","ps":"BTCUSDT","p":"-1","P":"-0.5","w":"2","c":"1.0","Q":"3","o":"2.0",'
    )
    ticker += b'"h":"4.10","l":"1.0","v":"9","q":"9.9","O":1,"C":2,"F":3,"L":4,"n":5,"st":1}'
    dialect, client, _ = connected("/market/stream", "btcusdt@ticker", "btcusdt@miniTicker")
    payload = b'{"stream":"btcusdt@ticker","data":' + ticker + b"}"
    dialect.take_raw([("linear", payload)], [])
    mini = b'{"e":"24hrMiniTicker","E":7,"s":"BTCUSDT","ps":"BTCUSDT","c":"1.0","o":"2.0","h":"4.10","l":"1.0",'
    mini += b'"v":"9","q":"9.9","st":1}'
    assert client.take() == [payload, b'{"stream":"btcusdt@miniTicker","data":' + mini + b"}"]


KLINE = b'{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":7,"s":"BTCUSDT","k":{"t":0,"x":true,"V":"1","Q":"2"}}}'


@pytest.mark.parametrize(
    ("path", "name", "market"),
    [
        ("/ws", "btcusdt@kline_1m", "spot"),  # those that are collected have no volume of taker buys
        ("/ws", "solusdt@trade", "spot"),
        ("/ws", "btcusdt@aggTrade", "spot"),
        ("/ws", "btcusdt@depth20@100ms", "spot"),
        ("/ws", "btcusd_260925@trade", "inverse"),
        ("/ws", "btcusd@indexPrice@1s", "inverse"),
        ("/market/ws", "btcusd_perpetual@continuousKline_1m", "inverse"),
        ("/ws", "btcusd1@trade", "spot"),
        ("/ws", "!miniTicker@arr", "spot"),
        ("/public/ws", "btcusdt_260925@bookTicker", "linear"),
        ("/market/ws", "btcusd_perp@markPrice@1s", "inverse"),
        ("/market/ws", "!markPrice@arr@1s", "linear"),
    ],
)
def test_what_is_not_collected_is_passed_on_once_for_all(path, name, market):
    """A stream of the exchange's, byte for byte; no longer than somebody wants it."""
    wanted: list[set[tuple[str, str]]] = []
    dialect, client, received = connected(path, name, pass_on=lambda topics: wanted.append(set(topics)))
    dialect.session(path, client)(json.dumps({"method": "SUBSCRIBE", "params": [name], "id": 2}))
    client.take()
    dialect.opened([])
    assert wanted == [{(market, name)}]
    payload = KLINE.replace(b"btcusdt@kline_1m", name.encode())
    dialect.take_raw([(passed_on(market), payload), (market, payload)], [])
    assert client.take() == [payload[payload.index(b'"data":') + 7 : -1]]

    received(json.dumps({"method": "UNSUBSCRIBE", "params": [name], "id": 3}))
    dialect.opened([])
    assert wanted[1:] == [set()]


def test_a_stream_that_is_collected_is_not_passed_on():
    """Both would bring its messages twice; one that is passed on stays so when its symbol is collected later."""
    symbols = {**SYMBOLS, "spot": ["BTCUSDT"]}
    passed: list[int] = []
    options = {"pass_on": lambda topics: passed.append(len(topics)), "symbols": symbols.__getitem__}
    dialect, client, _ = connected("/stream", "btcusdt@trade", "solusdt@trade", **options)  # type: ignore[arg-type]
    symbols["spot"] = ["BTCUSDT", "SOLUSDT"]
    sol = TRADE.replace(b"btcusdt", b"solusdt")
    dialect.take_raw([("spot", TRADE), ("spot", sol), (passed_on("spot"), sol)], [])
    assert (client.take(), passed) == ([TRADE, sol], [1])


def test_a_hole_in_what_is_passed_on_ends_the_connection_of_who_wants_it():
    """Nothing else would show it: a candle would stay open for ever. Books and trades that are collected have ids."""
    for name, market in (("btcusdt@kline_1m", passed_on("spot")), ("btcusdt@trade", "spot")):
        dialect, client, _ = connected("/ws", name, pass_on=len)
        dialect.take_raw([], [(market, "ethusdt@kline_1m"), (passed_on("linear"), name)])
        assert not client.interrupted
        dialect.take_raw([], [(market, name)])
        assert client.interrupted == (name == "btcusdt@kline_1m")


def test_names_that_are_none_are_refused_where_streams_are_passed_on():
    """By their form: Binance has no such stream for any symbol."""
    passed: list[object] = []
    _, client, received = connected("/ws", pass_on=passed.append)
    for name in (
        "BTCUSDT@trade",
        "btcusdt@nothing",
        "btcusdt",
        "btcusdt@trade/x@trade",
        "!x@arr",
        "",
        "x" * 70 + "@trade",
    ):
        answer = asked(received, client, {"method": "SUBSCRIBE", "params": ["solusdt@trade", name], "id": 7})
        assert answer["error"]["code"] == 2
    assert passed == []


def test_what_is_passed_on_is_bounded():
    """A thousand streams of all clients together; one that is passed on already costs nothing more."""
    passed: list[object] = []
    dialect, client, received = connected("/ws", pass_on=passed.append)
    for begin in range(0, 1000, 100):
        names = [f"x{number}usdt@kline_1m" for number in range(begin, begin + 100)]
        assert asked(received, client, {"method": "SUBSCRIBE", "params": names, "id": 1})["result"] is None
    other = dialect.session("/ws", client)
    assert asked(other, client, {"method": "SUBSCRIBE", "params": ["zusdt@trade"], "id": 9})["error"]["code"] == 4
    assert asked(other, client, {"method": "SUBSCRIBE", "params": ["x7usdt@kline_1m"], "id": 9})["result"] is None


@pytest.mark.parametrize(
    ("request_", "code", "request_id"),
    [
        ("", 3, None),
        ("{", 3, None),
        (b"\xff\xfe", 3, None),
        ("[" * 3000, 3, None),
        ("[]", 2, None),
        ("7", 2, None),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1.5}, 2, None),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1 << 63}, 2, None),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": "x" * 37}, 2, None),
        ({"method": "subscribe", "params": ["btcusdt@trade"], "id": 1}, 2, 1),
        ({"op": "subscribe", "args": ["btcusdt@trade"], "id": -1}, 2, -1),
        ({"method": ["x"], "id": 1}, 2, 1),
        ({"method": "SUBSCRIBE", "id": 1}, 2, 1),
        ({"method": "SUBSCRIBE", "params": [], "id": 1}, 2, 1),
        ({"method": "SUBSCRIBE", "params": "btcusdt@trade", "id": 1}, 2, 1),
        ({"method": "SUBSCRIBE", "params": [7], "id": 1}, 1, 1),
        ({"method": "SUBSCRIBE", "params": ["x" * 9000], "id": 1}, 2, None),
        ({"method": "GET_PROPERTY", "params": ["x"], "id": 1}, 0, 1),
        ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1, 1),
    ],
)
def test_nonsense_is_refused_with_binances_codes(request_, code, request_id):
    """An answer, whatever it was; the connection lives."""
    _, client, received = connected("/ws")
    answer = asked(received, client, request_)
    assert (answer["error"]["code"], answer["id"]) == (code, request_id)
    assert len(json.dumps(answer)) < 400
    assert asked(received, client, {"method": "LIST_SUBSCRIPTIONS", "id": 2}) == {"result": [], "id": 2}


def test_subscriptions_are_listed_left_and_framed_anew():
    """A repeated subscribe is acknowledged and data comes once; SET_PROPERTY turns wrapping on and off."""
    dialect, client, received = connected("/ws", "btcusdt@trade", "btcusdt@ticker")
    assert asked(received, client, {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 2})["result"] is None
    dialect.take_raw([("spot", TRADE)], [])
    assert client.take() == [DATA]
    assert asked(received, client, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 3})["result"] is None
    assert asked(received, client, {"method": "GET_PROPERTY", "params": ["combined"], "id": 3})["result"] is True
    dialect.take_raw([("spot", TRADE)], [])
    assert client.take() == [TRADE]
    assert asked(received, client, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade", "x@y"], "id": 4})["id"] == 4
    assert asked(received, client, {"method": "LIST_SUBSCRIPTIONS", "id": 5})["result"] == ["btcusdt@ticker"]
    dialect.take_raw([("spot", TRADE)], [])
    assert client.take() == []


def test_a_connection_has_1024_streams():
    """Binance's limit and words."""
    many = [f"x{number}usdt" for number in range(1025)]
    _, client, received = connected("/ws", symbols=lambda _market: {name.upper() for name in many})
    for begin in range(0, 1024, 128):
        names = [f"{name}@trade" for name in many[begin : begin + 128]]
        assert asked(received, client, {"method": "SUBSCRIBE", "params": names, "id": 1})["result"] is None
    answer = asked(received, client, {"method": "SUBSCRIBE", "params": [f"{many[-1]}@trade"], "id": 19})
    assert answer == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19}


@pytest.mark.parametrize("query", ["streams=btcusdt@trade/nope@trade", "streams=btcusdt@trade&timeUnit=MICROSECOND"])
def test_a_url_that_asks_for_what_is_not_there_is_told_at_once(query):
    """Nothing of it is subscribed."""
    _, client, _ = connected("/stream", query=query)
    (answer,) = client.take()
    assert json.loads(answer)["error"]["code"] == 2
    assert client.wanted == set()


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"stream":"btcusdt@trade","data":', b'{"e":"trade"}', DATA])
def test_a_payload_that_cannot_be_read_costs_itself(payload):
    """What follows goes on."""
    dialect, client, _ = connected("/ws", "btcusdt@trade", "btcusdt@depth5", depth=20)
    broken = PARTIAL.replace(b'"asks":[]', b'"asks":[')
    dialect.take_raw([("spot", payload), ("spot", broken), ("spot", TRADE)], [])
    assert client.take() == [DATA]
    assert dialect.unreadable >= 1


def test_nothing_is_made_for_clients_that_are_gone():
    """A stream that nobody wants any more is forgotten with its next message."""
    dialect, client, _ = connected("/ws", "btcusdt@trade")
    client.wanted = set()
    dialect.take_raw([("spot", TRADE)], [])
    client.wanted = {("", "spot/ws/btcusdt@trade")}
    dialect.take_raw([("spot", TRADE)], [])
    assert client.take() == []
