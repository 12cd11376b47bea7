"""Frames of the simulated market of any exchange, whose ids go on from one round of the pool to the next.

Pure. All of the linear market: 60 % trades, 30 % books, 8 % tickers, 2 % liquidations of the messages, whatever the
exchange puts into one. What a new subscriber gets first is sent in the first round alone. EXCHANGES has what a
dialect does not say: an exchange more is an entry more.
"""

import functools
import importlib
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.pool import BLOCK, CATEGORY, CLOCK_MS, SEED, STAMP, STAMP_US, Slot, record
from exchanges.contract import Endpoints
from exchanges.registry import VENUES
from exchanges.simulated.frames import gzip_frame, text_frame
from exchanges.simulated.hub import Hub
from exchanges.simulated.market import Market
from exchanges.simulated.options import Options
from model.protocol import Backlog
from model.records import Kind

SHARES: Mapping[Kind, float] = MappingProxyType(
    {"trades": 0.60, "orderbook": 0.30, "ticker": 0.08, "liquidations": 0.02}
)
BYBIT = "bybit"  # what all others are held against
LEAST_ID = 10**9  # shorter ids are raised by it: a frame's length must not change while it counts on
NEAR_MS = re.compile(
    rb"\b(?:1699999999|1700000000)\d{3}(?=\b|\d{6}\b)"
)  # times within a second of CLOCK_MS, also in ns

Answer = Callable[[bytes], tuple[list[str], list[str]]]
"""Takes a client's text; returns the topics that it subscribes and the texts that answer it."""


class Flooded(NamedTuple):
    """What the flooder needs of an exchange.

    `ids` by kind: group 1 is a number that counts on within a topic. `counted`: found once for each trade that is in
    klines. `fresh`: ids of trades that are only new, and how one is written. `wrap`: makes the frame of a message when
    it is sent, where that is no text. `welcome`: the first message of each connection.
    """

    ids: Mapping[Kind, re.Pattern[bytes]]
    counted: re.Pattern[bytes]
    answer: Answer
    fresh: tuple[re.Pattern[bytes], bytes] | None = None
    wrap: Callable[[bytes], bytes] | None = None
    welcome: bytes = b""


def answer_bybit(text: bytes) -> tuple[list[str], list[str]]:
    """One answer for a request."""
    request = json.loads(text)
    op = request["op"]
    answer = {"success": True, "ret_msg": "pong" if op == "ping" else "", "conn_id": "flooder"}
    answer |= {"req_id": request.get("req_id", ""), "op": op}
    return request["args"] if op == "subscribe" else [], [json.dumps(answer)]


def answer_okx(text: bytes) -> tuple[list[str], list[str]]:
    """An answer for each arg; the ping is a text."""
    if text == b"ping":
        return [], ["pong"]
    request = json.loads(text)
    topics = [":".join(arg.values()) for arg in request["args"]] if request["op"] == "subscribe" else []
    head: dict[str, Any] = {"id": request["id"], "event": request["op"]}
    return topics, [_dump({**head, "arg": arg, "connId": "flooder"}) for arg in request["args"]]


def answer_binance(text: bytes) -> tuple[list[str], list[str]]:
    """One answer for a request; pings are frames."""
    request = json.loads(text)
    topics = request["params"] if request["method"] == "SUBSCRIBE" else []
    return topics, [_dump({"result": None, "id": request["id"]})]


def answer_gate(text: bytes) -> tuple[list[str], list[str]]:
    """One answer for a request, which repeats it; the ping is a channel."""
    request = json.loads(text)
    if request["channel"].endswith(".ping"):
        return [], [_dump({"time": request["time"], "channel": "futures.pong", "event": "", "result": None})]
    topics = [f"{request['channel']}:{name}" for name in request["payload"] if name != "!all"]
    answer = request | {"result": {"status": "success"}}
    return topics if request["event"] == "subscribe" else [], [_dump(answer)]


def answer_bingx(text: bytes) -> tuple[list[str], list[str]]:
    """One answer for a request, which has one topic."""
    request = json.loads(text)
    topics = [request["dataType"]] if request["reqType"] == "sub" else []
    return topics, [_dump({"id": request["id"], "code": 0, "msg": "", "dataType": "", "data": None})]


