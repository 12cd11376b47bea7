"""A dialect is a folder and nothing else, for an exchange unlike those that there are.

It compresses everything, hands out a token by REST, pings by a message, takes one topic a request, acknowledges all of
them, sends a backlog, then the newest trade first, has no ids, and counts in contracts.
"""

import asyncio
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

import exchanges.simulated
from exchanges.simulated.__main__ import Simulator, dialect_of
from exchanges.simulated.options import parse_options
from exchanges.simulated.rest import RestServer

LIMIT_S = 20.0
NAME = "tiny"
DIALECT = """
import json
from decimal import Decimal

from ..dialect import Found, Garbage
from ..instruments import Instrument, coin
from ..limits import SocketLimits
from ..symbol_market import Stream
from ..trades import TradeIds
from ..truth import CandleRule


class Trades(Stream):
    def first(self, now_ms):
        yield self.text("snapshot", list(self.symbol.recent)[-50:])

    def trades(self, trades, now_ms):
        yield self.text("update", trades)

    def text(self, action, trades):
        rows = [{"T": t.event_ms, "p": t.price, "q": t.size, "m": t.side == "Sell"} for t in reversed(trades)]
        return json.dumps({"action": action, "dataType": self.topic.name, "data": rows})


class Tiny:
    name, categories, usual_categories = "Tiny", ("linear",), ("linear",)
    intervals = {"1m": 60_000}
    limits = SocketLimits(ping_every_s=0.3, pong_within_s=1.5, messages_per_s=10)
    garbage = Garbage(lambda *of: b"{}", lambda of: b"{", b"{}", b"{}", b'"p":', "BTC-USDT@trade")

    def check(self, options):
        return ""

    def instrument(self, category, index):
        base, price, *_ = coin(index)
        steps = Decimal("0.1"), Decimal(1)
        return Instrument(category, f"{base}-USDT", base, "USDT", *steps, price, contract_size=Decimal("0.001"))

    def rule(self, category):
        return CandleRule("first_trade", cuts_each=False)

    def marks(self, category):
        return ()

    def trade_ids(self, instrument, index, rng, now_us):
        return TradeIds(0, lambda number: "")

    def state(self, symbol, now_ms):
        return None

    def channel(self, path):
        return "market" if path == "/market" else None

    def categories_of(self, channel, name):
        return self.categories

    def find(self, symbols, channel, name):
        symbol = symbols.get(("linear", name.removesuffix("@trade")))
        return Found("linear", "trades", symbol.instrument.symbol, [symbol]) if symbol else None

    def stream(self, found, topic, symbol):
        return Trades(topic, symbol)

    def topic_of(self, body):
        return None

    def carried(self, topic, body):
        return body

    def kind_of(self, name):
        return "trades"


DIALECT = Tiny()
"""
SERVICE = """
import json
import uuid
from urllib.parse import parse_qs, urlsplit

from ..frames import gzip_frame
from ..rest import Answer
from ..rest_faults import RestFaults
from ..service import Usual


class TinyService(Usual):
    def __init__(self, world):
        self.world, self.tokens = world, set()
        self.faults = RestFaults(world.market.now_ms, prefix="/")

    def refusal(self, target):
        token = parse_qs(urlsplit(target).query).get("token", [""])[0]
        return None if token in self.tokens else (401, "token is invalid")

    def opened(self, session, target):
        self.tokens.remove(parse_qs(urlsplit(target).query)["token"][0])
        session.wrap = gzip_frame
        session.push_text('{"type":"welcome"}')

    def ping(self, session):
        return "Ping"

    def handle(self, session, message):
        if message == "Pong":
            session.answer_ping()
            return
        request = json.loads(message)
        session.push_text(json.dumps({"id": request["id"], "code": 0}))
        if topic := self.world.find(session.category, request["dataType"]):
            self.world.hub.join(session, topic)
            for text in self.world.first(topic):
                self.world.hub.snapshot_to(session, topic, text)

    def answer(self, request):
        if request.method != "POST":
            return Answer(404, {})
        self.tokens.add(token := uuid.uuid4().hex)
        return Answer(200, {"endpoint": self.world.ws_base() + "/market", "token": token})

    def refuse_rest(self, seconds, code):
        return {}


def open_service(world):
    return TinyService(world)
"""


