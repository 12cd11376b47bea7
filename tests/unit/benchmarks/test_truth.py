"""The slow candles that benchmarks hold fast ones against."""

import json
from decimal import Decimal
from typing import Any

from benchmarks.truth import candles_of, differences

START = 1_767_716_940_000


def message(*trades: tuple[int, str, str]) -> bytes:
    """Trades as (ms after START, price, size); the id follows from them."""
    data = [
        {"T": START + ms, "s": "XUSDT", "p": price, "v": size, "i": f"{ms}-{price}", "seq": ms}
        for ms, price, size in trades
    ]
    return json.dumps({"topic": "publicTrade.XUSDT", "data": data}).encode()


def klines() -> list[dict[str, Any]]:
    base = {"symbol": "XUSDT", "interval": 60_000}
    first = {"timestamp": START, "open": Decimal(5), "high": Decimal(7), "low": Decimal(5), "close": Decimal(7)}
    second = {"timestamp": START + 60_000, "open": Decimal(7), "high": Decimal(7), "low": Decimal(6)}
    return [
        {**base, **first, "volume": Decimal("0.3"), "turnover": Decimal("1.9"), "trade_count": 2},
        {**base, **second, "close": Decimal(6), "volume": Decimal(1), "turnover": Decimal(6), "trade_count": 1},
    ]


def test_candles_open_at_the_close_before_and_count_a_trade_once() -> None:
    """In the order of time, whatever the order of arrival; exact."""
    payloads = [message((60_001, "6", "1")), message((10, "5", "0.1"), (20, "7", "0.2")), message((20, "7", "0.2"))]
    assert differences(klines(), candles_of(payloads, [60_000])) == (2, [])


def test_wrong_missing_and_surplus_klines_are_listed() -> None:
    """By candle and field."""
    truth = candles_of([message((10, "5", "0.1"), (20, "7", "0.2"))], [60_000])
    first, second = klines()
    assert differences([], truth)[1] == [f"missing: ('XUSDT', 60000, {START})"]
    assert differences([first, second], truth)[1] == [f"too many: ('XUSDT', 60000, {START + 60_000})"]
    assert differences([{**first, "volume": Decimal("0.30000001")}], truth)[1][0].endswith(": volume")