def answer_bitget(text: bytes) -> tuple[list[str], list[str]]:
    """An answer for each arg; the ping is a text."""
    if text == b"ping":
        return [], ["pong"]
    request = json.loads(text)
    topics = [":".join(arg.values()) for arg in request["args"]] if request["op"] == "subscribe" else []
    return topics, [_dump({"event": request["op"], "arg": arg}) for arg in request["args"]]


def answer_kucoin(text: bytes) -> tuple[list[str], list[str]]:
    """One answer for a request, which has a list of symbols."""
    request = json.loads(text)
    if request["type"] == "ping":
        return [], [_dump({"id": request["id"], "type": "pong"})]
    channel, _, symbols = request["topic"].partition(":")
    topics = [f"{channel}:{symbol}" for symbol in symbols.split(",")] if request["type"] == "subscribe" else []
    return topics, [_dump({"id": request["id"], "type": "ack"})]


def _dump(message: object) -> str:
    return json.dumps(message, separators=(",", ":"))


EXCHANGES: Mapping[str, Flooded] = MappingProxyType(
    {
        BYBIT: Flooded(
            {"orderbook": re.compile(rb'"u":(\d+)')},
            re.compile(rb'"i":"'),
            answer_bybit,
            (re.compile(rb'(?<="i":")[^"]+'), b"%08x-50af-54f3-bcb-" + STAMP),
        ),
        "okx": Flooded(
            {
                "trades": re.compile(rb'"tradeId":"(\d+)"'),
                "orderbook": re.compile(rb'"(?:prevSeqId|seqId)":(\d+)'),  # the -1 of a snapshot stays
            },
            re.compile(rb'"tradeId":"'),
            answer_okx,
        ),
        "binance": Flooded(
            {"trades": re.compile(rb'"t":(\d+)'), "orderbook": re.compile(rb'"(?:pu|[Uu])":(\d+)')},
            re.compile(rb'"X":"(?:MARKET|RPI)"'),
            answer_binance,
        ),
        "gate": Flooded(
            {"trades": re.compile(rb'"id":(\d+)'), "orderbook": re.compile(rb'"[Uu]":(\d+)')},
            re.compile(rb'"id":\d+(?![^}]*"is_internal")'),
            answer_gate,
        ),
        "bitget": Flooded(
            {"orderbook": re.compile(rb'"p?seq":([1-9]\d*)')},  # the 0 of a snapshot stays
            re.compile(rb'"tradeId":"'),
            answer_bitget,
            (re.compile(rb'(?<="tradeId":")[^"]+'), b"%06d" + STAMP),
        ),
        "kucoin": Flooded(
            {},
            re.compile(rb'"tradeId":"'),
            answer_kucoin,
            (re.compile(rb'(?<="tradeId":")\d+'), b"%06d" + STAMP),
            welcome=b'{"id":"flooder","type":"welcome"}',
        ),
        "bingx": Flooded({}, re.compile(rb'\{"q":"'), answer_bingx, wrap=gzip_frame),
    }
)


class Pool(NamedTuple):
    """`slots` in the market's order, what new subscribers get first before all others; symbols by category."""

    slots: list[Slot]
    symbols: Mapping[str, list[str]]
    topics: int


