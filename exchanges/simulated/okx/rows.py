"""The JSON text of OKX's rows: trades, tickers, candles, instruments. Pure; key order as recorded."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ..symbol_market import SymbolMarket
from ..trades import Trade
from ..truth import Candle, printed, printed_turnover

PRODUCT = {"spot": "SPOT", "linear": "SWAP", "inverse": "SWAP"}
SIDE = {"Buy": "buy", "Sell": "sell"}
SOURCE = {"": "0", "RPI": "1"}


def aggregated(symbol: SymbolMarket, trades: Sequence[Trade]) -> Iterator[str]:
    """Rows of the trades channel: matches of one order, price and source are one, with the last one's id (trap T6)."""
    for _, group in groupby(trades, key=lambda trade: (trade.event_ms, trade.seq, trade.side, trade.ticks, trade.mark)):
        matches = list(group)
        last = matches[-1]
        size = symbol.size_text(sum(trade.lots for trade in matches))
        yield trade_row(symbol.instrument.symbol, last, size, len(matches))


def trade_row(name: str, trade: Trade, size: str, count: int) -> str:
    """One row of the trades channel."""
    return (
        f'{{"instId":"{name}","tradeId":"{trade.id}","px":"{trade.price}","sz":"{size}","side":"{SIDE[trade.side]}",'
        f'"ts":"{trade.event_ms}","count":"{count}","source":"{SOURCE[trade.mark]}","seqId":{trade.seq}}}'
    )


def match_row(name: str, trade: Trade) -> dict[str, str]:
    """One match, as REST and trades-all have it."""
    return {
        "instId": name,
        "side": SIDE[trade.side],
        "sz": trade.size,
        "source": SOURCE[trade.mark],
        "px": trade.price,
        "tradeId": trade.id,
        "ts": str(trade.event_ms),
    }


def ticker_row(symbol: SymbolMarket, now_ms: int) -> dict[str, str]:
    """A ticker: volume in contracts or the coin, turnover in the quote (spot) or the coin."""
    instrument, price = symbol.instrument, symbol.price_text
    bid, bid_lots, ask_lots = symbol.own.best()
    opened = price(int(instrument.first_price / instrument.tick))
    volume = symbol.size_text(symbol.volume_lots)
    worth = symbol.turnover_text()
    if instrument.category == "linear":
        worth = printed(instrument.contract_size * instrument.lot * symbol.volume_lots)
    return {
        "instType": PRODUCT[instrument.category],
        "instId": instrument.symbol,
        "last": symbol.last_price(),
        "lastSz": symbol.recent[-1].size if symbol.recent else "0",
        "askPx": price(bid + 1),
        "askSz": symbol.size_text(ask_lots),
        "bidPx": price(bid),
        "bidSz": symbol.size_text(bid_lots),
        "open24h": opened,
        "high24h": price(symbol.high_ticks),
        "low24h": price(symbol.low_ticks),
        "sodUtc0": opened,
        "sodUtc8": opened,
        "volCcy24h": worth,
        "vol24h": volume,
        "ts": str(now_ms),
    }


def candle_row(symbol: SymbolMarket, candle: Candle, is_closed: bool) -> list[str]:
    """A candle: vol in contracts, volCcy in the coin, volCcyQuote in the quote; of spot the quote twice."""
    instrument, turnover = symbol.instrument, printed_turnover(candle, symbol.truth.rule.is_inverse)
    worth = printed(candle.volume * instrument.contract_size)
    volumes = {"spot": (turnover, turnover), "linear": (worth, turnover), "inverse": (turnover, worth)}
    prices = map(printed, (candle.open, candle.high, candle.low, candle.close))
    confirm = "1" if is_closed else "0"
    return [str(candle.start), *prices, printed(candle.volume), *volumes[instrument.category], confirm]


def instrument_row(symbol: SymbolMarket) -> dict[str, Any]:
    """An instrument; base and quote of swaps are in their family alone."""
    each = symbol.instrument
    is_swap = each.category != "spot"
    family = f"{each.base}-{each.quote}" if is_swap else ""
    settled = {"linear": each.quote, "inverse": each.base}.get(each.category, "")
    tick, lot = (format(step.normalize(), "f") for step in (each.tick, each.lot))
    return {
        "alias": "",
        "auctionEndTime": "",
        "baseCcy": "" if is_swap else each.base,
        "category": "1",
        "contTdSwTime": "",
        "ctMult": "1" if is_swap else "",
        "ctType": each.category if is_swap else "",
        "ctVal": format(each.contract_size, "f") if is_swap else "",
        "ctValCcy": (each.base if each.category == "linear" else "USD") if is_swap else "",
        "expTime": "",
        "instFamily": family,
        "instId": each.symbol,
        "instIdCode": 10_000,
        "instType": PRODUCT[each.category],
        "lever": "100" if is_swap else "10",
        "listTime": str(symbol.listed_ms),
        "lotSz": lot,
        "maxLmtSz": "100000000",
        "maxMktSz": "30000",
        "minSz": lot,
        "openType": "",
        "optType": "",
        "preMktSwTime": "",
        "quoteCcy": "" if is_swap else each.quote,
        "ruleType": "normal",
        "settleCcy": settled,
        "state": "live",
        "stk": "",
        "tickSz": tick,
        "upcChg": [],
        "uly": family,
    }
