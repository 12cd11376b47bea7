"""The thread `envelopes` with real readers: everything handed over is published, or counted."""

import json
import threading
import time

from consumers.record_decoder import DecodeLimits, RecordDecoder
from exchanges.bybit.records import RECORDS
from exchanges.records import MergingReader, TradeReader
from tests.support.waiting import wait_until

STOP_S = 10.0


def ticker(number, kind="delta"):
    data = {"symbol": "BTCUSDT", "lastPrice": str(number)}
    return json.dumps({"topic": "tickers.BTCUSDT", "type": kind, "data": data}).encode()


def trade(number):
    return json.dumps({"topic": "publicTrade.X", "data": [{"s": "X", "i": str(number)}]}).encode()


def readers(market, kind):
    return {"ticker": MergingReader, "trades": TradeReader}[kind](RECORDS, lambda *_: None)


def test_envelopes_come_without_asking_and_the_stop_brings_the_rest():
    """From its own thread; nothing that was handed over before the stop is lost."""
    got, threads = list[tuple[str, str, dict[str, object]]](), set()

    def publish(market, data_type, records):
        threads.add(threading.current_thread().name)
        got.extend((market, data_type, record) for record in records)

    decoder = RecordDecoder(readers, publish)
    tickers = decoder.sink("spot", "ticker")
    decoder.start()
    trades = decoder.sink("linear", "trades")  # a market that an entry of the user's names may come at any time
    assert tickers
    assert trades
    tickers(ticker(1, "snapshot"))
    wait_until(lambda: len(got) == 2)
    assert got == [
        ("spot", "ticker", {"symbol": "BTCUSDT", "lastPrice": 1}),
        ("spot", "price", {"symbol": "BTCUSDT", "price": 1}),
    ]
    for number in range(3_000):
        trades(trade(number))
    assert decoder.stop(time.monotonic() + STOP_S)
    assert [record["i"] for _, kind, record in got if kind == "trades"] == [str(number) for number in range(3_000)]
    assert threads == {"envelopes"}


def test_a_flood_from_many_threads_never_leaves_a_wrong_ticker():
    """More than the queue holds: the last price is right, and a field whose delta was dropped is marked."""
    newest = {}
    release = threading.Event()

    def publish(_market, data_type, records):
        release.wait(STOP_S)
        newest.update({data_type: records[-1]})

    decoder = RecordDecoder(readers, publish, limits=DecodeLimits(payloads=100))
    put = decoder.sink("linear", "ticker")
    assert put
    put(
        b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","lastPrice":"0","fundingRate":"0.1"}}'
    )
    decoder.start()
    wait_until(lambda: decoder.stats()["queued"] == 0)
    put(b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","fundingRate":"0.2"}}')

    def flood():
        for number in range(2_000):
            put(ticker(number))

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    release.set()
    put(ticker(99))
    assert decoder.stop(time.monotonic() + STOP_S)
    assert decoder.stats()["dropped"] > 7_000
    assert (newest["ticker"]["lastPrice"], newest["price"]["price"]) == (99, 99)
    assert newest["ticker"]["unsure"] == ["fundingRate"]
