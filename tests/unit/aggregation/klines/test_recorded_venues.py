"""Recorded trades and candles of Binance, OKX, Gate and KuCoin: what each made of the same trades, and its roll-ups."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from aggregation.klines.arithmetic import Arithmetic
from aggregation.klines.table import KlineTable
from aggregation.recovery.candles import rolled_up
from model.intervals import parse_interval
from model.records import Candle, Kline, TradeBatch

SPOT = Arithmetic("first_trade", "first_trade")
SWAP = Arithmetic("first_trade", "first_trade", has_contracts=True)
MINUTE, DAY = 60_000, 86_400_000
PARTS = 1_000  # trades of one batch, as a burst has
DISTURBED_MS = ((1_730_131_200_000, 1_730_152_800_000), (1_738_112_400_000, 1_738_119_600_000))
"""Whole hours around 2024-10-28 16:30 to 21:00 and 2025-01-29 01:00 to 02:30: there Binance's lengths contradict."""

Rows = list[dict[str, str]]


def read(path: Path) -> Rows:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return list(csv.DictReader(text.splitlines()))


def klines_of(
    trades: Iterable[tuple[int, str, str]], names: Sequence[str], until_ms: int, arithmetic: Arithmetic, size: str = "1"
) -> dict[tuple[int, int], Kline]:
    """Time, price and size of trades -> length and start -> kline."""
    rows, klines = list(trades), []
    kt = KlineTable(map(parse_interval, names), arithmetic=arithmetic, size_of=lambda _: Decimal(size))
    for first in range(0, len(rows), PARTS):
        times, prices, sizes = zip(*rows[first : first + PARTS], strict=True)
        count = len(times)
        columns = list(times), list(map(float, prices)), list(map(float, sizes)), [0] * count, [""] * count
        klines += kt.add(TradeBatch(["X"] * count, *columns))
    klines += kt.close_until(until_ms)
    return {(kline.interval, kline.timestamp): kline for kline in klines}


def ohlc(kline: Kline | Candle) -> tuple[Decimal, ...]:
    return (kline.open, kline.high, kline.low, kline.close)


def written(row: Mapping[str, str], *names: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(row[name]) for name in ("open", "high", "low", "close", *names))


def test_five_minutes_of_binance_equal_in_all_columns(shared_data):
    """19,562 trades of BTCUSDT, USD-M: open, high, low, close, volume, turnover and count of each minute."""
    folder = shared_data / "binance/klines"
    rows = read(folder / "usdm_BTCUSDT_trades_2024-08-08T2355.csv.gz")
    trades = [(int(row["T"]), row["p"], row["q"]) for row in rows if row["X"] == "MARKET"]
    end_ms = 1_723_161_600_000
    klines = klines_of(trades, ("1m", "5m"), end_ms, SPOT)
    compared = 0
    for row in read(folder / "usdm_BTCUSDT_1m_2024-08-08T2354.csv"):
        if kline := klines.get((MINUTE, int(row["open_time"]))):
            found = (*ohlc(kline), kline.volume, kline.turnover, kline.trade_count)
            assert found == (*written(row, "volume", "quote_volume"), int(row["count"]))
            compared += 1

    assert (len(trades), compared) == (19_562, 5)
    assert klines[5 * MINUTE, end_ms - 5 * MINUTE].trade_count == 19_562


def test_a_minute_of_okx_equals_in_all_columns(shared_data):
    """14 trades of MATIC-USDT-SWAP, ten coins each contract: base and quote volume are the exchange's."""
    folder = shared_data / "okx/klines"
    rows = read(folder / "swap_MATIC-USDT-SWAP_trades_1692547260000.csv")
    (candle,) = read(folder / "swap_MATIC-USDT-SWAP_1m_1692547260000.csv")
    trades = [(int(row["created_time"]), row["price"], row["size"]) for row in rows]
    start_ms = int(candle["open_time"])
    kline = klines_of(trades, ("1m",), start_ms + MINUTE, SWAP, "10")[MINUTE, start_ms]

    assert (*ohlc(kline), kline.volume, kline.turnover) == written(candle, "volCcy", "volCcyQuote")


