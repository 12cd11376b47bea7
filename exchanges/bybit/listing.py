"""What one market of Bybit lists now, and how much of it is traded.

Blocks the thread that asks, within the limits of exchanges/bybit/history.py. Documentation pages:
market/instruments-info, market/tickers.
"""

from typing import Any

import msgspec
import structlog

from exchanges.bybit.history import BybitHistory
from exchanges.contract import HistoryError, Listed
from model.symbols import is_symbol

PAGE = 1000  # the most instruments-info gives; 500 unless asked, which hides a third of linear
PAGES_MOST = 20  # a cursor that leads nowhere new must not be followed for ever
PRE_MARKET = "PreLaunch"

log = structlog.get_logger()


class _Instrument(msgspec.Struct):
    symbol: str
    baseCoin: str = ""  # noqa: N815 - Bybit's names
    quoteCoin: str = ""  # noqa: N815
    contractType: str = ""  # noqa: N815
    status: str = "Trading"


class _Instruments(msgspec.Struct):
    list: list[_Instrument]
    nextPageCursor: str = ""  # noqa: N815


class _Ticker(msgspec.Struct):
    symbol: str
    turnover24h: str = ""
    volume24h: str = ""
    usdIndexPrice: str = ""  # noqa: N815


class _Tickers(msgspec.Struct):
    list: list[_Ticker]


class BybitListing(BybitHistory):
    """One market's listing; asks as the history does, and shares its limits."""

    def listed(self, *, pre_market: bool = False) -> list[Listed]:
        """Every symbol that trades, and with `pre_market` those before their listing; raises HistoryError.

        One whose name no stream can carry is left out and logged.
        """
        instruments = self._instruments()
        if pre_market and self.market == "linear":
            instruments += self._instruments(status=PRE_MARKET)
        turnover = self._turnover()
        unfit = sorted(each.symbol for each in instruments if not is_symbol(each.symbol))
        if unfit:
            log.warning("symbols_unfit", market=self.market, symbols=unfit[:20])
        return [
            Listed(
                each.symbol,
                each.baseCoin,
                each.quoteCoin,
                turnover.get(each.symbol, 0.0),
                is_dated=each.contractType.endswith("Futures"),
            )
            for each in {each.symbol: each for each in instruments}.values()
            if is_symbol(each.symbol)
        ]

    def _instruments(self, **query: Any) -> list[_Instrument]:
        query |= {"category": self.market, "limit": PAGE}
        if self.market == "spot":
            del query["limit"]  # spot has no pages
        found: list[_Instrument] = []
        for _ in range(PAGES_MOST):
            page = self._ask("instruments-info", self._rest.instruments_info, _Instruments, **query)
            found += page.list
            if not page.nextPageCursor or not page.list:
                return found
            query["cursor"] = page.nextPageCursor
        raise HistoryError(f"instruments-info of {self.market} does not end after {PAGES_MOST} pages")

    def _turnover(self) -> dict[str, float]:
        answer = self._ask("tickers", self._rest.tickers, _Tickers, category=self.market)
        return {each.symbol: turnover_of(self.market, each) for each in answer.list}


def turnover_of(market: str, ticker: _Ticker) -> float:
    """In dollars as far as that is known: inverse counts volume in them, spot has pairs quoted in coins."""
    volume, turnover, price = (_number(text) for text in (ticker.volume24h, ticker.turnover24h, ticker.usdIndexPrice))
    if market == "inverse":
        return volume
    return volume * price if price else turnover


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
