"""What one market of Bybit lists now, and how much of it is traded.

Blocks the thread that asks, within the limits of exchanges/bybit/history.py. Documentation pages:
market/instruments-info, market/tickers.
"""

import math
from typing import Any, TypeVar

import msgspec
import structlog

from exchanges.bybit.rest import BybitHistory, Rows, read_row
from model.ports import HistoryError
from model.records import Instrument
from model.symbols import is_symbol

PAGE = 1000  # the most instruments-info gives; 500 unless asked, which hides a third of linear
PAGES_MOST = 20  # a cursor that leads nowhere new must not be followed for ever
PRE_MARKET = "PreLaunch"

T = TypeVar("T")

log = structlog.get_logger()


class _Instrument(msgspec.Struct):
    symbol: str
    baseCoin: str | None = None  # noqa: N815 - Bybit's names
    quoteCoin: str | None = None  # noqa: N815
    contractType: str | None = None  # noqa: N815


class _Instruments(Rows):
    nextPageCursor: str | None = None  # noqa: N815


class _Ticker(msgspec.Struct):
    symbol: str
    turnover24h: str | float | None = None
    volume24h: str | float | None = None
    usdIndexPrice: str | float | None = None  # noqa: N815


class BybitListing(BybitHistory):
    """One market's listing; asks as the history does, and shares its limits."""

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Every symbol that trades, and with `pre_market` those before their listing; raises HistoryError.

        One whose name no stream can carry is left out and logged, and so is a row that makes no sense.
        """
        instruments = self._instruments()
        if pre_market and self.market == "linear":
            instruments += self._instruments(status=PRE_MARKET)
        turnover = self._turnover()
        unfit = sorted(each.symbol for each in instruments if not is_symbol(each.symbol))
        if unfit:
            log.warning("symbols_unfit", market=self.market, symbols=unfit[:20])
        return [
            Instrument(
                each.symbol,
                each.baseCoin or "",
                each.quoteCoin or "",
                turnover.get(each.symbol, 0.0),
                is_dated=(each.contractType or "").endswith("Futures"),
            )
            for each in {each.symbol: each for each in instruments}.values()
            if is_symbol(each.symbol)
        ]

    def _instruments(self, **query: Any) -> list[_Instrument]:
        query |= {"category": self.market, "limit": PAGE}
        if self.market == "spot":
            del query["limit"]  # spot has no pages
        found: dict[str, _Instrument] = {}
        followed, is_again = {""}, False
        for _ in range(PAGES_MOST):
            page = self._get("instruments-info", _Instruments, **query)
            rows = self._readable(page, _Instrument, "instruments-info")
            found.update((each.symbol, each) for each in rows if each.symbol)
            cursor = page.nextPageCursor or ""
            if cursor in followed:  # the end, or one that leads back; nothing at all is asked for once more
                if rows or not cursor or is_again:
                    return list(found.values())
                is_again = True
                continue
            followed.add(cursor)
            query["cursor"] = cursor
        raise HistoryError(f"instruments-info of {self.market} does not end after {PAGES_MOST} pages")

    def _turnover(self) -> dict[str, float]:
        answer = self._get("tickers", Rows, category=self.market)
        return {each.symbol: turnover_of(self.market, each) for each in self._readable(answer, _Ticker, "tickers")}

    def _readable(self, answer: Rows, shape: type[T], page: str) -> list[T]:
        """The rows of an answer that make sense."""
        rows = [(row, read_row(row, shape)) for row in answer.rows or ()]
        self._warn_of([row for row, read in rows if read is None], page)
        return [read for _, read in rows if read is not None]


def turnover_of(market: str, ticker: _Ticker) -> float:
    """In dollars as far as that is known: inverse counts volume in them, spot has pairs quoted in coins."""
    volume, turnover, price = (_number(text) for text in (ticker.volume24h, ticker.turnover24h, ticker.usdIndexPrice))
    if market == "inverse":
        return volume
    return volume * price if price else turnover


def _number(text: str | float | None) -> float:
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if 0 <= number < math.inf else 0.0  # NaN would leave the order of all others to chance
