"""The same trades to bars with what is on PyPI: cryptofeed's OHLCV, nautilus_trader's bars, a polars batch.

Run with the packages of benchmarks/requirements.txt: `klines_others.py CONTENDER FILE MINUTES,...` prints CPU.
klines.py has what each leaves out.
"""

# mypy: ignore-errors
# None of these packages is in the project's environment.

import asyncio
import gc
import json
import sys
import time

from benchmarks.klines_trades import read

ADVANCE_EVERY = 2_000  # messages between two looks at nautilus's timers: as the collector's own batch


def with_cryptofeed(messages, minutes):
    """Its json, its Trade, its OHLCV once per interval. That closes by the clock on the wall: here, never."""
    from decimal import Decimal

    from cryptofeed.backends.aggregate import OHLCV
    from cryptofeed.defines import BUY, BYBIT, SELL
    from cryptofeed.types import Trade
    from yapic import json as fast

    async def handler(_data):
        pass

    async def count():
        bars = [OHLCV(handler, window=60 * step) for step in minutes]
        for at_ms, payload in messages:
            for trade in fast.loads(payload, parse_float=Decimal)["data"]:
                made = Trade(
                    BYBIT,
                    trade["s"],
                    BUY if trade["S"] == "Buy" else SELL,
                    Decimal(trade["v"]),
                    Decimal(trade["p"]),
                    trade["T"] / 1000.0,
                    id=trade["i"],
                    raw=trade,
                )
                for bar in bars:
                    await bar(made, at_ms)
        return sum(len(bar.data) for bar in bars)

    return lambda: asyncio.run(count())


def with_nautilus(messages, minutes):
    """One TimeBarAggregator per symbol and interval on a TestClock, TradeTicks made of msgspec's floats."""
    import msgspec
    from nautilus_trader.common.component import TestClock
    from nautilus_trader.data.aggregation import TimeBarAggregator
    from nautilus_trader.model.data import BarSpecification, BarType, TradeTick
    from nautilus_trader.model.enums import AggressorSide, BarAggregation, PriceType
    from nautilus_trader.model.identifiers import InstrumentId, TradeId
    from nautilus_trader.model.objects import Price, Quantity
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    class Trade(msgspec.Struct, gc=False):
        T: int
        s: str
        S: str
        v: str
        p: str
        i: str

    class Message(msgspec.Struct, gc=False):
        data: list[Trade]

    template = TestInstrumentProvider.btcusdt_perp_binance().to_dict(TestInstrumentProvider.btcusdt_perp_binance())
    specs = [
        BarSpecification(step if step < 60 else step // 60, BarAggregation.MINUTE, PriceType.LAST)
        if step < 60
        else BarSpecification(step // 60, BarAggregation.HOUR, PriceType.LAST)
        if step < 1440
        else BarSpecification(1, BarAggregation.DAY, PriceType.LAST)
        for step in minutes
    ]
    decode = msgspec.json.Decoder(Message).decode
    names = sorted({trade.s for _, payload in messages for trade in decode(payload).data})
    bars, clock = [], TestClock()
    clock.set_time(messages[0][0] * 1_000_000)
    known = {}
    for name in names:
        instrument_id = InstrumentId.from_str(f"{name}.BYBIT")
        instrument = _instrument(template, instrument_id)
        aggregators = [
            TimeBarAggregator(instrument, BarType(instrument_id, spec), bars.append, clock, build_with_no_updates=False)
            for spec in specs
        ]
        known[name] = instrument_id, aggregators

    def count():
        buyer, seller = AggressorSide.BUYER, AggressorSide.SELLER
        for number, (at_ms, payload) in enumerate(messages):
            for trade in decode(payload).data:
                instrument_id, aggregators = known[trade.s]
                ns = trade.T * 1_000_000
                tick = TradeTick(
                    instrument_id,
                    Price.from_str(trade.p),
                    Quantity.from_str(trade.v),
                    buyer if trade.S == "Buy" else seller,
                    TradeId(trade.i),
                    ns,
                    ns,
                )
                for aggregator in aggregators:
                    aggregator.handle_trade_tick(tick)
            if number % ADVANCE_EVERY == 0:
                for event in clock.advance_time(at_ms * 1_000_000):
                    event.handle()
        for event in clock.advance_time((messages[-1][0] + 60_000) * 1_000_000):
            event.handle()
        return len(bars)

    return count


def _instrument(template, instrument_id):
    from nautilus_trader.model.instruments import CryptoPerpetual

    values = {**template, "id": str(instrument_id), "raw_symbol": str(instrument_id.symbol)}
    values |= {"price_precision": 6, "price_increment": "0.000001", "size_precision": 3, "size_increment": "0.001"}
    values |= {name: None for name in ("max_price", "min_price", "max_quantity", "min_quantity") if name in values}
    return CryptoPerpetual.from_dict(values)


def with_polars(messages, minutes):
    """All at once, as a batch: nothing is known before the last trade is there.

    Decoded by the collector's own decoder, which is two to four times as fast as polars' read_ndjson and json_decode.
    """
    import polars as pl

    from exchanges.bybit.trades import trade_decoder
    from exchanges.contract import TradeRules

    def columns():
        payloads = [payload for _, payload in messages]
        batch = trade_decoder(TradeRules(), lambda *_: None)(payloads)
        columns = {"s": batch.symbols, "T": batch.event_ms, "p": batch.prices, "v": batch.sizes}
        return {**columns, "i": batch.ids, "seq": batch.seqs}

    def count():
        frame = pl.DataFrame(columns()).unique("i", keep="first").sort("T", "seq")
        frame = frame.with_columns(turnover=pl.col("p") * pl.col("v"))
        made = 0
        of_trades = {"open": "p", "high": "p", "low": "p", "close": "p"}
        for step in minutes:
            start = (pl.col("T") // (60_000 * step) * 60_000 * step).alias("start")
            bars = frame.group_by("s", start, maintain_order=True).agg(
                pl.col(of_trades["open"]).first().alias("open"),
                pl.col(of_trades["high"]).max().alias("high"),
                pl.col(of_trades["low"]).min().alias("low"),
                pl.col(of_trades["close"]).last().alias("close"),
                pl.col("v").sum(),
                pl.col("turnover").sum(),
                pl.len().alias("trades") if made == 0 else pl.col("trades").sum(),
            )
            made += len(bars)
            if step == minutes[0]:  # the longer ones from the shortest
                frame = bars.rename({"start": "T"})
                of_trades = {name: name for name in of_trades}
        return made

    return count


CONTENDERS = {"cryptofeed": with_cryptofeed, "nautilus": with_nautilus, "polars": with_polars}


def main():
    """Print `{"cpu_s", "klines"}`."""
    name, path, minutes = sys.argv[1:]
    count = CONTENDERS[name](read(path), [int(text) for text in minutes.split(",")])
    gc.collect()
    begin_s = time.process_time()
    made = count()
    print(json.dumps({"cpu_s": time.process_time() - begin_s, "klines": made}))


if __name__ == "__main__":
    main()