def render_exchange(name: str, count: int, at_least: int) -> Pool:
    """Slots of the busiest `count` symbols of an exchange, of the kinds that it has; no gap in any id over rounds."""
    dialect = importlib.import_module(f"exchanges.simulated.{name}.dialect").DIALECT
    hub = Hub()
    options = Options(
        categories=(CATEGORY,), symbols=count, illiquid=0, seed=SEED, history_minutes=0, trades_kept=10**7
    )
    market = Market(options, hub, lambda: CLOCK_MS * 1000, dialect)
    symbols = [symbol for _, symbol in market.symbols]
    kinds: dict[str, Kind] = {}
    recorded: list[tuple[str, str, bytes]] = []
    protocol, spec = VENUES[name].protocol(CATEGORY, Endpoints()), VENUES[name].markets[CATEGORY]
    own = {kind: share for kind, share in SHARES.items() if kind in spec.kinds}
    shares = {kind: share / sum(own.values()) for kind, share in own.items()}  # of less than all no pool becomes full
    for kind in shares:
        topics = protocol.topics(kind, symbols, spec.depths[0])
        kinds |= dict.fromkeys(topics, kind)
        channel = dialect.channel(urlsplit(protocol.endpoint(kind, topics)).path)
        for each in topics:
            topic = market.find(channel, each)
            assert topic is not None, each
            record(hub, market, CATEGORY, topic, recorded)
    # What was before a subscription is not passed on, and not counted.
    recorded[:] = [each for each in recorded if not isinstance(protocol.read(each[2][each[2].index(b'{"') :]), Backlog)]
    first, counts = len(recorded), Counter[Kind]()
    while (done := counts.total()) < at_least:
        due = {kind: max(0.0, share * (done + BLOCK) - counts[kind]) for kind, share in shares.items()}
        market.set_rates({kind.removesuffix("s") if kind == "liquidations" else kind: n for kind, n in due.items()})
        market.step(BLOCK)
        market.repeat()  # what is gathered
        counts.update(kinds[topic] for _, topic, _ in itertools.islice(recorded, first + done, None))
    numbers = {
        symbol: (market.symbols[CATEGORY, symbol].recent[0].number, len(market.symbols[CATEGORY, symbol].recent))
        for symbol in symbols
        if market.symbols[CATEGORY, symbol].recent
    }
    trades = {
        topic: numbers.get(protocol.symbol_of(topic), (0, 0)) for topic, kind in kinds.items() if kind == "trades"
    }
    slots = _slots(EXCHANGES[name], [(topic, kinds[topic], frame) for _, topic, frame in recorded], first, trades)
    return Pool(slots, {CATEGORY: symbols}, len(kinds))


def _slots(
    of: Flooded, recorded: Iterable[tuple[str, Kind, bytes]], first: int, trades: Mapping[str, tuple[int, int]]
) -> list[Slot]:
    """`trades`: the first number, and how many there are, of each topic of trades."""
    bodies = [(topic, kind, frame[frame.index(b'{"') :]) for topic, kind, frame in recorded]
    found: defaultdict[str, list[int]] = defaultdict(list)
    for topic, kind, body in bodies:
        if kind in of.ids:
            found[topic] += map(int, of.ids[kind].findall(body))
    least = {topic: min(ids, default=0) for topic, ids in found.items()}
    steps = {topic: max(ids, default=0) - least[topic] for topic, ids in found.items()}
    if "trades" in of.ids:
        least |= {topic: first_id for topic, (first_id, _) in trades.items()}
        steps |= {topic: count for topic, (_, count) in trades.items()}
    fresh = functools.partial(next, itertools.count())
    return [
        _slot(of, topic, kind, body, least.get(topic, 0), steps.get(topic, 0), fresh, is_first=number < first)
        for number, (topic, kind, body) in enumerate(bodies)
    ]


def _slot(
    of: Flooded, topic: str, kind: Kind, body: bytes, least: int, step: int, fresh: Callable[[], int], *, is_first: bool
) -> Slot:
    """Cut at every time; ids become holes."""
    ids: list[int] = []

    def cut(match: re.Match[bytes]) -> bytes:
        ids.append(int(match[1]) + (LEAST_ID if least < LEAST_ID else 0))
        begin, end = match.start(1) - match.start(), match.end(1) - match.start()
        return match[0][:begin] + b"%d" + match[0][end:]

    trades = len(of.counted.findall(body)) if kind == "trades" else 0
    if kind == "trades" and of.fresh is not None:
        pattern, written = of.fresh
        body = pattern.sub(lambda _match: written % fresh(), body)
    if kind in of.ids:
        body = of.ids[kind].sub(cut, body.replace(b"%", b"%%"))
    body = NEAR_MS.sub(STAMP, body)[:-1] + b',"us":' + STAMP_US + b"}"
    whole = body % tuple(ids) if ids else body.replace(b"%%", b"%") if kind in of.ids else body
    header = b"" if of.wrap else text_frame(whole)[: -len(whole)]
    framed = header.replace(b"%", b"%%") + body if ids else header + whole
    *head, tail = framed[: -len(STAMP_US) - 1].split(STAMP)
    return Slot(f"{CATEGORY}/{topic}", kind, (*head, tail), len(whole), trades, tuple(ids), step, is_first)
