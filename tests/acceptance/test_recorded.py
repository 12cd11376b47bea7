"""Recorded frames through the simulated sockets: every payload back from Redis, byte for byte.

Of each exchange all recordings are one replay, and one process collects it: per market, channel and path an entry of
STREAMS. What is no market data is left out, and counted.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance.harness import CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

Message = Mapping[str, Any]
NOT_RECORDED = "ADAUSDT"  # what the settings collect beside the recordings: listed, and without a trade


class Place(NamedTuple):
    """Where data of a topic belong: the market, the channel's kind, and the path of their connection."""

    market: str
    kind: str
    path: str


@dataclass(frozen=True)
class Frames:
    """The recordings of an exchange, and how many of their lines are frames of market data.

    `topic_of` a message; "-" and a reason where it is left out. `kinds`: of the first pattern that fits a topic, the
    kind of its channel and the path of its connection; what is of no kind goes with the tickers. `market_of` a file, a
    topic and a text. `published`: what a topic's text is on the collector's connections. `names` of files that are
    recordings of sockets.
    """

    folder: str
    topic_of: Callable[[Message], str]
    market_of: Callable[[str, str, str], str]
    kinds: Mapping[str, tuple[str, str]]
    files: int
    frames: int
    left_out: Mapping[str, int]
    published: Callable[[str, str], str] = lambda _topic, text: text
    names: str = "*"
    beside: int = 0  # topics that the collector subscribes itself beside those of trades, in all


def bybit_topic(message: Message) -> str:
    """As it is written."""
    return str(message.get("topic") or ("-answer" if "op" in message else "-rest"))


def bybit_market(file: str, topic: str, _text: str) -> str:
    """By the file; contracts that are settled in the coin are of USD."""
    for name in ("spot", "option"):
        if name in file:
            return name
    return "inverse" if re.search(r"USD([HMUZ]\d\d)?$", topic) else "linear"


def okx_topic(message: Message) -> str:
    """Channel and what it is of."""
    if "data" not in message:
        return f"-{message.get('event', 'sent')}"
    arg = dict(message["arg"])
    return f"{arg.pop('channel')}:{next(iter(arg.values()))}"


def okx_market(_file: str, topic: str, _text: str) -> str:
    """By the name of the instrument: contracts that are settled in the coin are of USD."""
    parts = topic.partition(":")[2].split("-")
    return "spot" if len(parts) == 2 else "inverse" if "USD" in parts else "linear"


RAW = {"24hrTicker": "ticker", "24hrMiniTicker": "miniTicker", "markPriceUpdate": "markPrice"}
RAW |= {"depthUpdate": "depth@100ms"}
"""Events that are not called as their streams are."""


def binance_topic(message: Message) -> str:
    """The stream; of a message of a raw connection, which names none, by its event."""
    if "generated" in message:
        return "-of the recorder"  # made from REST, in the shape of a stream
    if "stream" in message:
        return str(message["stream"])
    if "result" in message:
        return "-answer"
    if "lastUpdateId" in message:
        return "-rest"
    event, symbol = message.get("e", "bookTicker"), message.get("s") or message["o"]["s"]
    stream = f"kline_{message['k']['i']}" if event == "kline" else RAW.get(event, event)
    return f"{symbol.lower()}@{stream}"


def binance_market(file: str, topic: str, text: str) -> str:
    """By the file; where it has several, by the symbol, and by the digits, which spot has eight of."""
    for name, market in (("spot", "spot"), ("usdm", "linear"), ("coinm", "inverse")):
        if name in file:
            return market
    return "inverse" if "_" in topic.partition("@")[0] else "spot" if re.search(r'\.\d{8}"', text) else "linear"


def binance_published(topic: str, text: str) -> str:
    """Combined, as every connection of the collector is: what was recorded raw is the data of such a message."""
    return text if text.startswith('{"stream"') else f'{{"stream":"{topic}","data":{text}}}'


def bingx_topic(message: Message) -> str:
    """The dataType, which is empty in answers."""
    return str(message["dataType"] or "-answer")


def bingx_market(_file: str, _topic: str, text: str) -> str:
    """By the form: spot has the time of a push in front."""
    return "spot" if '"data":{"E"' in text or '"timestamp"' in text else "linear"


def kucoin_topic(message: Message) -> str:
    """As it is written, in whatever place."""
    if "generated" in message:
        return "-of the recorder"
    return str(message["topic"]) if message.get("type") == "message" else f"-{message.get('type', 'rest')}"


def kucoin_market(_file: str, topic: str, _text: str) -> str:
    """By the channel; futures of all settlements have one socket."""
    return "linear" if topic.startswith("/contract") else "spot"


