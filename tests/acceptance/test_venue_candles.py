"""Recorded candles of each exchange as the oracle, through main.py and Redis: real trades where there are some.

Else trades are made up of each candle, as few as touch its prices; the candles are the exchange's. Longer candles are
compared with the exchange's own where they were recorded, and with what its rule makes of its shorter ones: the first
trade opens, and a candle without a trade gives a longer one nothing. Recordings are moved in time by whole candles of
the longest length, so that those of a market are one replay.
"""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import VALUES, CollectorProcess, Subscriber, latest
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

T0 = 1_736_121_600_000  # a Monday
MINUTE_MS = 60_000
UNITS_MS = {"m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": 1_440 * MINUTE_MS, "w": 10_080 * MINUTE_MS}
SHARES = (1, 1, 1, 5)  # of a candle's volume, in eighths: its open, high, low and close
Values = tuple[Decimal, ...]
Trade = tuple[int, Decimal, Decimal]
"""Time, price and size."""


@dataclass(frozen=True)
class Recording:
    """Candles of a symbol, and its trades where these were recorded, with the names of time, price and size.

    `more`: what else a kline and a recorded candle have in common. `contract`: how much of the coin one is, with
    `in_contracts` also the unit of recorded volumes. `longer`: a file of the exchange's longer candles by interval.
    """

    symbol: str
    file: str
    interval: str
    trades: tuple[str, str, str, str] | None = None
    volume: str = "volume"
    more: Mapping[str, str] = field(default_factory=dict)
    contract: str = "1"
    in_contracts: bool = False
    longer: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """The recordings of a market.

    `listing`: the path that lists symbols, the row of one, and where the rows are ("": they are the answer).
    `covered`: by symbol, how many candles of each interval. `contradicted`: how many of them are not what the exchange
    made of its shorter ones.
    """

    market: str
    intervals: str
    recordings: tuple[Recording, ...]
    payload: Callable[[str, int, Trade], str]
    listing: tuple[str, Callable[[Recording], dict[str, Any]], str]
    covered: Mapping[str, Mapping[str, int]]
    contradicted: Mapping[tuple[str, str], int] = field(default_factory=dict)


def okx_payload(symbol: str, number: int, trade: Trade) -> str:
    """One match, of so many contracts."""
    ms, price, size = trade
    row = {"instId": symbol, "tradeId": f"{number}", "px": f"{price:f}", "sz": f"{size:f}", "side": "buy"}
    row |= {"ts": f"{ms}", "count": "1", "source": "0", "seqId": number}  # type: ignore[dict-item]
    return json.dumps({"arg": {"channel": "trades", "instId": symbol}, "data": [row]}, separators=(",", ":"))


def binance_payload(symbol: str, number: int, trade: Trade) -> str:
    """One match."""
    ms, price, size = trade
    data = {"e": "trade", "E": ms, "T": ms, "s": symbol, "t": number, "p": f"{price:f}", "q": f"{size:f}"}
    data |= {"X": "MARKET", "m": True}
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data}, separators=(",", ":"))


