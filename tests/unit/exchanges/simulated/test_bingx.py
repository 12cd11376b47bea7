"""The simulated BingX without sockets: the limit of topics, and messages that look as recorded."""

import gzip
import json
from typing import Any

import pytest

from exchanges.simulated.bingx.control import Control
from exchanges.simulated.bingx.dialect import DIALECT
from exchanges.simulated.hub import Hub, Session
from exchanges.simulated.market import Market
from exchanges.simulated.options import Options
from exchanges.simulated.service import World

NOW_MS = 1_790_000_000_000


class Exchange:
    """A market on a clock that stands, and its control messages."""

    def __init__(self, symbols: int = 3) -> None:
        options, self.hub = Options(symbols=symbols, illiquid=0, categories=("linear", "spot")), Hub()
        self.market = Market(options, self.hub, lambda: NOW_MS * 1000, DIALECT)
        self._control = Control(World(options, self.hub, self.market, self.market.find, self.market.snapshots))

    def open(self, channel: str) -> Session:
        session = self.hub.open(channel, "conn")
        self._control.opened(session, "")
        session.wrap = gzip.compress
        return session

    def ask(self, session: Session, topic: str, req_id: str = "1") -> list[dict[str, Any]]:
        """What a request brings at once."""
        self._control.handle(session, json.dumps({"id": req_id, "reqType": "sub", "dataType": topic}))
        return self.told(session)

    def told(self, session: Session) -> list[dict[str, Any]]:
        """What waits for a session."""
        found = [json.loads(gzip.decompress(frame)) for frame in session.pending]
        session.pending.clear()
        return found


def test_the_201st_topic_is_refused_and_may_bring_one_message_all_the_same():
    """With a code of its own; no more comes of it."""
    exchange = Exchange(symbols=101)
    session = exchange.open("linear")
    names = [name for category, name in exchange.market.symbols if category == "linear"]
    topics = [f"{name}@{channel}" for name in names for channel in ("trade", "ticker")]
    codes = [exchange.ask(session, topic)[0]["code"] for topic in topics[:200]]
    refused, leaked = exchange.ask(session, f"{names[100]}@incrDepth", "201")
    exchange.market.symbols["linear", names[100]].book_event(NOW_MS)

    assert set(codes) == {0}
    assert refused == {
        "id": "201", "code": 80403, "msg": "your topic num over max 200", "dataType": "", "data": None,
    }  # fmt: skip
    assert leaked["data"]["action"] == "all"
    assert exchange.told(session) == []


def shape(value: Any) -> Any:
    """Keys in order, and types; of a list its first element's."""
    if isinstance(value, dict):
        return [(key, shape(each)) for key, each in value.items()]
    return [shape(value[0])] if isinstance(value, list) and value else type(value)


@pytest.mark.parametrize(
    ("what", "channel", "topic"),
    [
        ("swap trade", "linear", "BTC-USDT@trade"),
        ("spot trade", "spot", "BTC-USDT@trade"),
        ("swap incrDepth snapshot", "linear", "BTC-USDT@incrDepth"),
        ("swap kline", "linear", "BTC-USDT@kline_1m"),
        ("swap ticker", "linear", "BTC-USDT@ticker"),
        ("spot ticker", "spot", "BTC-USDT@ticker"),
        ("spot kline", "spot", "BTC-USDT@kline_8hour"),
    ],
)
def test_messages_look_as_recorded(shared_data, what, channel, topic):
    """The same keys in the same order, texts and numbers where they are."""
    lines = map(json.loads, (shared_data / "bingx" / "live.jsonl").read_text().splitlines())
    recorded = next(json.loads(line["raw"]) for line in lines if line["what"].startswith(what))
    exchange = Exchange()
    session, symbol = exchange.open(channel), exchange.market.symbols[channel, "BTC-USDT"]
    _, *found = exchange.ask(session, topic)
    for _ in range(2):  # trades of one moment may wait for the next
        symbol.trade_event(NOW_MS)
    symbol.ticker_event(NOW_MS)
    symbol.repeat(NOW_MS)
    exchange.market.push_klines()
    found += exchange.told(session)

    assert shape(found[0]) == shape(recorded)


def test_a_recorded_message_is_known_by_its_topic(shared_data):
    """An answer has none."""
    lines = [json.loads(line) for line in (shared_data / "bingx" / "live.jsonl").read_text().splitlines()]
    topics = {DIALECT.topic_of(line["raw"].encode()) for line in lines}
    kinds = {DIALECT.kind_of(topic) for topic in topics if topic}

    assert None in topics
    assert kinds == {"trades", "orderbook", "ticker", "kline"}