def bitget_topic(message: Message) -> str:
    """Product, channel and symbol; past trades are not passed on, and of v3 liquidations alone are collected."""
    arg = message.get("arg", {})
    if "data" not in message:
        return f"-{message['event']}"
    if arg["instType"] in ("sp", "mc"):
        return "-v1"
    if "topic" in arg:
        return f"{arg['instType']}:liquidation" if arg["topic"] == "liquidation" else "-v3"
    is_past = arg["channel"] == "trade" and message["action"] == "snapshot"
    return "-past trades" if is_past else ":".join((arg["instType"], arg["channel"], arg["instId"]))


def bitget_market(_file: str, topic: str, _text: str) -> str:
    """By the product; contracts of all settlements are on one socket."""
    return "spot" if topic.startswith("SPOT:") else "linear"


def gate_topic(message: Message) -> str:
    """Channel and what it is of; books whose requests have words that data lack, and v3 of 2020, are not collected."""
    if "generated" in message:
        return "-of the recorder"
    if "method" in message or message["event"] == "subscribe":
        return "-v3" if "method" in message else "-subscribe"
    if message["channel"].endswith((".order_book", ".order_book_update")):
        return "-words"
    row = message["result"]
    while isinstance(row, list):
        row = row[0]
    if "create_time" in row and "create_time_ms" not in row:
        return "-trades of whole seconds"
    of = next((str(row[name]) for name in ("currency_pair", "contract", "s", "n") if "_" in str(row.get(name))), "")
    return f"{message['channel']}:{of.replace('_', ',', 1) if of == row.get('n') else of}"


def gate_market(_file: str, topic: str, _text: str) -> str:
    """By the channel: each market has its own socket."""
    return "spot" if topic.startswith("spot.") else "linear"


EXCHANGES = {
    "bybit": Frames(
        folder="ws",
        topic_of=bybit_topic,
        market_of=bybit_market,
        kinds={
            r"publicTrade": ("trades", ""),
            r"orderbook": ("orderbook", ""),
            r"tickers": ("ticker", ""),
            r"(allL|l)iquidation": ("liquidations", ""),
        },
        files=8,
        frames=101,
        left_out={"answer": 4, "rest": 2},
    ),
    "okx": Frames(
        folder="okx/ws",
        topic_of=okx_topic,
        market_of=okx_market,
        kinds={
            r"trades:": ("trades", "public"),
            r"books|bbo-tbt": ("orderbook", "public"),
            r"liquidation-orders": ("liquidations", "public"),
            r"candle|trades-all": ("ticker", "business"),
            r"": ("ticker", "public"),
        },
        files=4,
        frames=436,
        left_out={"url": 1, "sent": 3, "subscribe": 22, "error": 2, "notice": 1},
    ),
    "binance": Frames(
        folder="binance/ws",
        topic_of=binance_topic,
        market_of=binance_market,
        published=binance_published,
        kinds={
            r".*@trade$": ("trades", "public"),
            r".*@(depth|bookTicker)": ("orderbook", "public"),
            r".*@forceOrder": ("liquidations", "market"),
            r"": ("ticker", "market"),
        },
        files=11,
        frames=5_572,
        left_out={"url": 3, "answer": 2, "rest": 3, "of the recorder": 6},
    ),
    "bingx": Frames(
        folder="bingx",
        names="live.jsonl",
        topic_of=bingx_topic,
        market_of=bingx_market,
        kinds={
            r".*@trade$": ("trades", ""),
            r".*@incrDepth$": ("orderbook", ""),
            r"": ("ticker", ""),
        },
        files=1,
        frames=11,
        left_out={"answer": 1},
    ),
    "bitget": Frames(
        folder="bitget",
        names="*.jsonl",
        topic_of=bitget_topic,
        market_of=bitget_market,
        kinds={
            r"(SPOT|USDT-FUTURES):trade:": ("trades", "v2"),
            r"(SPOT|USDT-FUTURES):books": ("orderbook", "v2"),
            r".*:liquidation": ("liquidations", "v3"),
            r"": ("ticker", "v2"),
        },
        files=7,
        frames=23,
        left_out={"v1": 218, "v3": 11, "sent": 2, "subscribe": 45, "error": 3, "past trades": 1},
    ),
    "gate": Frames(
        folder="gate",
        names="*.jsonl",
        topic_of=gate_topic,
        market_of=gate_market,
        kinds={
            r".*\.trades:": ("trades", ""),
            r".*\.(obu|book_ticker):": ("orderbook", ""),
            r".*\.public_liquidates:": ("liquidations", ""),
            r"": ("ticker", ""),
        },
        files=5,
        frames=143,
        beside=2,
        left_out={
            "words": 313,
            "subscribe": 49,
            "v3": 6,
            "trades of whole seconds": 2,
            "of the recorder": 1,
            "sent": 44,
        },
    ),
    "kucoin": Frames(
        folder="kucoin",
        names="*.jsonl",
        topic_of=kucoin_topic,
        market_of=kucoin_market,
        kinds={
            r"/market/match:|/contractMarket/execution:": ("trades", ""),
            r".*[lL]evel[12]": ("orderbook", ""),
            r"": ("ticker", ""),
        },
        files=6,
        frames=408,
        left_out={"sent": 13, "ack": 14, "welcome": 2, "pong": 1, "error": 2, "of the recorder": 3, "rest": 1},
    ),
}
"""One entry an exchange. What is left out is no market data, or was not received by a socket."""