def test_traded_minutes_of_binance_spot_equal(shared_data):
    """2,136 trades of XRPETH: 309 minutes; the file lacks the empty ones, which are flat here."""
    folder = shared_data / "binance/klines"
    rows = read(folder / "spot_XRPETH_trades_2019-10-11.csv")
    candles = {int(row["open_time"]): row for row in read(folder / "spot_XRPETH_1m_2019-10-11.csv")}
    trades = [(int(row["time"]), row["price"], row["amount"]) for row in rows]
    klines = klines_of(trades, ("1m",), max(candles) + MINUTE, SPOT)
    differing = [start for start, row in candles.items() if _spot(klines[MINUTE, start]) != written(row, "volume")]
    flat = [kline for (_, start), kline in klines.items() if start not in candles]

    assert differing == []
    assert flat
    assert all(not kline.volume and len({*ohlc(kline)}) == 1 for kline in flat)


def _spot(kline: Kline) -> tuple[Decimal, ...]:
    return (*ohlc(kline), kline.volume)


def candles_in(rows: Rows, interval: str | None = None) -> dict[int, Candle]:
    """Candles by start; turnover is not recorded."""
    wanted = [row for row in rows if interval is None or row["interval"] == interval]
    starts = [int(row["open_time"]) for row in wanted]
    values = [[*written(row, "volume"), Decimal(0)] for row in wanted]
    return {start: Candle(start, *row) for start, row in zip(starts, values, strict=True)}


@pytest.mark.parametrize(
    ("short", "step_ms", "long", "length_ms", "compared"),
    [("5m", 300_000, "15m", 900_000, 140), ("5m", 300_000, "1h", 3_600_000, 35), ("15m", 900_000, "1h", 3_600_000, 35)],
)
def test_binances_longer_candles_are_roll_ups_outside_disturbed_hours(
    shared_data, short, step_ms, long, length_ms, compared
):
    """WIFUSDT, USD-M; within them candles of different lengths contradict each other, whatever is rolled up."""
    rows = read(shared_data / "binance/klines/usdm_rollup_WIFUSDT_5m_15m_1h.csv")
    shorter, longer = candles_in(rows, short), candles_in(rows, long)
    found = {start: rolled_up(shorter, start, start + length_ms, step_ms, "first_trade") for start in longer}
    calm = [
        start
        for start, candle in found.items()
        if candle and not any(since <= start < until for since, until in DISTURBED_MS)
    ]

    assert [start for start in calm if found[start] != longer[start]] == []
    assert len(calm) == compared


FILES = {
    "okx/klines/swap_OP-USDT-SWAP_5m_2022-12-18_outage.csv": ("5m", ("1h", "4h"), 300_000),
    "okx/klines/swap_BTC-USDT-SWAP_1m_2026-01_600rows.csv": ("1m", ("5m", "1h"), MINUTE),
    "okx/klines/spot_BTC-USD_1d_eea_2024-12.csv": ("1d", ("1w",), DAY),
    "binance/klines/usdm_ALGOUSDT_1m_2024-09_480rows.csv": ("1m", ("5m", "1h"), MINUTE),
    "binance/klines/spot_BONDUSDT_1m_2021-08-28.csv": ("1m", ("5m", "15m"), MINUTE),
}


def trades_of(candles: Iterable[Candle]) -> Iterator[tuple[int, str, str]]:
    """Synthetic trades that make each candle: open, high, low, close; a flat filler has none."""
    for candle in candles:
        if candle.volume:
            share = candle.volume / 8  # exact, in three decimals more
            for i, (price, parts) in enumerate(zip(ohlc(candle), (1, 1, 1, 5), strict=True)):
                yield candle.start_ms + i, str(price), str(share * parts)


@pytest.mark.parametrize("name", FILES)
def test_recorded_candles_and_their_roll_ups_by_trades_and_by_candles(shared_data, name):
    """Made up of trades that fit, each candle is the exchange's, flat fillers too; longer ones made of trades equal
    those that repair and backfill make of the exchange's candles."""
    short, longer, step_ms = FILES[name]
    recorded = candles_in(read(shared_data / name))
    first = next(start for start, candle in recorded.items() if candle.volume)
    recorded = {start: candle for start, candle in recorded.items() if start >= first}
    klines = klines_of(trades_of(recorded.values()), (short, *longer), max(recorded) + step_ms, SPOT)
    for start, candle in recorded.items():
        assert _spot(klines[step_ms, start]) == (*ohlc(candle), candle.volume), start
    for (length_ms, start), kline in klines.items():
        if length_ms > step_ms and start >= first:
            whole = rolled_up(recorded, start, start + length_ms, step_ms, "first_trade")
            assert whole is not None
            assert _spot(kline) == (*ohlc(whole), whole.volume), (length_ms, start)


