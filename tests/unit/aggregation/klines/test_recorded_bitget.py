"""Recorded trades and candles of Bitget, where the close before opens: each pair, each whole minute, and roll-ups."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from aggregation.klines.arithmetic import Arithmetic
from aggregation.recovery.candles import rolled_up
from model.records import Candle
from tests.unit.aggregation.klines.test_recorded_venues import klines_of, ohlc, trades_of

RULE = Arithmetic("prev_close", "prev_close")
MINUTE = 60_000
SESSIONS = {"v1_spot_session_2022-04-07": 3, "v1_usdt_perp_session_2022-04-07": 2}  # symbols with candles of each
ODD = {"CULTUSDT": 1_649_287_860_000}  # the one minute that does not open at the close before it
REST = {
    "rest_spot_history_candles_1m": 4,
    "rest_usdt_futures_history_candles_1m": 4,
    "rest_spot_history_candles_1h": 9,
    "rest_usdt_futures_candles_1h": 4,
}  # pairs of each


def data_of(folder: Path, session: str, channel: str) -> Iterator[tuple[str, str, list[list[str]]]]:
    """Action, symbol and rows of each message of a channel."""
    for line in (folder / f"{session}.jsonl").read_text().splitlines():
        frame = json.loads(line)
        message = json.loads(frame["raw"]) if frame["raw"].startswith('{"action"') else {}
        if message and message["arg"]["channel"] == channel:
            yield message["action"], message["arg"]["instId"], message["data"]


def candle(row: list[str]) -> Candle:
    """A candle of v1, which has no turnover, or of v2."""
    numbers = [Decimal(text) for text in row[1:7]]
    return Candle(int(row[0]), *numbers, *[Decimal(0)] * (6 - len(numbers)))


def snapshots(folder: Path, session: str) -> dict[str, dict[int, Candle]]:
    """A thousand minutes of each symbol, the last of them open."""
    found = data_of(folder, session, "candle1m")
    return {
        of: {each.start_ms: each for each in map(candle, rows)} for action, of, rows in found if action == "snapshot"
    }


@pytest.mark.parametrize("session", SESSIONS)
def test_minutes_open_at_the_close_before(shared_data, session):
    """But for one of 4,995 pairs; there is no hole, and the open is within high and low."""
    found = snapshots(shared_data / "bitget", session)
    assert [len(minutes) for minutes in found.values()] == [1000] * SESSIONS[session]
    for symbol, minutes in found.items():
        pairs = list(itertools.pairwise(minutes.values()))
        differing = [later.start_ms for each, later in pairs if later.open != each.close]
        assert len(pairs) == 999
        assert differing == ([ODD[symbol]] if symbol in ODD else [])
        assert all(later.start_ms - each.start_ms == MINUTE for each, later in pairs)
        assert all(
            each.low <= min(each.open, each.close) <= max(each.open, each.close) <= each.high for each, _ in pairs
        )


@pytest.mark.parametrize("name", REST)
def test_candles_of_rest_open_at_the_close_before(shared_data, name):
    """Minutes and hours of 2026, of both markets."""
    rows = json.loads((shared_data / "bitget" / f"{name}.json").read_text())["data"]
    pairs = list(itertools.pairwise(map(candle, rows)))

    assert len(pairs) == REST[name]
    assert all(later.open == each.close for each, later in pairs)


def test_whole_minutes_are_those_of_their_trades(shared_data):
    """Of five symbols, the past trades that a subscription brings included: open, high, low, close, volume."""
    compared = []
    for session in SESSIONS:
        trades: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
        for _, symbol, rows in data_of(shared_data / "bitget", session, "trade"):
            trades[symbol] += [(int(ms), price, size) for ms, price, size, _ in reversed(rows)]
        for symbol, minutes in snapshots(shared_data / "bitget", session).items():
            open_ms = max(minutes)
            klines = klines_of(trades[symbol], ("1m",), open_ms, RULE)
            for start, each in minutes.items():
                if trades[symbol][0][0] < start < open_ms:
                    kline = klines[MINUTE, start]
                    assert (*ohlc(kline), kline.volume) == (*ohlc(each), each.volume), (symbol, start)
                    compared.append(symbol)

    assert len(compared) == 21


@pytest.mark.parametrize("session", SESSIONS)
def test_longer_candles_are_roll_ups_of_all_minutes(shared_data, session):
    """By trades that fit, and as repair and backfill make them of the exchange's candles: five minutes and hours."""
    for symbol, minutes in snapshots(shared_data / "bitget", session).items():
        klines = klines_of(trades_of(minutes.values()), ("1m", "5m", "1h"), max(minutes) + MINUTE, RULE)
        compared = 0
        for (length_ms, start), kline in klines.items():
            whole = rolled_up(minutes, start, start + length_ms, MINUTE)
            if whole is not None and not start <= ODD.get(symbol, -1) < start + length_ms:
                assert (*ohlc(kline), kline.volume) == (*ohlc(whole), whole.volume), (symbol, length_ms, start)
                compared += length_ms > MINUTE
        assert compared == 215 - 2 * (symbol in ODD)
