"""The ticker of one symbol: its state, snapshots, and deltas that carry only what changed.

Event loop thread only. Merging every delta over the last snapshot gives the state.
"""

from decimal import Decimal

from ..symbol_market import SymbolMarket

# In the order Bybit prints them; a delta keeps this order.
DERIVATIVE_KEYS = (
    "symbol", "tickDirection", "price24hPcnt", "lastPrice", "prevPrice24h", "highPrice24h", "lowPrice24h",
    "prevPrice1h", "markPrice", "indexPrice", "openInterest", "openInterestValue", "turnover24h", "volume24h",
    "fundingIntervalHour", "fundingCap", "nextFundingTime", "fundingRate", "bid1Price", "bid1Size", "ask1Price",
    "ask1Size", "preOpenPrice", "preQty", "curPreListingPhase",
)  # fmt: skip
SPOT_KEYS = (
    "symbol", "lastPrice", "highPrice24h", "lowPrice24h", "prevPrice24h", "volume24h", "turnover24h",
    "price24hPcnt", "usdIndexPrice",
)  # fmt: skip
OPTION_FIXED = {
    "bidIv": "0.6004", "askIv": "2.0007", "indexPrice": "67250.5", "markPriceIv": "0.4896",
    "underlyingPrice": "67251.1", "openInterest": "49.85", "totalVolume": "86", "totalTurnover": "1437431",
    "delta": "0.047831", "gamma": "0.00021453", "vega": "0.81351067", "theta": "-19.9115368",
    "predictedDeliveryPrice": "0",
}  # fmt: skip
OPTION_KEYS = (
    "symbol", "bidPrice", "bidSize", "bidIv", "askPrice", "askSize", "askIv", "lastPrice", "highPrice24h",
    "lowPrice24h", "markPrice", "indexPrice", "markPriceIv", "underlyingPrice", "openInterest", "turnover24h",
    "volume24h", "totalVolume", "totalTurnover", "delta", "gamma", "vega", "theta", "predictedDeliveryPrice",
    "change24h",
)  # fmt: skip
KEYS = {"linear": DERIVATIVE_KEYS, "inverse": DERIVATIVE_KEYS, "spot": SPOT_KEYS, "option": OPTION_KEYS}
FUNDING_PERIOD_MS = 8 * 3_600_000
STILL = {
    "fundingIntervalHour": "8", "fundingCap": "0.005", "fundingRate": "0.0001", "preOpenPrice": "", "preQty": "",
    "curPreListingPhase": "",
}  # fmt: skip

QUOTE_SHARE = 0.5  # of updates: best bid and ask only
MARK_SHARE = 0.2  # of updates: mark, index, open interest; the rest: last trade


class Ticker:
    """What tickers of a symbol show, by stream and by REST."""

    def __init__(self, market: SymbolMarket, now_ms: int) -> None:
        self._market, self._draw = market, market.draw
        self._topic = f"tickers.{market.instrument.symbol}"
        self._category = market.instrument.category
        self._keys = KEYS[self._category]
        self._first_ticks = market.mid
        self.state = dict.fromkeys(self._keys, "")
        self._refresh_all(now_ms)

    def snapshot(self, now_ms: int) -> str:
        """The snapshot message, with every key."""
        return self._message("snapshot", self.state, now_ms)

    def update(self, now_ms: int) -> str:
        """The next message: a delta for linear and inverse, a snapshot for spot and option (trap T13)."""
        if self._category in ("spot", "option"):
            self._refresh_all(now_ms)
            return self.snapshot(now_ms)
        chance = self._draw()
        changed = self._quotes()
        if chance > QUOTE_SHARE + MARK_SHARE:
            changed |= self._last()
        elif chance > QUOTE_SHARE:
            changed |= self._marks(now_ms)
        return self._message("delta", self._take(changed), now_ms)

    def _take(self, changed: dict[str, str]) -> dict[str, str]:
        """Take the changed values into the state, in Bybit's order."""
        state = self.state
        fresh = {key: changed[key] for key in self._keys if key in changed and changed[key] != state[key]}
        state.update(fresh)
        return {"symbol": state["symbol"], **fresh}

    def _quotes(self) -> dict[str, str]:
        market, draw = self._market, self._draw
        return {
            "bid1Price": market.price_text(market.mid),
            "bid1Size": market.size_text(1 + int(draw() * market.max_lots)),
            "ask1Price": market.price_text(market.mid + 1),
            "ask1Size": market.size_text(1 + int(draw() * market.max_lots)),
        }

    def _last(self) -> dict[str, str]:
        market = self._market
        change = market.last_ticks / self._first_ticks - 1
        return {
            "tickDirection": market.direction,
            "price24hPcnt": f"{change:.6f}",
            "lastPrice": market.price_text(market.last_ticks),
            "highPrice24h": market.price_text(market.high_ticks),
            "lowPrice24h": market.price_text(market.low_ticks),
            "turnover24h": market.turnover_text(),
            "volume24h": market.size_text(market.volume_lots),
        }

    def _marks(self, now_ms: int) -> dict[str, str]:
        market = self._market
        interest = 1_000_000 + market.volume_lots // 3
        return {
            "markPrice": market.price_text(market.mid),
            "indexPrice": market.price_text(market.mid + int(self._draw() * 7) - 3),
            "openInterest": market.size_text(interest),
            "openInterestValue": f"{Decimal(market.price_text(market.mid)) * Decimal(market.size_text(interest)):.2f}",
            "nextFundingTime": str(now_ms - now_ms % FUNDING_PERIOD_MS + FUNDING_PERIOD_MS),
        }

    def _refresh_all(self, now_ms: int) -> None:
        self.state = self.row(self.values(now_ms))

    def row(self, values: dict[str, str]) -> dict[str, str]:
        """The keys this category's ticker has, in order."""
        return {key: values[key] for key in self._keys}

    def values(self, now_ms: int) -> dict[str, str]:
        """All values any ticker may show, as of now."""
        market = self._market
        first = market.price_text(self._first_ticks)
        values = {
            **STILL, **OPTION_FIXED, **self._quotes(), **self._last(), **self._marks(now_ms),
            "symbol": market.instrument.symbol, "prevPrice24h": first, "prevPrice1h": first, "usdIndexPrice": first,
        }  # fmt: skip
        if self._category == "option":
            values |= {
                "indexPrice": OPTION_FIXED["indexPrice"], "openInterest": OPTION_FIXED["openInterest"],
                "bidPrice": values["bid1Price"], "bidSize": values["bid1Size"], "askPrice": values["ask1Price"],
                "askSize": values["ask1Size"], "change24h": values["price24hPcnt"],
            }  # fmt: skip
        return values

    def _message(self, kind: str, values: dict[str, str], now_ms: int) -> str:
        data = ",".join([f'"{key}":"{value}"' for key, value in values.items()])
        topic, seq = self._topic, self._market.seq
        if self._category == "spot":
            return f'{{"topic":"{topic}","ts":{now_ms},"type":"{kind}","cs":{seq},"data":{{{data}}}}}'
        if self._category == "option":
            return (
                f'{{"id":"{topic}-{seq}-{now_ms}","topic":"{topic}","ts":{now_ms},"data":{{{data}}},"type":"{kind}"}}'
            )
        return f'{{"topic":"{topic}","type":"{kind}","data":{{{data}}},"cs":{seq},"ts":{now_ms}}}'