def gate_payload(symbol: str, number: int, trade: Trade) -> str:
    """One match, of so many contracts."""
    ms, price, size = trade
    row = {"id": number, "size": f"{size:f}", "create_time": ms // 1000, "create_time_ms": ms, "price": f"{price:f}"}
    message = {"time": ms // 1000, "time_ms": ms, "channel": "futures.trades", "event": "update"}
    return json.dumps(message | {"result": [row | {"contract": symbol}]}, separators=(",", ":"))


def kucoin_payload(symbol: str, number: int, trade: Trade) -> str:
    """One match; ids of a snowflake's size, times in nanoseconds."""
    ms, price, size = trade
    number += 11_067_996_711_960_577
    data = {"makerOrderId": "671b5007389355000701b1d3", "price": f"{price:f}", "sequence": f"{number}", "side": "buy"}
    data |= {"size": f"{size:f}", "symbol": symbol, "takerOrderId": "671b50161777ff00074c168d"}
    data |= {"time": f"{ms}000000", "tradeId": f"{number}", "type": "match"}
    message = {"topic": f"/market/match:{symbol}", "type": "message", "subject": "trade.l3match", "data": data}
    return json.dumps(message, separators=(",", ":"))


def okx_row(recording: Recording) -> dict[str, Any]:
    """An instrument, a swap where its name says so."""
    pair = recording.symbol.removesuffix("-SWAP")
    row = {"instId": recording.symbol, "state": "live", "baseCcy": "", "quoteCcy": ""}
    if pair == recording.symbol:
        base, quote = pair.split("-")
        return row | {"instType": "SPOT", "baseCcy": base, "quoteCcy": quote}
    return row | {"instType": "SWAP", "instFamily": pair, "uly": pair, "ctType": "linear", "ctMult": "1"} | {
        "ctVal": recording.contract, "ctValCcy": pair.partition("-")[0], "settleCcy": "USDT"
    }  # fmt: skip


def binance_row(recording: Recording) -> dict[str, Any]:
    """A symbol of spot or USD-M."""
    quote = next(quote for quote in ("USDT", "ETH") if recording.symbol.endswith(quote))
    base = recording.symbol.removesuffix(quote)
    return {"symbol": recording.symbol, "status": "TRADING", "contractType": "PERPETUAL", "baseAsset": base} | {
        "quoteAsset": quote, "filters": [], "isSpotTradingAllowed": True
    }  # fmt: skip


def gate_row(recording: Recording) -> dict[str, Any]:
    """A contract."""
    row = {"name": recording.symbol, "status": "trading", "quanto_multiplier": recording.contract}
    return row | {"in_delisting": False, "is_pre_market": False}


def gate_recording(symbol: str, contract: str) -> Recording:
    """Candles of 5m, and the exchange's of 4h."""
    names = {interval: f"futures_{symbol}_{interval}_2024-08.csv" for interval in ("5m", "4h")}
    return Recording(symbol, names["5m"], "5m", contract=contract, in_contracts=True, longer={"4h": names["4h"]})


def kucoin_row(recording: Recording) -> dict[str, Any]:
    """A symbol of spot."""
    base, quote = recording.symbol.split("-")
    row = {"symbol": recording.symbol, "baseCurrency": base, "quoteCurrency": quote, "enableTrading": True}
    return row | {"priceIncrement": "0.1", "baseIncrement": "0.0001"}


def kucoin_recording(symbol: str) -> Recording:
    """Candles of 1m, and the exchange's of 5m."""
    names = {interval: f"spot_{symbol}_{interval}_2023-03-07.csv" for interval in ("1m", "5m")}
    return Recording(symbol, names["1m"], "1m", longer={"5m": names["5m"]})


OKX_LISTING = ("/api/v5/public/instruments", okx_row, "data")
CASES = {
    "okx linear": Case(
        "linear",
        "1m,5m,1h,4h",
        (
            Recording(
                "MATIC-USDT-SWAP",
                "swap_MATIC-USDT-SWAP_1m_1692547260000.csv",
                "1m",
                ("swap_MATIC-USDT-SWAP_trades_1692547260000.csv", "created_time", "price", "size"),
                "volCcy",
                {"turnover": "volCcyQuote"},
                "10",
            ),
            Recording("BTC-USDT-SWAP", "swap_BTC-USDT-SWAP_1m_2026-01_600rows.csv", "1m", contract="0.01"),
            Recording("OP-USDT-SWAP", "swap_OP-USDT-SWAP_5m_2022-12-18_outage.csv", "5m"),
        ),
        okx_payload,
        OKX_LISTING,
        {
            "MATIC-USDT-SWAP": {"1m": 1},
            "BTC-USDT-SWAP": {"1m": 600, "5m": 120, "1h": 9, "4h": 1},
            "OP-USDT-SWAP": {"5m": 300, "1h": 25, "4h": 6},
        },
    ),
    "okx spot": Case(
        "spot",
        "1d,1w",
        (Recording("BTC-USD", "spot_BTC-USD_1d_eea_2024-12.csv", "1d"),),
        okx_payload,
        OKX_LISTING,
        {"BTC-USD": {"1d": 10, "1w": 1}},
    ),
    "binance linear": Case(
        "linear",
        "1m,5m,15m,1h",
        (
            Recording(
                "BTCUSDT",
                "usdm_BTCUSDT_1m_2024-08-08T2354.csv",
                "1m",
                ("usdm_BTCUSDT_trades_2024-08-08T2355.csv.gz", "T", "p", "q"),
                more={"turnover": "quote_volume", "trade_count": "count"},
            ),
            Recording("ALGOUSDT", "usdm_ALGOUSDT_1m_2024-09_480rows.csv", "1m"),
            Recording("WIFUSDT", "usdm_rollup_WIFUSDT_5m_15m_1h.csv", "5m"),
        ),
        binance_payload,
        ("/fapi/v1/exchangeInfo", binance_row, "symbols"),
        {
            "BTCUSDT": {"1m": 5, "5m": 1},
            "ALGOUSDT": {"1m": 480, "5m": 96, "15m": 32, "1h": 8},
            "WIFUSDT": {"5m": 516, "15m": 172, "1h": 43},
        },
        {
            ("WIFUSDT", "15m"): 1,
            ("WIFUSDT", "1h"): 4,
        },  # in two disturbed spans
    ),
    "binance spot": Case(
        "spot",
        "1m,5m,15m",
        (
            Recording(
                "XRPETH",
                "spot_XRPETH_1m_2019-10-11.csv",
                "1m",
                ("spot_XRPETH_trades_2019-10-11.csv", "time", "price", "amount"),
            ),
            Recording("BONDUSDT", "spot_BONDUSDT_1m_2021-08-28.csv", "1m"),
        ),
        binance_payload,
        ("/api/v3/exchangeInfo", binance_row, "symbols"),
        {"XRPETH": {"1m": 310, "5m": 71, "15m": 23}, "BONDUSDT": {"1m": 21, "5m": 4, "15m": 1}},
    ),
    "gate linear": Case(
        "linear",
        "5m,4h",
        (gate_recording("FUN_USDT", "10"), gate_recording("BTC_USDT", "0.0001"), gate_recording("ZKJ_USDT", "1")),
        gate_payload,
        ("/api/v4/futures/usdt/contracts", gate_row, ""),
        {
            "FUN_USDT": {"5m": 2999, "4h": 62},
            "BTC_USDT": {"5m": 1152, "4h": 24},
            "ZKJ_USDT": {"5m": 1522, "4h": 31},
        },
    ),
    "kucoin spot": Case(
        "spot",
        "1m,5m",
        (kucoin_recording("GMM-USDT"), kucoin_recording("BTC-USDT")),
        kucoin_payload,
        ("/api/v2/symbols", kucoin_row, "data"),
        {"GMM-USDT": {"1m": 2_880, "5m": 576}, "BTC-USDT": {"1m": 2_880, "5m": 576}},
    ),
}
CODES = {"kucoin": "200000"}
"""Of an answer that is none of an error, where it is not 0."""
FOLDERS = {"gate": "gate", "kucoin": "kucoin"}
"""Of recorded candles, where they are not in the folder klines of the exchange's."""


def rows_of(path: Path) -> list[dict[str, str]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [
        {name.removesuffix("_ms"): value for name, value in row.items()} for row in csv.DictReader(text.splitlines())
    ]


def length_of(interval: str) -> int:
    """In milliseconds."""
    return int(interval[:-1]) * UNITS_MS[interval[-1]]


def floor(ms: int, length: int) -> int:
    """The start of the candle that a time is in; weeks begin on Mondays."""
    return ms - (ms - T0) % length


class Replayed:
    """A recording, moved in time: candles by interval and start, each with its further columns; trades in order."""

    def __init__(self, recording: Recording, folder: Path, unit_ms: int) -> None:
        self.recording, self._unit_ms = recording, unit_ms
        self.symbol, self.step_ms = recording.symbol, length_of(recording.interval)
        self.candles: dict[str, dict[int, Values]] = {recording.interval: {}}
        self.more: dict[int, Values] = {}
        self.trades: list[Trade] = []
        rows = rows_of(folder / recording.file)
        for interval, file in recording.longer.items():
            rows += [row | {"interval": interval} for row in rows_of(folder / file)]
        shorter = [row for row in rows if row.get("interval", recording.interval) == recording.interval]
        real = self._real(folder)
        if real:
            first, last = (floor(real[place][0], self.step_ms) for place in (0, -1))
            shorter = [row for row in shorter if first <= int(row["open_time"]) <= last]
        self._shifts = self._shifts_of([int(row["open_time"]) for row in shorter], has_holes=bool(real))
        for row in rows:
            start = int(row["open_time"])
            if (shift := self._shifts.get(start // self.step_ms)) is not None:
                self._add(row, start + shift)
        for start in self.starts:
            if start == self.starts[0] or (start - self.step_ms not in self.short and not real):
                self.trades.append((start - 1, self.short[start][0], Decimal(1)))  # as at the close before
            if not real:
                self.trades += self._made_of(start)
        self.trades += [(ms + self._shifts[ms // self.step_ms], price, size) for ms, price, size in real]

    @property
    def short(self) -> dict[int, Values]:
        """The candles that the trades make."""
        return self.candles[self.recording.interval]

    @property
    def starts(self) -> list[int]:
        """Of these, in order."""
        return sorted(self.short)

    def _real(self, folder: Path) -> list[Trade]:
        if self.recording.trades is None:
            return []
        file, time, price, size = self.recording.trades
        return [(int(row[time]), Decimal(row[price]), Decimal(row[size])) for row in rows_of(folder / file)]

    def _shifts_of(self, starts: list[int], *, has_holes: bool) -> dict[int, int]:
        """How much each candle is moved, by its number: runs without a hole follow each other, a unit between."""
        shifts, shift, end = {}, 0, None
        free = T0
        for start in starts:
            if end is None or (start != end and not has_holes):
                shift = floor(free + self._unit_ms - 1, self._unit_ms) - floor(start, self._unit_ms)
            shifts[start // self.step_ms] = shift
            end = start + self.step_ms
            free = end + shift + self._unit_ms
        return shifts

    def _add(self, row: Mapping[str, str], start: int) -> None:
        values = tuple(Decimal(row[name]) for name in ("open", "high", "low", "close", self.recording.volume))
        if self.recording.in_contracts:
            values = (*values[:4], values[4] * Decimal(self.recording.contract))
        self.candles.setdefault(row.get("interval", self.recording.interval), {})[start] = values
        self.more[start] = tuple(Decimal(row[name]) for name in self.recording.more.values())

    def _made_of(self, start: int) -> Iterator[Trade]:
        *prices, volume = self.short[start]
        for number, (price, share) in enumerate(zip(prices, SHARES, strict=True)):
            if volume:
                yield start + number, price, volume * share / 8 / Decimal(self.recording.contract)

    def rolled_up(self, start: int, length: int) -> Values | None:
        """The longer candle of a start by the rule; None where the recording does not cover it."""
        first, last = self.starts[0], self.starts[-1]
        parts = [self.short.get(each) for each in range(start, start + length, self.step_ms)]
        if start < first or start + length > last + self.step_ms or (None in parts and not self.recording.trades):
            return None
        traded = [part for part in parts if part and part[4]]
        if not traded:
            before = (self.short[each][3] for each in reversed(self.starts) if each < start)
            return (next(before, self.short[first][0]),) * 4 + (Decimal(0),)
        highs, lows = (part[1] for part in traded), (part[2] for part in traded)
        return traded[0][0], max(highs), min(lows), traded[-1][3], sum((part[4] for part in traded), Decimal(0))


@pytest.mark.parametrize("name", CASES)
def test_candles_and_their_roll_ups_equal_the_exchange(tmp_path, valkey, shared_data, record_property, name):
    """Every recorded candle in all its columns, flat ones too, and all longer ones that a recording covers."""
    case, exchange = CASES[name], name.partition(" ")[0]
    intervals = {each: length_of(each) for each in case.intervals.split(",")}
    unit_ms = max(intervals.values())
    folder = shared_data / FOLDERS.get(exchange, f"{exchange}/klines")
    replays = [Replayed(each, folder, unit_ms) for each in case.recordings]
    end_ms = floor(max(each.trades[-1][0] for each in replays), unit_ms) + 2 * unit_ms
    lines = []
    for replay in replays:
        last = replay.trades[-1]
        after = [(end_ms + number * MINUTE_MS, last[1], last[2]) for number in range(3)]
        lines += [
            (each[0], case.payload(replay.symbol, 1_000 + i, each)) for i, each in enumerate([*replay.trades, *after])
        ]
    (tmp_path / "lines.jsonl").write_text("\n".join(line for _, line in sorted(lines, key=lambda each: each[0])))
    expected: dict[tuple[str, str, int, int], list[Values]] = {}
    for replay in replays:
        for interval, length in intervals.items():
            own = replay.candles.get(interval, {})
            for start in range(floor(replay.starts[0], length), replay.starts[-1] + 1, length):
                made = replay.rolled_up(start, length) if length > replay.step_ms else None
                if length > replay.step_ms and made is None:
                    continue  # the exchange has seen trades of it that are not recorded
                if found := [values for values in (own.get(start), made) if values]:
                    expected[case.market, replay.symbol, length, start] = found

    klines = replayed(exchange, case, tmp_path, valkey.port, set(expected))
    names = {length: interval for interval, length in intervals.items()}
    more = {(each.symbol, each.step_ms): each for each in replays if each.recording.more}
    covered: dict[str, Counter[str]] = {replay.symbol: Counter() for replay in replays}
    contradicted: Counter[tuple[str, str]] = Counter()
    wrong = []
    for (market, symbol, length, start), candles in expected.items():
        kline, known = klines[market, symbol, length, start], more.get((symbol, length))
        covered[symbol][names[length]] += 1
        contradicted[symbol, names[length]] += candles[0] != candles[-1]
        further = {} if known is None else dict(zip(known.recording.more, known.more[start], strict=True))
        is_equal = tuple(kline[each] for each in VALUES) == candles[-1]
        if not (is_equal and kline["complete"] and all(kline[each] == value for each, value in further.items())):
            wrong.append((kline, candles, further))
    table = [f"{symbol} {dict(counts)}" for symbol, counts in covered.items()]
    record_property("summary", f"{name}: candles, all equal but for {len(wrong)}: {', '.join(table)}; {+contradicted}")

    assert wrong == []
    assert (covered, +contradicted) == (case.covered, case.contradicted)


def replayed(
    exchange: str, case: Case, folder: Path, port: int, wanted: set[tuple[str, str, int, int]]
) -> Mapping[tuple[str, str, int, int], Mapping[str, Any]]:
    """The klines that main.py publishes, as soon as it has published those wanted."""
    path, row, place = case.listing
    symbols = [each.symbol for each in case.recordings]
    settings = {"EXCHANGE": exchange, "CHANNEL_TYPE": case.market, "SYMBOLS": ",".join(symbols), "REDIS_PORT": port}
    settings |= {"KLINE_INTERVALS": case.intervals, "RAW_STREAMS": "trades", "AGGREGATION_CLOCK": "event"}
    args = ("--rate", 0, "--replay", folder / "lines.jsonl", "--replay-when-subscribed", len(symbols))
    with SimulatorProcess(*args, exchange=exchange) as sim, Subscriber(port, exchange) as subscriber:
        rows = [row(each) for each in case.recordings]
        body = {"code": CODES.get(exchange, "0"), "msg": "", place: rows} if place else rows
        sim.command("rest_fault", what="http", status=200, count=None, path=path, body=body)
        settings |= {"WS_URL": sim.ws_base, "REST_URL": sim.rest_url, "KLINE_REPAIR": False}
        with CollectorProcess(folder, **settings) as collector:
            wait_until(
                lambda: wanted <= latest(subscriber.klines()).keys() or collector.process.poll() is not None,
                30,
                poll_s=0.2,
            )
            assert collector.stop() == 0, collector.newest_output()
        return latest(subscriber.klines())