def test_flat_fillers_give_longer_candles_nothing():
    """An hour that begins with an empty candle outside all of its prices; one that is all empty is flat."""
    one, two, three = map(Decimal, (1, 2, 3))
    flat = Candle(0, one, one, one, one, Decimal(0), Decimal(0))
    traded = Candle(MINUTE, two, three, two, three, one, two)
    after = Candle(2 * MINUTE, three, three, three, three, Decimal(0), Decimal(0))
    by_start = {candle.start_ms: candle for candle in (flat, traded, after)}
    first_trade = rolled_up(by_start, 0, 3 * MINUTE, MINUTE, "first_trade")
    prev_close = rolled_up(by_start, 0, 3 * MINUTE, MINUTE, "prev_close")
    empty = rolled_up({0: flat, MINUTE: flat}, 0, 2 * MINUTE, MINUTE, "first_trade")

    assert first_trade == Candle(0, two, three, two, three, one, two)
    assert prev_close == Candle(0, one, three, one, three, one, two)
    assert empty == flat


def gate_candles(folder: Path, symbol: str, interval: str) -> dict[int, Candle]:
    """Candles by start, volumes in contracts."""
    rows = read(folder / f"gate/futures_{symbol}_{interval}_2024-08.csv")
    return candles_in([row | {"open_time": row["open_time_ms"]} for row in rows])


@pytest.mark.parametrize(
    ("symbol", "size", "compared", "quiet", "outside"),
    [("FUN_USDT", "10", 62, 40, 161), ("BTC_USDT", "0.0001", 24, 0, 76), ("ZKJ_USDT", "1", 31, 21, 148)],
)
def test_gates_longer_candles_are_roll_ups_of_the_traded_ones(shared_data, symbol, size, compared, quiet, outside):
    """Each 4h of futures that has all its 5m, in open, high, low, close, volume: by trades and by candles. The first
    trade opens, also where the first 5m is empty (`quiet`); the close before is mostly not in a candle (`outside`)."""
    short, longer = (gate_candles(shared_data, symbol, interval) for interval in ("5m", "4h"))
    step_ms, length_ms = 300_000, 14_400_000
    klines = klines_of(trades_of(short.values()), ("5m", "4h"), max(short) + step_ms, SWAP, size)
    by_candles = {start: rolled_up(short, start, start + length_ms, step_ms, "first_trade") for start in longer}
    whole = {start: candle for start, candle in by_candles.items() if candle}
    before = {start: short[start - step_ms].close for start in short if start - step_ms in short}
    first = next(start for start, candle in short.items() if candle.volume)

    assert [start for start, candle in whole.items() if candle != longer[start]] == []
    for length, candles in ((step_ms, short), (length_ms, {start: longer[start] for start in whole})):
        shown = {start: candle for start, candle in candles.items() if start >= first}
        assert shown
        for start, candle in shown.items():
            assert _spot(klines[length, start]) == (*ohlc(candle), candle.volume * Decimal(size)), (length, start)
    assert all({*ohlc(short[start])} == {close} for start, close in before.items() if not short[start].volume)
    assert len(whole) == compared
    assert sum(not short[start].volume and longer[start].volume > 0 for start in whole) == quiet
    traded = [(close, short[start]) for start, close in before.items() if short[start].volume]
    assert sum(not candle.low <= close <= candle.high for close, candle in traded) == outside


def test_minutes_of_gate_begin_flat_and_open_at_the_first_trade(shared_data):
    """Three pairs of spot that first trade while their minute is recorded: the pushed candle is that of the trades."""
    trades: dict[str, list[tuple[int, str, str]]] = {}
    pushed: dict[str, list[dict[str, str]]] = {}
    for line in (shared_data / "gate/spot_session_2021-04-22.jsonl").read_text().splitlines():
        frame = json.loads(line)
        message = json.loads(frame["raw"])
        result, kind = message.get("result"), (frame["dir"], message["channel"], message["event"])
        if kind == ("in", "spot.candlesticks", "update"):
            pushed.setdefault(result["n"].removeprefix("1m_"), []).append(result)
        elif kind == ("in", "spot.trades", "update"):
            trade = int(float(result["create_time_ms"])), result["price"], result["amount"]
            trades.setdefault(result["currency_pair"], []).append(trade)
    compared = []
    for symbol, (flat, *_, last) in ((symbol, rows) for symbol, rows in pushed.items() if len(rows) > 1):
        start_ms = int(flat["t"]) * 1000
        if Decimal(flat["v"]):
            continue
        assert len({flat[name] for name in "ohlc"}) == 1
        in_time = [trade for trade in trades[symbol] if trade[0] < start_ms + MINUTE]
        while (kline := klines_of(in_time, ("1m",), start_ms + MINUTE, SPOT)[MINUTE, start_ms]).turnover > Decimal(
            last["v"]
        ):
            in_time.pop()  # came after the push
        assert (*ohlc(kline), kline.turnover) == tuple(Decimal(last[name]) for name in "ohlcv")
        compared.append(symbol)

    assert compared == ["DIS_USDT", "NEO_BTC", "ZKS_ETH"]