async def read(client: ClientConnection) -> Any:
    """The next message; pings are answered, and counted as what they are."""
    message = await asyncio.wait_for(client.recv(), LIMIT_S)
    assert isinstance(message, bytes)
    text = gzip.decompress(message).decode()
    if text == "Ping":
        await client.send("Pong")
    return text if text == "Ping" else json.loads(text)


async def talk(simulator: Simulator) -> None:
    """What a client of such an exchange does."""
    options = simulator._options
    rest_server = RestServer(simulator.respond)
    rest_port = await rest_server.start(options.host, 0)
    simulator._ws_port = await simulator.ws.start(options.host, 0)
    engine = asyncio.create_task(simulator.engine.run())
    rest = f"http://{options.host}:{rest_port}"

    async def asked(method: str, path: str, **more: Any) -> Any:
        answer = await asyncio.to_thread(requests.request, method, rest + path, timeout=LIMIT_S, **more)
        return answer.json()

    try:
        given = await asked("POST", "/bullet")
        url = f"{given['endpoint']}?token={given['token']}"
        async with connect(url, proxy=None, ping_interval=None) as client:
            await subscribe_and_compare(client, asked)
        with pytest.raises(InvalidStatus, match="401"):  # a token is good once
            await connect(url, proxy=None)
    finally:
        engine.cancel()
        simulator.ws.abort()
        for server in (simulator.ws._server, rest_server._server):
            assert server is not None
            server.close()
            await server.wait_closed()


def span_ms(messages: list[Any]) -> int:
    """From the first trade to the last."""
    times = [row["T"] for message in messages if "data" in message for row in message["data"]]
    return max(times, default=0) - min(times, default=0)


async def subscribe_and_compare(client: ClientConnection, asked: Any) -> None:
    assert await read(client) == {"type": "welcome"}
    for number, name in enumerate(("NONE-USDT@trade", "BTC-USDT@trade")):
        await client.send(json.dumps({"id": number, "reqType": "sub", "dataType": name}))
    messages = [await read(client) for _ in range(3)]
    while messages.count("Ping") < 2 or span_ms(messages) < 2_500:
        messages.append(await read(client))
    await asked("POST", "/sim/rate", json={"rate": 0})
    truth = (await asked("GET", "/sim/klines", params={"symbol": "BTC-USDT", "interval": 1000}))["list"]
    messages = [message for message in messages if message != "Ping"]
    answers = [message for message in messages if "id" in message]
    first, *data = [message for message in messages if "data" in message]

    assert answers == [{"id": 0, "code": 0}, {"id": 1, "code": 0}]
    assert (first["action"], {message["action"] for message in data}) == ("snapshot", {"update"})
    assert {message["dataType"] for message in (first, *data)} == {"BTC-USDT@trade"}
    assert any(len(message["data"]) > 1 for message in data)
    trades = [row for message in (first, *data) for row in reversed(message["data"])]
    assert all("id" not in row for row in trades)
    assert [row["T"] for row in trades] == sorted(row["T"] for row in trades)
    whole = {row["T"] // 1000 for row in trades} - {trades[0]["T"] // 1000, trades[-1]["T"] // 1000}
    compared = 0
    for row in truth:
        if row["start"] // 1000 not in whole:
            continue
        of = [trade for trade in trades if trade["T"] // 1000 == row["start"] // 1000]
        prices = [Decimal(trade["p"]) for trade in of]
        volume = sum(Decimal(trade["q"]) for trade in of) * Decimal("0.001")
        turnover = sum(Decimal(trade["q"]) * Decimal(trade["p"]) for trade in of) * Decimal("0.001")
        found = [Decimal(row[name]) for name in ("open", "high", "low", "close", "volume", "turnover")]
        assert found == [prices[0], max(prices), min(prices), prices[-1], volume, turnover]
        compared += 1
    assert compared > 0


def test_a_dialect_in_a_folder_needs_no_other_file(tmp_path: Path, monkeypatch: Any) -> None:
    """Token, compression, pings as messages, backlog, newest first, no ids, contracts: candles are the true ones."""
    folder = tmp_path / NAME
    folder.mkdir()
    for name, text in (("__init__", ""), ("dialect", DIALECT), ("service", SERVICE)):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(exchanges.simulated, "__path__", [*exchanges.simulated.__path__, str(tmp_path)])
    arguments = ["--symbols", "1", "--illiquid", "0", "--rate", "120", "--true-seconds", "--mix", "trades=1"]
    options = parse_options(arguments, dialect_of(NAME))
    asyncio.run(talk(Simulator(options, NAME)))
