"""Market statistics endpoints: funding, open interest, ratios, limits (BYBIT_V5.md section 7).

Event loop thread only. Values are generated from their time, so that they are the same at every call and reach back to
the launch of every symbol.
"""

from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

from ..symbol_market import SymbolMarket
from .listing import LAUNCH_MS
from .pages import first_of, whole
from .rules import OrderError

HOUR_MS = 3_600_000
FUNDING_MS = 8 * HOUR_MS
PERIODS_MS = {
    "5min": 300_000, "15min": 900_000, "30min": 1_800_000, "1h": HOUR_MS, "4h": 4 * HOUR_MS, "1d": 24 * HOUR_MS,
}  # fmt: skip
FUTURES = ("linear", "inverse")
RISK_SYMBOLS = 15  # to a page of risk limits
PREMIUM_STEP = Decimal("0.000001")
PREMIUM_SPAN = 1000  # premium indexes lie within a thousandth


def _dice(*names: Any) -> int:
    return int.from_bytes(sha256(":".join(map(str, names)).encode()).digest()[:6], "big")


def _period_ms(query: dict[str, str], name: str) -> int:
    if query.get(name, "") not in PERIODS_MS:
        raise OrderError(10001, f"params error: {name} invalid")
    return PERIODS_MS[query[name]]