def lines_of(path: Path) -> Iterator[str]:
    """The messages in a recording, without the recorder's own words; a line without one is yielded as a -word.

    A message may stand as the text `raw` of an object.
    """
    for line in filter(None, map(str.strip, path.read_text().splitlines())):
        entry = json.loads(line) if line.startswith('{"') else {}
        if isinstance(raw := entry.get("raw"), str):
            yield "-sent" if entry.get("dir") == "out" else raw
            continue
        head, brace, rest = line.partition("{")
        is_message = brace and "://" not in head
        yield brace + rest if is_message else "-sent" if " <- " in head else "-url"


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_every_recorded_payload_arrives_unchanged(tmp_path, valkey, shared_data, record_property, exchange):
    """Captures of years and all markets: same bytes, same order, on the channel of their kind and market."""
    table = EXCHANGES[exchange]
    expected: dict[Place, list[bytes]] = defaultdict(list)
    topics: dict[Place, dict[str, None]] = defaultdict(dict)
    left_out: Counter[str] = Counter()
    replay = []
    files = sorted((shared_data / table.folder).glob(table.names))
    for file, text in ((each, text) for each in files for text in lines_of(each)):
        topic = text if text.startswith("-") else table.topic_of(json.loads(text))
        if topic.startswith("-"):
            left_out[topic[1:]] += 1
            continue
        kind, path = next(found for pattern, found in table.kinds.items() if re.match(pattern, topic))
        place = Place(table.market_of(file.name, topic, text), kind, path)
        expected[place].append(table.published(topic, text).encode())
        topics[place][topic] = None
        replay.append(f"0 {place.market} {text}")
    (tmp_path / "frames.txt").write_text("\n".join(replay) + "\n")
    (tmp_path / "replay.py").write_text(script_for(topics))
    count = sum(map(len, expected.values()))
    record_property("summary", f"{exchange}: {count:,} frames of {len(files)} files; left out: {dict(left_out)}")

    assert (len(files), count, left_out) == (table.files, table.frames, table.left_out)
    assert (
        replayed(exchange, tmp_path, valkey.port, table.beside + sum(map(len, topics.values())), expected) == expected
    )


def script_for(topics: Mapping[Place, Mapping[str, None]]) -> str:
    """A user's script with a connection for each place."""
    entries = "".join(
        f"main.STREAMS.append({{'name': {' '.join(place)!r}, 'func': main.subscribe_topics,"
        f" 'args': ({list(names)!r}, main.handle_{place.kind}, {place.market!r})}})\n"
        for place, names in topics.items()
    )
    return f"import main\n{entries}raise SystemExit(main.run())\n"


def replayed(
    exchange: str, folder: Path, port: int, topics: int, expected: Mapping[Place, list[bytes]]
) -> dict[Place, list[bytes]]:
    """What a subscriber receives of a recording, by place, as soon as it is as much as expected."""
    settings = {"EXCHANGE": exchange, "SYMBOLS": NOT_RECORDED, "RAW_STREAMS": "trades", "REDIS_PORT": port}
    args = ("--rate", 0, "--replay", folder / "frames.txt", "--replay-when-subscribed", topics + 1)
    ours = (f"stream:{exchange}_klines", f"stream:{exchange}_status")
    with (
        SimulatorProcess(*args, exchange=exchange) as sim,
        Subscriber(port, exchange) as subscriber,
        CollectorProcess(
            folder, folder / "replay.py", WS_URL=sim.ws_base, REST_URL=sim.rest_url, **settings
        ) as collector,
    ):

        def received() -> int:
            return sum(count for name, count in subscriber.counts().items() if name not in ours)

        count = sum(map(len, expected.values()))
        wait_until(lambda: received() >= count or collector.process.poll() is not None)
        assert collector.stop() == 0, collector.newest_output()
        assert sim.stats()["replay"]["sent"] == count
    place_of = {text: place for place, texts in expected.items() for text in texts}
    found: dict[Place, list[bytes]] = defaultdict(list)
    for name, texts in subscriber.received.items():
        for text in texts if name not in ours else ():
            place = place_of[text]
            beside = "" if place.market == "linear" else f"{place.market}_"
            assert name == f"stream:{exchange}_{beside}{place.kind}", text
            found[place].append(text)
    return found