@pytest.mark.parametrize(("symbol", "quiet", "filled", "outside"), [("GMM", 550, 83, 1_144), ("BTC", 0, 0, 292)])
def test_kucoins_longer_candles_are_roll_ups_of_the_traded_ones(shared_data, symbol, quiet, filled, outside):
    """Two days of spot: each of 576 candles of 5m, in open, high, low, close, volume, by trades and by candles. Were
    quiet minutes counted (`quiet`), so many would open elsewhere (`filled`); the close before a traded minute is not
    in its candle (`outside`)."""
    names = {interval: f"kucoin/spot_{symbol}-USDT_{interval}_2023-03-07.csv" for interval in ("1m", "5m")}
    short, longer = (
        candles_in([row | {"open_time": row["open_time_ms"]} for row in read(shared_data / name)])
        for name in names.values()
    )
    length = 5 * MINUTE
    klines = klines_of(trades_of(short.values()), tuple(names), max(short) + MINUTE, SPOT)
    by_candles = {start: rolled_up(short, start, start + length, MINUTE, "first_trade") for start in longer}
    first = next(start for start, candle in short.items() if candle.volume)
    before = {start: short[start - MINUTE].close for start in short if start - MINUTE in short}

    assert (len(short), len(by_candles)) == (2_880, 576)
    assert [start for start, candle in by_candles.items() if candle != longer[start]] == []
    for step_ms, candles in ((MINUTE, short), (length, longer)):
        for start, candle in candles.items():
            if start >= first:
                assert _spot(klines[step_ms, start]) == (*ohlc(candle), candle.volume), (step_ms, start)
    flat = [start for start, candle in short.items() if not candle.volume]
    assert len(flat) == quiet
    assert all({*ohlc(short[start])} == {before[start]} for start in flat if start in before)
    assert sum(short[start].open != candle.open for start, candle in longer.items()) == filled
    traded = [(close, short[start]) for start, close in before.items() if short[start].volume]
    assert sum(not candle.low <= close <= candle.high for close, candle in traded) == outside


def test_minutes_of_kucoin_are_those_of_its_matches(shared_data):
    """Three quiet pairs of spot: each pushed candle in all its columns; the quiet minute before comes with a trade."""
    trades: dict[str, list[tuple[int, str, str]]] = {}
    compared, late = [], []
    for line in (shared_data / "kucoin/spot_session_2021-04-25.jsonl").read_text().splitlines():
        frame = json.loads(line)
        message = json.loads(frame["raw"])
        channel, _, of = message.get("topic", "").partition(":")
        if frame["dir"] == "out" or message["type"] != "message":
            continue
        if channel == "/market/match":
            match = message["data"]
            trades.setdefault(of, []).append((int(match["time"]), match["price"], match["size"]))
        elif channel == "/market/candles":
            symbol, (start, *numbers) = message["data"]["symbol"], message["data"]["candles"]
            opened, closed, high, low, volume, turnover = map(Decimal, numbers)
            if not volume:
                late.append((symbol, start, message["subject"]))
                continue
            start_ms = int(start) * 1000
            until_ns = message["data"]["time"]
            so_far = [(ns // 10**6, price, size) for ns, price, size in trades[symbol] if ns <= until_ns]
            kline = klines_of(so_far, ("1m",), start_ms + MINUTE, SPOT)[MINUTE, start_ms]
            assert (*ohlc(kline), kline.volume, kline.turnover) == (opened, high, low, closed, volume, turnover)
            compared.append((symbol, start, kline.trade_count))

    assert late == [("DAPPT-BTC", "1619378220", "trade.candles.add")]
    assert compared == [
        ("DAPPT-BTC", "1619378280", 10),
        ("DAPPT-BTC", "1619378280", 12),
        ("BCHSV-USDT", "1619378280", 1),
        ("FET-BTC", "1619378280", 1),
        ("BCHSV-USDT", "1619378340", 4),
    ]