class MarketStatistics:
    """`routes` by the end of the path."""

    def __init__(
        self, category: Callable[[dict[str, str]], str], symbol: Callable[[str, dict[str, str]], SymbolMarket],
        listed: Callable[[str, str | None], list[SymbolMarket]], now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._category, self._symbol, self._listed, self._now_ms = category, symbol, listed, now_ms
        self.routes: dict[str, Callable[[dict[str, str]], Any]] = {
            "funding/history": self._funding,
            "open-interest": self._open_interest,
            "account-ratio": self._ratio,
            "historical-volatility": self._volatility,
            "insurance": self._insurance,
            "risk-limit": self._risk_limit,
            "delivery-price": self._delivery,
            "price-limit": self._price_limit,
            "adlAlert": self._adl_alert,
        }

    def _futures(self, query: dict[str, str]) -> tuple[str, SymbolMarket]:
        category = self._category(query)
        if category not in FUTURES:
            raise OrderError(10001, "params error: Category is invalid")
        return category, self._symbol(category, query)

    def _times(self, query: dict[str, str], step_ms: int, usual: int, most: int) -> tuple[list[int], str]:
        """Multiples of `step_ms` in startTime .. endTime, newest first, and the cursor of the next page."""
        limit = whole(query, "limit", usual, 1, most)
        start = max(whole(query, "startTime", 0), int(LAUNCH_MS))
        end = min(whole(query, "endTime", 1 << 62), self._now_ms())
        cursor = unquote(query.get("cursor", ""))
        if cursor:
            last = cursor.removeprefix("lasttime=")
            if not last.isdigit():
                raise OrderError(10001, "params error: cursor invalid")
            end = min(end, int(last) - 1)
        first = end - end % step_ms
        times = [first - i * step_ms for i in range(limit) if first - i * step_ms >= start]
        has_more = len(times) == limit and times[-1] - step_ms >= start
        return times, quote(f"lasttime={times[-1]}", safe="") if has_more else ""

    def _funding(self, query: dict[str, str]) -> dict[str, Any]:
        category, symbol = self._futures(query)
        if query.get("startTime") and not query.get("endTime"):
            raise OrderError(10001, "params error: endTime is required with startTime")
        times, _ = self._times(query, FUNDING_MS, 200, 200)
        name = symbol.instrument.symbol
        rows = [
            {
                "symbol": name,
                "fundingRate": format(Decimal(_dice(name, time) % 400 - 100) / 1_000_000, "f"),
                "fundingRateTimestamp": str(time),
            }
            for time in times
        ]
        return {"category": category, "list": rows}

    def _open_interest(self, query: dict[str, str]) -> dict[str, Any]:
        category, symbol = self._futures(query)
        times, cursor = self._times(query, _period_ms(query, "intervalTime"), 50, 200)
        name = symbol.instrument.symbol
        rows = [
            {
                "openInterest": f"{5_000_000 + _dice(name, time) % 100_000}.00000000",
                "singleOpenInterest": str((5_000_000 + _dice(name, time) % 100_000) // 2),
                "timestamp": str(time),
            }
            for time in times
        ]
        return {"symbol": name, "category": category, "list": rows, "nextPageCursor": cursor}

    def _ratio(self, query: dict[str, str]) -> dict[str, Any]:
        _, symbol = self._futures(query)
        times, cursor = self._times(query, _period_ms(query, "period"), 50, 500)
        name, rows = symbol.instrument.symbol, []
        for time in times:
            buy = Decimal(4000 + _dice(name, time) % 2000) / 10_000
            ratios = {"buyRatio": format(buy, "f"), "sellRatio": format(1 - buy, "f")}
            rows.append({"symbol": name, **ratios, "timestamp": str(time)})
        return {"list": rows, "nextPageCursor": cursor}

    def _volatility(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """Historical volatility: Bybit's result is a list here, not an object."""
        if query.get("category") != "option":
            raise OrderError(10001, "params error: Category is invalid")
        period = whole(query, "period", 7, 1, 365)
        end = min(whole(query, "endTime", 1 << 62), self._now_ms())
        hour = end - end % HOUR_MS
        start = whole(query, "startTime", hour)
        times = [time for time in range(hour, hour - 720 * HOUR_MS, -HOUR_MS) if time >= start]
        return [
            {"period": period, "value": f"0.{40_000_000 + _dice(period, time) % 10_000_000}", "time": str(time)}
            for time in times
        ]

    def _insurance(self, query: dict[str, str]) -> dict[str, Any]:
        coins = [query["coin"]] if query.get("coin") else ["BTC", "ETH", "USDT"]
        rows = [
            {"coin": coin, "symbols": "", "balance": f"{1000 + _dice(coin) % 1000}.5", "value": "1500000"}
            for coin in coins
        ]
        return {"updatedTime": str(self._now_ms() // HOUR_MS * HOUR_MS), "list": rows}

    def _risk_limit(self, query: dict[str, str]) -> dict[str, Any]:
        """Tiers of one symbol, or of all, a page after another."""
        category = self._category(query)
        if category not in FUTURES:
            raise OrderError(10001, "params error: Category is invalid")
        symbols, first = self._listed(category, query.get("symbol")), first_of(query.get("cursor", ""))
        rows = [
            {
                "id": tier, "symbol": symbol.instrument.symbol, "riskLimitValue": str(2_000_000 * tier),
                "maintenanceMargin": f"0.00{4 + tier}", "initialMargin": f"0.0{tier}", "isLowestRisk": int(tier == 1),
                "maxLeverage": f"{100 // tier}.00", "mmDeduction": "",
            }
            for symbol in symbols[first : first + RISK_SYMBOLS]
            for tier in (1, 2, 3)
        ]  # fmt: skip
        cursor = f"first%3D{first + RISK_SYMBOLS}" if first + RISK_SYMBOLS < len(symbols) else ""
        return {"category": category, "list": rows, "nextPageCursor": cursor}

    def _delivery(self, query: dict[str, str]) -> dict[str, Any]:
        """Delivery prices: none, for nothing was ever delivered here."""
        return {"category": self._category(query), "list": [], "nextPageCursor": ""}

    def _price_limit(self, query: dict[str, str]) -> dict[str, Any]:
        symbol = self._symbol(query.get("category", "linear"), query)
        away = symbol.mid // 20
        return {
            "symbol": symbol.instrument.symbol, "buyLmt": symbol.price_text(symbol.mid + away),
            "sellLmt": symbol.price_text(symbol.mid - away), "ts": str(self._now_ms()),
        }  # fmt: skip

    def _adl_alert(self, _query: dict[str, str]) -> dict[str, Any]:
        return {"updatedTime": str(self._now_ms()), "list": []}


def premium_rows(name: str, rows: list[list[str]]) -> list[list[str]]:
    """Rows of five texts with generated premiums: each open is the close before it."""
    found = []
    border_ms = int(rows[0][0]) + 1 if rows else 0
    for row in rows:
        opening, closing = _premium(name, int(row[0])), _premium(name, border_ms)
        border_ms = int(row[0])
        values = (opening, max(opening, closing), min(opening, closing), closing)
        found.append([row[0], *(format(value, "f") for value in values)])
    return found


def _premium(name: str, border_ms: int) -> Decimal:
    dice = int.from_bytes(sha256(f"{name}:{border_ms}".encode()).digest()[:4], "big")
    return (dice % (2 * PREMIUM_SPAN) - PREMIUM_SPAN) * PREMIUM_STEP
