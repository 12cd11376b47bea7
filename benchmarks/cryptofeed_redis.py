"""cryptofeed to Redis: its Bybit feed, its queue and pipeline, PUBLISH where its own backend writes to Redis Streams.

Run with the packages of benchmarks/requirements.txt. One connection for all topics; no liquidations (version 2.4.1 asks
for a topic that Bybit has closed), no klines. What it publishes is its own records, not the exchange's bytes.
"""

# mypy: ignore-errors
# cryptofeed is not in the project's environment.

import asyncio
import os
from collections import defaultdict
from urllib.parse import urlsplit

import uvloop
from cryptofeed import FeedHandler
from cryptofeed.backends.backend import BackendBookCallback, BackendCallback
from cryptofeed.backends.redis import RedisCallback
from cryptofeed.connection import WebsocketEndpoint
from cryptofeed.defines import L2_BOOK, PERPETUAL, TICKER, TRADES
from cryptofeed.exchanges import Bybit
from cryptofeed.symbols import Symbol, Symbols
from redis import asyncio as aioredis
from yapic import json

URL = os.environ["BYBIT_WS_URL"]
CHANNELS = {TRADES: "stream:bybit_trades", L2_BOOK: "stream:bybit_orderbook", TICKER: "stream:bybit_ticker"}
UNCOUNTED = "cryptofeed:more"  # the records of a message but its last: one message in is counted once
KIND_OF_HEAD = {'{"topic":"public': TRADES, '{"topic":"orderb': L2_BOOK, '{"topic":"ticker': TICKER}


class Publisher(RedisCallback):
    """What RedisStreamCallback is, with PUBLISH. `last` is the newest record."""

    last = None

    async def write(self, data):
        self.last = data
        await super().write(data)

    async def writer(self):
        conn = aioredis.from_url(self.redis)
        while self.running:
            async with self.read_queue() as updates, conn.pipeline(transaction=False) as pipe:
                for update in updates:
                    channel, us = update.pop("counted", (UNCOUNTED, 0))
                    pipe = pipe.publish(channel, f'{json.dumps(update)[:-1]},"us":{us:016d}}}')
                await pipe.execute()


class Records(Publisher, BackendCallback):
    """Trades and tickers."""


class Books(Publisher, BackendBookCallback):
    """Book deltas."""

    snapshots_only, snapshot_interval, snapshot_count = False, 1000, defaultdict(int)


class LocalBybit(Bybit):
    """The benchmark's exchange instead of Bybit's; each message's last record carries when it was sent."""

    websocket_endpoints = (
        WebsocketEndpoint(
            URL.replace("ws://", "wss://"), instrument_filter=("TYPE", (PERPETUAL,)), options={"compression": None}
        ),
    )

    def connect(self):
        """It refuses ws:// as an endpoint, and connects to it nevertheless."""
        connections = super().connect()
        for connection, *_ in connections:
            connection.address = URL
        return connections

    async def subscribe(self, connection):
        """As Bybit's, but for the depth of books: 50, as the others ask for."""
        write = connection.write

        async def with_depth_50(text):
            await write(text.replace("orderbook.200.", "orderbook.50."))

        connection.write = with_depth_50
        await super().subscribe(connection)

    async def message_handler(self, msg, conn, timestamp):
        await super().message_handler(msg, conn, timestamp)
        kind = KIND_OF_HEAD.get(msg[:16])
        if kind:
            PUBLISHERS[kind].last["counted"] = CHANNELS[kind], int(msg[-17:-1])


def main():
    """Run until killed."""
    names = {}
    for symbol in os.environ["SYMBOLS"].split(","):
        names[Symbol(symbol.removesuffix("USDT"), "USDT", type=PERPETUAL).normalized] = symbol
    Symbols.set(LocalBybit.id, names, {"tick_size": {}, "instrument_type": dict.fromkeys(names, PERPETUAL)})
    handler = FeedHandler(config={"uvloop": True, "log": {"disabled": True}})
    handler.add_feed(LocalBybit(symbols=list(names), channels=list(PUBLISHERS), callbacks=PUBLISHERS))
    asyncio.set_event_loop(uvloop.new_event_loop())
    handler.run()


redis = urlsplit(os.environ["REDIS_URL"])
PUBLISHERS = {
    TRADES: Records(redis.hostname, redis.port, key="trades"),
    L2_BOOK: Books(redis.hostname, redis.port, key="book"),
    TICKER: Records(redis.hostname, redis.port, key="ticker"),
}

if __name__ == "__main__":
    main()
