"""What the floor has to know of an exchange: requests, and by which bytes a payload's kind is found.

Pure. `floor.py` gets it as JSON, for its environment has none of this project's packages. An exchange more is an entry
more in MARKS; one without is measured without its floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from benchmarks.pool import CATEGORY
from exchanges.contract import Endpoints
from exchanges.registry import VENUES
from model.batches import batches
from model.records import Kind

REQUEST_BYTES = 16_000  # of topics in one request
MARKS: Mapping[str, Mapping[Kind, str]] = MappingProxyType(
    {
        "bybit": {
            "trades": '"publicTrade', "orderbook": '"orderbook', "ticker": '"tickers', "liquidations": '"allLiquidation'
        },
        "okx": {
            "trades": '"trades"', "orderbook": '"books"', "ticker": '"tickers"', "liquidations": '"liquidation-orders"'
        },
        "binance": {"trades": "@trade", "orderbook": "@depth", "ticker": "@ticker", "liquidations": "@forceOrder"},
        "gate": {
            "trades": "futures.trades", "orderbook": "futures.obu", "ticker": "futures.tickers",
            "liquidations": "futures.public_liquidates",
        },
        "bitget": {"trades": '"trade"', "orderbook": '"books"', "ticker": '"ticker"', "liquidations": '"liquidation"'},
        "kucoin": {"trades": "/execution:", "orderbook": "/level2Depth50:", "ticker": "/snapshot:"},
        "bingx": {"trades": "@trade", "orderbook": "@depth", "ticker": "@ticker"},
    }
)  # fmt: skip


def plan_of(name: str, symbols: Sequence[str], connections: int) -> dict[str, Any]:
    """The plan of an exchange's floor: all kinds of the symbols, dealt out over so many connections."""
    protocol, spec = VENUES[name].protocol(CATEGORY, Endpoints()), VENUES[name].markets[CATEGORY]
    marks = {kind: mark for kind, mark in MARKS[name].items() if kind in spec.kinds}
    topics = [topic for kind in marks for topic in protocol.topics(kind, symbols, spec.depths[0])]
    # The simulated exchange takes any number of topics at a connection, but no frame above 65,535 bytes.
    limits = replace(protocol.limits, topics=0, bytes=0, bytes_per_message=REQUEST_BYTES)
    requests = [
        [protocol.subscribe(str(number), batch) for number, batch in enumerate(batches(topics[i::connections], limits))]
        for i in range(min(connections, len(topics)))
    ]
    channels = [(mark, f"stream:{name}_{kind}") for kind, mark in marks.items()]
    return {"requests": requests, "marks": channels, "is_gzip": protocol.inflate is not None}
